//! Two hundred containers at once: what one more costs Porthole's own processes.

use std::time::Instant;

use porthole_tests::host;
use porthole_tests::instance::{pid, text};
use serde_json::json;

use crate::Bench;
use crate::http::Connection;
use crate::memory::{MONITOR, shown};

/// How many.
const CONTAINERS: usize = 200;

pub(crate) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let mut api = Connection::open(bench.porthole.admin())?;
    let spec = json!({"image": "busybox", "command": ["sleep", "infinity"]});
    // What is set up once is not each one's.
    let first = api.send("POST", "/api/v1/containers", Some(&spec))?;
    let parts = [
        ("server", bench.porthole.server_pid()),
        ("keeper", bench.porthole.keeper_pid()),
    ];
    let before = parts.map(|(_, part)| host::resident(part));
    let begun = Instant::now();
    let mut made = vec![text(&first["id"])];
    let mut monitors = Vec::new();
    for _ in 0..CONTAINERS {
        let container = api.send("POST", "/api/v1/containers", Some(&spec))?;
        anyhow::ensure!(container["state"] == "running", "{}", container["error"]);
        made.push(text(&container["id"]));
        monitors.extend(host::parent(pid(&container["pid"])));
    }
    let took = begun.elapsed().as_secs_f64() * 1e3 / CONTAINERS as f64;
    let what = format!("{CONTAINERS} containers at once: each made in");
    let took = crate::report::ms(took);
    bench.report.line(&what, None, took, None, None);
    let all: u64 = monitors.iter().map(|pid| host::proportional(*pid)).sum();
    let each = all / CONTAINERS as u64;
    let bar = format!("≤ {}", shown(MONITOR));
    bench.report.number(
        "  a monitor's memory (proportional)",
        shown(each),
        &bar,
        each <= MONITOR,
    );
    for ((name, part), before) in parts.iter().zip(before) {
        let each = host::resident(*part).saturating_sub(before) / CONTAINERS as u64;
        let what = format!("  the {name} has grown for each by");
        bench.report.line(&what, None, shown(each), None, None);
    }
    let begun = Instant::now();
    for id in &made {
        api.remove(id)?;
    }
    let took = begun.elapsed().as_secs_f64() * 1e3 / made.len() as f64;
    let took = crate::report::ms(took);
    bench
        .report
        .line("  each removed in", None, took, None, None);
    Ok(())
}
