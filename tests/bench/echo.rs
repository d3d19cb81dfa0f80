//! How long a typed key takes to come back: alone, and beside a session in flood.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use porthole_tests::instance::text;
use serde_json::json;

use crate::Bench;
use crate::floor::BUSYBOX;
use crate::report::{Samples, spread};
use crate::viewer::Viewer;

/// What echo may add to the floor's median when nothing else happens, in milliseconds.
const ADDED: f64 = 0.04;
/// Median and 99th percentile beside a flood, in milliseconds.
const FLOOD: (f64, f64) = (0.25, 0.6);

/// What it is called, how many, and milliseconds before each.
pub(crate) type Pace = (&'static str, usize, u64);

/// Keys typed at once and with pauses as a person makes.
pub(crate) const PACES: [Pace; 2] = [("back to back", 400, 0), ("after 100 ms", 40, 100)];

/// What brings each byte back as it is.
pub(crate) const ECHOING: &str = "stty raw -echo; echo; exec cat";
/// What writes without an end.
pub(crate) const FLOODING: &str = "exec dd if=/dev/zero bs=64k 2>/dev/null";

pub(crate) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let container = bench.porthole.sleeper();
    let session = bench
        .porthole
        .session(&container, &json!({"command": ["sh", "-c", ECHOING]}));
    let mut viewer = Viewer::attach(bench.porthole.admin(), &text(&session["id"]))?;
    viewer.line()?;
    for pace in PACES {
        idle(bench, &mut viewer, "key echo, idle", pace)?;
    }
    let spec = json!({"image": "busybox", "command": ["sleep", "infinity"]});
    let other = bench.porthole.create(&spec);
    for (pace, times, gap) in PACES {
        let arguments = [
            "echo",
            &times.to_string(),
            &gap.to_string(),
            BUSYBOX,
            "flood",
        ];
        let raw = bench.floor.times(&arguments)?;
        let flood = bench
            .porthole
            .session(&other, &json!({"command": ["sh", "-c", FLOODING]}));
        let flood = Flood::begin(Viewer::attach(bench.porthole.admin(), &text(&flood["id"]))?);
        std::thread::sleep(Duration::from_millis(300));
        let found = echoes(&mut viewer, times, gap)?;
        flood.end();
        let met = found.median() <= FLOOD.0 && found.quantile(0.99) <= FLOOD.1;
        let bar = (format!("≤ {}/{} ms", FLOOD.0, FLOOD.1), met);
        let ratio = Some(found.median() / raw.median());
        let what = format!("key echo, beside a flood, {pace} (p50/p99)");
        bench
            .report
            .line(&what, Some(spread(&raw)), spread(&found), ratio, Some(bar));
        // The flood goes on without a viewer; it must end with its session.
        for session in bench.porthole.admin().get("/api/v1/sessions").ok()["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|session| session["container"] == other["id"] && session["state"] == "running")
        {
            let path = format!("/api/v1/sessions/{}", text(&session["id"]));
            bench.porthole.admin().delete(&path);
        }
    }
    for container in [&container, &other] {
        let path = format!("/api/v1/containers/{}?force=true", text(&container["id"]));
        bench.porthole.admin().delete(&path);
    }
    Ok(())
}

/// Keys into a session that brings them back while nothing else happens.
pub(crate) fn idle(
    bench: &mut Bench,
    viewer: &mut Viewer,
    what: &str,
    (pace, times, gap): Pace,
) -> anyhow::Result<()> {
    let arguments = ["echo", &times.to_string(), &gap.to_string(), BUSYBOX];
    let raw = bench.floor.times(&arguments)?;
    let found = echoes(viewer, times, gap)?;
    let met = found.median() <= raw.median() + ADDED;
    let bar = (format!("≤ raw + {ADDED} ms p50"), met);
    let ratio = Some(found.median() / raw.median());
    let what = format!("{what}, {pace} (p50/p99)");
    let raw = Some(spread(&raw));
    bench
        .report
        .line(&what, raw, spread(&found), ratio, Some(bar));
    Ok(())
}

/// Types so many keys.
pub(crate) fn echoes(viewer: &mut Viewer, times: usize, gap: u64) -> anyhow::Result<Samples> {
    let mut found = Vec::with_capacity(times);
    for _ in 0..times {
        std::thread::sleep(Duration::from_millis(gap));
        found.push(viewer.echo()?);
    }
    Ok(Samples::of(found))
}

/// A viewer that takes a flood on a thread of its own.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Flood {
    /// Begins to take it.
    pub(crate) fn begin(mut viewer: Viewer) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) && viewer.next().is_ok() {}
            viewer.seq
        });
        Self { stop, thread }
    }

    /// Hangs up; how many bytes came.
    pub(crate) fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}
