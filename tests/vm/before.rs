//! From the installation on: cgroup2 alone, systemd, limits, upgrades, restarts.

use std::time::Duration;

use porthole_tests::instance::{ADMIN, PASSWORD};
use porthole_tests::{host, wait_for};
use serde_json::json;

use crate::Check;
use crate::machine::{Machine, anybody, group, property, read, ready, tell, text};

/// In this order: the later ones use what the earlier ones have made, as all others do.
pub(crate) const FIRST: [Check; 5] = [
    ("the_machine_has_cgroup2_alone_and_systemd", machine),
    ("the_service_runs_and_systemd_knows_when", service),
    ("the_first_administrator_is_made_by_the_code", administrator),
    ("limits_are_in_force", limits),
    ("a_shell_answers", shell),
];

/// The service under way: restarts, an upgrade.
pub(crate) const CHECKS: [Check; 6] = [
    (
        "a_container_out_of_memory_ends_itself_and_nothing_else",
        out_of_memory,
    ),
    ("devices_of_the_machine_stay_closed", devices),
    ("a_restart_of_the_service_keeps_the_shell", restart),
    ("systemd_started_anew_takes_no_limit_away", reexecution),
    (
        "containers_live_while_the_service_is_stopped",
        stop_and_start,
    ),
    ("an_upgrade_of_the_package_keeps_the_shell", upgrade),
];

/// What is there when the machine is restarted, after all other checks.
pub(crate) const LEAVE: [Check; 1] = [("containers_for_the_next_start", leave)];

fn machine(_: &mut Machine) {
    println!("Linux {}", read("/proc/sys/kernel/osrelease"));
    let mounts = read("/proc/self/mounts");
    assert!(mounts.contains(" /sys/fs/cgroup cgroup2 "), "{mounts}");
    assert!(
        !mounts.contains(" cgroup "),
        "a v1 tree is mounted:\n{mounts}"
    );
    assert_eq!(read("/proc/1/comm"), "systemd");
}

fn service(_: &mut Machine) {
    assert_eq!(property("ActiveState"), "active");
    assert_eq!(property("Type"), "notify");
    // It was told that it is ready, so it has been started once and is not tried again and again.
    assert_eq!(property("NRestarts"), "0");
    ready();
    let log = tell(&["journalctl", "--no-pager", "--unit", "porthole"]);
    assert!(!log.contains("not in force"), "{log}");
    assert!(!log.contains("cannot"), "{log}");
}

fn administrator(_: &mut Machine) {
    let code = read("/run/porthole/setup-code");
    let body = json!({"code": code, "user": ADMIN, "password": PASSWORD});
    anybody().post("/api/v1/setup", &body).ok();
}

fn limits(machine: &mut Machine) {
    let limits = json!({"memory": 64 << 20, "cpus": 0.5, "pids": 40});
    let container = machine.create(&json!({
        "name": "long", "image": "busybox", "command": ["sleep", "infinity"], "limits": limits,
    }));
    let group = group(&container);
    assert!(
        group.starts_with("/sys/fs/cgroup/porthole.slice/porthole-"),
        "{group}"
    );
    check_limits(&group);
    let member = read(&format!("/proc/{}/cgroup", container["pid"]));
    assert_eq!(member, format!("0::{}", text(&container["cgroup"])));
    machine.container = container;
}

#[track_caller]
fn check_limits(group: &str) {
    for (file, value) in [
        ("memory.max", (64 << 20).to_string()),
        ("memory.swap.max", "0".to_owned()),
        ("cpu.max", "50000 100000".to_owned()),
        ("pids.max", "40".to_owned()),
    ] {
        assert_eq!(read(&format!("{group}/{file}")), value, "{file}");
    }
}

fn shell(machine: &mut Machine) {
    let path = "/api/v1/containers/long/sessions";
    let session = machine.admin().post(path, &json!({"command": ["sh"]}));
    assert_eq!(session.status, 201, "{session}");
    machine.session = text(&session.json()["id"]);
    let mut terminal = machine.attach();
    terminal.line("kept=$((6*7)); echo \"<$kept>\"");
    terminal.expect("<42>");
    let below = format!(
        "{}/{}/cgroup.procs",
        group(&machine.container),
        machine.session
    );
    machine.shell = read(&below).parse().expect("one process");
    assert!(host::runs(machine.shell));
}

fn out_of_memory(machine: &mut Machine) {
    machine.create(&json!({
        "name": "greedy", "image": "busybox", "limits": {"memory": 16 << 20},
        "command": ["sh", "-c", "sleep 1; tail /dev/zero"],
    }));
    wait_for("its end", Duration::from_secs(60), || {
        Some(machine.look("greedy")).filter(|container| container["state"] == "exited")
    });
    machine.admin().delete("/api/v1/containers/greedy").ok();
    assert_eq!(property("ActiveState"), "active");
    assert_eq!(property("NRestarts"), "0");
    machine.same_shell();
}

fn devices(machine: &mut Machine) {
    let (answer, code) = machine.run(
        "long",
        &["sh", "-c", "mknod /disk b 254 0 2>&1 || echo refused"],
    );
    assert!(answer.contains("refused"), "{answer} {code}");
    let (answer, _) = machine.run(
        "long",
        &[
            "sh",
            "-c",
            "echo a >/dev/null && head -c 1 /dev/zero | wc -c",
        ],
    );
    assert_eq!(answer.trim(), "1");
}

fn restart(machine: &mut Machine) {
    let before = property("MainPID");
    tell(&["systemctl", "restart", "porthole"]);
    assert_ne!(property("MainPID"), before);
    ready();
    machine.same_shell();
    check_limits(&group(&machine.container));
    // The group that systemd starts the service in still takes a process, and new containers limits.
    let other = machine.create(&json!({
        "name": "other", "image": "busybox", "command": ["sleep", "infinity"], "limits": {"pids": 33},
    }));
    assert_eq!(read(&format!("{}/pids.max", group(&other))), "33");
    machine
        .admin()
        .delete("/api/v1/containers/other?force=true")
        .ok();
}

fn reexecution(machine: &mut Machine) {
    tell(&["systemctl", "daemon-reload"]);
    tell(&["systemctl", "daemon-reexec"]);
    assert_eq!(property("ActiveState"), "active");
    check_limits(&group(&machine.container));
    machine.same_shell();
}

fn stop_and_start(machine: &mut Machine) {
    let mut terminal = machine.attach();
    // Between the two no dashboard reads what is output; more than a terminal holds by itself.
    terminal.line("sleep 2; seq 20000; echo end-of-numbers");
    terminal.expect("echo end-of-numbers");
    drop(terminal);
    tell(&["systemctl", "stop", "porthole"]);
    assert_eq!(property("ActiveState"), "inactive");
    assert!(anybody().try_send("GET", "/healthz", None).is_err());
    check_limits(&group(&machine.container));
    assert!(host::runs(machine.shell));
    std::thread::sleep(Duration::from_secs(4));
    tell(&["systemctl", "start", "porthole"]);
    ready();
    let mut terminal = machine.attach();
    let output = terminal.wait("the numbers", |terminal| {
        Some(terminal.text()).filter(|text| text.contains("\r\nend-of-numbers"))
    });
    for number in [1, 777, 19_999, 20_000] {
        assert!(
            output.contains(&format!("\r\n{number}\r\n")),
            "{number} is missing"
        );
    }
    drop(terminal);
    machine.same_shell();
    check_limits(&group(&machine.container));
}

fn upgrade(machine: &mut Machine) {
    let before = property("MainPID");
    tell(&["apt-get", "--yes", "install", "/root/newer.deb"]);
    assert_ne!(property("MainPID"), before, "the new version was started");
    assert_eq!(property("ActiveState"), "active");
    ready();
    machine.same_shell();
    let version = tell(&[
        "dpkg-query",
        "--show",
        "--showformat",
        "${Version}",
        "porthole",
    ]);
    assert!(version.contains("+vm"), "{version}");
}

fn leave(machine: &mut Machine) {
    machine.create(&json!({
        "name": "host-tools", "image": "host", "command": ["sleep", "infinity"],
    }));
    let (answer, code) = machine.run(
        "host-tools",
        &["sh", "-c", "echo left >/left; id -u; ls / | wc -l"],
    );
    assert_eq!(code, 0, "{answer}");
    let always = json!({
        "name": "always", "image": "busybox", "command": ["sleep", "infinity"], "restart": "always",
    });
    machine.create(&always);
    // A shell ignores SIGTERM, and must not hold up the machine's end.
    machine.same_shell();
}
