//! A container of each engine: told as its engine tells it, entered as its engine enters it.

use std::collections::BTreeSet;

use porthole_tests::engines::{DockerDaemon, Lxc, Nspawn, Podman, Runc};
use porthole_tests::instance::{pid, signal, text};
use porthole_tests::{Instance, PATIENCE, Terminal, host, wait_for};
use rustix::process::Signal;
use serde_json::Value;

use super::{
    LOOK, compare, containers, ends, items, look_from_terminal, open_host, output, seen, told,
};

/// What `docker top` and its like list are the processes that are told.
#[track_caller]
fn same_processes(porthole: &Instance, container: &Value, top: impl Fn() -> String) {
    let path = format!("/api/v1/containers/{}/processes", text(&container["id"]));
    wait_for("the processes that its engine tells", PATIENCE, || {
        let list = porthole.admin().get(&path).ok();
        let ours: BTreeSet<i32> = items(&list)
            .iter()
            .map(|one| pid(&one["host_pid"]))
            .collect();
        let theirs: BTreeSet<i32> = top()
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        (ours == theirs && ours.len() > 1).then_some(())
    });
}

/// A shell with a child.
const TWO: [&str; 3] = ["sh", "-c", "sleep 1000000 & wait"];

#[test]
fn docker_as_docker_tells_it() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = Instance::builder()
        .with_policy(&format!(
            "join_foreign = true\n[engines]\ndocker = {:?}\n",
            docker.socket()
        ))
        .start();
    let options = [
        "--name=web",
        "--hostname=inside",
        "--user=worker",
        "--label=a=b",
    ];
    let id = docker.run(&options, &TWO);
    let init = docker.init(&id);
    let container = wait_for("what Docker says of it", PATIENCE, || {
        let container = told(&porthole, init);
        container["image"].is_string().then_some(container)
    });
    compare(&porthole, &container, init);
    let said: Value = serde_json::from_str(&docker.docker(&["inspect", &id])).expect("JSON");
    let said = &said[0];
    assert_eq!(container["id"], said["Id"]);
    assert_eq!(
        format!("/{}", text(&container["name"])),
        text(&said["Name"])
    );
    assert_eq!(container["engine"], "docker");
    assert_eq!(container["image"], said["Config"]["Image"]);
    assert_eq!(container["state"], said["State"]["Status"]);
    assert_eq!(container["pid"], said["State"]["Pid"]);
    assert_eq!(container["command"], said["Config"]["Cmd"]);
    assert_eq!(container["within"], Value::Null);
    same_processes(&porthole, &container, || {
        docker.docker(&["top", &id, "-eo", "pid"])
    });
    let theirs = docker.docker(&["exec", "--tty", &id, "sh", "-c", LOOK]);
    assert_eq!(look_from_terminal(&porthole, &container), seen(&theirs));
    // Control: another user is another sight.
    let root = docker.docker(&["exec", "--user=0", &id, "sh", "-c", LOOK]);
    assert_ne!(seen(&theirs), seen(&root));
    // What unshares in it is within it.
    let inside = ["busybox", "unshare", "-m", "-p", "-f", "sleep", "1000000"];
    let outer = docker.run(
        &["--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined"],
        &inside,
    );
    let nested = wait_for("a container in Docker's", PATIENCE, || {
        containers(&porthole)
            .into_iter()
            .find(|one| one["within"] == outer.as_str())
    });
    assert_eq!(nested["engine"], "none");
    assert_eq!(host::pids(pid(&nested["pid"])).len(), 3);
    assert_eq!(told(&porthole, docker.init(&outer))["within"], Value::Null);
    ends(&porthole, &container, || {
        docker.docker(&["kill", &id]);
    });
}

#[test]
fn podman_as_podman_tells_it() {
    let Some(podman) = Podman::start() else {
        return;
    };
    let porthole = open_host();
    let id = podman.run(&["--name=web", "--hostname=inside"], &TWO);
    let init = podman.init(&id);
    // By its conmon, which adopts it: no socket is asked.
    let container = wait_for("its name", PATIENCE, || {
        let container = told(&porthole, init);
        (container["name"] == "web").then_some(container)
    });
    compare(&porthole, &container, init);
    assert_eq!(container["id"], id);
    assert_eq!(container["engine"], "podman");
    same_processes(&porthole, &container, || {
        podman.podman(&["top", &id, "hpid"])
    });
    let theirs = podman.podman(&["exec", "--tty", &id, "sh", "-c", LOOK]);
    let (ours, mut theirs) = (look_from_terminal(&porthole, &container), seen(&theirs));
    // Podman's exec forgets the groups that /etc/group gives its own init; Docker's does not.
    let groups = host::status(init)["Groups"].trim().to_owned();
    assert!(ours.id.contains("other"), "{ours:?}");
    theirs.id.clone_from(&ours.id);
    theirs.status.insert("Groups".to_owned(), groups);
    assert_eq!(ours, theirs);
    ends(&porthole, &container, || {
        podman.podman(&["kill", &id]);
    });
}

#[test]
fn runc_as_runc_tells_it() {
    let Some(runc) = Runc::start() else {
        return;
    };
    let porthole = open_host();
    let init = runc.run("one", |spec| {
        spec["hostname"] = "inside".into();
        spec["process"]["args"] = serde_json::json!(TWO);
    });
    let container = told(&porthole, init);
    compare(&porthole, &container, init);
    // Nothing in its group or its parent tells who made it.
    assert_eq!(container["engine"], "none");
    let state: Value = serde_json::from_str(&runc.runc(&["state", "one"])).expect("JSON");
    assert_eq!(container["pid"], state["pid"]);
    same_processes(&porthole, &container, || {
        let all: Vec<i32> =
            serde_json::from_str(&runc.runc(&["ps", "--format=json", "one"])).expect("JSON");
        all.iter().map(|pid| format!("{pid} ")).collect()
    });
    let theirs = runc.runc(&["exec", "one", "/bin/sh", "-c", LOOK]);
    assert_eq!(look_from_terminal(&porthole, &container), seen(&theirs));
    ends(&porthole, &container, || {
        runc.runc(&["kill", "one", "KILL"]);
    });
}

fn mask(digits: &str) -> u64 {
    u64::from_str_radix(digits, 16).expect("a mask")
}

#[test]
fn lxc_as_lxc_tells_it() {
    let Some(lxc) = Lxc::start() else {
        return;
    };
    let porthole = open_host();
    let maps = [
        "lxc.idmap = u 0 100000 65536",
        "lxc.idmap = g 0 100000 65536",
    ];
    let cases: [(&str, &[&str]); 2] = [("plain", &[]), ("users", &maps)];
    for (name, lines) in cases {
        let init = lxc.run(name, lines);
        let container = told(&porthole, init);
        compare(&porthole, &container, init);
        assert_eq!(container["engine"], "lxc");
        assert_eq!(container["name"], name);
        assert_eq!(container["within"], Value::Null);
        let info = lxc.lxc("lxc-info", name, &["--state", "--pid"]);
        assert!(
            info.contains("RUNNING") && info.contains(&init.to_string()),
            "{info}"
        );
        let look = [
            "--clear-env",
            "--set-var=PATH=/bin",
            "--",
            "/bin/sh",
            "-c",
            LOOK,
        ];
        let mut theirs = seen(&lxc.lxc("lxc-attach", name, &look));
        let ours = look_from_terminal(&porthole, &container);
        // In new users lxc-attach has what the machine gives nobody; so has init, not its sessions.
        let nobody = !mask(&host::status(std::process::id().cast_signed())["CapBnd"]);
        let (init, given) = (
            mask(&host::status(init)["CapBnd"]),
            mask(&ours.status["CapBnd"]),
        );
        assert_eq!(given, init & !nobody, "{name}: {given:x} of {init:x}");
        for field in ["CapPrm", "CapEff", "CapBnd"] {
            let theirs = theirs.status.get_mut(field).expect("a field");
            *theirs = format!("{:016x}", mask(theirs) & !nobody);
        }
        // And it puts itself into a group below the container's.
        if theirs.groups.remove("0::/.lxc") {
            theirs.groups.insert("0::/".to_owned());
        }
        assert_eq!(ours, theirs, "{name}");
        assert_eq!(ours.hostname, format!("in-{name}"));
        ends(&porthole, &container, || {
            lxc.lxc("lxc-stop", name, &["--kill"]);
        });
    }
}

#[test]
fn a_container_without_terminals_is_told_as_that() {
    let Some(lxc) = Lxc::start() else {
        return;
    };
    let porthole = open_host();
    let init = lxc.run("none", &["lxc.pty.max = 0"]);
    let container = told(&porthole, init);
    let mounts = std::fs::read_to_string(format!("/proc/{init}/mountinfo")).expect("its mounts");
    assert!(!mounts.contains(" /dev/pts "), "{mounts}");
    let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
    let command = serde_json::json!(["sh", "-c", "echo $((40 + 2))"]);
    let spec = serde_json::json!({"command": command, "tty": true});
    let refused = porthole.admin().post(&path, &spec).refused(422);
    assert_eq!(refused["code"], "unsupported");
    assert_eq!(refused["field"], "tty");
    let message = text(&refused["message"]);
    for word in ["devpts", "/dev/pts", "without a terminal", "lxc.pty.max"] {
        assert!(message.contains(word), "{word}: {message}");
    }
    // And what it advises is so. What is kept of a session goes with the account that opened it.
    let visitor = porthole.account("visitor", "admin");
    let spec = serde_json::json!({"command": command, "tty": false});
    let session = visitor.post(&path, &spec).ok();
    let mut terminal = Terminal::attach(&visitor, &text(&session["id"]));
    let exit = terminal.end();
    assert_eq!((exit.code, terminal.text().trim()), (0, "42"), "{exit:?}");
    porthole.admin().delete("/api/v1/users/visitor").ok();
}

#[test]
fn nspawn_as_the_kernel_tells_it() {
    let Some(mut nspawn) = Nspawn::start("inside", &[]) else {
        return;
    };
    let porthole = open_host();
    let init = nspawn.init();
    let container = told(&porthole, init);
    compare(&porthole, &container, init);
    assert_eq!(container["engine"], "nspawn");
    assert_eq!(container["name"], "inside");
    // Without a systemd that it is registered with, machinectl(1) does not know it.
    let target = init.to_string();
    let enter = [
        "nsenter", "--all", "--target", &target, "--", "/bin/sh", "-c", LOOK,
    ];
    let (ours, theirs) = (
        look_from_terminal(&porthole, &container),
        seen(&output(&enter)),
    );
    assert_eq!(ours.id, theirs.id);
    assert_eq!(ours.hostname, "inside");
    assert_eq!(ours.namespaces, theirs.namespaces);
    // nsenter(1) confines nobody: as its init is confined.
    let status = host::status(init);
    for field in ["CapBnd", "Seccomp", "Seccomp_filters", "NoNewPrivs"] {
        assert_eq!(ours.status[field], status[field], "{field}");
    }
    assert_ne!(ours.status["CapBnd"], theirs.status["CapBnd"]);
    ends(&porthole, &container, || {
        signal(init, Signal::KILL);
    });
    nspawn.stop();
}
