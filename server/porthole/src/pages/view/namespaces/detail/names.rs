//! A UTS and a time namespace: names, clocks, and what of both no namespace isolates.

use askama::Template;
use porthole_protocol::inspection::{Time, Uts};

use super::super::super::words::{moment, visible};
use super::nanoseconds;

#[derive(Template)]
#[template(path = "partials/namespace_facts_read.html")]
pub(super) struct UtsView {
    facts: Vec<(&'static str, String)>,
    shared: Vec<(&'static str, String)>,
}

impl UtsView {
    pub(super) fn of(read: &Uts) -> Self {
        Self {
            facts: vec![
                ("Host name", visible(&read.nodename)),
                ("NIS domain", visible(&read.domainname)),
            ],
            shared: vec![
                ("System", visible(&read.sysname)),
                ("Release", visible(&read.release)),
                ("Version", visible(&read.version)),
                ("Machine", visible(&read.machine)),
            ],
        }
    }
}

struct Clock {
    name: &'static str,
    inside: String,
    outside: String,
    offset: Option<String>,
}

#[derive(Template)]
#[template(path = "partials/namespace_time.html")]
pub(super) struct TimeView {
    clocks: Vec<Clock>,
}

impl TimeView {
    pub(super) fn of(read: &Time) -> Self {
        let shift = |offset: i64| {
            (offset != 0).then(|| {
                let plus = if offset > 0 { "+" } else { "" };
                format!("{plus}{}", nanoseconds(i128::from(offset)))
            })
        };
        let clock = |name, inside: i64, outside: i64, offset| Clock {
            name,
            inside: nanoseconds(i128::from(inside)),
            outside: nanoseconds(i128::from(outside)),
            offset: shift(offset),
        };
        let date = |ns: i64| {
            let ms = u64::try_from(ns / 1_000_000).unwrap_or_default();
            moment(porthole_protocol::container::Timestamp(ms))
        };
        Self {
            clocks: vec![
                clock(
                    "Monotonic",
                    read.inside.monotonic,
                    read.outside.monotonic,
                    read.monotonic_offset,
                ),
                clock(
                    "Since boot",
                    read.inside.boottime,
                    read.outside.boottime,
                    read.boottime_offset,
                ),
                Clock {
                    name: "Date",
                    inside: date(read.inside.realtime),
                    outside: date(read.outside.realtime),
                    offset: None,
                },
            ],
        }
    }
}
