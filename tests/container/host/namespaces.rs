//! Namespaces beside lsns(8), ip(8), findmnt(8) and the descriptors of /proc.

use std::collections::{BTreeMap, BTreeSet};

use porthole_tests::engines::{NamedNetwork, Unshared};
use porthole_tests::instance::text;
use porthole_tests::{Instance, PATIENCE, host, wait_for};
use serde_json::Value;

use super::{hosts, items, json_of, number, open_host, told};

/// A namespace as both tell it: processes, leader, owner and parent, 0 where there is none; and of
/// its leader the user, of a network the number that it has in the host's.
type Row = (u64, u64, u64, u64, User, Option<u64>);

/// Number and name.
type User = Option<(u64, String)>;

fn by_lsns() -> BTreeMap<u64, Row> {
    let columns = "NS,TYPE,NPROCS,PID,PNS,ONS,UID,USER,NETNSID";
    let list = json_of(&["lsns", "-J", "--list", "-o", columns]);
    let rows = list["namespaces"].as_array().expect("a list").iter();
    rows.map(|row| {
        let field = |name: &str| row.get(name).filter(|v| !v.is_null()).map_or(0, number);
        let user = Some((number(&row["uid"]), text(&row["user"])));
        // It says "unassigned" where there is none.
        let netnsid = row["netnsid"].as_str().and_then(|id| id.parse().ok());
        let netnsid = netnsid.or(row["netnsid"].as_u64());
        let nests = (field("ons"), field("pns"));
        let values = (
            field("nprocs"),
            field("pid"),
            nests.0,
            nests.1,
            user,
            netnsid,
        );
        (number(&row["ns"]), values)
    })
    .collect()
}

fn by_porthole(porthole: &Instance) -> BTreeMap<u64, Row> {
    let list = porthole.admin().get("/api/v1/namespaces?limit=5000").ok();
    items(&list)
        .iter()
        .map(|one| {
            let field = |name: &str| one[name].as_u64().unwrap_or(0);
            let values = (
                field("processes"),
                field("leader"),
                owner(one),
                field("parent"),
                one["uid"].as_u64().map(|uid| {
                    // Who has no name is called by their number there.
                    let name = one["user"].as_str().map(str::to_owned);
                    (uid, name.unwrap_or_else(|| uid.to_string()))
                }),
                one["netnsid"].as_u64(),
            );
            (field("inode"), values)
        })
        .collect()
}

fn owner(namespace: &Value) -> u64 {
    namespace["owner"]["inode"].as_u64().unwrap_or(0)
}

#[test]
fn all_of_the_host_are_what_lsns_lists() {
    let porthole = Instance::start();
    let options = [
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--net",
        "--fork",
    ];
    let bare = Unshared::start(&options);
    let ours: BTreeSet<u64> = host::namespaces(bare.init())
        .into_iter()
        .filter(|(kind, inode)| hosts()[kind] != *inode)
        .map(|(_, inode)| inode)
        .collect();
    assert_eq!(ours.len(), 4);
    // The host has a name for one user and none for another.
    let named = Unshared::run(
        &["--uts"],
        &["setpriv", "--reuid=nobody", "sleep", "1000000"],
    );
    let strange = Unshared::run(
        &["--uts"],
        &["setpriv", "--reuid=3999999", "sleep", "1000000"],
    );
    for (bare, user) in [(&named, "nobody".into()), (&strange, Value::Null)] {
        let path = format!(
            "/api/v1/namespaces/uts/{}",
            host::namespaces(bare.init())["uts"]
        );
        wait_for("its user", PATIENCE, || {
            let answer = porthole.admin().get(&path);
            (answer.status == 200 && answer.json()["user"] == user).then_some(())
        });
    }
    wait_for("what lsns lists", PATIENCE, || {
        let before = by_lsns();
        let told = by_porthole(&porthole);
        let after = by_lsns();
        // Of others that come and go meanwhile nobody can say how they are.
        let still = before
            .iter()
            .filter(|(inode, row)| after.get(inode) == Some(row));
        let still: BTreeMap<&u64, &Row> = still.collect();
        let wrong: Vec<_> = still
            .iter()
            .filter(|(inode, row)| !same(told.get(inode), row))
            .collect();
        // Those without a process are told here alone.
        let more = told.iter().filter(|(inode, row)| {
            row.0 > 0 && !before.contains_key(inode) && !after.contains_key(inode)
        });
        let seen = ours.iter().all(|inode| still.contains_key(inode));
        (wrong.is_empty() && more.count() == 0 && seen).then_some(())
    });
}

/// As lsns(8) says it, which reads neither owner nor parent of some.
fn same(told: Option<&Row>, theirs: &Row) -> bool {
    let or_unread = |ours: u64, theirs: u64| theirs == 0 || ours == theirs;
    told.is_some_and(|ours| {
        ours.0 == theirs.0
            && ours.1 == theirs.1
            && or_unread(ours.2, theirs.2)
            && or_unread(ours.3, theirs.3)
            && ours.4 == theirs.4
            && ours.5 == theirs.5
    })
}

#[test]
fn one_that_only_a_descriptor_holds_is_told_with_it() {
    let porthole = Instance::start();
    let script = "exec 9</proc/self/ns/uts; exec nsenter --uts=/proc/$PPID/ns/uts sleep 1000000";
    let holder = Unshared::run(&["--uts"], &["sh", "-c", script]);
    let pid = holder.init();
    assert_eq!(
        host::namespaces(pid)["uts"],
        hosts()["uts"],
        "it has left again"
    );
    let link = std::fs::read_link(format!("/proc/{pid}/fd/9")).expect("its descriptor");
    let link = link.to_string_lossy().into_owned();
    let inode = link
        .trim_start_matches("uts:[")
        .trim_end_matches(']')
        .to_owned();
    let path = format!("/api/v1/namespaces/uts/{inode}");
    let found = wait_for("the namespace", PATIENCE, || {
        let answer = porthole.admin().get(&path);
        // Whoever made it may still be in it.
        let left = |found: &Value| found["processes"] == 0;
        (answer.status == 200).then(|| answer.json()).filter(left)
    });
    let holders = text(&found["held_by"]);
    assert!(
        holders.contains(&pid.to_string()) && holders.contains('9'),
        "{found}"
    );
    assert!(
        by_lsns().keys().all(|one| one.to_string() != inode),
        "lsns does not list it"
    );
    drop(holder);
    wait_for("its end", PATIENCE, || {
        (porthole.admin().get(&path).status == 404).then_some(())
    });
}

#[test]
fn mounts_and_network_of_a_bare_container_are_what_findmnt_and_ip_say() {
    let porthole = open_host();
    let script = "mount -t tmpfs marked /mnt && ip link set lo up && \
        ip link add left type veth peer name right && ip addr add 10.9.8.7/24 dev left && \
        exec sleep 1000000";
    let options = [
        "--mount",
        "--pid",
        "--net",
        "--fork",
        "--mount-proc",
        "--propagation",
        "private",
    ];
    let bare = Unshared::run(&options, &["sh", "-c", script]);
    let pid = bare.init();
    let container = told(&porthole, pid);
    let path = format!("/api/v1/containers/{}", text(&container["id"]));
    let found = porthole.admin().get(&format!("{path}/mounts")).ok();
    let of = format!("/proc/{pid}/mountinfo");
    let list = json_of(&[
        "findmnt",
        "-F",
        &of,
        "-J",
        "-l",
        "-o",
        "ID,TARGET,FSTYPE,SOURCE",
    ]);
    let row = |id: &Value, at: &Value, kind: &Value| (number(id), text(at), text(kind));
    let theirs: BTreeSet<_> = list["filesystems"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| row(&one["id"], &one["target"], &one["fstype"]))
        .collect();
    let ours: BTreeSet<_> = items(&found["mounts"])
        .iter()
        .map(|one| row(&one["id"], &one["path"], &one["fstype"]))
        .collect();
    assert_eq!(ours, theirs);
    assert!(
        ours.iter()
            .any(|(_, path, kind)| path == "/mnt" && kind == "tmpfs")
    );

    let found = porthole.admin().get(&format!("{path}/network")).ok();
    let links = json_of(&["nsenter", "-t", &pid.to_string(), "-n", "ip", "-j", "addr"]);
    compare_links(&found, &links);
    let left = items(&found["interfaces"])
        .iter()
        .find(|one| one["name"] == "left");
    assert_eq!(left.expect("left")["peer"]["name"], "right");
}

/// Interfaces by name with all their addresses.
fn compare_links(found: &Value, links: &Value) {
    let ours: BTreeMap<String, BTreeSet<String>> = items(&found["interfaces"])
        .iter()
        .map(|one| {
            let addresses = one["addresses"].as_array().expect("a list").iter();
            (
                text(&one["name"]),
                addresses.map(|a| text(&a["address"])).collect(),
            )
        })
        .collect();
    let theirs: BTreeMap<String, BTreeSet<String>> = links
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            let addresses = one["addr_info"].as_array().expect("a list").iter();
            (
                text(&one["ifname"]),
                addresses.map(|a| text(&a["local"])).collect(),
            )
        })
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn a_network_without_a_process_is_read_all_the_same() {
    let porthole = open_host();
    let named = NamedNetwork::start("green");
    named.sh("ip -n green link add left type veth peer name right; ip -n green addr add 10.7.6.5/24 dev left");
    let inode = named.sh("stat -c %i /run/netns/green");
    let path = format!("/api/v1/namespaces/net/{inode}/detail");
    let found = wait_for("the network", PATIENCE, || {
        let answer = porthole.admin().get(&path);
        (answer.status != 404).then(|| answer.ok())
    });
    let links: Value = serde_json::from_str(&named.sh("ip -n green -j addr")).expect("JSON");
    compare_links(&found, &links);
}
