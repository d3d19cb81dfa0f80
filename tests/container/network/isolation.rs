//! What a container must not reach, and whom it must not claim to be. Each refusal has its control:
//! without what enforces it, the same thing succeeds.

use porthole_tests::network::{call, greet, run_in, send, try_in, within};

use super::*;

/// Sends what no honest program sends: by hand, from the host's side of things, so that no
/// capability of the container's is in the way.
const RAW: &str = r#"
import socket, struct, sys
def mac(t): return bytes(int(x, 16) for x in t.split(':'))
def total(b):
    b += b'\0' * (len(b) % 2)
    s = sum(struct.unpack('!%dH' % (len(b) // 2), b))
    while s >> 16: s = (s & 65535) + (s >> 16)
    return ~s & 65535
what, source, target, mine = sys.argv[1:5]
if what == 'udp4':
    s, t = socket.inet_aton(source), socket.inet_aton(target)
    body = struct.pack('!HHHH', 7001, 7001, 8 + 4, 0) + b'fake'
    head = struct.pack('!BBHHHBBH4s4s', 69, 0, 20 + len(body), 1, 0, 64, 17, 0, s, t)
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    sock.sendto(head + body, (target, 0))
elif what == 'udp6':
    s, t = socket.inet_pton(socket.AF_INET6, source), socket.inet_pton(socket.AF_INET6, target)
    pseudo = s + t + struct.pack('!II', 12, 17)
    body = struct.pack('!HHHH', 7001, 7001, 12, 0) + b'fake'
    body = body[:6] + struct.pack('!H', total(pseudo + body)) + body[8:]
    head = struct.pack('!IHBB16s16s', 6 << 28, len(body), 17, 64, s, t)
    sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
    sock.sendto(head + body, (target, 0))
elif what == 'arp':
    s = socket.inet_aton(source)
    for to, target in ((b'\xff' * 6, source), (mac(target), source)):
        frame = to + mac(mine) + b'\x08\x06' + struct.pack('!HHBBH', 1, 2048, 6, 4, 2)
        frame += mac(mine) + s + to + socket.inet_aton(target)
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sock.bind(('eth0', 0))
        sock.send(frame)
elif what == 'nd':
    s, all_nodes = socket.inet_pton(socket.AF_INET6, source), socket.inet_pton(socket.AF_INET6, 'ff02::1')
    body = struct.pack('!BBHI', 136, 0, 0, 0x20000000) + s + b'\x02\x01' + mac(mine)
    pseudo = s + all_nodes + struct.pack('!II', len(body), 58)
    body = body[:2] + struct.pack('!H', total(pseudo + body)) + body[4:]
    head = struct.pack('!IHBB16s16s', 6 << 28, len(body), 58, 255, s, all_nodes)
    for to in (b'\x33\x33\0\0\0\x01', mac(target)):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sock.bind(('eth0', 0))
        sock.send(to + mac(mine) + b'\x86\xdd' + head + body)
"#;

/// Succeeds where a frame of this address comes before its input ends, or within a second after.
const SNIFF: &str = r#"
import select, socket, sys, time
who = bytes(int(x, 16) for x in sys.argv[1].split(':'))
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sock.bind(('eth0', 3))
print('ready', flush=True)
end, inputs = None, [sock, sys.stdin]
while end is None or time.monotonic() < end:
    ready = select.select(inputs, [], [], 0.1)[0]
    if sock in ready and sock.recv(2048)[6:12] == who: sys.exit(0)
    if sys.stdin in ready: end, inputs = time.monotonic() + 1, [sock]
sys.exit(1)
"#;

fn raw(pid: i32, what: &str, source: &str, target: &str, mac: &str) {
    run_in(
        pid,
        &format!("python3 -c \"$0\" {what} {source} {target} {mac}")
            .replace("\"$0\"", &format!("'{}'", RAW.replace('\'', "'\\''"))),
    );
}

/// Whether the peer hears something on port 7001 while this is done.
fn heard(lab: &Lab, family: usize, act: impl FnOnce()) -> bool {
    let at: std::net::SocketAddr = addresses(PEER, 7001)[family].parse().expect("an address");
    // The last one's is closed, but a process that is just being started may have it still.
    let socket = within(lab.peer.pid(), move || {
        wait_for("a socket", PATIENCE, || std::net::UdpSocket::bind(at).ok())
    });
    let socket = socket.join().expect("it ran");
    act();
    let patience = std::time::Duration::from_millis(800);
    socket.set_read_timeout(Some(patience)).expect("a timeout");
    socket.recv(&mut [0; 64]).is_ok()
}

fn mac(pid: i32) -> String {
    let link = run_in(pid, "ip -o link show dev eth0");
    let after = link
        .split("link/ether ")
        .nth(1)
        .expect("a link-layer address");
    after.split(' ').next().expect("a word").to_owned()
}

fn table(lab: &Lab) -> String {
    format!("porthole_{}", &bridge(lab)[3..])
}

#[test]
fn the_machine_itself_is_out_of_reach() {
    let lab = Lab::new("");
    let one = lab.container("one", json!({}));
    let gateway = [0, 1].map(|at| text(&one.json["gateway"][at]));
    let gateway = [gateway[0].as_str(), gateway[1].as_str()];
    let all: Vec<String> = [MACHINE, gateway]
        .iter()
        .flat_map(|a| addresses(*a, 7000))
        .collect();
    for address in &all {
        greet(lab.machine.pid(), address);
        let refused = call(one.pid, address).expect_err("the machine's");
        assert_ne!(refused.kind(), std::io::ErrorKind::TimedOut, "{refused}");
        send(one.pid, address).expect_err("the machine's");
    }
    // The other way is open: the machine's own programs may look after containers.
    greet(one.pid, &one.at(7000)[0]);
    assert!(call(lab.machine.pid(), &one.at(7000)[0]).is_ok());
    let _stopped = Stopped::keeper(lab.porthole());
    lab.machine
        .run(&format!("nft insert rule inet {} host accept", table(&lab)));
    for address in &all {
        assert!(call(one.pid, address).is_ok(), "control: {address}");
    }
}

#[test]
fn the_machines_loopback_is_nobodys_but_its_own() {
    let lab = Lab::new("");
    let publish = json!([{"host_port": 8080, "container_port": 80}]);
    let one = lab.container("one", json!({"publish": publish}));
    greet(lab.machine.pid(), "127.0.0.1:7000");
    // What only somebody with the machine's rights could set up inside.
    let gateway = text(&one.json["gateway"][0]);
    run_in(
        one.pid,
        &format!(
            "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet; ip address flush dev lo; \
             ip route flush table local; ip route add local {} dev eth0 table local; \
             ip route add 127.0.0.0/8 via {gateway} dev eth0 src {} table local",
            one.v4, one.v4
        ),
    );
    call(one.pid, "127.0.0.1:7000").expect_err("the machine's");
    let _stopped = Stopped::keeper(lab.porthole());
    let table = table(&lab);
    lab.machine
        .run(&format!("nft insert rule inet {table} host accept"));
    call(one.pid, "127.0.0.1:7000").expect_err("the machine's");
    lab.machine
        .run(&format!("nft insert rule inet {table} sent accept"));
    assert_eq!(call(one.pid, "127.0.0.1:7000").expect("control"), one.v4);
}

#[test]
fn nobody_sends_under_anothers_address() {
    let lab = Lab::new("");
    let one = lab.container("one", json!({}));
    let other = lab.container("other", json!({}));
    let other_v6 = other.v6.to_string();
    let forge = |family: usize| {
        let (what, source) =
            [("udp4", other.v4.to_string()), ("udp6", other_v6.clone())][family].clone();
        raw(one.pid, what, &source, PEER[family], "-");
    };
    for family in [0, 1] {
        assert!(!heard(&lab, family, || forge(family)), "another's address");
        // Its own, by the very same means.
        let (what, source) = [("udp4", one.v4), ("udp6", one.v6)][family];
        let honest = || raw(one.pid, what, &source.to_string(), PEER[family], "-");
        assert!(heard(&lab, family, honest), "control: its own");
    }
    let stopped = Stopped::keeper(lab.porthole());
    let first = format!("nft insert rule inet {} sent accept", table(&lab));
    lab.machine.run(&first);
    for family in [0, 1] {
        assert!(
            heard(&lab, family, || forge(family)),
            "control: without the rule"
        );
    }
    drop(stopped);
}

#[test]
fn nobody_sends_from_anothers_interface_address() {
    let lab = Lab::new("");
    let one = lab.container("one", json!({}));
    let other = lab.container("other", json!({}));
    let (mine, theirs) = (mac(one.pid), mac(other.pid));
    let become_other = || {
        let gateway = text(&one.json["gateway"][0]);
        let bridge = lab.machine.run(&format!(
            "cat /proc/sys/net/ipv4/conf/{}/forwarding",
            bridge(&lab)
        ));
        drop(bridge);
        run_in(
            one.pid,
            &format!(
                "ip link set eth0 down; ip link set eth0 address {theirs} up; \
             ip address replace {}/32 dev eth0; ip route replace {gateway} dev eth0; \
             ip route replace default via {gateway}",
                other.v4
            ),
        );
        let link = lab
            .machine
            .run(&format!("ip -o link show dev {}", super::bridge(&lab)));
        let after = link.split("link/ether ").nth(1).expect("an address");
        let address = after.split(' ').next().expect("a word");
        run_in(
            one.pid,
            &format!("ip neigh replace {gateway} lladdr {address} dev eth0"),
        );
    };
    become_other();
    let forge = || raw(one.pid, "udp4", &other.v4.to_string(), PEER[0], "-");
    assert!(!heard(&lab, 0, forge), "as another");
    // The control: a port that is not locked takes any address for its own.
    let port = format!("pv{}", &one.id[..12]);
    lab.machine
        .run(&format!("bridge link set dev {port} locked off"));
    assert!(heard(&lab, 0, forge), "control: unlocked");
    lab.machine
        .run(&format!("bridge link set dev {port} locked on"));
    assert!(!heard(&lab, 0, forge), "as another");
    drop(mine);
}

#[test]
fn lies_about_neighbours_reach_nobody() {
    let lab = Lab::new("");
    let one = lab.container("one", json!({}));
    let other = lab.container("other", json!({}));
    let (liar, theirs, bridge) = (mac(one.pid), mac(other.pid), bridge(&lab));
    let known = |address: &IpAddr| {
        lab.machine
            .run(&format!("ip neigh show {address} dev {bridge}"))
    };
    let lie = |what: &str| {
        let address = if what == "arp" { other.v4 } else { other.v6 };
        let link = lab.machine.run(&format!("ip -o link show dev {bridge}"));
        let after = link.split("link/ether ").nth(1).expect("an address");
        let to = after.split(' ').next().expect("a word");
        raw(one.pid, what, &address.to_string(), to, &liar);
    };
    // Whether the other container's interface receives a frame of the liar's meanwhile.
    let receives = |act: &dyn Fn()| {
        let (pid, liar) = (other.pid, liar.clone());
        let sniffing = within(pid, move || {
            std::process::Command::new("python3")
                .args(["-c", SNIFF, &liar])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
        });
        let mut sniffer = sniffing.join().expect("it ran").expect("python3 runs");
        let mut ready = [0; 6];
        let stdout = sniffer.stdout.as_mut().expect("piped");
        std::io::Read::read_exact(stdout, &mut ready).expect("it listens");
        act();
        // Its input ends here.
        sniffer.wait().expect("its end").success()
    };
    for (what, address) in [("arp", other.v4), ("nd", other.v6)] {
        assert!(
            !receives(&|| lie(what)),
            "nothing passes from one port to another"
        );
        assert!(known(&address).contains(&theirs), "{}", known(&address));
        assert!(known(&address).contains("PERMANENT"), "{}", known(&address));
    }
    // The control for the machine: an entry that is not permanent believes the lie. Discovery of
    // IPv6 comes by way of the filter, which knows whose address that is.
    let _stopped = Stopped::keeper(lab.porthole());
    let table = table(&lab);
    lab.machine.run(&format!(
        "nft insert rule inet {table} sent accept; nft insert rule inet {table} host accept"
    ));
    for (what, address) in [("arp", other.v4), ("nd", other.v6)] {
        lab.machine.run(&format!(
            "ip neigh replace {address} lladdr {theirs} dev {bridge} nud stale"
        ));
        // What the kernel has just learnt it keeps for a second.
        wait_for("the lie to be believed", PATIENCE, || {
            lie(what);
            known(&address).contains(&liar).then_some(())
        });
    }
    // And for the port: without isolation the other container receives it.
    for id in [&one.id, &other.id] {
        lab.machine.run(&format!(
            "bridge link set dev pv{} isolated off bcast_flood on mcast_flood on",
            &id[..12]
        ));
    }
    assert!(receives(&|| lie("arp")), "control: not isolated");
}

#[test]
fn nobody_comes_in_from_outside() {
    let lab = Lab::new("");
    let one = lab.container("one", json!({}));
    for (family, address) in one.at(7000).iter().enumerate() {
        greet(one.pid, address);
        let host = if family == 0 { one.v4 } else { one.v6 };
        lab.peer
            .run(&format!("ip route add {host} via {}", MACHINE[family]));
        call(lab.peer.pid(), address).expect_err("from outside");
    }
    let _stopped = Stopped::keeper(lab.porthole());
    lab.machine.run(&format!(
        "nft insert rule inet {} forward accept",
        table(&lab)
    ));
    for address in one.at(7000) {
        assert!(call(lab.peer.pid(), &address).is_ok(), "control: {address}");
    }
}

#[test]
fn a_machine_that_was_no_router_does_not_become_one() {
    let lab = Lab::new("");
    let side = Network::new();
    lab.machine.join("side0", &side, "in0");
    lab.machine.run("ip address add 198.51.100.1/24 dev side0");
    side.run("ip address add 198.51.100.2/24 dev in0; ip route add default via 198.51.100.1");
    lab.peer.run("ip route add 198.51.100.0/24 via 192.0.2.1");
    greet(side.pid(), "198.51.100.2:7000");
    let one = lab.container("one", json!({}));
    assert_eq!(lab.machine.run("cat /proc/sys/net/ipv4/ip_forward"), "1\n");
    assert!(
        call(one.pid, "198.51.100.2:7000").is_ok(),
        "containers get there"
    );
    call(lab.peer.pid(), "198.51.100.2:7000").expect_err("others do not");
    let stopped = Stopped::keeper(lab.porthole());
    lab.machine.run(&format!(
        "nft insert rule inet {} forward accept",
        table(&lab)
    ));
    assert!(call(lab.peer.pid(), "198.51.100.2:7000").is_ok(), "control");
    drop(stopped);
    lab.machine.run("ip link delete side0");
    // With the bridge's own packets through the machine's filters and without: the same.
    let bridged = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if try_in(lab.machine.pid(), &format!("test -e {bridged}"))
        .status
        .success()
    {
        for value in ["0", "1"] {
            run_in(lab.machine.pid(), &format!("echo {value} > {bridged}"));
            greet(
                lab.peer.pid(),
                &format!(
                    "192.0.2.254:{}",
                    7100 + value.parse::<u16>().expect("a number")
                ),
            );
            let at = format!(
                "192.0.2.254:{}",
                7100 + value.parse::<u16>().expect("a number")
            );
            assert_eq!(call(one.pid, &at).expect("out"), ip(MACHINE[0]), "{value}");
            call(one.pid, "192.0.2.1:22").expect_err("the machine's");
        }
    }
}

#[test]
fn a_machine_that_forwards_ipv4_alone_goes_on_so() {
    let policy = "[network]\nbridge = true\n";
    let lab = Lab::start(policy, "echo 1 > /proc/sys/net/ipv4/ip_forward");
    let side = Network::new();
    lab.machine.join("side0", &side, "in0");
    lab.machine.run(
        "ip address add 198.51.100.1/24 dev side0; ip address add 2001:db8:5::1/64 dev side0 nodad",
    );
    side.run(
        "ip address add 198.51.100.2/24 dev in0; ip route add default via 198.51.100.1; \
         ip address add 2001:db8:5::2/64 dev in0 nodad; ip route add default via 2001:db8:5::1",
    );
    lab.peer.run(
        "ip route add 198.51.100.0/24 via 192.0.2.1; ip route add 2001:db8:5::/64 via 2001:db8::1",
    );
    let [v4, v6] = ["198.51.100.2:7000", "[2001:db8:5::2]:7000"];
    for address in [v4, v6] {
        greet(side.pid(), address);
    }
    // The control: this is what it would do.
    let switch = "/proc/sys/net/ipv6/conf/all/forwarding";
    lab.machine.run(&format!("echo 1 > {switch}"));
    wait_for("the way through", PATIENCE, || {
        call(lab.peer.pid(), v6).is_ok().then_some(())
    });
    lab.machine.run(&format!("echo 0 > {switch}"));
    call(lab.peer.pid(), v6).expect_err("it is no router");
    let _one = lab.container("one", json!({}));
    let forwards = lab.machine.run(&format!("cat {switch}"));
    assert_eq!(forwards, "1\n", "for containers");
    assert!(call(lab.peer.pid(), v4).is_ok(), "as before");
    call(lab.peer.pid(), v6).expect_err("nor did it before");
    let stopped = Stopped::keeper(lab.porthole());
    lab.machine.run(&format!(
        "nft insert rule inet {} forward accept",
        table(&lab)
    ));
    assert!(call(lab.peer.pid(), v6).is_ok(), "control");
    drop(stopped);
    lab.machine.run("ip link delete side0");
}
