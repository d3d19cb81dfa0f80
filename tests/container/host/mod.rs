//! The whole host through the whole product: what others made is listed, told apart and entered as
//! their own tools say, and what cannot be seen is said.

mod churn;
mod claims;
mod engines;
mod faults;
mod logs;
mod namespaces;
mod nested;
mod scale;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use porthole_protocol::namespace::NamespaceType;
use porthole_tests::instance::{pid, text};
use porthole_tests::{Instance, PATIENCE, Terminal, host, wait_for};
use serde_json::{Value, json};

/// How long a container that has ended may still be told as one that runs.
const SOON: Duration = Duration::from_secs(1);

/// What every shell here runs, ours and the engines' own.
const LOOK: &str = "id; echo =; hostname; echo =; \
    for n in mnt uts ipc pid net user cgroup time; do readlink /proc/self/ns/$n; done; echo =; \
    cat /proc/self/cgroup; echo =; cat /proc/self/status; echo END-OF-LOOK";

/// A Porthole whose root lets administrators into everything.
fn open_host() -> Instance {
    Instance::builder()
        .with_policy("join_foreign = true\njoin_privileged = true\n")
        .start()
}

/// The namespaces of the host, which are this test's: those of PID 1 may not always be read.
fn hosts() -> BTreeMap<String, u64> {
    host::namespaces(std::process::id().cast_signed())
}

/// What a program on the host says.
fn output(words: &[&str]) -> String {
    // lsns gives up without a word where a process ends while it reads.
    wait_for(&format!("{words:?}"), PATIENCE, || {
        let output = Command::new(words[0]).args(&words[1..]).output();
        let output = output.unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(said)
    })
}

fn json_of(words: &[&str]) -> Value {
    serde_json::from_str(&output(words)).unwrap_or_else(|why| panic!("{words:?}: {why}"))
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().expect("a list")
}

/// All containers that are told now.
fn containers(porthole: &Instance) -> Vec<Value> {
    let list = porthole.admin().get("/api/v1/containers?limit=5000").ok();
    items(&list).to_vec()
}

/// Waits until a container with this first process is told.
#[track_caller]
fn told(porthole: &Instance, init: i32) -> Value {
    wait_for(&format!("a container of {init}"), PATIENCE, || {
        // Engines make namespaces one after the other and map their users after that: it is whole
        // once all is told.
        let inodes = host::namespaces(init);
        let whole = |container: &Value| {
            let told = |kind: &str| container["namespaces"][kind]["inode"].as_u64();
            let map = serde_json::to_value(host::id_map(init, "uid_map")).expect("JSON");
            inodes
                .iter()
                .all(|(kind, inode)| told(kind) == Some(*inode))
                && container["uid_map"] == map
        };
        let all = containers(porthole).into_iter();
        let mut running = all.filter(|one| one["pid"] == init && one["state"] == "running");
        running.find(whole)
    })
}

/// Every fact of a container beside what the kernel and lsns(8) say of its first process.
#[track_caller]
fn compare(porthole: &Instance, container: &Value, init: i32) {
    assert_eq!(container["own"], false, "{container}");
    assert_eq!(container["pid"], init, "{container}");
    let (inodes, hosts) = (host::namespaces(init), hosts());
    for kind in NamespaceType::ALL {
        let ours = &container["namespaces"][kind.name()];
        let inode = inodes.get(kind.name()).copied();
        assert_eq!(ours["inode"].as_u64(), inode, "{kind}: {container}");
        let is_host = hosts.get(kind.name()).copied() == inode;
        assert_eq!(ours["isolation"] == "host", is_host, "{kind}: {container}");
    }
    for which in ["uid_map", "gid_map"] {
        let map = serde_json::to_value(host::id_map(init, which)).expect("JSON");
        assert_eq!(container[which], map, "{which}");
    }
    let groups = std::fs::read_to_string(format!("/proc/{init}/cgroup")).expect("groups");
    match container["cgroup"].as_str() {
        Some(path) => assert!(
            groups
                .lines()
                .any(|line| line.splitn(3, ':').nth(2) == Some(path)),
            "{path} in {groups}"
        ),
        None => assert!(groups.lines().all(|line| line.ends_with(":/")), "{groups}"),
    }
    compare_with_lsns(porthole, init, &hosts);
    compare_processes(porthole, container, &inodes);
}

/// The namespaces of a process that are not the host's, whose members others do not change.
fn compare_with_lsns(porthole: &Instance, init: i32, hosts: &BTreeMap<String, u64>) {
    let pid = init.to_string();
    wait_for("what lsns says", PATIENCE, || {
        // lsns gives up without a word where a process ends while it reads.
        let columns = ["-J", "-p", &pid, "-o", "NS,TYPE,NPROCS,PID,UID"];
        let said = Command::new("lsns").args(columns).output().expect("lsns");
        let list: Value = serde_json::from_slice(&said.stdout).ok()?;
        let told = list["namespaces"].as_array().expect("a list").iter();
        let others = told.filter(|one| hosts[&text(&one["type"])] != number(&one["ns"]));
        others
            .map(|one| {
                let kind = text(&one["type"]);
                let path = format!("/api/v1/namespaces/{kind}/{}", number(&one["ns"]));
                let ours = porthole.admin().get(&path).json();
                let alike = ours["processes"].as_u64() == Some(number(&one["nprocs"]))
                    && ours["leader"].as_u64() == Some(number(&one["pid"]));
                alike.then_some(())
            })
            .collect()
    })
}

/// Numbers that lsns(8) writes as such, or as text.
fn number(value: &Value) -> u64 {
    let parsed = || value.as_str().and_then(|text| text.trim().parse().ok());
    value
        .as_u64()
        .or_else(parsed)
        .unwrap_or_else(|| panic!("{value} is a number"))
}

/// Who is in a container is who is in its PID namespace, where it has one of its own.
fn compare_processes(porthole: &Instance, container: &Value, inodes: &BTreeMap<String, u64>) {
    if container["namespaces"]["pid"]["isolation"] == "host" {
        return;
    }
    let path = format!("/api/v1/containers/{}/processes", text(&container["id"]));
    wait_for("who is in a container", PATIENCE, || {
        let list = porthole.admin().get(&path).ok();
        let ours: BTreeMap<i32, Vec<i32>> = items(&list)
            .iter()
            .map(|one| {
                let pids = one["pids"].as_array().expect("a list").iter().map(pid);
                (pid(&one["host_pid"]), pids.collect())
            })
            .collect();
        let theirs: BTreeMap<i32, Vec<i32>> = members(inodes["pid"])
            .into_iter()
            .map(|pid| (pid, host::pids(pid)))
            .collect();
        (ours == theirs).then_some(())
    });
}

/// The processes of a PID namespace.
fn members(inode: u64) -> BTreeSet<i32> {
    let inside = |&pid: &i32| host::namespaces(pid).get("pid") == Some(&inode) && host::runs(pid);
    host::processes().into_iter().filter(inside).collect()
}

/// What a shell has seen by [`LOOK`]; without what differs with every process.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    id: String,
    hostname: String,
    namespaces: Vec<String>,
    groups: BTreeSet<String>,
    status: BTreeMap<String, String>,
}

#[track_caller]
fn seen(text: &str) -> Seen {
    let text = text.replace('\r', "");
    assert!(text.contains("END-OF-LOOK"), "{text}");
    let parts: Vec<&str> = text.split("=\n").collect();
    assert_eq!(parts.len(), 5, "{text}");
    let status = parts[4]
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(field, _)| host::CONFINEMENT.contains(field))
        .map(|(field, value)| {
            let words: Vec<&str> = value.split_whitespace().collect();
            (field.to_owned(), words.join(" "))
        });
    // A session has a group of its own below the container's, which ends with it.
    let groups = parts[3].lines().map(|line| {
        let own = line.find("/porthole-session-");
        let line = own.map_or(line, |at| &line[..at]);
        let root = if line.ends_with(':') { "/" } else { "" };
        format!("{line}{root}")
    });
    Seen {
        id: parts[0].trim().to_owned(),
        hostname: parts[1].trim().to_owned(),
        namespaces: parts[2].lines().map(str::to_owned).collect(),
        groups: groups.collect(),
        status: status.collect(),
    }
}

/// Opens a terminal in a container, looks around in it, ends, and leaves nothing: what is kept of a
/// session goes with the account that opened it.
#[track_caller]
fn look_from_terminal(porthole: &Instance, container: &Value) -> Seen {
    let before = members(namespace(container, "pid"));
    let visitor = porthole.account("visitor", "admin");
    let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
    let spec = json!({"command": ["sh", "-c", LOOK]});
    let session = visitor.post(&path, &spec).ok();
    let id = text(&session["id"]);
    let mut terminal = Terminal::attach(&visitor, &id);
    let exit = terminal.end();
    assert_eq!(exit.code, 0, "{exit:?}: {}", terminal.text());
    let fidelity = session["fidelity"].as_array().expect("lines");
    assert!(!fidelity.is_empty(), "{session}");
    leaves_nothing(container, &id, &before);
    porthole.admin().delete("/api/v1/users/visitor").ok();
    seen(&terminal.text())
}

fn namespace(container: &Value, kind: &str) -> u64 {
    let inode = &container["namespaces"][kind]["inode"];
    inode
        .as_u64()
        .unwrap_or_else(|| panic!("{container} has {kind}"))
}

/// No process and no group of a session that has ended.
#[track_caller]
fn leaves_nothing(container: &Value, session: &str, before: &BTreeSet<i32>) {
    let groups = || host::cgroups(&format!("porthole-session-{session}"));
    wait_for("nothing left of a session", PATIENCE, || {
        let after = members(namespace(container, "pid"));
        // Others come and go where the container shares the host's.
        let more = hosts()["pid"] != namespace(container, "pid") && after != *before;
        (!more && groups().is_empty()).then_some(())
    });
}

/// Ends a container, and waits until it is told as one that does not run any more.
#[track_caller]
fn ends(porthole: &Instance, container: &Value, end: impl FnOnce()) {
    let id = text(&container["id"]);
    let init = pid(&container["pid"]);
    end();
    wait_for("the end of a container", PATIENCE, || {
        (!host::runs(init)).then_some(())
    });
    let begun = Instant::now();
    loop {
        let answer = porthole.admin().get(&format!("/api/v1/containers/{id}"));
        if answer.status == 404 {
            return;
        }
        let last = answer.json();
        if last["state"] != "running" {
            return;
        }
        assert!(begun.elapsed() < SOON, "still told: {last}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
