//! Limits, read back where the kernel keeps them and then run into.

use std::fs;

use porthole_tests::instance::{pid, text};
use porthole_tests::{Instance, host};
use serde_json::json;

/// A file of the container's group, by its name in v1 or in v2.
fn group_file(id: &str, names: &[&str]) -> Option<String> {
    host::cgroups(id)
        .iter()
        .flat_map(|group| names.iter().map(move |name| group.join(name)))
        .find_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
}

fn open_files(pid: i32) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/limits"))
        .expect("limits")
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .expect("a number")
}

#[test]
fn limits_by_default_and_as_asked() {
    let porthole = Instance::start();
    let memory = ["memory.limit_in_bytes", "memory.max"];
    let pids = ["pids.max"];
    let plain = porthole.sleeper();
    let id = text(&plain["id"]);
    assert_eq!(group_file(&id, &memory).as_deref(), Some("536870912"));
    assert_eq!(group_file(&id, &pids).as_deref(), Some("256"));
    assert_eq!(open_files(pid(&plain["pid"])), 1024);
    let cores = |id: &str| {
        if let Some(both) = group_file(id, &["cpu.max"]) {
            let mut words = both.split(' ').map(|n| n.parse::<f64>().expect("a number"));
            return words.next().expect("quota") / words.next().expect("period");
        }
        let read = |name| {
            group_file(id, &[name])
                .and_then(|n| n.parse::<f64>().ok())
                .expect("a number")
        };
        read("cpu.cfs_quota_us") / read("cpu.cfs_period_us")
    };
    assert!((cores(&id) - 1.0).abs() < 0.01, "{}", cores(&id));

    let asked = porthole.create(&json!({
        "image": "busybox", "command": ["sleep", "infinity"],
        "limits": {"memory": 67_108_864, "cpus": 0.25, "pids": 20},
    }));
    let id = text(&asked["id"]);
    assert_eq!(group_file(&id, &memory).as_deref(), Some("67108864"));
    assert_eq!(group_file(&id, &pids).as_deref(), Some("20"));
    assert!((cores(&id) - 0.25).abs() < 0.01, "{}", cores(&id));
    assert_eq!(asked["limits"]["memory"], 67_108_864, "{asked}");
    assert_eq!(asked["limits"]["pids"], 20, "{asked}");
}

#[test]
fn too_much_memory_ends_the_process_that_took_it() {
    let porthole = Instance::start();
    let spec = |memory: u64| {
        json!({
            "image": "host", "command": ["sleep", "infinity"], "limits": {"memory": memory},
        })
    };
    let take = ["perl", "-e", "my $x = 'x' x (150 << 20); print length $x"];
    let large = porthole.create(&spec(512 << 20));
    assert_eq!(
        porthole.exec(&large, &take).stdout,
        "157286400",
        "the control: there is room"
    );
    let small = porthole.create(&spec(64 << 20));
    assert_eq!(porthole.exec(&small, &take).exit.code, 137);
    assert_eq!(porthole.container(&text(&small["id"]))["state"], "running");
}

#[test]
fn too_many_processes_are_refused() {
    let porthole = Instance::start();
    let fork = "i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done 2>/dev/null; echo all";
    let spec = |pids: u32| {
        json!({
            "image": "busybox", "command": ["sleep", "infinity"], "limits": {"pids": pids},
        })
    };
    let wide = porthole.create(&spec(100));
    assert_eq!(
        porthole.sh(&wide, fork),
        "all",
        "the control: there is room"
    );
    let narrow = porthole.create(&spec(20));
    assert!(!porthole.sh(&narrow, fork).ends_with("all"));
    assert!(host::processes_in_cgroup(&text(&narrow["id"])).len() <= 20);
}

#[test]
fn shared_memory_ends_at_64_mib() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let write = |size: u32| {
        format!(
            "head -c {size}m /dev/zero > /dev/shm/x 2>/dev/null && echo fits || echo full; rm -f /dev/shm/x"
        )
    };
    assert_eq!(porthole.sh(&container, &write(60)), "fits");
    assert_eq!(porthole.sh(&container, &write(70)), "full");
}

#[test]
fn a_process_of_the_host_is_not_moved() {
    let own = fs::read_to_string("/proc/self/cgroup").expect("cgroup");
    let porthole = Instance::start();
    let container = porthole.sleeper();
    porthole.sh(&container, "true");
    let id = text(&container["id"]);
    assert_eq!(
        fs::read_to_string("/proc/self/cgroup").expect("cgroup"),
        own
    );
    let keeper =
        fs::read_to_string(format!("/proc/{}/cgroup", porthole.keeper_pid())).expect("cgroup");
    assert!(!keeper.contains(&id), "{keeper}");
}
