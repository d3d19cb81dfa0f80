//! `make bench`: how fast Porthole is, beside a floor made of bare system calls (`raw.c`) that is
//! measured in the same run. Absolute times drift from machine to machine and from hour to hour;
//! the ratios to the floor are what counts.
//!
//! `BENCH="NAME…"` measures these only: start, output, echo, many, scan, observer, memory, lists,
//! changes.
//! Everything runs against a real `porthole serve` with directories and a port of its own, with
//! as many containers as its limits ask for, and is removed afterwards.
#![forbid(unsafe_code)]

mod changes;
mod echo;
mod floor;
mod http;
mod lists;
mod many;
mod memory;
mod observer;
mod output;
mod report;
mod scan;
mod start;
mod viewer;

use std::sync::LazyLock;
use std::time::Instant;

use anyhow::{Context, bail};
use porthole_tests::Instance;

use crate::floor::Floor;
use crate::report::Report;

/// What every measurement works with.
struct Bench {
    /// Started by the first measurement that asks it something.
    porthole: LazyLock<Instance>,
    floor: Floor,
    report: Report,
}

/// A measurement's name and how it is made.
type Measurement = (&'static str, fn(&mut Bench) -> anyhow::Result<()>);

/// In this order: what leaves something behind in the server's memory comes after its measurement.
const MEASUREMENTS: [Measurement; 9] = [
    ("memory", memory::measure),
    ("start", start::measure),
    ("output", output::measure),
    ("echo", echo::measure),
    ("changes", changes::measure),
    ("lists", lists::measure),
    ("many", many::measure),
    ("scan", scan::measure),
    ("observer", observer::measure),
];

fn main() -> anyhow::Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted == [observer::ALONE] {
        return observer::observe();
    }
    for name in &wanted {
        if !MEASUREMENTS.iter().any(|(known, _)| known == name) {
            let known: Vec<&str> = MEASUREMENTS.iter().map(|(known, _)| *known).collect();
            bail!(
                "there is no measurement {name:?}; there are {}",
                known.join(", ")
            );
        }
    }
    if !rustix::process::geteuid().is_root() {
        bail!("containers are made by root: run `make bench` as root");
    }
    let begun = Instant::now();
    let floor = Floor::build().context("the floor (tests/bench/raw.c) cannot be built")?;
    let mut bench = Bench {
        porthole: LazyLock::new(Instance::start),
        floor,
        report: Report::begin(),
    };
    for (name, measure) in MEASUREMENTS {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            // One that fails says so in its place; the others are still worth knowing.
            if let Err(error) = measure(&mut bench) {
                bench.report.failed(name, &error);
            }
        }
    }
    let Bench {
        porthole, report, ..
    } = bench;
    drop(porthole);
    report.end(begun.elapsed());
    Ok(())
}
