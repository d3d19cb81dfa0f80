//! Whatever is killed, flushed, taken or missing: told in words, put right, and nothing left.

use porthole_tests::host;
use porthole_tests::instance::signal;
use porthole_tests::network::{call, greet};
use rustix::process::Signal;

use super::*;

#[test]
fn a_killed_monitor_leaves_nothing() {
    let lab = Lab::new("");
    let (one, other) = (
        lab.container("one", json!({})),
        lab.container("other", json!({})),
    );
    signal(host::parent(one.pid).expect("a monitor"), Signal::KILL);
    lab.porthole().wait_state("one", "exited");
    let port = format!("pv{}", &one.id[..12]);
    wait_seen(&lab, "ip -o link", &port, false);
    wait_seen(
        &lab,
        "nft list ruleset; ip route; ip neigh",
        &one.v4.to_string(),
        false,
    );
    greet(other.pid, &other.at(7000)[0]);
    assert!(
        call(lab.machine.pid(), &other.at(7000)[0]).is_ok(),
        "it goes on"
    );
    signal(host::parent(other.pid).expect("a monitor"), Signal::KILL);
    lab.porthole().wait_state("other", "exited");
    lab.is_clean();
}

#[test]
fn a_keeper_and_a_monitor_that_are_killed_together_leave_nothing() {
    let lab = Lab::new("");
    let one = lab.container("one", json!({}));
    let other = lab.container("other", json!({}));
    let keeper = lab.porthole().keeper_pid();
    for container in [&one, &other] {
        signal(
            host::parent(container.pid).expect("a monitor"),
            Signal::KILL,
        );
    }
    signal(keeper, Signal::KILL);
    lab.porthole().wait_state("one", "exited");
    lab.porthole().wait_state("other", "exited");
    lab.is_clean();
}

#[test]
fn a_keeper_killed_at_any_moment_of_a_start_leaves_nothing() {
    let lab = Lab::new("");
    let admin = lab.porthole().admin();
    let create = |name: &str| {
        let mut spec = spec(name, json!({}));
        spec["start"] = json!(false);
        admin.post("/api/v1/containers", &spec).ok();
    };
    for round in 0..12u64 {
        let name = format!("c{round}");
        create(&name);
        let keeper = lab.porthole().keeper_pid();
        let other = admin.clone();
        let path = format!("/api/v1/containers/{name}/start");
        let starting = std::thread::spawn(move || {
            other.try_send("POST", &path, Some(("application/json", "{}".to_owned())))
        });
        std::thread::sleep(std::time::Duration::from_micros(700 * round));
        signal(keeper, Signal::KILL);
        let _ = starting.join();
        wait_for("another keeper", PATIENCE, || {
            (lab.porthole().keeper_pid() != keeper).then_some(())
        });
        lab.porthole().wait_ready();
        wait_for("it to be removed", PATIENCE, || {
            let path = format!("/api/v1/containers/{name}?force=true");
            let answer = admin.try_send("DELETE", &path, None).ok()?;
            [204, 404].contains(&answer.status).then_some(())
        });
    }
    lab.is_clean();
}

#[test]
fn rules_that_somebody_flushes_are_put_back() {
    let lab = Lab::new("");
    let ann = lab.porthole().account("ann", "user");
    let (one, other) = (
        lab.container("one", json!({})),
        lab.container_of(&ann, "other", json!({})),
    );
    for address in addresses(PEER, 7000) {
        greet(lab.peer.pid(), &address);
    }
    greet(other.pid, &other.at(7000)[0]);
    let table = format!("porthole_{}", &bridge(&lab)[3..]);
    for damage in [
        "nft flush ruleset".to_owned(),
        format!("nft flush chain inet {table} between"),
        format!("nft delete table inet {table}"),
        format!("ip link delete {}; nft flush ruleset", bridge(&lab)),
        "ip -o link | grep -o 'pv[0-9a-f]*' | while read port; do bridge link set dev $port isolated off; done; nft flush ruleset".to_owned(),
    ] {
        lab.machine.run(&damage);
        wait_for(&format!("the way out after {damage}"), PATIENCE, || {
            call(one.pid, &addresses(PEER, 7000)[0]).ok()
        });
        assert!(call(one.pid, &addresses(PEER, 7000)[1]).is_ok(), "{damage}");
        wait_for(&format!("the refusal after {damage}"), PATIENCE, || {
            call(one.pid, &other.at(7000)[0]).is_err().then_some(())
        });
        let port = format!("bridge -d link show dev pv{}", &one.id[..12]);
        wait_seen(&lab, &port, "isolated on", true);
    }
    assert!(lab.porthole().log().contains("were changed"), "it is told");
}

#[test]
fn a_pool_that_is_used_up_is_told_in_words() {
    let lab = Lab::new("ipv4 = \"10.9.9.0/29\"\n");
    let mut made: Vec<Container> = (0..5)
        .map(|n| lab.container(&format!("c{n}"), json!({})))
        .collect();
    let answer = lab
        .porthole()
        .admin()
        .post("/api/v1/containers", &spec("late", json!({})));
    let late = answer.json();
    assert_eq!(late["state"], "created", "{late}");
    let why = text(&late["error"]);
    assert!(why.contains("all 5 addresses of 10.9.9.0/29"), "{why}");
    lab.remove(&made.remove(2));
    let started = lab
        .porthole()
        .admin()
        .post("/api/v1/containers/late/start", &json!({}));
    assert_eq!(started.status, 200, "{started}");
    Container::of(started.json());
}

#[test]
fn another_range_waits_until_nobody_has_the_old_one() {
    let lab = Lab::new("ipv4 = \"10.9.9.0/24\"\n");
    let address = &addresses(PEER, 7000)[0];
    greet(lab.peer.pid(), address);
    let one = lab.container("one", json!({}));
    let policy = "[network]\nbridge = true\nipv4 = \"10.8.8.0/29\"\n";
    std::fs::write(lab.porthole().policy_path(), policy).expect("a policy");
    let another_keeper = || {
        let keeper = lab.porthole().keeper_pid();
        signal(keeper, Signal::KILL);
        wait_for("another keeper", PATIENCE, || {
            (lab.porthole().keeper_pid() != keeper).then_some(())
        });
        lab.porthole().wait_ready();
    };
    another_keeper();
    let same = lab.porthole().container("one");
    assert_eq!(same["addresses"], one.json["addresses"]);
    let two = lab.container("two", json!({}));
    assert!(two.v4.to_string().starts_with("10.9.9."), "{}", two.v4);
    for container in [&one, &two] {
        assert!(call(container.pid, address).is_ok());
    }
    lab.remove(&two);
    let admin = lab.porthole().admin();
    let stop = admin.post("/api/v1/containers/one/stop", &json!({"timeout": 0}));
    assert_eq!(stop.status, 200, "{stop}");
    lab.is_clean();
    another_keeper();
    let answer = admin.post("/api/v1/containers/one/start", &json!({}));
    assert_eq!(answer.status, 200, "{answer}");
    let now = Container::of(answer.json());
    assert!(now.v4.to_string().starts_with("10.8.8."), "{}", now.v4);
    assert!(call(now.pid, address).is_ok());
}

#[test]
fn a_bridge_of_somebody_elses_with_our_name_is_left_alone() {
    let lab = Lab::new("");
    let one = lab.container("one", json!({}));
    let name = bridge(&lab);
    let admin = lab.porthole().admin();
    admin
        .post("/api/v1/containers/one/stop", &json!({"timeout": 0}))
        .ok();
    lab.is_clean();
    lab.machine.run(&format!(
        "ip link add {name} type bridge && ip address add 10.0.0.1/24 dev {name}"
    ));
    let theirs = lab.machine.run(&format!(
        "ip -o address show dev {name}; ip -d -o link show dev {name}"
    ));
    let answer = admin.post("/api/v1/containers/one/start", &json!({}));
    assert_eq!(answer.status, 409, "{answer}");
    assert!(
        answer.body.contains(&name) && answer.body.contains("did not make"),
        "{answer}"
    );
    let now = lab.machine.run(&format!(
        "ip -o address show dev {name}; ip -d -o link show dev {name}"
    ));
    assert_eq!(now, theirs);
    lab.machine.run(&format!("ip link delete {name}"));
    lab.is_clean();
    let answer = admin.post("/api/v1/containers/one/start", &json!({}));
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(Container::of(answer.json()).v4, one.v4);
}

#[test]
fn a_range_that_the_machine_has_a_route_to_is_not_taken() {
    let taken: String = (64..192)
        .filter(|second| *second != 100)
        .map(|second| format!("ip route add 10.{second}.0.0/16 via 192.0.2.254;"))
        .collect();
    let lab = Lab::start("[network]\nbridge = true\n", &taken);
    let one = lab.container("one", json!({}));
    assert!(one.v4.to_string().starts_with("10.100."), "{}", one.v4);
}

#[test]
fn without_ipv6_it_goes_on_and_says_so() {
    let lab = Lab::start(
        "[network]\nbridge = true\n",
        "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6",
    );
    let address = &addresses(PEER, 7000)[0];
    greet(lab.peer.pid(), address);
    let container = lab.porthole().create(&spec("one", json!({})));
    assert_eq!(
        container["addresses"].as_array().map(Vec::len),
        Some(1),
        "{container}"
    );
    assert_eq!(
        call(pid(&container["pid"]), address).expect("out"),
        ip(MACHINE[0])
    );
    assert!(
        lab.porthole().log().contains("does not speak IPv6"),
        "it is told"
    );
}

#[test]
fn without_nft_it_goes_on_without_a_network_and_says_so() {
    let machine = Network::new();
    machine.enter();
    let porthole = Instance::builder()
        .with_policy("[network]\nbridge = true\n")
        .without("/usr/sbin/nft")
        .start();
    let container = porthole.create(&spec("one", json!({})));
    assert_eq!(container["network"], "none", "{container}");
    let answer = porthole.admin().post(
        "/api/v1/containers",
        &spec("two", json!({"network": "bridge"})),
    );
    assert_eq!(answer.status, 422, "{answer}");
    assert!(
        answer.body.contains("install Debian's package nftables"),
        "{answer}"
    );
    let page = porthole.admin().get("/containers");
    assert!(page.body.contains("nft was not found"), "it is told");
}

#[test]
fn without_roots_word_there_is_no_network() {
    let machine = Network::new();
    machine.enter();
    let before = look_links(&machine);
    let porthole = Instance::start();
    let container = porthole.create(&spec("one", json!({})));
    assert_eq!(container["network"], "none", "{container}");
    let answer = porthole.admin().post(
        "/api/v1/containers",
        &spec("two", json!({"network": "bridge"})),
    );
    assert_eq!(answer.status, 403, "{answer}");
    assert!(answer.body.contains("bridge = true"), "{answer}");
    assert_eq!(look_links(&machine), before);
}

fn look_links(machine: &Network) -> String {
    machine.run("ip -o link; nft list ruleset")
}
