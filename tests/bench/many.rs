//! Many sessions at once: most of them idle, some in flood, and one in which somebody types.

use std::time::{Duration, Instant};

use anyhow::Context;
use porthole_tests::host;
use porthole_tests::instance::text;
use serde_json::json;

use crate::Bench;
use crate::echo::{ECHOING, FLOODING, Flood, echoes};
use crate::http::Connection;
use crate::memory::shown;
use crate::report::spread;
use crate::viewer::Viewer;

/// Sessions in which nothing happens, and those in flood.
const IDLE: usize = 500;
const FLOODS: usize = 20;
/// A container's /dev/pts has sixteen terminals.
const PER_CONTAINER: usize = 15;
/// An account has at most 32 sessions.
const PER_ACCOUNT: usize = 2 * PER_CONTAINER;

/// Megabytes a second over all floods.
const SPEED: f64 = 110.0;
/// Median and 99th percentile of a key's echo, in milliseconds.
const ECHO: (f64, f64) = (0.5, 5.0);
/// What an idle session may cost the server.
const PER_SESSION: u64 = 64 << 10;
/// How many threads the server may have, whatever the number of sessions.
const THREADS: u32 = 32;

pub(crate) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let server = bench.porthole.server_pid();
    let floor = bench.floor.many(FLOODS, 4)? / 1e6;
    let mut accounts = 0;
    let mut open = |count: usize, script: &str| -> anyhow::Result<Vec<Viewer>> {
        let mut viewers = Vec::new();
        let mut place = None;
        for at in 0..count {
            if at % PER_ACCOUNT == 0 {
                accounts += 1;
                let account = bench.porthole.account(&format!("person{accounts}"), "user");
                place = Some((Connection::open(&account)?, account, String::new()));
            }
            let (api, account, container) = place.as_mut().context("an account")?;
            if at % PER_CONTAINER == 0 {
                // Floods are to be as fast as the machine lets them be.
                let limits = json!({"cpus": 2.0});
                let command = ["sleep", "infinity"];
                let spec = json!({"image": "busybox", "command": command, "limits": limits});
                *container = text(&api.send("POST", "/api/v1/containers", Some(&spec))?["id"]);
            }
            let path = format!("/api/v1/containers/{container}/sessions");
            let body = json!({"command": ["sh", "-c", script]});
            let session = text(&api.send("POST", &path, Some(&body))?["id"]);
            viewers.push(Viewer::attach(account, &session)?);
        }
        Ok(viewers)
    };
    let mut typing = open(1, ECHOING)?.pop().context("one session")?;
    typing.line()?;
    let before = host::resident(server);
    let begun = Instant::now();
    let idle = open(IDLE, "read x")?;
    let took = begun.elapsed();
    std::thread::sleep(Duration::from_millis(500));
    let each = host::resident(server).saturating_sub(before) / IDLE as u64;
    let floods: Vec<Flood> = open(FLOODS, FLOODING)?
        .into_iter()
        .map(Flood::begin)
        .collect();

    std::thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    let found = echoes(&mut typing, 200, 20)?;
    let spent = begun.elapsed().as_secs_f64();
    let threads = host::status(server)
        .get("Threads")
        .and_then(|n| n.parse().ok());
    let total: u64 = floods.into_iter().map(Flood::end).sum();
    // Begun a second earlier than the clock.
    let speed = total as f64 / 1e6 / (spent + 1.0);

    let report = &mut bench.report;
    let what = format!("{IDLE} idle sessions opened");
    report.line(
        &what,
        None,
        format!("{:.1} s", took.as_secs_f64()),
        None,
        None,
    );
    let bar = format!("≤ {}", shown(PER_SESSION));
    report.number(
        "  memory of each in the server",
        shown(each),
        &bar,
        each <= PER_SESSION,
    );
    let what = format!("beside {FLOODS} in flood: output in all");
    let bar = (format!("≥ {SPEED} MB/s"), speed >= SPEED);
    let show = |speed: f64| format!("{speed:.0} MB/s");
    report.line(
        &what,
        Some(show(floor)),
        show(speed),
        Some(speed / floor),
        Some(bar),
    );
    let met = found.median() <= ECHO.0 && found.quantile(0.99) <= ECHO.1;
    let bar = format!("≤ {}/{} ms", ECHO.0, ECHO.1);
    report.number("  key echo (p50/p99)", spread(&found), &bar, met);
    let threads = threads.unwrap_or(u32::MAX);
    let bar = format!("≤ {THREADS}");
    report.number(
        "  threads of the server",
        threads.to_string(),
        &bar,
        threads <= THREADS,
    );
    drop(idle);
    remove_all(bench)
}

/// Removes every container: the next measurement wants a machine at rest.
fn remove_all(bench: &Bench) -> anyhow::Result<()> {
    let mut api = Connection::open(bench.porthole.admin())?;
    let list = api.send("GET", "/api/v1/containers?limit=1000", None)?;
    for container in list["items"].as_array().into_iter().flatten() {
        if container["engine"] == "porthole" {
            api.remove(&text(&container["id"]))?;
        }
    }
    Ok(())
}
