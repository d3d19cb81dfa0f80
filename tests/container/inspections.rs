//! What is read inside namespaces, by the API, beside what other programs say at the same moment.

use std::collections::BTreeSet;

use porthole_protocol::namespace::NamespaceType;
use porthole_tests::instance::{pid, text};
use porthole_tests::{Instance, PATIENCE, host, wait_for};
use serde_json::{Value, json};

/// What a program says on the host; panics where it fails.
fn output(words: &[&str]) -> String {
    let output = std::process::Command::new(words[0])
        .args(&words[1..])
        .output()
        .unwrap_or_else(|error| panic!("{words:?}: {error}"));
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json_of(words: &[&str]) -> Value {
    serde_json::from_str(&output(words)).expect("JSON")
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().expect("a list")
}

fn ask(porthole: &Instance, container: &Value, what: &str) -> Value {
    let path = format!("/api/v1/containers/{}/{what}", text(&container["id"]));
    porthole.admin().get(&path).ok()
}

#[test]
fn a_containers_mounts_are_what_its_processes_see() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let init = pid(&container["pid"]);
    let found = ask(&porthole, &container, "mounts");
    let list = json_of(&[
        "findmnt",
        "-F",
        &format!("/proc/{init}/mountinfo"),
        "-J",
        "-l",
        "-o",
        "ID,TARGET,FSTYPE",
    ]);
    let theirs: BTreeSet<(u64, String, String)> = list["filesystems"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            (
                one["id"].as_u64().expect("a number"),
                text(&one["target"]),
                text(&one["fstype"]),
            )
        })
        .collect();
    let ours: BTreeSet<(u64, String, String)> = items(&found["mounts"])
        .iter()
        .map(|one| {
            (
                one["id"].as_u64().expect("a number"),
                text(&one["path"]),
                text(&one["fstype"]),
            )
        })
        .collect();
    assert_eq!(ours, theirs);
    assert_eq!(found["namespace"], container["namespaces"]["mnt"]["inode"]);
}

#[test]
fn a_containers_network_and_its_wires() {
    let porthole = Instance::start();
    let (container, other) = (porthole.sleeper(), porthole.sleeper());
    let (init, others) = (pid(&container["pid"]), pid(&other["pid"]));
    // In the containers' own namespaces only.
    output(&[
        "nsenter",
        "-t",
        &init.to_string(),
        "-n",
        "ip",
        "link",
        "add",
        "left",
        "type",
        "veth",
        "peer",
        "name",
        "right",
        "netns",
        &others.to_string(),
    ]);
    output(&[
        "nsenter",
        "-t",
        &init.to_string(),
        "-n",
        "ip",
        "addr",
        "add",
        "10.1.2.3/24",
        "dev",
        "left",
    ]);
    let session = porthole.session(
        &container,
        &json!({"command": ["nc", "-l", "-p", "8099"], "tty": false}),
    );
    let server = pid(&session["host_pid"]);
    let found = wait_for("the socket", PATIENCE, || {
        let found = ask(&porthole, &container, "network");
        let listens = items(&found["sockets"])
            .iter()
            .any(|one| one["port"] == 8099);
        listens.then_some(found)
    });
    let links = json_of(&["nsenter", "-t", &init.to_string(), "-n", "ip", "-j", "addr"]);
    let names = |list: &[Value], field: &str| -> Vec<String> {
        list.iter().map(|one| text(&one[field])).collect()
    };
    assert_eq!(
        names(items(&found["interfaces"]), "name"),
        names(links.as_array().expect("a list"), "ifname")
    );
    let left = items(&found["interfaces"])
        .iter()
        .find(|one| one["name"] == "left")
        .expect("left");
    assert_eq!(left["addresses"][0]["address"], "10.1.2.3");
    assert_eq!(left["peer"]["name"], "right");
    assert_eq!(
        left["peer"]["namespace"],
        other["namespaces"]["net"]["inode"]
    );
    let socket = items(&found["sockets"])
        .iter()
        .find(|one| one["port"] == 8099)
        .expect("the socket");
    assert_eq!(socket["holders"][0]["pid"], server);

    let wiring = porthole.admin().get("/api/v1/wiring").ok();
    let wired = |one: &Value| {
        let inode = &one["namespaces"]["net"]["inode"];
        let found = items(&wiring["namespaces"])
            .iter()
            .find(|found| found["inode"] == *inode);
        found.expect("its network").clone()
    };
    let right = wired(&other)["interfaces"]["items"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["name"] == "right").cloned())
        .expect("right");
    assert_eq!(
        right["peer"]["namespace"],
        container["namespaces"]["net"]["inode"]
    );
    assert_eq!(right["peer"]["name"], "left");
    // Whoever owns neither sees nothing of it.
    let ann = porthole.account("ann", "user");
    let hers = ann.get("/api/v1/wiring").ok();
    assert!(items(&hers["namespaces"]).is_empty(), "{hers}");
    assert!(hers["namespaces"]["left_out"].as_u64() >= Some(3), "{hers}");
}

#[test]
fn a_containers_confinement_and_what_is_not_isolated() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let init = pid(&container["pid"]);
    let security = ask(&porthole, &container, "security");
    let status = host::status(init);
    let process = &security["process"];
    assert_eq!(text(&process["seccomp"]), status["Seccomp"]);
    assert_eq!(process["no_new_privs"], status["NoNewPrivs"] == "1");
    let bounding = u64::from_str_radix(&status["CapBnd"], 16).expect("a mask");
    let told = process["capabilities"]["bounding"]
        .as_array()
        .expect("a list");
    assert_eq!(told.len(), bounding.count_ones() as usize);
    assert!(process["environment"].is_null(), "not asked for");
    let map = host::id_map(init, "uid_map");
    let range = &security["user"]["uid_map"][0];
    assert_eq!(
        [&range["inside"], &range["outside"], &range["count"]].map(Value::as_u64),
        map[0].map(|one| Some(u64::from(one)))
    );
    assert!(
        security["cgroup"]["memory"]["max"].as_u64().is_some(),
        "{security}"
    );

    let isolation = ask(&porthole, &container, "isolation");
    let fact = |name: &str| {
        let facts = isolation["facts"].as_array().expect("facts");
        facts
            .iter()
            .find(|one| one["name"] == name)
            .expect("a fact")
            .clone()
    };
    let release = output(&["uname", "-r"]);
    assert_eq!(fact("kernel_release")["inside"]["value"], release.trim());
    assert_eq!(fact("kernel_release")["verdict"], "same");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot id");
    assert_eq!(fact("boot_id")["inside"]["value"], boot.trim());
    assert_eq!(fact("hostname")["verdict"], "different");
    assert_eq!(
        fact("hostname")["inside"]["value"],
        porthole.sh(&container, "hostname")
    );
    let memory = porthole.sh(&container, "grep MemTotal /proc/meminfo | tr -dc 0-9");
    let memory: u64 = memory.parse().expect("a number");
    assert_eq!(
        fact("memory")["inside"]["value"],
        (memory * 1024).to_string()
    );
    assert_eq!(isolation["set_clock"]["allowed"], false);
}

#[test]
fn an_owner_is_told_of_the_host_what_the_container_reads() {
    let porthole = Instance::start();
    let ann = porthole.account("ann", "user");
    let spec = json!({"image": "busybox", "command": ["sleep", "infinity"]});
    let container = ann.post("/api/v1/containers", &spec);
    assert_eq!(container.status, 201, "{container}");
    let path = format!(
        "/api/v1/containers/{}/isolation",
        text(&container.json()["id"])
    );
    let (hers, theirs) = (ann.get(&path).ok(), porthole.admin().get(&path).ok());
    let hidden = |facts: &Value| -> Vec<String> {
        let facts = facts["facts"].as_array().expect("facts").iter();
        let hidden = facts.filter(|fact| fact["outside"]["value"].is_null());
        hidden.map(|fact| text(&fact["name"])).collect()
    };
    for fact in hers["facts"].as_array().expect("facts") {
        let told = !fact["outside"]["value"].is_null();
        assert_eq!(told, fact["verdict"] == "same", "{fact}");
    }
    assert!(hidden(&hers).contains(&"hostname".to_owned()), "{hers}");
    // The boot is the kernel's, which nothing hides from her container.
    assert!(!hidden(&hers).contains(&"boot_id".to_owned()), "{hers}");
    assert!(
        !hidden(&theirs).contains(&"hostname".to_owned()),
        "control: {theirs}"
    );
}

#[test]
fn every_namespace_of_a_container_has_details_and_so_do_its_processes() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let init = pid(&container["pid"]);
    for kind in NamespaceType::ALL {
        let inode = &container["namespaces"][kind.name()]["inode"];
        let path = format!("/api/v1/namespaces/{kind}/{inode}/detail");
        let found = wait_for("the observer's word", PATIENCE, || {
            let answer = porthole.admin().get(&path);
            (answer.status != 404).then(|| answer.ok())
        });
        assert_eq!(found["namespace"], *inode, "{path}: {found}");
    }
    let found = porthole
        .admin()
        .get(&format!("/api/v1/processes/{init}/detail"))
        .ok();
    let inodes = host::namespaces(init);
    for file in found["namespaces"]
        .as_array()
        .expect("files")
        .iter()
        .take(8)
    {
        assert_eq!(
            file["inode"].as_u64(),
            inodes.get(text(&file["name"]).as_str()).copied()
        );
    }
    let variables = items(&found["environment"]);
    let theirs = host::environment(init);
    assert_eq!(variables.iter().map(text).collect::<Vec<_>>(), theirs);
    let id = text(&container["id"]);
    let path = format!("/api/v1/containers/{id}");
    porthole.admin().act(&format!("{path}/kill")).ok();
    porthole.wait_state(&id, "exited");
    let refused = porthole.admin().get(&format!("{path}/mounts")).refused(409);
    assert_eq!(refused["code"], "wrong_state");
    porthole
        .admin()
        .get(&format!("/api/v1/processes/{init}/detail"))
        .refused(404);
}
