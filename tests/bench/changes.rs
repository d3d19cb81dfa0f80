//! How soon a change on the host is told to who looks.

use std::time::{Duration, Instant};

use porthole_tests::Events;
use porthole_tests::instance::{pid, signal, text};
use rustix::process::Signal;
use serde_json::json;

use crate::Bench;
use crate::report::{Samples, ms};

/// From the change to the event, in milliseconds.
const MOST: f64 = 200.0;

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
    Ok(())
}
