//! What namespaces do not isolate: the same things read inside and outside at the same moment.

use std::io;

use porthole_protocol::inspection::{Attempt, Clocks, Fact, Isolation, NotIsolated, Seen, Verdict};
use porthole_sys::process::SingleThreaded;
use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::inside::Found;
use super::target::Process;
use super::visitor;
use super::{Trouble, clocks, scan};
use crate::printable;

const SET_CLOCK: &str = "settimeofday(NULL, NULL)";
const READ_LOG: &str = "syslog(SYSLOG_ACTION_SIZE_BUFFER)";

/// What the visitor brings back.
#[derive(Debug, Serialize, Deserialize)]
struct Brought {
    /// In the order of [`NotIsolated::ALL`]: what was read, and the file system.
    seen: Vec<(Seen, Option<String>)>,
    clocks: Clocks,
    set_clock: Attempt,
    read_kernel_log: Attempt,
}

pub(super) fn read(process: &Process, alone: SingleThreaded) -> Result<Isolation, Trouble> {
    let before: Vec<Seen> = NotIsolated::ALL.map(outside).to_vec();
    let clocks_before = clocks::now();
    let brought = visitor::visit_with_rights(process, alone, |inside, rights| {
        let clocks = clocks::now();
        let seen = NotIsolated::ALL.map(|name| {
            let Found { text, through } = inside.file(name.file());
            (seen(name, text), through)
        });
        Brought {
            seen: seen.to_vec(),
            clocks,
            set_clock: attempt(SET_CLOCK, &rights.set_clock),
            read_kernel_log: attempt(READ_LOG, &rights.read_kernel_log),
        }
    })?;
    let after: Vec<Seen> = NotIsolated::ALL.map(outside).to_vec();
    let mut covers: Vec<String> = Vec::new();
    let mut facts = Vec::new();
    let both = before.into_iter().zip(after);
    for ((name, (inside, through)), (before, after)) in
        NotIsolated::ALL.into_iter().zip(brought.seen).zip(both)
    {
        // The container's word, whatever it is, as one line of text.
        let inside = cleaned(inside);
        if let Some(fstype) = &through {
            let cover = format!("{fstype} over /proc/{}", name.file());
            covers.push(cover);
        }
        facts.push(Fact {
            name,
            file: format!("/proc/{}", name.file()),
            verdict: verdict(name, &inside, &before, &after),
            inside,
            outside: before,
            through,
        });
    }
    Ok(Isolation {
        process: process.identity,
        facts,
        inside: brought.clocks,
        outside: clocks_before,
        set_clock: brought.set_clock,
        read_kernel_log: brought.read_kernel_log,
        read_kernel_log_outside: attempt(READ_LOG, &porthole_sys::probe::read_kernel_log()),
        covers: Budget::new().take(2, covers),
    })
}

fn cleaned(seen: Seen) -> Seen {
    let short = |text: String| {
        let mut text = printable::line(text.as_bytes());
        text.truncate(text.floor_char_boundary(256));
        text
    };
    match seen {
        Seen::Value(text) => Seen::Value(short(text)),
        Seen::Not(text) => Seen::Not(short(text)),
    }
}

fn attempt(call: &str, outcome: &io::Result<()>) -> Attempt {
    Attempt {
        call: call.to_owned(),
        allowed: outcome.is_ok(),
        refusal: outcome.as_ref().err().map(ToString::to_string),
    }
}

fn outside(name: NotIsolated) -> Seen {
    let text = scan::host_text(&format!("/proc/{}", name.file()));
    seen(name, text.map_err(|errno| errno.to_string()))
}

fn seen(name: NotIsolated, text: Result<String, String>) -> Seen {
    match text {
        Ok(text) => value(name, &text).map_or_else(
            || Seen::Not("what it holds cannot be understood".to_owned()),
            Seen::Value,
        ),
        Err(why) => Seen::Not(why),
    }
}

/// What of a file's text is compared.
pub(super) fn value(name: NotIsolated, text: &str) -> Option<String> {
    let words = || text.split_whitespace();
    Some(match name {
        NotIsolated::Load => words().take(3).collect::<Vec<_>>().join(" "),
        NotIsolated::Memory => {
            let kib: u64 = text
                .lines()
                .find_map(|line| line.strip_prefix("MemTotal:"))?
                .split_whitespace()
                .next()?
                .parse()
                .ok()?;
            kib.checked_mul(1024)?.to_string()
        }
        NotIsolated::Cpus => text
            .lines()
            .filter(|line| {
                line.strip_prefix("cpu")
                    .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            })
            .count()
            .to_string(),
        NotIsolated::Uptime => words().next()?.to_owned(),
        NotIsolated::Keys | NotIsolated::KeyUsers | NotIsolated::Modules => {
            text.lines().count().to_string()
        }
        NotIsolated::KernelRelease
        | NotIsolated::BootId
        | NotIsolated::PidMax
        | NotIsolated::Hostname => text.trim_end_matches('\n').to_owned(),
    })
}

fn verdict(name: NotIsolated, inside: &Seen, before: &Seen, after: &Seen) -> Verdict {
    let (Seen::Value(inside), Seen::Value(before), Seen::Value(after)) = (inside, before, after)
    else {
        return Verdict::Unknown;
    };
    let same = inside == before
        || inside == after
        || (name == NotIsolated::Uptime && between(inside, before, after));
    if same {
        Verdict::Same
    } else {
        Verdict::Different
    }
}

fn between(inside: &str, before: &str, after: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    match (number(inside), number(before), number(after)) {
        (Some(inside), Some(before), Some(after)) => before <= inside && inside <= after,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_the_same_between_two_readings() {
        let seen = |text: &str| Seen::Value(text.to_owned());
        let uptime = |inside| {
            verdict(
                NotIsolated::Uptime,
                &seen(inside),
                &seen("10.5"),
                &seen("10.9"),
            )
        };
        assert_eq!(uptime("10.7"), Verdict::Same);
        assert_eq!(uptime("11"), Verdict::Different);
        assert_eq!(uptime("9"), Verdict::Different);
        let not = Seen::Not("masked".to_owned());
        let masked = verdict(NotIsolated::Keys, &not, &seen("1"), &seen("1"));
        assert_eq!(masked, Verdict::Unknown);
        let load = verdict(
            NotIsolated::Load,
            &seen("2 2 2"),
            &seen("1 1 1"),
            &seen("2 2 2"),
        );
        assert_eq!(load, Verdict::Same, "it changed meanwhile");
    }

    #[test]
    fn values_are_found_in_their_files() {
        let stat = "cpu  1 2 3\ncpu0 1 2\ncpu1 1 2\nintr 5\ncpux\n";
        assert_eq!(value(NotIsolated::Cpus, stat).as_deref(), Some("2"));
        let meminfo = "MemTotal:       16 kB\nMemFree: 1 kB\n";
        assert_eq!(
            value(NotIsolated::Memory, meminfo).as_deref(),
            Some("16384")
        );
        assert_eq!(value(NotIsolated::Memory, "MemTotal: x kB"), None);
        assert_eq!(
            value(NotIsolated::Uptime, "12.5 3\n").as_deref(),
            Some("12.5")
        );
    }
}
