//! What of a comparison has to be read inside: roots, limits, maps of ids.

use std::collections::BTreeMap;

use porthole_protocol::inspection::{Inspected, MappedRange, ProcessIdentity, Subject, What};

use super::{Comparison, Line, One};
use crate::access::Identity;
use crate::pages::view::words;
use crate::{AppState, Refusal};

/// Values by what they are about and what they are called; the number keeps their order.
type Values = BTreeMap<(usize, &'static str, String), String>;

/// Everything that is read of one.
struct Reading {
    values: Values,
    notes: Vec<String>,
}

impl Comparison {
    /// What has to be read inside both. What cannot be is said in a note.
    pub async fn inside(state: &AppState, who: &Identity, a: &One, b: &One) -> Self {
        let (mine, yours) = tokio::join!(read(state, who, a), read(state, who, b));
        let keys = mine.values.keys().chain(yours.values.keys());
        let mut keys: Vec<_> = keys.cloned().collect();
        keys.sort();
        keys.dedup();
        let lines = keys
            .into_iter()
            .map(|key| {
                let value = |of: &Values| of.get(&key).cloned();
                Line::new(
                    key.1,
                    key.2.clone(),
                    value(&mine.values),
                    value(&yours.values),
                )
            })
            .collect();
        let mut notes = mine.notes;
        notes.extend(yours.notes);
        notes.dedup();
        Self {
            sentence: String::new(),
            lines,
            notes,
        }
    }
}

async fn read(state: &AppState, who: &Identity, one: &One) -> Reading {
    let mut reading = Reading {
        values: Values::new(),
        notes: Vec::new(),
    };
    let Some(process) = &one.process else {
        return reading;
    };
    let words = one.words();
    if !one.may_look(&state.world, who) {
        reading.notes.push(format!(
            "{words} is the host's or another person's: its root and its limits are seen by them, by viewers and administrators."
        ));
        return reading;
    }
    let subject = Subject::Process(ProcessIdentity {
        pid: process.host_pid,
        start_ticks: process.start_ticks,
    });
    let ask = |what| state.keeper.inspect(subject.clone(), what);
    let (detail, user, cgroup) = tokio::join!(
        ask(What::Process { environment: false }),
        ask(What::User),
        ask(What::Cgroup)
    );
    for answer in [detail, user, cgroup] {
        match answer {
            Ok(inspected) => take(&mut reading.values, inspected),
            Err(error) => {
                let refusal = Refusal::from(error);
                reading.notes.push(format!("{words}: {}", refusal.message));
            }
        }
    }
    reading.notes.dedup();
    reading
}

fn take(values: &mut Values, inspected: Inspected) {
    let mut put = |place: usize, about: &'static str, name: &str, value: Option<String>| {
        if let Some(value) = value {
            values.insert((place, about, name.to_owned()), value);
        }
    };
    match inspected {
        Inspected::Process(detail) => {
            put(3, "place", "root", detail.root);
            put(4, "place", "working directory", detail.cwd);
            put(2, "confinement", "security label", detail.label);
            let filters = detail.seccomp_filters.map(|number| number.to_string());
            put(2, "confinement", "seccomp filters", filters);
            for limit in detail.limits {
                let number = |n: Option<u64>| match (n, limit.unit.as_str()) {
                    (None, _) => "no limit".to_owned(),
                    (Some(n), "bytes") => words::bytes(n),
                    (Some(n), _) => n.to_string(),
                };
                let value = match (limit.soft, limit.hard) {
                    (soft, hard) if soft == hard => number(soft),
                    (soft, hard) => format!("{}, at most {}", number(soft), number(hard)),
                };
                put(6, "limits", &limit.name.to_lowercase(), Some(value));
            }
        }
        Inspected::User(user) => {
            put(0, "ids", "map of users", Some(ranges(&user.uid_map)));
            put(1, "ids", "map of groups", Some(ranges(&user.gid_map)));
        }
        Inspected::Cgroup(cgroup) => {
            let none = || "no limit".to_owned();
            let memory = cgroup.memory.map(|m| m.max.map_or_else(none, words::bytes));
            put(5, "limits", "memory of its group", memory);
            let cpus = cgroup
                .cpu
                .map(|c| c.cpus.map_or_else(none, |cpus| cpus.to_string()));
            put(5, "limits", "processors of its group", cpus);
            let pids = cgroup
                .pids
                .map(|p| p.max.map_or_else(none, |max| max.to_string()));
            put(5, "limits", "processes of its group", pids);
        }
        _ => {}
    }
}

/// A map as `/proc/PID/uid_map` has it, in words.
pub fn ranges(map: &[MappedRange]) -> String {
    if map.is_empty() {
        return "not written: everybody is 65534".to_owned();
    }
    let range = |range: &MappedRange| match range.count {
        1 => format!("{} is {}", range.inside, range.outside),
        count => {
            let last = |first: u32| u64::from(first) + u64::from(count) - 1;
            let (inside, outside) = (range.inside, range.outside);
            format!("{inside}–{} are {outside}–{}", last(inside), last(outside))
        }
    };
    map.iter().map(range).collect::<Vec<_>>().join(", ")
}
