//! Published ports.

use porthole_tests::network::{call, greet, send, within};

use super::*;

#[test]
fn ports_lead_from_loopback_into_a_container_and_nobody_else_there() {
    let lab = Lab::new("");
    let publish = json!([
        {"host_port": 8080, "container_port": 7000},
        {"host_port": 8081, "container_port": 7000, "protocol": "udp"},
    ]);
    let one = lab.container("one", json!({"publish": publish}));
    greet(one.pid, &one.at(7000)[0]);
    let machine = lab.machine.pid();
    let gateway = ip(&text(&one.json["gateway"][0]));
    assert_eq!(call(machine, "127.0.0.2:8080").expect("an answer"), gateway);
    assert_eq!(send(machine, "127.0.0.2:8081").expect("an answer"), gateway);
    for address in addresses(MACHINE, 8080) {
        call(lab.peer.pid(), &address).expect_err("loopback is the machine's alone");
    }
    assert_eq!(one.json["ports"][0]["host"], "127.0.0.2", "{}", one.json);
    // Other containers do not get in that way.
    let ann = lab.porthole().account("ann", "user");
    let other = lab.container_of(&ann, "other", json!({}));
    call(other.pid, "127.0.0.2:8080").expect_err("its own loopback");
    for address in addresses(MACHINE, 8080) {
        call(other.pid, &address).expect_err("the machine's");
    }
}

#[test]
fn ports_lead_from_everywhere_where_root_allows_it() {
    let lab = Lab::new("publish = \"anywhere\"\n");
    let publish = json!([
        {"host": "0.0.0.0", "host_port": 80, "container_port": 7000},
        {"host": "::", "host_port": 80, "container_port": 7000},
        {"host": "192.0.2.1", "host_port": 81, "container_port": 7000, "protocol": "udp"},
        {"host": "2001:db8::1", "host_port": 81, "container_port": 7000, "protocol": "udp"},
        {"host": "2001:db8::1", "host_port": 82, "container_port": 7000},
    ]);
    let one = lab.container("one", json!({"publish": publish}));
    for address in one.at(7000) {
        greet(one.pid, &address);
    }
    for (address, peer) in addresses(MACHINE, 80).iter().zip(PEER) {
        assert_eq!(call(lab.peer.pid(), address).expect("an answer"), ip(peer));
        assert!(call(lab.machine.pid(), address).is_ok(), "from the machine");
    }
    assert!(call(lab.machine.pid(), "127.0.0.1:80").is_ok());
    for (address, peer) in addresses(MACHINE, 81).iter().zip(PEER) {
        assert_eq!(send(lab.peer.pid(), address).expect("an answer"), ip(peer));
        assert!(send(lab.machine.pid(), address).is_ok(), "from the machine");
    }
    let one_address = &addresses(MACHINE, 82);
    let heard = call(lab.peer.pid(), &one_address[1]).expect("an answer");
    assert_eq!(heard, ip(PEER[1]));
    assert!(call(lab.machine.pid(), &one_address[1]).is_ok());
    call(lab.peer.pid(), &one_address[0]).expect_err("the other family is another address");
    // Everywhere is everywhere but there: IPv6 has no loopback that leads on.
    call(lab.machine.pid(), "[::1]:80").expect_err("nowhere");
    lab.remove(&one);
    // Its rules go with its monitor, which has told its end before.
    wait_for("the port to be gone", PATIENCE, || {
        call(lab.peer.pid(), "192.0.2.1:80").err()
    });
}

#[test]
fn a_port_that_somebody_has_is_told_at_the_start() {
    let lab = Lab::new("");
    let machine = lab.machine.pid();
    let bind = move |port: u16| {
        let bound = within(machine, move || {
            std::net::TcpListener::bind(("127.0.0.2", port))
        });
        bound.join().expect("it ran")
    };
    let publish = |port: u16| json!({"publish": [{"host_port": port, "container_port": 80}]});
    let admin = lab.porthole().admin();
    let failed = |name: &str, port: u16| {
        let answer = admin.post("/api/v1/containers", &spec(name, publish(port)));
        assert_eq!(answer.status, 201, "{answer}");
        let container = answer.json();
        assert_eq!(container["state"], "created", "{container}");
        text(&container["error"])
    };
    let taken = bind(8080).expect("nobody has it");
    let why = failed("one", 8080);
    assert!(
        why.contains("8080") && why.contains("another program"),
        "{why}"
    );
    drop(taken);
    let started = |name: &str| admin.post(&format!("/api/v1/containers/{name}/start"), &json!({}));
    assert_eq!(started("one").status, 200);
    let why = failed("two", 8080);
    assert!(why.contains("your container one"), "{why}");
    let bob = lab.porthole().account("bob", "user");
    let answer = bob.post("/api/v1/containers", &spec("bobs", publish(8080)));
    let why = text(&answer.json()["error"]);
    assert!(why.contains("another program or container"), "{why}");
    assert!(bind(8080).is_err(), "a program of the machine is told too");
    // Free as soon as it has stopped, for others first.
    let stop = admin.post("/api/v1/containers/one/stop", &json!({"timeout": 0}));
    assert_eq!(stop.status, 200, "{stop}");
    let answer = started("two");
    assert_eq!(answer.status, 200, "{answer}");
    let two = Container::of(answer.json());
    greet(two.pid, &two.at(80)[0]);
    assert!(call(machine, "127.0.0.2:8080").is_ok());
    assert_eq!(started("one").status, 409);
}

#[test]
fn where_ports_are_published_is_roots_to_say() {
    let lab = Lab::new("");
    let admin = lab.porthole().admin();
    for (host, port) in [
        ("0.0.0.0", 8080),
        ("192.0.2.1", 8080),
        ("127.0.0.2", 80),
        ("127.0.0.1", 8080),
    ] {
        let publish = json!([{"host": host, "host_port": port, "container_port": 80}]);
        let answer = admin.post(
            "/api/v1/containers",
            &spec("one", json!({"publish": publish})),
        );
        assert_eq!(answer.status, 403, "{answer}");
        assert!(
            answer.body.contains("publish = \\\"anywhere\\\""),
            "{answer}"
        );
    }
    drop(lab);
    let lab = Lab::new("publish = \"anywhere\"\n");
    let publish = json!([{"host": "203.0.113.9", "host_port": 8080, "container_port": 80}]);
    let answer = lab.porthole().admin().post(
        "/api/v1/containers",
        &spec("one", json!({"publish": publish})),
    );
    let why = text(&answer.json()["error"]);
    assert!(why.contains("no address of this machine"), "{why}");
}

#[test]
fn an_address_that_leads_nowhere_is_refused_in_words() {
    for network in ["", "publish = \"anywhere\"\n"] {
        let lab = Lab::new(network);
        for (host, why) in [
            ("::1", "from ::1"),
            ("::ffff:127.0.0.2", "write it as an IPv4 address"),
            ("fe80::1", "on each interface"),
            ("ff02::1", "nobody's own"),
            ("224.0.0.1", "nobody's own"),
            ("255.255.255.255", "address of many"),
        ] {
            let publish = json!([{"host": host, "host_port": 8080, "container_port": 80}]);
            let answer = lab.porthole().admin().post(
                "/api/v1/containers",
                &spec("one", json!({"publish": publish})),
            );
            assert_eq!(answer.status, 422, "{answer}");
            assert!(answer.body.contains(why), "{host}: {answer}");
        }
    }
}
