//! How soon a change on the host is told to who looks.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use porthole_discovery::{Settings, scan_once};
use porthole_tests::Events;
use porthole_tests::instance::{pid, signal, text};
use rustix::process::Signal;
use serde_json::json;

use crate::Bench;
use crate::floor::BUSYBOX;
use crate::report::{Samples, ms, spread};

/// From the change to the event, in milliseconds.
const MOST: f64 = 200.0;
/// So many processes the machine is filled up to.
const PROCESSES: usize = 3000;
/// Every so many milliseconds one is born and one ends: 200 changes a second.
const GAP: u32 = 10;
/// How many more are timed among them.
const CHANGES: usize = 200;

pub(crate) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let mut events = Events::open(bench.porthole.admin(), "/api/v1/events");
    let mut found = Vec::new();
    for _ in 0..10 {
        let container = bench.porthole.sleeper();
        let id = text(&container["id"]);
        let begun = Instant::now();
        signal(pid(&container["pid"]), Signal::KILL);
        events.next(Duration::from_secs(10), |event| {
            event.name == "container" && event.data.contains(&id) && event.data.contains("exited")
        });
        found.push(begun.elapsed());
        bench
            .porthole
            .admin()
            .delete(&format!("/api/v1/containers/{id}?force=true"));
    }
    let most = Samples::of(found).quantile(1.0);
    let what = "a container killed from outside, told (worst)";
    bench
        .report
        .number(what, ms(most), &format!("≤ {MOST} ms"), most <= MOST);

    let container = bench.porthole.sleeper();
    let mut found = Vec::new();
    for _ in 0..10 {
        let spec = json!({"command": ["sleep", "1000"], "tty": false});
        let session = bench.porthole.session(&container, &spec);
        let id = text(&session["id"]);
        let begun = Instant::now();
        signal(pid(&session["host_pid"]), Signal::KILL);
        events.next(Duration::from_secs(10), |event| {
            event.name == "session" && event.data.contains(&id) && event.data.contains("exited")
        });
        found.push(begun.elapsed());
    }
    let most = Samples::of(found).quantile(1.0);
    let what = "a session's process killed, told (worst)";
    bench
        .report
        .number(what, ms(most), &format!("≤ {MOST} ms"), most <= MOST);
    let path = format!("/api/v1/containers/{}?force=true", text(&container["id"]));
    bench.porthole.admin().delete(&path);
    drop(events);
    beside_churn(bench)
}

/// Processes that come and go on a crowded host: how soon they are told, and what that costs.
fn beside_churn(bench: &mut Bench) -> anyhow::Result<()> {
    let there = scan_once(&Settings::new(None))?.processes();
    let crowd = PROCESSES.saturating_sub(there).max(1);
    let _crowd = bench.floor.crowd(crowd)?;
    let _churn = bench.floor.churn(GAP)?;
    let mut events = Events::open(bench.porthole.admin(), "/api/v1/events");
    let server = bench.porthole.server_pid();
    let (before, begun) = (ran(server)?, Instant::now());
    let mut found = Vec::new();
    for _ in 0..CHANGES {
        let begun = Instant::now();
        let mut child = Command::new(BUSYBOX)
            .args(["sleep", "1000"])
            .stdin(Stdio::null())
            .spawn()?;
        let told = format!("\"host_pid\":{},", child.id());
        events.next(Duration::from_secs(10), |event| {
            event.name == "process" && event.data.contains(&told)
        });
        found.push(begun.elapsed());
        child.kill()?;
        child.wait()?;
    }
    let share = (ran(server)? - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    let found = Samples::of(found);
    let what = format!("a process among {PROCESSES} born, an event (p50/p99)");
    let met = found.quantile(0.99) <= MOST;
    bench
        .report
        .number(&what, spread(&found), &format!("≤ {MOST} ms"), met);
    let what = "  the server meanwhile, 200 changes a second";
    let share = format!("{:.1} % of a core", share * 100.0);
    bench.report.line(what, None, share, None, None);
    Ok(())
}

/// How long a process has run on a processor.
fn ran(pid: i32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/task");
    let mut total = 0;
    for task in std::fs::read_dir(path)? {
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        total += text
            .split(' ')
            .next()
            .unwrap_or_default()
            .parse::<u64>()
            .unwrap_or(0);
    }
    Ok(Duration::from_nanos(total))
}
