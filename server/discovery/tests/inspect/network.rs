//! Interfaces, routes, sockets and wires.

use std::net::TcpListener;

use porthole_protocol::id::NamespaceInode;
use porthole_protocol::inspection::{Interface, Network, SocketProtocol, Subject};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Holder;
use serde_json::Value;

use crate::bench::{Room, identity, inode, json, looked_at, ourselves, output};
use crate::values::host_pid;

pub(crate) const ALL: &[crate::Scenario] = &[
    ("interfaces_and_routes_are_what_ip_shows", interfaces),
    ("sockets_are_what_ss_shows", sockets),
    ("wires_lead_to_the_bridge_at_their_other_end", wires),
    ("a_namespace_that_is_only_mounted_is_read", mounted),
    ("very_many_interfaces_take_nobodys_place", crowded),
];

/// A room that makes networks inside itself only.
fn room() -> Room {
    Room::new(&["--mount-proc", "--net"])
}

fn compare(found: &Network, links: &Value) {
    let links = links.as_array().expect("a list");
    assert_eq!(found.interfaces.items.len(), links.len());
    for link in links {
        let name = link["ifname"].as_str().expect("a name");
        let one = by_name(found, name);
        assert_eq!(
            u64::from(one.index),
            link["ifindex"].as_u64().expect("an index")
        );
        assert_eq!(u64::from(one.mtu), link["mtu"].as_u64().expect("bytes"));
        assert_eq!(
            one.state,
            link["operstate"].as_str().expect("a state").to_lowercase()
        );
        let flags = link["flags"].as_array().expect("flags");
        assert_eq!(one.up, flags.iter().any(|flag| flag == "UP"), "{name}");
        if one.kind.as_deref() != Some("loopback") {
            assert_eq!(one.mac.as_deref(), link["address"].as_str(), "{name}");
        }
        let kind = link["linkinfo"]["info_kind"].as_str();
        if kind.is_some() {
            assert_eq!(one.kind.as_deref(), kind, "{name}");
        }
        let mut theirs: Vec<String> = link["addr_info"]
            .as_array()
            .expect("addresses")
            .iter()
            .map(|one| {
                format!(
                    "{}/{} {}",
                    text(&one["local"]),
                    one["prefixlen"],
                    text(&one["scope"])
                )
            })
            .collect();
        let mut ours: Vec<String> = one
            .addresses
            .iter()
            .map(|one| format!("{}/{} {}", one.address, one.prefix, one.scope))
            .collect();
        theirs.sort();
        ours.sort();
        assert_eq!(ours, theirs, "{name}");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn by_name<'a>(network: &'a Network, name: &str) -> &'a Interface {
    let found = network.interfaces.items.iter().find(|one| one.name == name);
    found.unwrap_or_else(|| panic!("no interface {name}: {:?}", network.interfaces))
}

fn interfaces() {
    let mut room = room();
    room.sh(
        "ip link set lo up; ip link add name lan0 type bridge; ip link add left type veth peer name right;
         ip link set left master lan0; ip addr add 10.9.8.7/24 dev lan0; ip addr add 2001:db8::7/64 dev lan0 nodad;
         ip link set lan0 up; ip link set left up; ip link set right up;
         ip link add link lan0 name upper type macvlan;
         ip route add default via 10.9.8.1; ip route add blackhole 10.77.0.0/16;
         ip route add 10.66.0.0/16 via 10.9.8.2 metric 77 table 1000; ip -6 route add default via 2001:db8::1",
    );
    // Until duplicate address detection is over link-local addresses are tentative to both, and
    // their routes come one after the other.
    let pid = room.pid.to_string();
    let ip = |words: &[&str]| {
        let inside = ["nsenter", "-t", &pid, "-n", "ip"];
        json(&[&inside, words].concat())
    };
    let says = || {
        [
            ip(&["-d", "-j", "addr"]),
            ip(&["-4", "-j", "route", "show", "table", "all"]),
            ip(&["-6", "-j", "route", "show", "table", "all"]),
        ]
    };
    let (mut before, mut found);
    loop {
        before = says();
        found = looked_at!(room.subject(), Network);
        if says() == before {
            break;
        }
    }
    let [links, v4, v6] = before;
    compare(&found, &links);
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    let (left, right) = (by_name(&found, "left"), by_name(&found, "right"));
    let peer = left.peer.as_ref().expect("another end");
    assert_eq!(
        (peer.index, peer.name.as_deref()),
        (right.index, Some("right"))
    );
    assert_eq!(peer.namespace, Some(found.namespace));
    let peer = right.peer.as_ref().expect("another end");
    assert_eq!(peer.master.as_deref(), Some("lan0"));
    let bridge = by_name(&found, "lan0");
    assert_eq!(bridge.ports, [left.index]);
    assert_eq!(left.master, Some(bridge.index));
    let upper = by_name(&found, "upper");
    assert_eq!(
        upper.peer.as_ref().and_then(|peer| peer.name.as_deref()),
        Some("lan0")
    );

    for (theirs, v6) in [(v4, false), (v6, true)] {
        let mut theirs: Vec<String> = theirs
            .as_array()
            .expect("a list")
            .iter()
            .filter(|route| route["table"] != "local")
            .map(|route| {
                let destination = text(&route["dst"]).trim_end_matches("/32").to_owned();
                let gateway = route["gateway"].as_str().unwrap_or("-");
                format!(
                    "{destination} {gateway} {}",
                    route["metric"].as_u64().unwrap_or(0)
                )
            })
            .collect();
        let mut ours: Vec<String> = found
            .routes
            .items
            .iter()
            .filter(|route| route.v6 == v6)
            .map(|route| {
                let gateway = route
                    .gateway
                    .map_or_else(|| "-".to_owned(), |ip| ip.to_string());
                format!(
                    "{} {gateway} {}",
                    route.destination,
                    route.metric.unwrap_or(0)
                )
            })
            .collect();
        theirs.sort();
        ours.sort();
        assert_eq!(ours, theirs);
    }
    let other = found.routes.items.iter().find(|route| route.table == 1000);
    assert_eq!(other.and_then(|route| route.metric), Some(77));
    let hole = found
        .routes
        .items
        .iter()
        .find(|route| route.kind == "blackhole");
    assert_eq!(
        hole.map(|route| route.destination.as_str()),
        Some("10.77.0.0/16")
    );
    let host = json(&["ip", "-d", "-j", "addr"]);
    compare(&looked_at!(ourselves(), Network), &host);
}

fn sockets() {
    let mut room = room();
    room.sh("ip link set lo up");
    let script = r#"
import socket, time, os
kept = []
for family, address, port, kind in [
    (socket.AF_INET, "127.0.0.1", 8081, socket.SOCK_STREAM),
    (socket.AF_INET6, "::1", 8082, socket.SOCK_STREAM),
    (socket.AF_INET6, "::", 8083, socket.SOCK_STREAM),
    (socket.AF_INET, "0.0.0.0", 8084, socket.SOCK_DGRAM),
]:
    one = socket.socket(family, kind)
    one.bind((address, port))
    if kind == socket.SOCK_STREAM:
        one.listen()
    kept.append(one)
one = socket.socket(socket.AF_UNIX)
one.bind("\0abstract name")
one.listen()
kept.append(one)
for _ in range(5):
    kept.append(socket.create_connection(("127.0.0.1", 8081)))
print("ready", flush=True)
time.sleep(1000)
"#;
    let path = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(path.path(), script).expect("a script");
    let fifo = path.path().display().to_string();
    let inner = room.sh(&format!("python3 {fifo} > /dev/null & echo $!"));
    let server = host_pid(&room, inner.trim().parse().expect("a number"));
    let pid = room.pid.to_string();
    let listed = || {
        output(&[
            "nsenter", "-t", &pid, "-n", "ss", "-H", "-l", "-n", "-t", "-u",
        ])
    };
    crate::bench::wait_until("the connections", || {
        output(&["nsenter", "-t", &pid, "-n", "ss", "-H", "-n", "-t"])
            .lines()
            .count()
            == 10
    });
    let found = looked_at!(room.subject(), Network);
    let mut theirs: Vec<String> = listed()
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!(
                "{} {}",
                words[0],
                words[4].replace(['[', ']'], "").replace('*', "::")
            )
        })
        .collect();
    let mut ours: Vec<String> = found
        .sockets
        .items
        .iter()
        .map(|one| {
            let protocol = if one.protocol == SocketProtocol::Tcp {
                "tcp"
            } else {
                "udp"
            };
            format!("{protocol} {}:{}", one.address, one.port)
        })
        .collect();
    theirs.sort();
    ours.sort();
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), 4);
    for one in &found.sockets.items {
        assert_eq!(one.holders.len(), 1, "{one:?}");
        let holder = one.holders[0];
        assert_eq!(holder.pid.0, server);
        let link = std::fs::read_link(format!("/proc/{server}/fd/{}", holder.fd)).expect("open");
        assert_eq!(link.to_string_lossy(), format!("socket:[{}]", one.inode));
    }
    assert_eq!(found.connections, 10, "both ends of five");
    let names: Vec<_> = found
        .unix_sockets
        .items
        .iter()
        .map(|one| one.path.as_str())
        .collect();
    assert!(names.contains(&"@abstract name"), "{names:?}");
    // One that another namespace's process holds is found too.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let host = looked_at!(ourselves(), Network);
    let own = host
        .sockets
        .items
        .iter()
        .find(|one| one.port == port)
        .expect("our socket");
    assert_eq!(own.holders[0].pid.0, std::process::id().cast_signed());
}

fn wires() {
    let mut room = room();
    let inner = room.sh("unshare --net sleep 1000 & echo $!");
    let inner_pid: i32 = inner.trim().parse().expect("a number");
    let inner = host_pid(&room, inner_pid);
    let (outer_net, inner_net) = (
        inode(room.pid, NamespaceType::Net),
        inode_once_own(&room, inner),
    );
    room.sh(&format!(
        "ip link add lan0 type bridge; ip link add outer type veth peer name eth0 netns {inner_pid};
         ip link set outer master lan0"
    ));
    let inside = looked_at!(Subject::Process(identity(inner)), Network);
    let peer = by_name(&inside, "eth0").peer.clone().expect("another end");
    assert_eq!(peer.namespace, Some(outer_net));
    assert_eq!(
        (peer.name.as_deref(), peer.master.as_deref()),
        (Some("outer"), Some("lan0"))
    );
    let outside = looked_at!(room.subject(), Network);
    let peer = by_name(&outside, "outer")
        .peer
        .clone()
        .expect("another end");
    assert_eq!(
        (peer.namespace, peer.name.as_deref()),
        (Some(inner_net), Some("eth0"))
    );

    let wiring = looked_at!(Subject::Host, Wiring);
    let wired = |inode: NamespaceInode| {
        let found = wiring
            .namespaces
            .items
            .iter()
            .find(|one| one.inode == inode);
        found.unwrap_or_else(|| panic!("no namespace {inode}: {wiring:?}"))
    };
    let first = &wiring.namespaces.items[0];
    assert!(
        first.host && first.inode == inode(std::process::id().cast_signed(), NamespaceType::Net)
    );
    let outer = wired(outer_net)
        .interfaces
        .items
        .iter()
        .find(|one| one.name == "outer");
    let peer = outer
        .and_then(|one| one.peer.as_ref())
        .expect("another end");
    assert_eq!(
        (peer.namespace, peer.name.as_deref()),
        (Some(inner_net), Some("eth0"))
    );
    let eth0 = wired(inner_net)
        .interfaces
        .items
        .iter()
        .find(|one| one.name == "eth0");
    let peer = eth0.and_then(|one| one.peer.as_ref()).expect("another end");
    assert_eq!(peer.master.as_deref(), Some("lan0"));
    assert_eq!(wired(inner_net).process.map(|pid| pid.0), Some(inner));
    assert!(wiring.unread.items.is_empty());
}

/// The network namespace of a process that is still on its way into its own.
fn inode_once_own(room: &Room, pid: i32) -> NamespaceInode {
    let outer = inode(room.pid, NamespaceType::Net);
    crate::bench::wait_until("a namespace of its own", || {
        inode(pid, NamespaceType::Net) != outer
    });
    inode(pid, NamespaceType::Net)
}

fn mounted() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("held");
    std::fs::write(&path, "").expect("a file");
    let path = path.display().to_string();
    // Only in the room's own mount namespace, so that nothing is left.
    let mut room = Room::new(&["--mount-proc", "--net", "--mount"]);
    room.sh(&format!(
        "unshare --net={path} sh -c 'ip link add marked type bridge; readlink /proc/self/ns/net'"
    ));
    let inode = room
        .sh(&format!("stat -c %i {path}"))
        .trim()
        .parse()
        .expect("a number");
    let subject = |inode, kind| Subject::Namespace {
        kind,
        inode: NamespaceInode(inode),
        holder: Holder::Mount {
            pid: porthole_protocol::id::HostPid(room.pid),
            path: path.clone(),
        },
    };
    let found = looked_at!(subject(inode, NamespaceType::Net), Network);
    assert_eq!(found.namespace, NamespaceInode(inode));
    by_name(&found, "marked");
    // Another inode, another type: it is not that one.
    for wrong in [
        subject(inode + 1, NamespaceType::Net),
        subject(inode, NamespaceType::Uts),
    ] {
        let what = porthole_protocol::inspection::What::Network;
        let failure = crate::bench::refused(&wrong, what);
        assert_eq!(
            failure.code,
            porthole_protocol::keeper::FailureCode::NamespaceNotFound
        );
    }
}

fn crowded() {
    let (mut many, mut few) = (room(), room());
    let directory = tempfile::tempdir().expect("a directory");
    let batch = directory.path().join("batch");
    let pairs: String = (0..2100)
        .map(|number| format!("link add a{number} type veth peer name b{number}\n"))
        .collect();
    std::fs::write(&batch, pairs).expect("a file");
    many.sh(&format!("ip -batch {}", batch.display()));
    few.sh("ip link add lan0 type bridge");
    let of = |room: &Room| inode(room.pid, NamespaceType::Net);
    let (many_net, few_net) = (of(&many), of(&few));
    let wiring = looked_at!(Subject::Host, Wiring);
    let wired = |inode: NamespaceInode| {
        let mut all = wiring.namespaces.items.iter();
        let found = all.find(|one| one.inode == inode);
        found.unwrap_or_else(|| panic!("no namespace {inode}"))
    };
    let crowd = wired(many_net);
    let read = crowd.interfaces.items.len() as u64 + crowd.interfaces.left_out;
    assert!(crowd.cut, "{read} of 4201");
    assert!((200..1000).contains(&read), "{read}");
    // Control: of the others nothing is missing.
    let alone = wired(few_net);
    let names: Vec<_> = alone.interfaces.items.iter().map(|one| &one.name).collect();
    assert_eq!(names, ["lo", "lan0"]);
    assert!(!alone.cut && alone.interfaces.left_out == 0);
    // By itself more of it is read, and what is not is said.
    let found = looked_at!(many.subject(), Network);
    let read = found.interfaces.items.len() as u64 + found.interfaces.left_out;
    assert!(read > 4000 && read < 4201, "{read}");
    let says = |network: &Network| network.notes.iter().any(|note| note.contains("interfaces"));
    assert!(says(&found), "{:?}", found.notes);
    assert!(!says(&looked_at!(few.subject(), Network)), "control");
}
