//! One session's output: how fast it comes, and what Porthole's processes pay for it.

use std::time::Instant;

use porthole_tests::instance::text;
use serde_json::json;

use crate::Bench;
use crate::memory::Costs;
use crate::viewer::Viewer;

/// How much is output.
const MIB: u64 = 200;
/// What of the floor's throughput is asked for.
const SHARE: f64 = 0.95;
/// CPU seconds a gigabyte that all of Porthole's processes may take together.
const CPU: f64 = 5.0;

pub(crate) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let spec =
        json!({"image": "busybox", "command": ["sleep", "infinity"], "limits": {"cpus": 2.0}});
    let container = bench.porthole.create(&spec);
    compare(bench, &container, "one session's output")?;
    bench.porthole.admin().delete(&format!(
        "/api/v1/containers/{}?force=true",
        text(&container["id"])
    ));
    Ok(())
}

/// The output of a session in this container beside the floor's.
pub(crate) fn compare(
    bench: &mut Bench,
    container: &serde_json::Value,
    what: &str,
) -> anyhow::Result<()> {
    let mut floors = Vec::new();
    let mut floors_cpu = Vec::new();
    let mut found = Vec::new();
    let mut cpu = Vec::new();
    // By turns, because the machine's speed drifts.
    for _ in 0..3 {
        let (speed, seconds) = bench.floor.output(MIB)?;
        floors.push(speed);
        floors_cpu.push(seconds);
        let (speed, seconds) = once(bench, container)?;
        found.push(speed);
        cpu.push(seconds);
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (floor, found, cpu) = (median(floors), median(found), median(cpu));
    let show = |speed: f64| format!("{:.1} MB/s", speed / 1e6);
    let ratio = found / floor;
    let bar = (format!("≥ {SHARE}× raw"), ratio >= SHARE);
    bench
        .report
        .line(what, Some(show(floor)), show(found), Some(ratio), Some(bar));
    let floor = median(floors_cpu);
    let show = |cpu: f64| format!("{cpu:.2} CPU s/GB");
    let bar = (format!("≤ {CPU} CPU s/GB"), cpu <= CPU);
    let ratio = Some(cpu / floor);
    bench
        .report
        .line("  its cost", Some(show(floor)), show(cpu), ratio, Some(bar));
    Ok(())
}

/// Bytes a second, and CPU seconds a gigabyte.
fn once(bench: &Bench, container: &serde_json::Value) -> anyhow::Result<(f64, f64)> {
    let script = format!(
        "read x; exec dd if=/dev/zero bs=64k count={} 2>/dev/null",
        MIB * 16
    );
    let session = bench
        .porthole
        .session(container, &json!({"command": ["sh", "-c", script]}));
    let mut viewer = Viewer::attach(bench.porthole.admin(), &text(&session["id"]))?;
    let before = Costs::of(&bench.porthole).cpu;
    let begun = Instant::now();
    viewer.input(b"\n")?;
    while viewer.seq < MIB << 20 {
        viewer.next()?;
    }
    let took = begun.elapsed().as_secs_f64();
    let cpu = Costs::of(&bench.porthole).cpu - before;
    let bytes = (MIB << 20) as f64;
    Ok((bytes / took, cpu / (bytes / 1e9)))
}
