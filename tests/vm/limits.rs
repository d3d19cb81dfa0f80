//! On cgroup2 alone: limits that are changed while a container runs, what stands still, what the
//! kernel kills and what is counted, each compared with the kernel's own files; and that nothing
//! outside of Porthole's slice is touched by that.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use porthole_tests::wait_for;
use serde_json::{Value, json};

use crate::Check;
use crate::machine::{Machine, group, read, tell};

/// In this order.
pub(crate) const CHECKS: [Check; 5] = [
    ("changed_limits_are_in_the_kernels_files", changed),
    ("a_paused_container_is_frozen_by_its_group", paused),
    (
        "what_its_limit_has_killed_is_told_and_a_higher_one_holds",
        killed,
    ),
    ("all_that_is_counted_is_told", counted),
    ("other_groups_keep_what_they_have", others),
];

const SOON: Duration = Duration::from_secs(60);
const GROUPS: &str = "/sys/fs/cgroup";
const CHANGING: &str = "/api/v1/containers/changing";

/// The files in which limits and states of a group stand.
const FILES: [&str; 8] = [
    "cgroup.freeze",
    "cgroup.subtree_control",
    "cpu.max",
    "cpu.weight",
    "memory.high",
    "memory.max",
    "memory.swap.max",
    "pids.max",
];

fn files(group: &str, names: [&str; 4]) -> [String; 4] {
    names.map(|name| read(&format!("{group}/{name}")))
}

const LIMITS: [&str; 4] = ["memory.max", "memory.swap.max", "cpu.max", "pids.max"];

fn changed(machine: &mut Machine) {
    machine.others = snapshot();
    let spec = json!({
        "name": "changing", "image": "busybox",
        "command": ["sh", "-c", "while :; do echo tick; sleep 1; done"],
        "limits": {"memory": 32 << 20, "cpus": 0.5, "pids": 40},
    });
    let before = machine.create(&spec);
    let group = group(&before);
    let is = |memory: u64, swap: u64, cpu: &str, pids: &str| {
        let wanted = [
            memory.to_string(),
            swap.to_string(),
            cpu.to_owned(),
            pids.to_owned(),
        ];
        assert_eq!(files(&group, LIMITS), wanted);
    };
    is(32 << 20, 0, "50000 100000", "40");
    let all = json!({"limits": {"memory": 48 << 20, "swap": 16 << 20, "cpus": 0.25, "pids": 17}});
    let now = machine.admin().patch(CHANGING, &all).ok();
    is(48 << 20, 16 << 20, "25000 100000", "17");
    assert_eq!(now["pid"], before["pid"], "it ran on");
    // What is not named stays.
    for (one, pids) in [(json!({"pids": 21}), "21"), (json!({"pids": 19}), "19")] {
        machine
            .admin()
            .patch(CHANGING, &json!({"limits": one}))
            .ok();
        is(48 << 20, 16 << 20, "25000 100000", pids);
    }
    // Less than is used is refused, and so are nonsensical ones; all or nothing.
    let little = json!({"limits": {"memory": 4096, "pids": 30}});
    machine.admin().patch(CHANGING, &little).refused(422);
    is(48 << 20, 16 << 20, "25000 100000", "19");
    let back = json!({"limits": {"memory": 16 << 20, "swap": 0, "cpus": 1.0, "pids": 40}});
    machine.admin().patch(CHANGING, &back).ok();
    is(16 << 20, 0, "100000 100000", "40");
    // They are in force again after another start, which makes the group anew.
    machine
        .admin()
        .post(&format!("{CHANGING}/restart"), &json!({"timeout": 0}))
        .ok();
    let anew = machine.look("changing");
    assert_ne!(anew["pid"], before["pid"]);
    assert_eq!(
        files(&self::group(&anew), LIMITS),
        [
            (16 << 20).to_string(),
            "0".into(),
            "100000 100000".into(),
            "40".into()
        ]
    );
}

/// A line of a file that is made of names and values.
fn line(path: &str, name: &str) -> u64 {
    let text = read(path);
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let value = value.unwrap_or_else(|| panic!("{path} has no {name}:\n{text}"));
    value.trim().parse().expect("a number")
}

fn ticks(machine: &mut Machine) -> usize {
    let logs = machine.admin().get(&format!("{CHANGING}/logs"));
    assert_eq!(logs.status, 200, "{logs}");
    logs.body.lines().count()
}

fn paused(machine: &mut Machine) {
    let container = machine.look("changing");
    let group = group(&container);
    let events = format!("{group}/cgroup.events");
    let used = format!("{group}/cpu.stat");
    assert_eq!(line(&events, "frozen "), 0);
    machine.admin().act(&format!("{CHANGING}/pause")).ok();
    // It stands still when this is answered.
    assert_eq!(line(&events, "frozen "), 1);
    assert_eq!(read(&format!("{group}/cgroup.freeze")), "1");
    assert_eq!(machine.look("changing")["state"], "paused");
    let was = (ticks(machine), line(&used, "usage_usec "));
    machine
        .admin()
        .post(
            &format!("{CHANGING}/sessions"),
            &json!({"command": ["true"]}),
        )
        .refused(409);
    // Another keeper asks the kernel what is frozen.
    tell(&["systemctl", "restart", "porthole"]);
    crate::machine::ready();
    assert_eq!(machine.look("changing")["state"], "paused");
    assert_eq!(line(&events, "frozen "), 1);
    // Limits of what stands still are changed as any.
    let pids = json!({"limits": {"pids": 41}});
    machine.admin().patch(CHANGING, &pids).ok();
    assert_eq!(read(&format!("{group}/pids.max")), "41");
    assert_eq!((ticks(machine), line(&used, "usage_usec ")), was);
    machine.admin().act(&format!("{CHANGING}/unpause")).ok();
    assert_eq!(line(&events, "frozen "), 0);
    assert_eq!(read(&format!("{group}/cgroup.freeze")), "0");
    wait_for("it goes on", SOON, || {
        (ticks(machine) > was.0).then_some(())
    });
    assert_eq!(machine.look("changing")["pid"], container["pid"]);
}

/// Holds 24 MiB for a moment and says so.
const TAKE: [&str; 3] = [
    "sh",
    "-c",
    "x=$(head -c 12582912 /dev/zero | tr '\\0' a); y=$x$x; echo took ${#y}",
];

fn killed(machine: &mut Machine) {
    let group = group(&machine.look("changing"));
    let events = format!("{group}/memory.events");
    let told = |machine: &mut Machine| {
        let stats = machine.admin().get(&format!("{CHANGING}/stats")).ok();
        stats["memory"]["oom_kills"].as_u64().expect("a number")
    };
    let (kernel, said) = (line(&events, "oom_kill "), told(machine));
    assert_eq!(kernel, said);
    // The container has 16 MiB.
    let (answer, code) = machine.run("changing", &TAKE);
    assert!(!answer.contains("took"), "{answer}");
    assert_eq!(code, 137, "{answer}");
    assert!(line(&events, "oom_kill ") > kernel);
    assert!(line(&events, "max ") > 0);
    assert_eq!(told(machine), line(&events, "oom_kill "));
    // More of it is in force for the very container, and the same is done.
    let more = json!({"limits": {"memory": 128 << 20}});
    machine.admin().patch(CHANGING, &more).ok();
    let kernel = line(&events, "oom_kill ");
    let (answer, code) = machine.run("changing", &TAKE);
    assert_eq!((answer.trim(), code), ("took 25165824", 0));
    assert_eq!(line(&events, "oom_kill "), kernel);
    // A run that ended so says so; the next one does not.
    machine.create(&json!({
        "name": "swollen", "image": "busybox", "limits": {"memory": 16 << 20}, "command": TAKE,
    }));
    let end = |machine: &mut Machine| {
        wait_for("its end", SOON, || {
            Some(machine.look("swollen")).filter(|container| container["state"] == "exited")
        })
    };
    let ended = end(machine);
    assert_eq!(
        (&ended["oom_killed"], &ended["exit_code"]),
        (&json!(true), &json!(137))
    );
    machine
        .admin()
        .patch("/api/v1/containers/swollen", &more)
        .ok();
    machine.admin().act("/api/v1/containers/swollen/start").ok();
    let ended = end(machine);
    assert_eq!(
        (&ended["oom_killed"], &ended["exit_code"]),
        (&json!(false), &json!(0))
    );
    machine.admin().delete("/api/v1/containers/swollen").ok();
}

fn counted(machine: &mut Machine) {
    let slow = json!({"limits": {"cpus": 0.1}});
    machine.admin().patch(CHANGING, &slow).ok();
    let (_, code) = machine.run(
        "changing",
        &["sh", "-c", "i=0; while [ $i -lt 500 ]; do i=$((i+1)); done"],
    );
    assert_eq!(code, 0);
    let group = group(&machine.look("changing"));
    let stats = machine.admin().get(&format!("{CHANGING}/stats")).ok();
    for (part, names) in [
        (
            "cpu",
            &["usage_ns", "percent", "throttled_ns", "limit_cpus"][..],
        ),
        ("memory", &["used", "cache", "peak", "limit", "oom_kills"]),
        ("pids", &["count", "limit"]),
    ] {
        for name in names {
            let value = &stats[part][name];
            // Debian 12's kernel counts the peak too (memory.peak, Linux 5.19).
            assert!(value.is_number(), "{part}.{name} is {value}: {stats}");
        }
    }
    assert_eq!(stats["memory"]["limit"], 128 << 20);
    assert_eq!(stats["pids"]["limit"], 41);
    let near = |told: &Value, counted: u64| {
        let told = told.as_u64().expect("a number");
        assert!(told > 0 && told <= counted, "{told} of {counted}: {stats}");
    };
    let usage = format!("{group}/cpu.stat");
    near(
        &stats["cpu"]["usage_ns"],
        line(&usage, "usage_usec ") * 1000,
    );
    near(
        &stats["cpu"]["throttled_ns"],
        line(&usage, "throttled_usec ") * 1000,
    );
    let peak: u64 = read(&format!("{group}/memory.peak"))
        .parse()
        .expect("a number");
    near(&stats["memory"]["peak"], peak);
}

/// What all groups outside of Porthole's slice have, with the slice itself and its service.
fn snapshot() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut below = vec![GROUPS.to_owned()];
    while let Some(group) = below.pop() {
        for name in FILES {
            let path = format!("{group}/{name}");
            // The first group has none of them, and a service may have gone.
            if let Ok(text) = std::fs::read_to_string(&path) {
                all.insert(path, text.trim_end().to_owned());
            }
        }
        let entries = std::fs::read_dir(&group).into_iter().flatten().flatten();
        below.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| format!("{group}/{}", entry.file_name().to_string_lossy()))
                .filter(|path| !path.starts_with("/sys/fs/cgroup/porthole.slice/porthole-")),
        );
    }
    all
}

fn others(machine: &mut Machine) {
    machine
        .admin()
        .delete(&format!("{CHANGING}?force=true"))
        .ok();
    let (before, after) = (std::mem::take(&mut machine.others), snapshot());
    let mut compared = 0;
    for (path, value) in before.iter().filter(|(path, _)| Path::new(path).exists()) {
        assert_eq!(after.get(path), Some(value), "{path}");
        compared += 1;
    }
    assert!(compared > 50, "{compared} files: {before:?}");
    let slice = format!("{GROUPS}/porthole.slice");
    for name in ["memory.max", "memory.swap.max", "pids.max"] {
        assert_eq!(
            read(&format!("{slice}/{name}")),
            "max",
            "{name} of the slice"
        );
    }
    assert!(
        before.contains_key(&format!("{slice}/porthole.service/pids.max")),
        "{before:?}"
    );
}
