//! What Porthole's own processes take: memory at rest, and a viewer that stops reading.

use std::fs;
use std::time::Duration;

use porthole_tests::instance::text;
use porthole_tests::{Instance, host};
use serde_json::json;

use crate::Bench;
use crate::echo::FLOODING;
use crate::viewer::Viewer;

/// The server's memory when nothing happens, in bytes.
const SERVER: u64 = 25 << 20;
/// The keeper's.
const KEEPER: u64 = 3 << 20;
/// What of its memory a monitor has for itself, shared pages divided among those who share them.
pub(crate) const MONITOR: u64 = 300 << 10;
/// What a viewer that does not read may make the server grow by.
const UNREAD: u64 = 4 << 20;

/// What Porthole's own processes have cost so far; those in containers are not among them.
pub(crate) struct Costs {
    /// Seconds of CPU time.
    pub(crate) cpu: f64,
}

impl Costs {
    /// Of this instance's.
    pub(crate) fn of(porthole: &Instance) -> Self {
        let cpu = own_processes(porthole)
            .iter()
            .map(|pid| cpu_seconds(*pid))
            .sum();
        Self { cpu }
    }
}

/// Serve and everything below it whose program is Porthole's; containers have another environment.
pub(crate) fn own_processes(porthole: &Instance) -> Vec<i32> {
    let mark = format!("PORTHOLE_RUN={}", porthole.run().display());
    let mut found = host::processes();
    found.retain(|pid| *pid == porthole.serve_pid() || host::environment(*pid).contains(&mark));
    found
}

fn cpu_seconds(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |at: usize| -> f64 {
        after
            .split_whitespace()
            .nth(at)
            .and_then(|word| word.parse().ok())
            .unwrap_or_default()
    };
    // User and system time are fields 14 and 15 of proc_pid_stat(5).
    (ticks(11) + ticks(12)) / rustix::param::clock_ticks_per_second() as f64
}

/// Bytes as they are shown.
pub(crate) fn shown(bytes: u64) -> String {
    if bytes < 1 << 20 {
        format!("{:.0} KiB", bytes as f64 / 1024.0)
    } else {
        format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
    }
}

pub(crate) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let server = bench.porthole.server_pid();
    let mut line = |what: &str, bytes: u64, most: u64| {
        let bar = format!("≤ {}", shown(most));
        bench.report.number(what, shown(bytes), &bar, bytes <= most);
    };
    line("server, idle (resident)", host::resident(server), SERVER);
    line(
        "keeper, idle (resident)",
        host::resident(bench.porthole.keeper_pid()),
        KEEPER,
    );

    let container = bench.porthole.sleeper();
    let session = bench
        .porthole
        .session(&container, &json!({"command": ["sh", "-c", "read x"]}));
    let _viewer = Viewer::attach(bench.porthole.admin(), &text(&session["id"]))?;
    let held = session["host_pid"]
        .as_i64()
        .and_then(|pid| i32::try_from(pid).ok());
    // It has just begun: how it is from then on is what counts.
    std::thread::sleep(Duration::from_millis(500));
    if let Some(monitor) = held.and_then(host::parent) {
        line(
            "monitor of a session (proportional)",
            host::proportional(monitor),
            MONITOR,
        );
    }

    let flood = bench
        .porthole
        .session(&container, &json!({"command": ["sh", "-c", FLOODING]}));
    let stuck = Viewer::attach(bench.porthole.admin(), &text(&flood["id"]))?;
    let before = host::resident(server);
    std::thread::sleep(Duration::from_secs(3));
    let grown = host::resident(server).saturating_sub(before);
    line("a viewer that stops reading, after 3 s", grown, UNREAD);
    drop(stuck);
    let path = format!("/api/v1/containers/{}?force=true", text(&container["id"]));
    bench.porthole.admin().delete(&path);
    Ok(())
}
