//! The way out, one another, names.

use porthole_tests::network::{call, greet, run_in, send};

use super::*;

#[test]
fn a_container_reaches_the_world_as_the_machine() {
    let lab = Lab::new("");
    for address in addresses(PEER, 7000) {
        greet(lab.peer.pid(), &address);
    }
    let one = lab.container("one", json!({}));
    for (address, machine) in addresses(PEER, 7000).iter().zip(MACHINE) {
        assert_eq!(call(one.pid, address).expect("an answer"), ip(machine));
        assert_eq!(send(one.pid, address).expect("an answer"), ip(machine));
    }
    // By a program of its own, too.
    let porthole = lab.porthole();
    let said = porthole.sh(&one.json, "nc 192.0.2.254 7000 </dev/null");
    assert_eq!(said, MACHINE[0]);
    // What is told is what is there.
    let inside = porthole.sh(&one.json, "ip -o addr show dev eth0; ip route; ip -6 route");
    for said in [
        format!("inet {}/32", one.v4),
        format!("inet6 {}/128", one.v6),
        format!("default via {} dev eth0", text(&one.json["gateway"][0])),
        format!("default via {} dev eth0", text(&one.json["gateway"][1])),
    ] {
        assert!(inside.contains(&said), "{said}:\n{inside}");
    }
    assert!(!inside.contains("fe80"), "{inside}");
    assert_eq!(one.json["network"], "bridge");
}

#[test]
fn one_persons_containers_find_each_other_by_name_and_nobody_elses() {
    let lab = Lab::new("");
    let (ann, bob) = (
        lab.porthole().account("ann", "user"),
        lab.porthole().account("bob", "user"),
    );
    let web = lab.container_of(&ann, "web", json!({"hostname": "box"}));
    let db = lab.container_of(&ann, "db", json!({}));
    let other = lab.container_of(&bob, "other", json!({}));
    for address in db.at(7000).iter().chain(&other.at(7000)) {
        let pid = if db.at(7000).contains(address) {
            db.pid
        } else {
            other.pid
        };
        greet(pid, address);
    }
    let porthole = lab.porthole();
    let from_web = |command: &str| porthole.sh(&web.json, command);
    // Under its own address: nothing is translated between them.
    assert_eq!(from_web("nc db 7000 </dev/null"), web.v4.to_string());
    let v6 = call(web.pid, &db.at(7000)[1]).expect("an answer");
    assert_eq!(v6, web.v6);
    assert_eq!(send(web.pid, &db.at(7000)[0]).expect("an answer"), web.v4);
    // It knows itself as others do, and by the host name that it asked for.
    assert!(from_web("cat /etc/hosts").contains(&format!("{}\tweb box\n", web.v4)));
    assert!(!from_web("cat /etc/hosts").contains("other"));
    for address in other.at(7000) {
        let refused = call(web.pid, &address).expect_err("another's");
        assert_ne!(refused.kind(), std::io::ErrorKind::TimedOut, "{refused}");
        send(web.pid, &address).expect_err("another's");
        assert!(call(other.pid, &address).is_ok(), "control: it listens");
    }
    // Under another name, too, as soon as it has one.
    let path = format!("/api/v1/containers/{}/rename", db.id);
    lab.porthole()
        .admin()
        .post(&path, &json!({"name": "store"}))
        .ok();
    wait_for("its other name", PATIENCE, || {
        let file = from_web("cat /etc/hosts");
        (file.contains("\tstore") && !file.contains("\tdb\n")).then_some(())
    });
    // Nobody writes there, and who has gone is not found any more.
    let written = from_web("echo 10.0.0.1 db >> /etc/hosts");
    assert!(written.contains("can't create"), "{written}");
    lab.remove(&db);
    wait_for("its name to go", PATIENCE, || {
        (!from_web("cat /etc/hosts").contains("\tstore")).then_some(())
    });
}

#[test]
fn each_rule_between_owners_is_what_keeps_them_apart() {
    let lab = Lab::new("");
    let ann = lab.porthole().account("ann", "user");
    let (mine, theirs) = (
        lab.container("mine", json!({})),
        lab.container_of(&ann, "theirs", json!({})),
    );
    for address in theirs.at(7000) {
        greet(theirs.pid, &address);
        call(mine.pid, &address).expect_err("another's");
    }
    // The control: without the refusals, and with a keeper that stands still and mends nothing.
    let stopped = Stopped::keeper(lab.porthole());
    let table = format!("porthole_{}", &bridge(&lab)[3..]);
    lab.machine
        .run(&format!("nft insert rule inet {table} between accept"));
    for (address, me) in theirs.at(7000).iter().zip([mine.v4, mine.v6]) {
        assert_eq!(call(mine.pid, address).expect("let through"), me);
    }
    drop(stopped);
    // And it is put right as soon as somebody looks.
    wait_seen(&lab, "nft list ruleset", "goto owner0", true);
    wait_for("the rule to go", PATIENCE, || {
        call(mine.pid, &theirs.at(7000)[0]).is_err().then_some(())
    });
}

#[test]
fn addresses_stay() {
    let mut lab = Lab::new("");
    let one = lab.container("one", json!({}));
    let two = lab.container("two", json!({}));
    let asks = |lab: &Lab, name: &str, verb: &str| {
        let path = format!("/api/v1/containers/{name}/{verb}");
        let body = match verb {
            "stop" => json!({"timeout": 0}),
            _ => json!({}),
        };
        let answer = lab.porthole().admin().post(&path, &body);
        assert_eq!(answer.status, 200, "{answer}");
        answer.json()
    };
    asks(&lab, "one", "stop");
    asks(&lab, "two", "stop");
    assert_eq!(
        lab.porthole().container("one")["addresses"],
        one.json["addresses"]
    );
    lab.is_clean();
    let porthole = lab.porthole.as_mut().expect("it runs");
    porthole.terminate();
    porthole.serve();
    // The other way around.
    for (name, before) in [("two", &two), ("one", &one)] {
        let now = Container::of(asks(&lab, name, "start"));
        assert_eq!((now.v4, now.v6), (before.v4, before.v6));
        let inside = run_in(now.pid, "ip -o addr show dev eth0");
        assert!(inside.contains(&now.v4.to_string()), "{inside}");
    }
}

#[test]
fn none_host_and_anothers() {
    let lab = Lab::start("host_namespaces = true\n[network]\nbridge = true\n", "");
    for address in addresses(PEER, 7000) {
        greet(lab.peer.pid(), &address);
    }
    let create = |name: &str, more: Value| {
        let answer = lab
            .porthole()
            .admin()
            .post("/api/v1/containers", &spec(name, more));
        assert_eq!(answer.status, 201, "{answer}");
        answer.json()
    };
    let none = create("none", json!({"network": "none"}));
    assert_eq!(
        (&none["network"], &none["addresses"]),
        (&json!("none"), &json!([]))
    );
    assert!(call(pid(&none["pid"]), &addresses(PEER, 7000)[0]).is_err());
    assert_eq!(run_in(pid(&none["pid"]), "ip -o link").lines().count(), 1);
    let host = create("host", json!({"network": "host"}));
    assert_eq!(host["namespaces"]["net"]["isolation"], "host", "{host}");
    let one = lab.container("one", json!({}));
    for (name, more) in [
        ("network", json!({"network": "container:one"})),
        ("namespace", json!({"namespaces": {"net": "container:one"}})),
        (
            "both",
            json!({"network": "container:one", "namespaces": {"net": "container:one"}}),
        ),
    ] {
        let shared = create(name, more);
        assert_eq!(
            shared["network"],
            format!("container:{}", one.id),
            "{shared}"
        );
        let inside = run_in(pid(&shared["pid"]), "ip -o addr show dev eth0");
        assert!(inside.contains(&one.v4.to_string()), "{inside}");
    }
    for (field, more) in [
        (
            "network",
            json!({"network": "host", "namespaces": {"net": "own"}}),
        ),
        (
            "publish",
            json!({"network": "none", "publish": [{"host_port": 8080, "container_port": 80}]}),
        ),
        ("dns", json!({"network": "host", "dns": ["192.0.2.53"]})),
        ("network", json!({"network": "vlan"})),
    ] {
        let answer = lab
            .porthole()
            .admin()
            .post("/api/v1/containers", &spec("bad", more));
        assert!((400..500).contains(&answer.status), "{answer}");
        assert!(answer.body.contains(field), "{answer}");
    }
}

#[test]
fn name_servers_are_the_machines_or_as_asked() {
    let lab = Lab::new("");
    let asked = lab.container("asked", json!({"dns": ["192.0.2.53", "2001:db8::53"]}));
    let file = lab.porthole().sh(&asked.json, "cat /etc/resolv.conf");
    assert!(
        file.starts_with("nameserver 192.0.2.53\nnameserver 2001:db8::53"),
        "{file}"
    );
    let plain = lab.container("plain", json!({}));
    let file = lab.porthole().sh(&plain.json, "cat /etc/resolv.conf");
    assert!(!file.contains("nameserver 127."), "{file}");
    assert!(
        file.contains("nameserver") || file.contains("\"dns\""),
        "{file}"
    );
}

#[test]
fn a_container_that_has_made_something_else_of_its_etc_starts_all_the_same() {
    let lab = Lab::new("");
    let one = lab.container("one", json!({}));
    let upper = format!(
        "{}/keeper/containers/{}/upper/root/etc",
        lab.porthole().root().display(),
        one.id
    );
    for hostile in [
        "rm hosts && ln -s /proc/1/environ hosts",
        "rm hosts && mkfifo hosts",
        "rm hosts && mkdir hosts",
        "rm -rf hosts resolv.conf",
        "cd .. && rm -rf etc && ln -s /proc etc",
    ] {
        let path = |verb: &str| format!("/api/v1/containers/one/{verb}");
        let admin = lab.porthole().admin();
        admin.post(&path("stop"), &json!({"timeout": 0})).ok();
        lab.machine.run(&format!("cd {upper} && {hostile}"));
        let answer = admin.post(&path("start"), &json!({}));
        assert_eq!(answer.status, 200, "{hostile}: {answer}");
        let now = answer.json();
        assert_eq!(now["state"], "running", "{hostile}: {now}");
        let file = lab.porthole().sh(&now, "head -c 200 /etc/hosts");
        let covered = !hostile.contains("mkdir") && !hostile.contains("ln -s /proc etc");
        assert_eq!(file.starts_with("127.0.0.1"), covered, "{hostile}: {file}");
        if hostile.contains("mkdir") {
            admin.post(&path("stop"), &json!({"timeout": 0})).ok();
            lab.machine.run(&format!("rmdir {upper}/hosts"));
        }
    }
}
