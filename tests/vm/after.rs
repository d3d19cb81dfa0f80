//! After the machine's restart: what ran does not run any more, what is to run runs again, what was
//! written is there; and in the end nothing is left of the package.

use std::path::Path;
use std::time::Duration;

use porthole_tests::wait_for;
use serde_json::json;

use crate::Check;
use crate::machine::{Machine, group, property, read, ready, tell, text};

/// In this order.
pub(crate) const CHECKS: [Check; 8] = [
    ("the_machine_ended_without_waiting_for_shells", duration),
    ("the_service_runs_again", service),
    ("what_ran_is_told_as_ended", ended),
    ("a_container_that_is_always_to_run_runs", always),
    (
        "a_stopped_container_starts_again_with_its_files_and_limits",
        again,
    ),
    ("a_backup_is_restored", backup),
    ("a_removal_keeps_files_and_ends_what_runs", removal),
    ("a_purge_leaves_nothing", purge),
];

/// systemd waits 90 seconds for what ignores SIGTERM, as a shell does.
fn duration(_: &mut Machine) {
    let asked: u64 = read(crate::STAGE).parse().expect("when it was asked for");
    let all = read("/proc/stat");
    let booted = all.lines().find_map(|line| line.strip_prefix("btime "));
    let booted: u64 = booted.expect("a time").parse().expect("a number");
    assert!(booted < asked + 60, "it took {} s", booted - asked);
}

fn service(_: &mut Machine) {
    wait_for("the service", Duration::from_secs(60), || {
        (property("ActiveState") == "active").then_some(())
    });
    ready();
}

fn ended(machine: &mut Machine) {
    let long = machine.look("long");
    assert_eq!(long["state"], "exited", "{long}");
    let sessions = machine.admin().get("/api/v1/sessions").ok();
    let live = sessions["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|s| s["exit_kind"].is_null());
    assert_eq!(live.count(), 0, "{sessions}");
}

fn always(machine: &mut Machine) {
    wait_for("it to run", Duration::from_secs(30), || {
        (machine.look("always")["state"] == "running").then_some(())
    });
}

fn again(machine: &mut Machine) {
    machine.admin().act("/api/v1/containers/long/start").ok();
    let long = machine.look("long");
    assert_eq!(long["state"], "running", "{long}");
    assert_eq!(read(&format!("{}/pids.max", group(&long))), "40");
    machine
        .admin()
        .act("/api/v1/containers/host-tools/start")
        .ok();
    let (answer, code) = machine.run("host-tools", &["cat", "/left"]);
    assert_eq!((answer.trim(), code), ("left", 0));
    // One that runs when the package goes, with a shell.
    let session = machine.admin().post(
        "/api/v1/containers/long/sessions",
        &json!({"command": ["sh"]}),
    );
    machine.session = text(&session.json()["id"]);
}

/// By the very commands of docs/OPERATING.md.
fn backup(machine: &mut Machine) {
    const ATTRIBUTES: [&str; 3] = ["--xattrs", "--xattrs-include=*", "--numeric-owner"];
    let before = machine.look("host-tools");
    tell(&["systemctl", "stop", "porthole"]);
    let make = [
        "-C",
        "/var/lib",
        "-czf",
        "/root/porthole.tar.gz",
        "porthole",
    ];
    tell(&[&["tar"], &ATTRIBUTES[..], &make[..]].concat());
    // Another machine has none of its processes.
    tell(&["/usr/lib/porthole/setup", "end-containers"]);
    tell(&["rm", "-r", "/var/lib/porthole"]);
    let unpack = ["-C", "/var/lib", "-xzf", "/root/porthole.tar.gz"];
    tell(&[&["tar"], &ATTRIBUTES[..], &unpack[..]].concat());
    tell(&["systemctl", "start", "porthole"]);
    ready();
    let restored = machine.look("host-tools");
    assert_eq!(restored["id"], before["id"]);
    assert_eq!(restored["state"], "exited", "{restored}");
    machine
        .admin()
        .act("/api/v1/containers/host-tools/start")
        .ok();
    let (answer, code) = machine.run("host-tools", &["cat", "/left"]);
    assert_eq!((answer.trim(), code), ("left", 0));
}

/// As people take it away, and then what is left of it.
fn removal(machine: &mut Machine) {
    machine.admin().act("/api/v1/containers/always/stop").ok();
    tell(&["apt-get", "--yes", "remove", "porthole"]);
    for path in [
        "/usr/lib/porthole",
        "/usr/bin/porthole",
        "/run/porthole/porthole.sock",
    ] {
        assert!(!Path::new(path).exists(), "{path} is left");
    }
    nothing_runs();
    // Files, accounts and settings are for who installs it again.
    let found = std::fs::read_dir("/var/lib/porthole/keeper/containers");
    assert!(found.expect("the containers' files").count() > 0);
    for path in [
        "/etc/porthole/policy.toml",
        "/var/lib/porthole/server/porthole.db",
    ] {
        assert!(Path::new(path).exists(), "{path} is gone");
    }
    tell(&["apt-get", "--yes", "install", "/root/porthole.deb"]);
    ready();
    let (long, always) = (machine.look("long"), machine.look("always"));
    assert_eq!(
        (&long["state"], &always["state"]),
        (&json!("exited"), &json!("exited"))
    );
    machine.admin().act("/api/v1/containers/long/start").ok();
    machine
        .admin()
        .act("/api/v1/containers/host-tools/start")
        .ok();
    let (answer, code) = machine.run("host-tools", &["cat", "/left"]);
    assert_eq!((answer.trim(), code), ("left", 0));
}

pub(crate) fn purge(_: &mut Machine) {
    tell(&["apt-get", "--yes", "purge", "porthole"]);
    for path in [
        "/var/lib/porthole",
        "/run/porthole",
        "/etc/porthole",
        "/usr/lib/porthole",
        "/usr/bin/porthole",
        "/usr/share/doc/porthole",
        "/usr/lib/systemd/system/porthole.service",
        "/etc/systemd/system/multi-user.target.wants/porthole.service",
        "/etc/systemd/system/porthole.service",
    ] {
        let there = Path::new(path).symlink_metadata().is_ok();
        assert!(!there, "{path} is left");
    }
    let accounts = read("/etc/passwd") + &read("/etc/group");
    assert!(!accounts.contains("porthole"), "{accounts}");
    nothing_runs();
    let known = tell(&["dpkg-query", "--show", "--showformat", "${Package}\n"]);
    assert!(!known.lines().any(|name| name == "porthole"), "{known}");
    // The helpers of Debian's packages keep a state for each service.
    let helpers = tell(&["find", "/var/lib/systemd", "-name", "*porthole*"]);
    assert_eq!(helpers, "");
}

fn nothing_runs() {
    wait_for("the end of its processes", Duration::from_secs(10), || {
        let left = porthole_tests::host::processes()
            .into_iter()
            .filter(|&pid| {
                let name = porthole_tests::host::status(pid)
                    .remove("Name")
                    .unwrap_or_default();
                name.starts_with("porthole-") && pid != std::process::id().cast_signed()
            });
        (left.count() == 0).then_some(())
    });
    let groups = tell(&[
        "find",
        "/sys/fs/cgroup",
        "-type",
        "d",
        "-name",
        "porthole-????????",
    ]);
    assert_eq!(groups, "");
}
