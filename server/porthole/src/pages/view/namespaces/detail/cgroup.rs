//! A cgroup namespace: the groups of its first process, what they use and may.

use askama::Template;
use porthole_protocol::inspection::Cgroup;

use super::super::super::words::{bytes, cores, visible};
use super::nanoseconds;

/// A use of something, with its limit where there is one.
struct Gauge {
    name: &'static str,
    now: String,
    limit: String,
    /// Of a hundred.
    part: Option<u64>,
    more: String,
}

fn gauge(
    name: &'static str,
    now: u64,
    max: Option<u64>,
    write: fn(u64) -> String,
    more: String,
) -> Gauge {
    Gauge {
        name,
        now: write(now),
        limit: max.map_or_else(|| "no limit".to_owned(), |max| format!("of {}", write(max))),
        part: max.filter(|max| *max > 0).map(|max| {
            now.saturating_mul(100)
                .checked_div(max)
                .unwrap_or_default()
                .min(100)
        }),
        more,
    }
}

#[derive(Template)]
#[template(path = "partials/namespace_cgroup.html")]
pub(super) struct CgroupView {
    gauges: Vec<Gauge>,
    frozen: Option<bool>,
    groups: Vec<(String, String, String)>,
}

impl CgroupView {
    pub(super) fn of(read: &Cgroup) -> Self {
        let mut gauges = Vec::new();
        if let Some(memory) = read.memory {
            let peak = memory
                .peak
                .map_or_else(String::new, |p| format!("at most {} so far", bytes(p)));
            gauges.push(gauge("Memory", memory.current, memory.max, bytes, peak));
            if let Some(swap) = memory.swap {
                gauges.push(gauge("Swap", swap, memory.swap_max, bytes, String::new()));
            }
        }
        if let Some(pids) = read.pids {
            gauges.push(gauge(
                "Processes",
                pids.current,
                pids.max,
                |n| n.to_string(),
                String::new(),
            ));
        }
        if let Some(cpu) = read.cpu {
            let held = if cpu.throttled == 0 {
                "never held back".to_owned()
            } else {
                format!(
                    "held back {} times, for {}",
                    cpu.throttled,
                    microseconds(cpu.throttled_us)
                )
            };
            gauges.push(Gauge {
                name: "Processor",
                now: microseconds(cpu.usage_us),
                limit: cpu.cpus.map_or_else(
                    || "no limit".to_owned(),
                    |cpus| format!("at most {}", cores(cpus)),
                ),
                part: None,
                more: held,
            });
        }
        let groups = read.groups.iter().map(|group| {
            let controllers = match (group.version, group.controllers.is_empty()) {
                (2, true) => "cgroup2".to_owned(),
                (2, false) => format!("cgroup2: {}", group.controllers.join(" ")),
                _ => group.controllers.join(","),
            };
            let directory = group
                .directory
                .as_deref()
                .map_or_else(|| "not mounted".to_owned(), visible);
            (visible(&controllers), visible(&group.path), directory)
        });
        Self {
            gauges,
            frozen: read.frozen,
            groups: groups.collect(),
        }
    }
}

fn microseconds(us: u64) -> String {
    nanoseconds(i128::from(us) * 1000)
}
