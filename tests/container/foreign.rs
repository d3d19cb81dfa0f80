//! Containers of other engines, made for one test by the real engines.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use porthole_tests::engines::{DockerDaemon, Podman, Runc};
use porthole_tests::instance::{pid, text};
use porthole_tests::{Instance, PATIENCE, host, wait_for};
use serde_json::{Value, json};

#[test]
fn engines_run_for_a_test_leave_nothing() {
    let mut inits = Vec::new();
    let mut groups = Vec::new();
    if let Some(docker) = DockerDaemon::start() {
        let container = docker.run(&[], &["sleep", "1000000"]);
        let init = docker.init(&container);
        assert!(host::runs(init));
        groups.push(docker.group().to_owned());
        inits.extend([init, docker.pid()]);
    }
    if let Some(podman) = Podman::start() {
        let container = podman.run(&[], &["sleep", "1000000"]);
        inits.push(podman.init(&container));
    }
    if let Some(runc) = Runc::start() {
        inits.push(runc.run("one", |_| ()));
    }
    for init in inits {
        assert!(!host::runs(init), "{init} was left");
    }
    for group in groups {
        assert!(host::cgroups(&group).is_empty(), "{group} was left");
    }
}

/// A container of Docker's, once it is told.
fn told(porthole: &Instance, id: &str) -> Value {
    wait_for("the container", PATIENCE, || {
        let answer = porthole.admin().get(&format!("/api/v1/containers/{id}"));
        let container = (answer.status == 200).then(|| answer.json())?;
        (!container["pid"].is_null()).then_some(container)
    })
}

/// A process in a container, in a group below the container's that is called like a session's.
struct Forged {
    child: Child,
    group: PathBuf,
}

impl Forged {
    fn new(container: &str, init: i32, name: &str) -> Self {
        let groups = host::cgroups(container);
        let unified = groups.iter().find(|one| one.join("cgroup.kill").exists());
        let group = unified.expect("its group in the cgroup2 tree").join(name);
        fs::create_dir(&group).expect("a group");
        let script = format!(
            "echo 0 >{}/cgroup.procs && exec nsenter --target {init} --all sleep 1000000",
            group.display()
        );
        let child = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .spawn()
            .expect("sh");
        Self { child, group }
    }

    /// The one inside.
    fn sleeps(&self) -> i32 {
        let outer = self.child.id().cast_signed();
        wait_for("a process in the group", PATIENCE, || {
            let inner = host::children(outer).first().copied()?;
            let words = host::arguments(inner);
            words
                .first()
                .is_some_and(|word| word == "sleep")
                .then_some(inner)
        })
    }
}

impl Drop for Forged {
    fn drop(&mut self) {
        let inner = host::children(self.child.id().cast_signed());
        for pid in inner {
            porthole_tests::instance::signal(pid, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        wait_for("an empty group", PATIENCE, || {
            fs::remove_dir(&self.group).ok()
        });
    }
}

#[test]
fn a_group_that_is_only_called_so_is_no_sessions() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = Instance::builder()
        .with_policy("join_foreign = true\n")
        .start();
    let sleep = &["sleep", "1000000"];
    let (one, two) = (docker.run(&[], sleep), docker.run(&[], sleep));
    let (container, other) = (told(&porthole, &one), told(&porthole, &two));
    let spec = json!({"command": ["sleep", "1000000"], "tty": false});
    // What is kept of a session goes with the account that opened it.
    let visitor = porthole.account("visitor", "admin");
    let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
    let session = visitor.post(&path, &spec).ok();
    let id = text(&session["id"]);
    let process = |pid: i32, container: &Value| {
        wait_for("the process", PATIENCE, || {
            let answer = porthole.admin().get(&format!("/api/v1/processes/{pid}"));
            let process = (answer.status == 200).then(|| answer.json())?;
            (process["container"] == container["id"]).then_some(process)
        })
    };
    let name = format!("porthole-session-{id}");
    // In another container, and in its own below another group.
    fs::create_dir(forged_below(&one)).expect("a group");
    let places = [
        (&two, &other, name.clone()),
        (&one, &container, format!("below/{name}")),
    ];
    for (place, container, name) in places {
        let forged = Forged::new(place, pid(&container["pid"]), &name);
        let inside = forged.sleeps();
        let groups = fs::read_to_string(format!("/proc/{inside}/cgroup")).expect("procfs");
        assert!(groups.contains(&name), "{groups}");
        let found = process(inside, container);
        assert!(found["session"].is_null(), "{found}");
    }
    fs::remove_dir(forged_below(&one)).expect("empty");
    let found = process(pid(&session["host_pid"]), &container);
    assert_eq!(found["session"], id.as_str(), "control: {found}");
    let path = format!("/api/v1/sessions/{id}");
    visitor.delete(&path).ok();
    wait_for("the session's end", PATIENCE, || {
        let session = porthole.admin().get(&path).ok();
        (!session["exit_code"].is_null() && host::processes_in_cgroup(&name).is_empty())
            .then_some(())
    });
    porthole.admin().delete("/api/v1/users/visitor").ok();
}

/// A group below a container's.
fn forged_below(container: &str) -> PathBuf {
    let groups = host::cgroups(container);
    let unified = groups.iter().find(|one| one.join("cgroup.kill").exists());
    unified
        .expect("its group in the cgroup2 tree")
        .join("below")
}
