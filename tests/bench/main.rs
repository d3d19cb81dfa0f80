//! `make bench`: how fast Porthole is, beside a floor made of bare system calls (`raw.c`) that is
//! measured in the same run. Absolute times drift from machine to machine and from hour to hour;
//! the ratios to the floor are what counts.
//!
//! `BENCH="NAME…"` measures these only: memory, start, peers, output, echo, changes, lists,
//! everything, scale, many, scan, observer.
//! Everything runs against a real `porthole serve` with directories and a port of its own, with
//! as many containers as its limits ask for, and is removed afterwards.
#![forbid(unsafe_code)]

mod changes;
mod echo;
mod everything;
mod floor;
mod http;
mod image;
mod lists;
mod many;
mod memory;
mod observer;
mod output;
mod peers;
mod report;
mod scale;
mod scan;
mod start;
mod viewer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
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
const MEASUREMENTS: [Measurement; 12] = [
    ("memory", memory::measure),
    ("start", start::measure),
    ("peers", peers::measure),
    ("output", output::measure),
    ("echo", echo::measure),
    ("changes", changes::measure),
    ("lists", lists::measure),
    ("everything", everything::measure),
    ("scale", scale::measure),
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
            if let Err(error) = attempt(|| measure(&mut bench)) {
                bench.report.failed(name, &error);
                // What it left would be in the way of the next.
                bench.end_porthole(name);
            }
        }
    }
    bench.end_porthole("the end of Porthole");
    bench.report.end(begun.elapsed());
    Ok(())
}

impl Bench {
    /// Ends the instance, with everything in it; whoever asks next starts another.
    fn end_porthole(&mut self, what: &str) {
        let porthole = std::mem::replace(&mut self.porthole, LazyLock::new(Instance::start));
        let ended = attempt(|| {
            drop(porthole);
            Ok(())
        });
        if let Err(error) = ended {
            self.report.failed(what, &error);
        }
    }
}

/// Does something; what panics there, as the tests' own parts do, has failed like anything else.
fn attempt<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        Err(anyhow!(text.unwrap_or("a panic without words").to_owned()))
    })
}
