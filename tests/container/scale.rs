//! Many containers: one after the other, and at once.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use porthole_tests::instance::text;
use porthole_tests::{Instance, PATIENCE, host, wait_for};
use serde_json::{Value, json};

/// Made and removed before anything is counted: what is kept once is there then.
const FIRST: usize = 100;
/// Made and removed between the two counts.
const THEN: usize = 1000;
/// At once.
const TOGETHER: usize = 200;
/// What comes and goes by itself, connections among it.
const FEW: usize = 5;
/// What serve, keeper and server may each have for themselves more than before, in KiB: in the
/// privileged ones a leak of half a kilobyte for each would show. The server remembers what has
/// ended for who asks late, up to 8 MiB.
const MORE: [u64; 3] = [500, 500, 10 << 10];

/// What grows where something is left.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    descriptors: [usize; 3],
    mounts: usize,
    groups: usize,
    children: usize,
    files: usize,
}

fn entries(path: impl AsRef<Path>) -> usize {
    fs::read_dir(path).map_or(0, Iterator::count)
}

/// Serve, keeper and server.
fn own(porthole: &Instance) -> [i32; 3] {
    [
        porthole.serve_pid(),
        porthole.keeper_pid(),
        porthole.server_pid(),
    ]
}

impl Held {
    /// `base` is the name of the group of all its containers.
    fn by(porthole: &Instance, base: &str) -> Self {
        let keeper = porthole.keeper_pid();
        let mounts = fs::read_to_string(format!("/proc/{keeper}/mountinfo")).expect("mounts");
        let root = porthole.root();
        let files = ["keeper/containers", "keeper/sessions", "server/journals"];
        Self {
            descriptors: own(porthole).map(|pid| entries(format!("/proc/{pid}/fd"))),
            mounts: mounts.lines().count(),
            groups: host::cgroups(base).iter().map(entries).sum(),
            children: host::children(keeper).len(),
            files: entries(porthole.run())
                + files
                    .iter()
                    .map(|name| entries(root.join(name)))
                    .sum::<usize>(),
        }
    }
}

impl Held {
    /// How many more than then, of whatever has grown most.
    fn more_than(&self, then: &Self) -> usize {
        let numbers = |held: &Self| {
            let [serve, keeper, server] = held.descriptors;
            let rest = [held.mounts, held.groups, held.children, held.files];
            [&[serve, keeper, server][..], &rest].concat()
        };
        std::iter::zip(numbers(self), numbers(then))
            .map(|(now, then)| now.saturating_sub(then))
            .max()
            .unwrap_or_default()
    }
}

/// A process's memory of its own, in KiB.
fn anonymous(pid: i32) -> u64 {
    let value = host::status(pid)["RssAnon"].clone();
    let number = value.trim_end_matches("kB").trim();
    number.parse().expect("a number of kB")
}

fn base(container: &Value) -> String {
    let group = text(&container["cgroup"]);
    let base = group.split('/').find(|part| part.starts_with("porthole-"));
    base.expect("a group").to_owned()
}

fn spec() -> Value {
    json!({"image": "busybox", "command": ["sleep", "infinity"]})
}

fn remove(porthole: &Instance, container: &Value) {
    let path = format!("/api/v1/containers/{}?force=true", text(&container["id"]));
    let answer = porthole.admin().delete(&path);
    assert_eq!(answer.status, 204, "{answer}");
}

/// Makes and removes so many, one after the other, and how long each took.
fn in_a_row(porthole: &Instance, count: usize) -> Vec<Duration> {
    (0..count)
        .map(|_| {
            let begun = Instant::now();
            remove(porthole, &porthole.create(&spec()));
            begun.elapsed()
        })
        .collect()
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

#[test]
fn a_thousand_made_and_removed_leave_nothing_to_carry() {
    let porthole = Instance::start();
    let one = porthole.create(&spec());
    let base = base(&one);
    remove(&porthole, &one);
    in_a_row(&porthole, FIRST);
    let before = Held::by(&porthole, &base);
    let memory = own(&porthole).map(anonymous);
    let times = in_a_row(&porthole, THEN);
    let waiting = Instant::now();
    let mut now = Held::by(&porthole, &base);
    while now.more_than(&before) > FEW {
        assert!(waiting.elapsed() < PATIENCE, "{now:?} after {before:?}");
        now = Held::by(&porthole, &base);
    }
    let grown: Vec<_> = std::iter::zip(own(&porthole).map(anonymous), memory)
        .map(|(now, then)| now.saturating_sub(then))
        .collect();
    println!(
        "{THEN} made and removed: the first hundred took {:?} each, the last {:?}; serve, keeper and server have grown by {grown:?} KiB",
        median(&times[..100]),
        median(&times[THEN - 100..]),
    );
    let kept = std::iter::zip(&grown, &MORE).all(|(kib, most)| kib < most);
    assert!(kept, "{grown:?}");
}

#[test]
fn two_hundred_run_at_once() {
    let porthole = Instance::start();
    let nothing = Held::by(&porthole, "porthole-nothing");
    let keeper = porthole.keeper_pid();
    let memory = || -> u64 {
        let monitors = host::children(keeper);
        monitors.into_iter().chain([keeper]).map(anonymous).sum()
    };
    let first = porthole.create(&spec());
    let before = memory();
    let all: Vec<_> = (0..TOGETHER).map(|_| porthole.create(&spec())).collect();
    let each = (memory() - before) / TOGETHER as u64;
    let answer = porthole
        .admin()
        .get("/api/v1/containers?own=true&limit=1000")
        .ok();
    let listed = answer["items"].as_array().expect("a list");
    assert_eq!(listed.len(), TOGETHER + 1);
    assert!(listed.iter().all(|one| one["state"] == "running"));
    println!("{TOGETHER} at once: {each} KiB of the keeper and its monitors for each");
    let base = base(&first);
    let running = Held::by(&porthole, &base);
    assert!(
        running.more_than(&nothing) >= TOGETHER,
        "what they hold is seen: {running:?}"
    );
    let last = all.last().expect("one");
    assert_eq!(porthole.sh(last, "echo there").trim(), "there");
    for one in all.iter().chain([&first]) {
        remove(&porthole, one);
    }
    wait_for("everything to be gone", PATIENCE, || {
        (Held::by(&porthole, &base).more_than(&nothing) <= FEW).then_some(())
    });
}
