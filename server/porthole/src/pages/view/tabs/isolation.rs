//! What namespaces do not isolate: inside and outside side by side, read at the same moment.

use askama::Template;
use porthole_protocol::container::Timestamp;
use porthole_protocol::inspection::{
    Attempt, Bounded, Fact, Isolation, NotIsolated, Seen, Verdict,
};

use crate::pages::view::words::{bytes, unnumbered, visible};

/// A thing on both sides.
struct Row {
    name: &'static str,
    file: String,
    inside: Side,
    outside: Side,
    verdict: Verdict,
    why: String,
}

/// What was seen on one side.
struct Side {
    text: String,
    /// It could not be read, and the text says why.
    missing: bool,
}

/// A call that was tried with the container's own rights.
struct Tried {
    call: String,
    allowed: bool,
    answer: String,
    why: &'static str,
}

/// The panel.
#[derive(Template)]
#[template(path = "partials/isolation.html")]
pub struct IsolationView {
    rows: Vec<Row>,
    clocks: Vec<Row>,
    tried: Vec<Tried>,
    covers: Bounded<String>,
    same: usize,
    of: usize,
    again: String,
}

/// Two clocks that are read one after the other are not further apart than this, in nanoseconds.
const AT_ONCE: i64 = 100_000_000;

impl IsolationView {
    /// Of what was read; it can be read again at this address.
    pub fn of(read: &Isolation, again: String) -> Self {
        let rows: Vec<_> = read.facts.iter().map(row).collect();
        let clocks = clocks(read);
        let all = || rows.iter().chain(&clocks);
        Self {
            same: all().filter(|row| row.verdict == Verdict::Same).count(),
            of: all().count(),
            tried: tried(read),
            covers: Bounded {
                items: read.covers.items.iter().map(|path| visible(path)).collect(),
                left_out: read.covers.left_out,
            },
            rows,
            clocks,
            again,
        }
    }
}

fn row(fact: &Fact) -> Row {
    let side = |seen: &Seen| match seen {
        Seen::Value(value) => Side {
            text: worded(fact.name, value),
            missing: false,
        },
        Seen::Not(why) => Side {
            text: visible(unnumbered(why)),
            missing: true,
        },
    };
    let why = match &fact.through {
        Some(through) => format!(
            "{} Inside, {} answers here, and not the kernel.",
            fact.name.why(),
            visible(through)
        ),
        None => fact.name.why().to_owned(),
    };
    Row {
        name: fact.name.words(),
        file: visible(&fact.file),
        inside: side(&fact.inside),
        outside: side(&fact.outside),
        verdict: fact.verdict,
        why,
    }
}

/// A value as people read it.
fn worded(name: NotIsolated, value: &str) -> String {
    match name {
        NotIsolated::Memory => value.parse().map_or_else(|_| visible(value), bytes),
        NotIsolated::Uptime => {
            let seconds = value.split('.').next().and_then(|text| text.parse().ok());
            seconds.map_or_else(|| visible(value), span)
        }
        _ => visible(value),
    }
}

/// So many seconds: `41 d 03:12:09`.
fn span(seconds: i64) -> String {
    let (sign, seconds) = (if seconds < 0 { "−" } else { "" }, seconds.unsigned_abs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => format!("{sign}{clock}"),
        days => format!("{sign}{days} d {clock}"),
    }
}

fn clocks(read: &Isolation) -> Vec<Row> {
    let (inside, outside) = (read.inside, read.outside);
    let date = |ns: i64| {
        let at = Timestamp(u64::try_from(ns / 1_000_000).unwrap_or_default());
        at.to_string()
    };
    let since = |ns: i64| {
        format!(
            "{}.{:03}",
            span(ns / 1_000_000_000),
            (ns / 1_000_000).rem_euclid(1000)
        )
    };
    let clock = |name,
                 call: &str,
                 (inside, outside): (i64, i64),
                 write: &dyn Fn(i64) -> String,
                 why: &str| {
        let apart = inside.saturating_sub(outside);
        let same = apart.saturating_abs() <= AT_ONCE;
        Row {
            name,
            file: call.to_owned(),
            inside: Side {
                text: write(inside),
                missing: false,
            },
            outside: Side {
                text: write(outside),
                missing: false,
            },
            verdict: if same {
                Verdict::Same
            } else {
                Verdict::Different
            },
            why: match same {
                true => why.to_owned(),
                false => format!("{why} Here by {}.", span(apart / 1_000_000_000)),
            },
        }
    };
    vec![
        clock(
            "Date and time",
            "CLOCK_REALTIME",
            (inside.realtime, outside.realtime),
            &date,
            "No namespace has a clock of its own for it: who sets it sets it for all.",
        ),
        clock(
            "Monotonic clock",
            "CLOCK_MONOTONIC",
            (inside.monotonic, outside.monotonic),
            &since,
            "One of the two that a time namespace shifts; timers run by it.",
        ),
        clock(
            "Clock since boot",
            "CLOCK_BOOTTIME",
            (inside.boottime, outside.boottime),
            &since,
            "The other; it counts the time that the machine slept, too.",
        ),
    ]
}

fn tried(read: &Isolation) -> Vec<Tried> {
    let one = |attempt: &Attempt, why| Tried {
        call: visible(&attempt.call),
        allowed: attempt.allowed,
        answer: match (&attempt.refusal, attempt.allowed) {
            (Some(refusal), _) => visible(unnumbered(refusal)),
            (None, true) => "the kernel lets it pass".to_owned(),
            (None, false) => "refused".to_owned(),
        },
        why,
    };
    let clock = match read.set_clock.allowed {
        true => "Its root could set the clock of the whole machine.",
        false => "Setting the clock would set it for the whole machine; its root may not.",
    };
    let log = match (
        read.read_kernel_log.allowed,
        read.read_kernel_log_outside.allowed,
    ) {
        (true, _) => "There is one kernel log, and its root could read all of it.",
        (false, true) => {
            "There is one kernel log for all; its root may not read it, the host's may."
        }
        (false, false) => {
            "There is one kernel log for all; here not even the host's root may read it."
        }
    };
    vec![one(&read.set_clock, clock), one(&read.read_kernel_log, log)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_at_a_glance() {
        assert_eq!(span(0), "00:00:00");
        assert_eq!(span(3_554_329), "41 d 03:18:49");
        assert_eq!(span(-61), "−00:01:01");
        assert_eq!(worded(NotIsolated::Uptime, "61.25"), "00:01:01");
        assert_eq!(worded(NotIsolated::Memory, "1073741824"), "1 GiB");
        assert_eq!(worded(NotIsolated::Memory, "much"), "much");
    }
}
