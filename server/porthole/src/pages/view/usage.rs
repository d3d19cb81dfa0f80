//! What a container uses, in a row of the list and on its own page.
//!
//! These pieces change every two seconds, other than what they stand in: they are sent by
//! themselves, see [`live`](super::super::live).

use std::collections::VecDeque;
use std::fmt::Write as _;

use askama::Template;

use super::html;
use super::words::{bytes, count};
use crate::world::usage::{KEPT, Point, Usage};

/// A small line: two minutes, the newest at its right end.
#[derive(Debug, Template)]
#[template(path = "partials/spark.html")]
struct Spark {
    class: &'static str,
    /// The drawing's width; one more moment, one further to the right.
    width: usize,
    line: String,
    area: String,
}

/// The height of the drawing.
const HEIGHT: f64 = 20.0;

impl Spark {
    /// Of these values, of which `full` fills the height; more does too.
    fn of(class: &'static str, values: &[Option<f64>], full: f64) -> Self {
        let highest = values.iter().flatten().copied().fold(full, f64::max);
        let first = KEPT - values.len().min(KEPT);
        let (mut line, mut area) = (String::new(), String::new());
        let (mut begun, mut last) = (None, 0);
        for (at, value) in values.iter().enumerate() {
            let Some(value) = value else { continue };
            let x = first + at;
            let share = if highest > 0.0 { value / highest } else { 0.0 };
            let y = HEIGHT - 1.0 - share * (HEIGHT - 2.0);
            let step = if begun.is_none() { 'M' } else { 'L' };
            // Writing into a String does not fail.
            let _ = write!(line, "{step}{x} {y:.1}");
            begun.get_or_insert(x);
            last = x;
        }
        if let Some(begun) = begun {
            let _ = write!(area, "{line}L{last} {HEIGHT}L{begun} {HEIGHT}Z");
        }
        Self {
            class,
            width: KEPT - 1,
            line,
            area,
        }
    }
}

fn percents(past: &VecDeque<Point>) -> Vec<Option<f64>> {
    past.iter().map(|point| point.percent).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a drawing")]
fn memories(past: &VecDeque<Point>) -> Vec<Option<f64>> {
    past.iter()
        .map(|point| point.memory.map(|memory| memory as f64))
        .collect()
}

/// `12 %`, `0.4 %`.
fn percent(value: f64) -> String {
    if value < 9.95 {
        let text = format!("{value:.1}");
        format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
    } else {
        format!("{value:.0} %")
    }
}

/// In a row.
#[derive(Template)]
#[template(path = "partials/usage_cell.html")]
struct Cell {
    id: String,
    cpu: Option<(Spark, String)>,
    memory: Option<(Spark, String)>,
}

/// The element's identifier in a row.
pub fn cell_id(id: &str) -> String {
    format!("u-{id}")
}

/// A container's piece in a row of the list.
pub fn cell(id: &str, usage: Option<&Usage>) -> String {
    let mut cell = Cell {
        id: cell_id(id),
        cpu: None,
        memory: None,
    };
    if let Some(usage) = usage {
        let cores = usage.now.processor.and_then(|p| p.cores).unwrap_or(1.0);
        cell.cpu = usage.percent().map(|now| {
            let spark = Spark::of("cpu", &percents(&usage.past), cores * 100.0);
            (spark, percent(now))
        });
        cell.memory = usage.now.memory.map(|now| {
            #[expect(clippy::cast_precision_loss, reason = "a drawing")]
            let full = now.limit.unwrap_or(0) as f64;
            let spark = Spark::of("memory", &memories(&usage.past), full);
            (spark, bytes(now.used))
        });
    }
    html(&cell)
}

/// One of the things that are counted, on the container's own page.
struct Meter {
    title: &'static str,
    now: String,
    /// Of what.
    of: String,
    /// How full it is, of a hundred; `None` without a limit.
    full: Option<u8>,
    spark: Option<Spark>,
    /// What else is to be said.
    notes: Vec<String>,
}

/// On the container's own page.
#[derive(Template)]
#[template(path = "partials/usage.html")]
struct Panel {
    meters: Vec<Meter>,
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "between 0 and 100"
)]
fn share(now: u64, limit: Option<u64>) -> Option<u8> {
    let limit = limit.filter(|limit| *limit > 0)?;
    Some((now as f64 * 100.0 / limit as f64).clamp(0.0, 100.0) as u8)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and 100"
)]
fn processor(usage: &Usage) -> Option<Meter> {
    let used = usage.now.processor?;
    let now = usage.percent();
    let full = used.cores.unwrap_or(1.0) * 100.0;
    let mut notes = Vec::new();
    if let Some(held) = used.throttled_ns.filter(|ns| *ns >= 100_000_000) {
        notes.push(format!("held back for {:.1} s in all", seconds(held)));
    }
    notes.push(format!("{:.1} s used in all", seconds(used.used_ns)));
    Some(Meter {
        title: "Processors",
        now: now.map_or_else(|| "…".to_owned(), percent),
        of: match used.cores {
            None => "of one core; no limit".to_owned(),
            Some(cores) if (cores - 1.0).abs() < 0.001 => "of 1 core".to_owned(),
            Some(cores) => format!("of one core, may use {cores} cores"),
        },
        full: now
            .filter(|_| used.cores.is_some())
            .map(|now| (now * 100.0 / full).clamp(0.0, 100.0) as u8),
        spark: Some(Spark::of("cpu", &percents(&usage.past), full)),
        notes,
    })
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn memory(usage: &Usage) -> Option<Meter> {
    let used = usage.now.memory?;
    let mut notes = Vec::new();
    if let Some(peak) = used.peak {
        notes.push(format!("{} at most, with files", bytes(peak)));
    }
    notes.push(format!("{} of files besides", bytes(used.cache)));
    if used.oom_kills > 0 {
        let processes = usize::try_from(used.oom_kills).unwrap_or(usize::MAX);
        notes.push(format!(
            "out of memory: {} killed",
            count(processes, "process", "processes")
        ));
    }
    #[expect(clippy::cast_precision_loss, reason = "a drawing")]
    let full = used.limit.unwrap_or(0) as f64;
    Some(Meter {
        title: "Memory",
        now: bytes(used.used),
        of: match used.limit {
            Some(limit) => format!("of {}", bytes(limit)),
            None => "no limit".to_owned(),
        },
        full: share(used.used, used.limit),
        spark: Some(Spark::of("memory", &memories(&usage.past), full)),
        notes,
    })
}

fn processes(usage: &Usage) -> Option<Meter> {
    let used = usage.now.pids?;
    Some(Meter {
        title: "Processes and threads",
        now: used.now.to_string(),
        of: match used.limit {
            Some(limit) => format!("of {limit}"),
            None => "no limit".to_owned(),
        },
        full: share(used.now, used.limit),
        spark: None,
        notes: Vec::new(),
    })
}

/// What the container's own page shows; empty where nothing is known.
pub fn panel(usage: Option<&Usage>) -> String {
    let Some(usage) = usage else {
        return String::new();
    };
    let meters = [processor(usage), memory(usage), processes(usage)];
    html(&Panel {
        meters: meters.into_iter().flatten().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::usage::{Memory, Pids, Processor, Sample};
    use std::time::Instant;

    fn usage(points: &[(f64, u64)]) -> Usage {
        Usage {
            now: Sample {
                at: Instant::now(),
                processor: Some(Processor {
                    used_ns: 2_500_000_000,
                    throttled_ns: Some(1_000_000_000),
                    cores: Some(0.5),
                }),
                memory: Some(Memory {
                    used: 12 << 20,
                    cache: 1 << 20,
                    peak: Some(100 << 20),
                    limit: Some(512 << 20),
                    oom_kills: 2,
                }),
                pids: Some(Pids {
                    now: 3,
                    limit: Some(256),
                }),
            },
            past: points
                .iter()
                .map(|(percent, memory)| Point {
                    percent: Some(*percent),
                    memory: Some(*memory),
                })
                .collect(),
        }
    }

    #[test]
    fn the_newest_moment_is_at_the_right_end() {
        let spark = Spark::of("cpu", &[Some(0.0), Some(50.0)], 50.0);
        assert_eq!(spark.line, "M58 19.0L59 1.0");
        assert_eq!(spark.area, "M58 19.0L59 1.0L59 20L58 20Z");
        // What is not known is no line, and what is above the limit stays in the picture.
        let spark = Spark::of("cpu", &[None, Some(80.0)], 50.0);
        assert_eq!(spark.line, "M59 1.0");
        assert_eq!(Spark::of("cpu", &[None], 0.0).area, "");
    }

    #[test]
    fn a_page_says_use_limit_and_peak() {
        let shown = panel(Some(&usage(&[(12.0, 1), (25.4, 12 << 20)])));
        for words in [
            "25 %",
            "may use 0.5 cores",
            "held back for 1.0 s",
            "12 MiB",
            "of 512 MiB",
            "100 MiB at most",
            "out of memory: 2 processes killed",
            "of 256",
        ] {
            assert!(shown.contains(words), "{words} in {shown}");
        }
        assert_eq!(panel(None), "");
    }

    #[test]
    fn a_row_without_figures_keeps_its_place() {
        let empty = cell("c0ffee", None);
        assert!(
            empty.contains("id=\"u-c0ffee\"") && !empty.contains("<svg"),
            "{empty}"
        );
        let full = cell("c0ffee", Some(&usage(&[(0.44, 12 << 20)])));
        assert!(full.contains("0.4 %") && full.contains("12 MiB"), "{full}");
        assert_eq!(full.matches("<svg").count(), 2);
    }
}
