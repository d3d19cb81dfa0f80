//! Namespaces that no engine made, and containers in containers.

use porthole_tests::engines::{NamedNetwork, Unshared};
use porthole_tests::instance::{pid, text};
use porthole_tests::{Instance, PATIENCE, host, wait_for};
use serde_json::Value;

use super::{
    LOOK, compare, containers, ends, items, json_of, look_from_terminal, open_host, output, seen,
    told,
};

/// The PIDs on the host that a search of the processes finds.
fn search(porthole: &Instance, query: &str) -> Vec<i32> {
    let path = format!("/api/v1/processes?limit=5000&{query}");
    let list = porthole.admin().get(&path).ok();
    items(&list)
        .iter()
        .map(|one| pid(&one["host_pid"]))
        .collect()
}

#[test]
fn bare_namespaces_are_a_container_of_nobodys() {
    let porthole = open_host();
    let options = [
        "--mount",
        "--pid",
        "--net",
        "--uts",
        "--ipc",
        "--fork",
        "--mount-proc",
    ];
    let bare = Unshared::start(&options);
    let init = bare.init();
    let container = told(&porthole, init);
    compare(&porthole, &container, init);
    assert_eq!(container["engine"], "none");
    let stat = std::fs::read_to_string(format!("/proc/{init}/stat")).expect("stat");
    let after = stat.rsplit_once(')').expect("a name").1;
    let ticks = after.split_whitespace().nth(19).expect("ticks");
    assert_eq!(container["id"], format!("none-{init}-{ticks}"));
    let target = init.to_string();
    let enter = [
        "nsenter", "--all", "--target", &target, "--", "/bin/sh", "-c", LOOK,
    ];
    let (ours, theirs) = (
        look_from_terminal(&porthole, &container),
        seen(&output(&enter)),
    );
    assert_eq!(ours.namespaces, theirs.namespaces);
    assert_eq!(ours.hostname, theirs.hostname);
    assert_eq!(ours.status, theirs.status);
    ends(&porthole, &container, || drop(bare));
}

#[test]
fn three_deep_each_within_the_next() {
    let porthole = open_host();
    let options = [
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
    ];
    let words = options.join(" ");
    // A shell stays at each level: who unshares is itself in the new mounts, and not in the new PIDs.
    let inner = format!("unshare {words} sleep 1000000 & wait");
    let middle = format!("unshare {words} sh -c '{inner}' & wait");
    let bare = Unshared::run(&options, &["sh", "-c", &middle]);
    let init = bare.init();
    assert_eq!(
        host::pids(init).len(),
        4,
        "three PID namespaces below the host's"
    );
    let mut container = told(&porthole, init);
    compare(&porthole, &container, init);
    // Searched for by its numbers on levels that follow one another, outermost first.
    let numbers = host::pids(init);
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    assert_eq!(search(&porthole, &format!("q={}", words.join("/"))), [init]);
    let outer = format!("q={}/{}&engine=none", words[0], words[1]);
    assert_eq!(search(&porthole, &outer), [init]);
    let other = format!("q={}/{}&engine=docker", words[0], words[1]);
    assert!(search(&porthole, &other).is_empty(), "none of Docker's");
    let turned = format!("q={}/{}", words[1], words[0]);
    assert!(search(&porthole, &turned).is_empty(), "outermost first");
    assert!(search(&porthole, &format!("q={}", words[1])).contains(&init));
    let refused = porthole.admin().get("/api/v1/processes?engine=dokcer");
    assert_eq!(refused.refused(422)["field"], "engine");
    // As lsns has it: each user and PID namespace hangs from the next one out.
    let tree = json_of(&["lsns", "-J", "--list", "-o", "NS,PNS,ONS,TYPE"]);
    let tree = tree["namespaces"].as_array().expect("a list");
    let mut depth = 1;
    while let Some(around) = container["within"].as_str() {
        let outer = containers(&porthole)
            .into_iter()
            .find(|other| other["id"] == around)
            .unwrap_or_else(|| panic!("{around} is told"));
        for kind in ["user", "pid"] {
            let inode = container["namespaces"][kind]["inode"].clone();
            let ours = porthole
                .admin()
                .get(&format!("/api/v1/namespaces/{kind}/{inode}"))
                .ok();
            let row = tree
                .iter()
                .find(|row| row["ns"] == inode)
                .expect("lsns has it");
            let parent = &outer["namespaces"][kind]["inode"];
            assert_eq!(&ours["parent"], parent, "{kind} {depth}: {ours}");
            assert_eq!(&row["pns"], parent, "{kind} {depth}: lsns {row}");
            assert_eq!(ours["owner"]["inode"], row["ons"], "{kind} {depth}");
        }
        container = outer;
        depth += 1;
    }
    assert_eq!(depth, 3);
    assert!(host::children(bare.outer()).contains(&pid(&container["pid"])));
}

#[test]
fn what_is_unshared_in_one_of_ours_is_within_it() {
    let porthole = open_host();
    let own = porthole.sleeper();
    // Its filter of system calls lets nobody unshare inside; who enters from outside has none.
    let enter = format!(
        "nsenter --user --pid --mount --target {} unshare --mount --pid --fork",
        own["pid"]
    );
    let script = format!("exec {enter} sleep 1000000");
    let bare = Unshared::run(&["--uts"], &["sh", "-c", &script]);
    let inner = told(&porthole, bare.init());
    assert_eq!(inner["within"], own["id"], "{inner}");
    assert_eq!(inner["engine"], "none");
    assert_eq!(host::pids(bare.init()).len(), 3);
    compare(&porthole, &inner, bare.init());
}

#[test]
fn a_network_without_a_process_is_told_with_what_holds_it() {
    let porthole = open_host();
    let named = NamedNetwork::start("blue");
    let inode: u64 = named
        .sh("stat -c %i /run/netns/blue")
        .parse()
        .expect("an inode");
    let path = format!("/api/v1/namespaces/net/{inode}");
    let found = wait_for("the network", PATIENCE, || {
        let answer = porthole.admin().get(&path);
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(found["processes"], 0, "{found}");
    assert_eq!(found["leader"], Value::Null, "{found}");
    let holds = text(&found["held_by"]);
    assert!(
        holds.contains("bind") && holds.contains("/netns/blue"),
        "{found}"
    );
    assert!(holds.contains(&named.holder().to_string()), "{found}");
    // It is no container, for nobody can be in its files.
    assert!(
        !containers(&porthole)
            .iter()
            .any(|one| one["namespaces"]["net"]["inode"] == inode)
    );
    named.sh("ip netns delete blue");
    wait_for("the end of the network", PATIENCE, || {
        (porthole.admin().get(&path).status == 404).then_some(())
    });
}
