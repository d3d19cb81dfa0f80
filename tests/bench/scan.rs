//! The observer's first look at the host, beside a floor that reads the same files, one that reads
//! only the namespaces, and lsns(8).

use std::process::{Command, Stdio};
use std::time::Instant;

use porthole_discovery::{Settings, scan_once};

use crate::Bench;
use crate::report::{Samples, ms};

/// To this many processes the machine is filled up in turn; 0: as it is.
const PROCESSES: [usize; 3] = [0, 500, 3000];
const TIMES: usize = 15;
/// What the scan may cost, in times the floor.
const MOST: f64 = 1.5;

pub(crate) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let settings = Settings::new(Some("/porthole-bench".to_owned()));
    let there = scan_once(&settings)?.processes();
    for wanted in PROCESSES {
        let _crowd = (wanted > there)
            .then(|| bench.floor.crowd(wanted - there))
            .transpose()?;
        let times = TIMES.to_string();
        let mut found = Vec::new();
        let mut processes = 0;
        // The first look at a process is dearer for whoever it is, so it is nobody's.
        for at in 0..=TIMES {
            let begun = Instant::now();
            let scan = scan_once(&settings)?;
            if at > 0 {
                found.push(begun.elapsed());
            }
            processes = scan.processes();
        }
        let found = Samples::of(found);
        let floor = bench.floor.times(&["scan", &times, "all"])?;
        let namespaces = bench.floor.times(&["scan", &times, "ns"])?;
        let lsns = Samples::of((0..TIMES).map(|_| {
            let begun = Instant::now();
            let _ = Command::new("lsns").stdout(Stdio::null()).status();
            begun.elapsed()
        }));
        let ratio = found.least() / floor.least();
        let bar = (format!("≤ {MOST}× raw"), ratio <= MOST);
        let what = format!("first scan of {processes} processes");
        let raw = Some(ms(floor.least()));
        bench
            .report
            .line(&what, raw, ms(found.least()), Some(ratio), Some(bar));
        for (what, other) in [("a floor of namespaces only", namespaces), ("lsns", lsns)] {
            let what = format!("  beside {what}");
            let ratio = found.least() / other.least();
            let raw = Some(ms(other.least()));
            bench
                .report
                .line(&what, raw, ms(found.least()), Some(ratio), None);
        }
    }
    Ok(())
}
