//! What containers share with the machine: how large packets are, and its table of connections.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use porthole_tests::network::{call, greet, run_in, send, within};

use super::*;

/// How long an answer is waited for that is not going to come.
const DEAF: Duration = Duration::from_millis(800);

fn mtu(pid: i32, interface: &str) -> u32 {
    let link = run_in(pid, &format!("ip -o link show dev {interface}"));
    let after = link.split(" mtu ").nth(1).expect("a size");
    let number = after.split(' ').next().expect("a word");
    number.parse().expect("a number")
}

#[test]
fn packets_are_as_large_as_the_uplink_takes_them() {
    let lab = Lab::new("");
    let machine = lab.machine.pid();
    let pair = |container: &Container| {
        let port = format!("pv{}", &container.id[..12]);
        [mtu(container.pid, "eth0"), mtu(machine, &port)]
    };
    let make = |size: u32, smallest: u32| {
        let container = lab.container(&format!("c{size}"), json!({}));
        assert_eq!(pair(&container), [size; 2]);
        // What the machine sends to any of them all of them take.
        assert_eq!(mtu(machine, &bridge(&lab)), smallest);
        container
    };
    let one = make(1500, 1500);
    lab.machine.run("ip link set up0 mtu 1400");
    let two = make(1400, 1400);
    lab.machine.run("ip link set up0 mtu 1300");
    let three = make(1300, 1300);
    assert_eq!([pair(&one), pair(&two)], [[1500; 2], [1400; 2]]);
    // Another interface, and less than IPv6 needs.
    lab.machine
        .run("ip link add thin0 type veth peer name thin1; ip link set thin1 up; ip link set thin0 mtu 600 up; ip route replace default dev thin0");
    let four = make(1280, 1280);
    let v4 = PEER[0];
    lab.machine.run(&format!(
        "ip route replace default via {v4}; ip link delete thin0; ip link set up0 mtu 1500"
    ));
    lab.remove(&four);
    lab.remove(&three);
    wait_for("the smallest of those that are left", PATIENCE, || {
        (mtu(machine, &bridge(&lab)) == 1400).then_some(())
    });
}

/// A socket of a process's network namespace that waits for a short time only.
fn socket(pid: i32, at: &str) -> UdpSocket {
    let at: SocketAddr = at.parse().expect("an address");
    let made = within(pid, move || {
        wait_for("a socket", PATIENCE, || UdpSocket::bind(at).ok())
    });
    let socket = made.join().expect("it ran");
    socket.set_read_timeout(Some(DEAF)).expect("a timeout");
    socket
}

fn hears(socket: &UdpSocket) -> bool {
    socket.recv(&mut [0; 64]).is_ok()
}

#[test]
fn whoever_gets_an_address_hears_nothing_that_was_meant_for_who_had_it() {
    let lab = Lab::new("publish = \"anywhere\"\nipv4 = \"10.9.9.0/29\"\n");
    let publish = json!([{"host": "192.0.2.1", "host_port": 8081, "container_port": 7000, "protocol": "udp"}]);
    let one = lab.container("one", json!({"publish": publish}));
    greet(one.pid, &one.at(7000)[0]);
    // Somebody outside who goes on asking the published port, and some who were asked and go on
    // answering.
    let asks = socket(lab.peer.pid(), "192.0.2.254:9000");
    asks.connect("192.0.2.1:8081").expect("connected");
    asks.send(b"?").expect("sent");
    assert!(hears(&asks), "it is answered");
    let mut answering = Vec::new();
    for (mine, theirs) in one.at(7001).iter().zip(addresses(PEER, 7001)) {
        let (mine, theirs) = (socket(one.pid, mine), socket(lab.peer.pid(), &theirs));
        let to = theirs.local_addr().expect("an address");
        mine.send_to(b"?", to).expect("sent");
        let (_, from) = theirs.recv_from(&mut [0; 64]).expect("heard");
        theirs.send_to(b"!", from).expect("sent");
        assert!(hears(&mine), "it is answered");
        answering.push((theirs, from));
    }
    // The control: without the rule that publishes it, what is remembered still leads there.
    let stopped = Stopped::keeper(lab.porthole());
    lab.machine.run(&format!(
        "nft flush chain inet porthole_{} enter",
        &bridge(&lab)[3..]
    ));
    let late = socket(lab.peer.pid(), "192.0.2.254:9001");
    late.connect("192.0.2.1:8081").expect("connected");
    let _ = late.send(b"?");
    assert!(!hears(&late), "no rule leads there");
    asks.send(b"?").expect("sent");
    assert!(hears(&asks), "control: what is remembered");
    drop(stopped);

    // All the other addresses are given, so that the next one to come has this one's.
    for name in ["b", "c", "d", "e"] {
        lab.container(name, json!({}));
    }
    lab.remove(&one);
    let next = lab.container("next", json!({}));
    assert_eq!((next.v4, next.v6), (one.v4, one.v6));
    greet(next.pid, &next.at(7000)[0]);
    let _ = asks.send(b"?");
    assert!(!hears(&asks), "it has published nothing");
    for (mine, (theirs, from)) in next.at(7001).iter().zip(answering) {
        let mine = socket(next.pid, mine);
        let _ = theirs.send_to(b"!", from);
        assert!(!hears(&mine), "it has asked nobody");
    }
}

/// Connections to the peer, until one is refused.
fn connect(pid: i32, most: usize) -> Vec<TcpStream> {
    let at: SocketAddr = addresses(PEER, 7000)[0].parse().expect("an address");
    let made = within(pid, move || {
        let streams = (0..most).map(|_| TcpStream::connect_timeout(&at, PATIENCE));
        streams.map_while(Result::ok).collect()
    });
    made.join().expect("it ran")
}

#[test]
fn a_container_has_so_many_connections_and_no_more() {
    let lab = Lab::new("connections = 20\n");
    let address = &addresses(PEER, 7000);
    for address in address {
        greet(lab.peer.pid(), address);
    }
    let one = lab.container("one", json!({}));
    let held = connect(one.pid, 40);
    assert_eq!(held.len(), 20);
    let refused = call(one.pid, &address[0]).expect_err("one more");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    call(one.pid, &address[1]).expect_err("in the other family neither");
    send(one.pid, &address[0]).expect_err("nor by another protocol");
    // Nobody else is in want of any, and what was counted outlives the rules.
    let other = lab.container("other", json!({}));
    assert!(call(other.pid, &address[0]).is_ok(), "another container");
    call(one.pid, &address[0]).expect_err("still one more");
    // The control: without the rule there are more.
    let stopped = Stopped::keeper(lab.porthole());
    let chain = format!("inet porthole_{}_connections forward", &bridge(&lab)[3..]);
    lab.machine.run(&format!("nft flush chain {chain}"));
    assert_eq!(connect(one.pid, 40).len(), 40, "control");
    drop(stopped);
    // It is noticed and put back; and who lets go of some has others.
    wait_seen(
        &lab,
        &format!("nft list chain {chain}"),
        "ct count over 20",
        true,
    );
    drop(held);
    wait_for("room for another", PATIENCE, || {
        call(one.pid, &address[0]).ok()
    });
}

#[test]
fn without_counting_it_goes_on_and_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))
        .expect("a mode");
    std::fs::copy("/usr/sbin/nft", path("nft")).expect("nft");
    // As on a kernel that cannot: whoever asks first is told so.
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--check*) cat >/dev/null; echo 'Error: no such thing' >&2; exit 1;; esac\nexec {} \"$@\"\n",
        path("nft").display()
    );
    std::fs::write(path("old"), script).expect("a script");
    std::fs::set_permissions(path("old"), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let builder = Instance::builder()
        .with_policy("[network]\nbridge = true\nconnections = 2\n")
        .with_file("/usr/sbin/nft", &path("old"));
    let lab = Lab::with(builder, "");
    greet(lab.peer.pid(), &addresses(PEER, 7000)[0]);
    let one = lab.container("one", json!({}));
    assert_eq!(connect(one.pid, 5).len(), 5);
    let page = lab.porthole().admin().get("/containers");
    assert!(
        page.body.contains("does not count connections"),
        "it is told"
    );
    assert!(page.body.contains("no such thing"), "and why");
}
