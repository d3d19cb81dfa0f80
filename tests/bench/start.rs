//! How long until something runs: a container, a command in one, a shell's first prompt.
//!
//! Back to back, and after a quiet 100 ms as a person's click comes: caches and the kernel's
//! timers behave otherwise then.

use std::time::{Duration, Instant};

use anyhow::Context;
use porthole_tests::instance::text;
use serde_json::{Value, json};

use crate::Bench;
use crate::floor::BUSYBOX;
use crate::http::Connection;
use crate::report::{Samples, ms};
use crate::viewer::Viewer;

/// How often, and after how long a pause each.
const PACES: [(&str, usize, u64); 2] = [("back to back", 40, 0), ("after 100 ms", 15, 100)];

/// What a container may cost, in times the floor.
const CREATE: f64 = 3.0;
/// What a command may cost in Porthole's own processes, in milliseconds.
const EXEC_MS: f64 = 1.5;
/// What a prompt may cost, in times the floor and in milliseconds.
const PROMPT: f64 = 1.5;
const PROMPT_MS: f64 = 4.0;

pub(crate) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let mut api = Connection::open(bench.porthole.admin())?;
    // The first of each kind pays for what is set up once.
    containers(&mut api, 1, 0)?;
    // Whoever asks for something is written down, durably, before it is done.
    for (pace, times, gap) in PACES {
        let root = bench.porthole.root().display().to_string();
        let floor = bench
            .floor
            .times(&["sync", &times.to_string(), &gap.to_string(), &root])?;
        let what = format!("a durable write here, {pace}");
        let none = "–".to_owned();
        bench
            .report
            .line(&what, Some(ms(floor.median())), none, None, None);
    }
    for (pace, times, gap) in PACES {
        let floor =
            bench
                .floor
                .pairs(&["create", &times.to_string(), &gap.to_string(), BUSYBOX])?;
        let found = containers(&mut api, times, gap)?;
        let lines = [
            ("create to running", floor.0, found.running),
            ("create, start, kill, remove", floor.1, found.removed),
        ];
        for (what, floor, found) in lines {
            bench
                .report
                .times(&format!("{what}, {pace}"), &floor, &found, CREATE);
        }
        if let Some(within) = found.within {
            let what = format!("  of that in keeper and container, {pace}");
            bench
                .report
                .line(&what, None, ms(within.median()), None, None);
        }
    }
    let container = bench.porthole.sleeper();
    let id = text(&container["id"]);
    let pid = container["pid"].to_string();
    for (pace, times, gap) in PACES {
        let arguments = [&times.to_string(), &gap.to_string(), &pid];
        let floor = bench
            .floor
            .times(&[&["exec"], &arguments.map(String::as_str)[..]].concat())?;
        let found = commands(bench, &mut api, &id, times, gap)?;
        for (what, found) in [("answered", &found.running), ("ended", &found.removed)] {
            let ratio = found.median() / floor.median();
            let what = format!("exec true, {what}, {pace}");
            let raw = Some(ms(floor.median()));
            bench
                .report
                .line(&what, raw, ms(found.median()), Some(ratio), None);
        }
        if let Some(within) = found.within {
            let what = format!("  exec in keeper and container, {pace}");
            let ratio = within.median() / floor.median();
            let bar = (format!("≤ {EXEC_MS} ms"), within.median() <= EXEC_MS);
            let raw = Some(ms(floor.median()));
            bench
                .report
                .line(&what, raw, ms(within.median()), Some(ratio), Some(bar));
        }
    }
    for (pace, times, gap) in PACES {
        let arguments = [&times.to_string(), &gap.to_string(), &pid];
        let floor = bench
            .floor
            .times(&[&["prompt"], &arguments.map(String::as_str)[..]].concat())?;
        let found = prompts(bench, &mut api, &id, times, gap)?;
        let ratio = found.median() / floor.median();
        let met = ratio <= PROMPT && found.median() <= PROMPT_MS;
        let bar = (format!("≤ {PROMPT}× raw and ≤ {PROMPT_MS} ms"), met);
        let what = format!("open and connect to first prompt, {pace}");
        let raw = Some(ms(floor.median()));
        bench
            .report
            .line(&what, raw, ms(found.median()), Some(ratio), Some(bar));
    }
    api.send(
        "DELETE",
        &format!("/api/v1/containers/{id}?force=true"),
        None,
    )?;
    Ok(())
}

/// What was measured of one kind of thing.
struct Found {
    /// Until it was answered to be running.
    running: Samples,
    /// Until it was over and gone.
    removed: Samples,
    /// What Porthole's privileged processes wrote down of their own calls, from the first to the
    /// program's start.
    within: Option<Samples>,
}

fn containers(api: &mut Connection, times: usize, gap: u64) -> anyhow::Result<Found> {
    let spec = json!({"image": "busybox", "command": ["sleep", "infinity"]});
    let (mut running, mut removed, mut within) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..times {
        std::thread::sleep(Duration::from_millis(gap));
        let begun = Instant::now();
        let container = api.send("POST", "/api/v1/containers", Some(&spec))?;
        let until_running = begun.elapsed();
        let id = text(&container["id"]);
        within.extend(traced(api, &format!("/api/v1/containers/{id}/trace")));
        let begun = Instant::now();
        api.send(
            "DELETE",
            &format!("/api/v1/containers/{id}?force=true"),
            None,
        )?;
        running.push(until_running);
        removed.push(until_running + begun.elapsed());
    }
    Ok(Found {
        running: Samples::of(running),
        removed: Samples::of(removed),
        within: (!within.is_empty()).then(|| Samples::of(within)),
    })
}

/// How long the calls of a trace took together.
fn traced(api: &mut Connection, path: &str) -> Option<Duration> {
    let trace = api.send("GET", path, None).ok()?;
    let steps = trace["steps"].as_array()?;
    let at = |step: &Value| step["at_us"].as_u64();
    let last = steps.iter().filter_map(at).max()?;
    let first = steps.iter().filter_map(at).min()?;
    Some(Duration::from_micros(last - first))
}

fn commands(
    bench: &Bench,
    api: &mut Connection,
    container: &str,
    times: usize,
    gap: u64,
) -> anyhow::Result<Found> {
    let path = format!("/api/v1/containers/{container}/sessions");
    let spec = json!({"command": ["true"], "tty": false});
    let (mut running, mut ended, mut within) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..times {
        std::thread::sleep(Duration::from_millis(gap));
        let begun = Instant::now();
        let session = text(&api.send("POST", &path, Some(&spec))?["id"]);
        running.push(begun.elapsed());
        let code = Viewer::attach(bench.porthole.admin(), &session)?.end()?;
        ended.push(begun.elapsed());
        anyhow::ensure!(code == 0, "true ended with {code}");
        within.extend(traced(api, &format!("/api/v1/sessions/{session}/trace")));
    }
    Ok(Found {
        running: Samples::of(running),
        removed: Samples::of(ended),
        within: (!within.is_empty()).then(|| Samples::of(within)),
    })
}

fn prompts(
    bench: &Bench,
    api: &mut Connection,
    container: &str,
    times: usize,
    gap: u64,
) -> anyhow::Result<Samples> {
    let path = format!("/api/v1/containers/{container}/sessions");
    let spec = json!({"command": ["sh"], "tty": true});
    let mut found = Vec::new();
    for _ in 0..times {
        std::thread::sleep(Duration::from_millis(gap));
        let begun = Instant::now();
        let session = text(&api.send("POST", &path, Some(&spec))?["id"]);
        let mut viewer = Viewer::attach(bench.porthole.admin(), &session)?;
        viewer.output().context("the prompt")?;
        found.push(begun.elapsed());
        drop(viewer);
        api.send("DELETE", &format!("/api/v1/sessions/{session}"), None)?;
    }
    Ok(Samples::of(found))
}
