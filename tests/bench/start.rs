//! How long until something runs: a container, a command in one, a shell's first prompt.
//!
//! Back to back, and after a quiet 100 ms as a person's click comes: caches and the kernel's
//! timers behave otherwise then.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use porthole_tests::Client;
use porthole_tests::instance::text;
use serde_json::{Value, json};

use crate::Bench;
use crate::http::Connection;
use crate::report::{Report, Samples, ms};
use crate::viewer::Viewer;

/// How often, and after how long a pause each.
pub(crate) const PACES: [(&str, usize, u64); 2] =
    [("back to back", 40, 0), ("after 100 ms", 15, 100)];

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
    containers(&mut api, 1, 0, &plain)?;
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
        let floor = bench.floor.create(times, gap, 1, None)?;
        let found = containers(&mut api, times, gap, &plain)?;
        made(&mut bench.report, pace, &floor, &found);
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
    api.remove(&id)
}

/// What was measured of one kind of thing.
pub(crate) struct Found {
    /// Until it was answered to be running.
    pub(crate) running: Samples,
    /// Until it was over and gone.
    pub(crate) removed: Samples,
    /// What Porthole's privileged processes wrote down of their own calls, from the first to the
    /// program's start.
    within: Option<Samples>,
}

/// The lines of containers, beside the floor's until it runs and until it is gone.
pub(crate) fn made(report: &mut Report, how: &str, floor: &(Samples, Samples), found: &Found) {
    let lines = [
        ("create to running", &floor.0, &found.running),
        ("create, start, kill, remove", &floor.1, &found.removed),
    ];
    for (what, floor, found) in lines {
        report.times(&format!("{what}, {how}"), floor, found, CREATE);
    }
    if let Some(within) = &found.within {
        let what = format!("  of that in keeper and container, {how}");
        let ratio = within.median() / floor.0.median();
        let raw = Some(ms(floor.0.median()));
        report.line(&what, raw, ms(within.median()), Some(ratio), None);
    }
}

fn plain(_: usize) -> Value {
    json!({"image": "busybox", "command": ["sleep", "infinity"]})
}

/// Makes and removes so many, each by the specification for its number.
pub(crate) fn containers(
    api: &mut Connection,
    times: usize,
    gap: u64,
    spec: &dyn Fn(usize) -> Value,
) -> anyhow::Result<Found> {
    let (mut running, mut removed, mut within) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..times {
        let spec = spec(number);
        std::thread::sleep(Duration::from_millis(gap));
        let begun = Instant::now();
        let container = api.send("POST", "/api/v1/containers", Some(&spec))?;
        let until_running = begun.elapsed();
        let id = text(&container["id"]);
        ensure!(container["state"] == "running", "{}", container["error"]);
        within.extend(traced(api, &format!("/api/v1/containers/{id}/trace")));
        let begun = Instant::now();
        api.remove(&id)?;
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
    let (mut running, mut ended, mut within) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..times {
        std::thread::sleep(Duration::from_millis(gap));
        let (answered, over, session) = command(bench.porthole.admin(), api, container)?;
        running.push(answered);
        ended.push(over);
        within.extend(traced(api, &format!("/api/v1/sessions/{session}/trace")));
    }
    Ok(Found {
        running: Samples::of(running),
        removed: Samples::of(ended),
        within: (!within.is_empty()).then(|| Samples::of(within)),
    })
}

/// Runs `true` in a container: until that is answered, until it is told to have ended, and its
/// session.
pub(crate) fn command(
    client: &Client,
    api: &mut Connection,
    container: &str,
) -> anyhow::Result<(Duration, Duration, String)> {
    let path = format!("/api/v1/containers/{container}/sessions");
    let spec = json!({"command": ["true"], "tty": false});
    let begun = Instant::now();
    let session = text(&api.send("POST", &path, Some(&spec))?["id"]);
    let answered = begun.elapsed();
    let code = Viewer::attach(client, &session)?.end()?;
    let over = begun.elapsed();
    ensure!(code == 0, "true ended with {code}");
    Ok((answered, over, session))
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
