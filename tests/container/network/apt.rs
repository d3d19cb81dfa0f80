//! A real Debian's package tools, which need names, TCP and users of their own at once. The world
//! behind the uplink answers for the mirror's name and hands on what is sent to it.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use porthole_tests::debian::{Mirror, minbase};
use porthole_tests::network::within;

use super::*;

/// Packages come over whatever network the machine has.
const DOWNLOAD: Duration = Duration::from_secs(420);

#[test]
fn apt_updates_and_installs_in_a_debian() {
    let found = Mirror::of_this_machine().and_then(|mirror| Ok((mirror, minbase()?)));
    let (mirror, image) = match found {
        Ok(found) => found,
        Err(why) => {
            println!("SKIPPED: no Debian can be made here: {why}");
            return;
        }
    };
    let (name, port) = mirror.peer().expect("a host");
    let resolver = format!("nameserver {}\n", PEER[0]);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, &resolver).expect("written");
    let builder = Instance::builder()
        .with_policy("[network]\nbridge = true\n")
        .with_file(resolv_conf(), file.path());
    let lab = Lab::with(builder, "");
    let asked = answer_for(lab.peer.pid(), &name);
    let porthole = lab.porthole();
    let import = "/api/v1/images?name=debian:12";
    let answer = porthole.admin().post_file(import, &image);
    assert_eq!(answer.status, 201, "{answer}");
    let debian = |name: &str, command: Value, env: Value| {
        let more = json!({
            "image": "debian:12", "command": command, "env": env, "limits": {"memory": 1 << 30},
        });
        lab.container(name, more)
    };

    // Names, by the machine's resolver and the C library.
    let names = debian("names", json!(["sleep", "infinity"]), json!({}));
    assert_eq!(
        format!("{}\n", porthole.sh(&names.json, "cat /etc/resolv.conf")),
        resolver
    );
    let look = |name: &str| {
        let words = ["getent", "ahostsv4", name];
        porthole.exec(&names.json, &words).stdout
    };
    assert!(look(&name).starts_with(PEER[0]), "{}", look(&name));
    assert!(asked.load(Ordering::Relaxed) > 0, "it was asked");
    assert_eq!(
        look("nobody.invalid"),
        "",
        "control: it knows no other name"
    );

    // Packages: the indexes first, without which there would be nothing to install.
    let relayed = relay(lab.peer.pid(), (name, port));
    let script = "apt-get -o APT::Update::Error-Mode=any update && \
        apt-get install -y --no-install-recommends hello && \
        stat -c 'partial is of %U' /var/lib/apt/lists/partial && hello";
    let env = match &mirror.proxy {
        Some(proxy) => json!({"http_proxy": proxy, "DEBIAN_FRONTEND": "noninteractive"}),
        None => json!({"DEBIAN_FRONTEND": "noninteractive"}),
    };
    let one = debian("apt", json!(["sh", "-c", script]), env);
    let ended = wait_for("apt's end", DOWNLOAD, || {
        Some(porthole.container("apt")).filter(|now| now["state"] == "exited")
    });
    let logs = format!("/api/v1/containers/{}/logs", one.id);
    let said = porthole.admin().get(&logs).body;
    assert_eq!(ended["exit_code"], 0, "{said}");
    assert!(said.contains("Hello, world!"), "{said}");
    // It fetches as a user of its own, and would say where it could not become that one.
    assert!(said.contains("partial is of _apt"), "{said}");
    for wrong in ["unsandboxed", "W: ", "E: "] {
        assert!(!said.contains(wrong), "{wrong}: {said}");
    }
    assert!(relayed.load(Ordering::Relaxed) > 0, "by way of the relay");
}

/// The file that tells the machine's name servers.
fn resolv_conf() -> &'static str {
    let best = "/run/systemd/resolve/resolv.conf";
    if Path::new(best).exists() {
        best
    } else {
        "/etc/resolv.conf"
    }
}

/// Answers who asks the peer for this name with the peer's own address, and that there is no
/// other. Counts the answers.
fn answer_for(peer: i32, name: &str) -> Arc<AtomicUsize> {
    let socket = within(peer, || UdpSocket::bind((PEER[0], 53)).expect("port 53"));
    let socket = socket.join().expect("it ran");
    let count = Arc::new(AtomicUsize::new(0));
    let (answered, name) = (count.clone(), name.to_ascii_lowercase());
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Some(answer) = answer(&buffer[..length], &name) else {
                continue;
            };
            answered.fetch_add(1, Ordering::Relaxed);
            let _ = socket.send_to(&answer, from);
        }
    });
    count
}

/// The answer to one question (RFC 1035): an IPv4 address, none of that kind, or no such name.
fn answer(query: &[u8], name: &str) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        let label = query.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
    }
    let question = query.get(HEADER..at + 4)?;
    let known = labels.join(".") == name;
    let address = known && query.get(at..at + 2)? == [0, 1];
    // An answer, recursion as asked for; 3: there is no such name.
    let flags = [0x81, if known { 0x80 } else { 0x83 }];
    let counts = [0, 1, 0, u8::from(address), 0, 0, 0, 0];
    let mut answer = [&query[..2], &flags, &counts, question].concat();
    if address {
        // The name as in the question; A, IN, for a minute.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        let IpAddr::V4(peer) = ip(PEER[0]) else {
            return None;
        };
        answer.extend(peer.octets());
    }
    Some(answer)
}

/// Hands on what is sent to the peer at this port: it listens there, and connects from the
/// machine that the tests run on. Counts the connections.
fn relay(peer: i32, to: (String, u16)) -> Arc<AtomicUsize> {
    let at: SocketAddr = (ip(PEER[0]), to.1).into();
    let listener = within(peer, move || TcpListener::bind(at).expect("the port"));
    let listener = listener.join().expect("it ran");
    let count = Arc::new(AtomicUsize::new(0));
    let relayed = count.clone();
    // Whoever started the tests is where they were started.
    let machine = std::os::unix::process::parent_id().cast_signed();
    within(machine, move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect((to.0.as_str(), to.1)) else {
                continue;
            };
            relayed.fetch_add(1, Ordering::Relaxed);
            let clones = (near.try_clone(), far.try_clone());
            if let (Ok(near_too), Ok(far_too)) = clones {
                std::thread::spawn(move || pass(&near, &far));
                std::thread::spawn(move || pass(&far_too, &near_too));
            }
        }
    });
    count
}

/// Everything from one to the other, and its end.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
