//! What was read inside a namespace, as a piece of its page.
//!
//! Read by a child of the keeper's when the page is open already: where that hangs or fails, a line
//! says so in its place.

use askama::Template;
use porthole_protocol::id::HostPid;
use porthole_protocol::inspection::{Cgroup, Inspected, Ipc, Pid, Subject, Time, Uts, What};
use porthole_protocol::inspection::{MappedRange, ProcessIdentity, Setting, User};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Namespace;

use super::super::html;
use super::super::shell::Shell;
use super::super::words::{bytes, count, moment, sentence, visible};
use super::survey::{Link, Survey};

mod mounts;
mod network;

/// Where what is inside a namespace can be read.
///
/// # Errors
/// Where it cannot be: a sentence that says why.
pub fn subject(survey: &Survey<'_>, namespace: &Namespace) -> Result<(Subject, What), String> {
    let what = What::of_namespace(namespace.kind);
    if let Some(process) = survey.leader(namespace) {
        let identity = ProcessIdentity {
            pid: process.host_pid,
            start_ticks: process.start_ticks,
        };
        return Ok((Subject::Process(identity), what));
    }
    let by_process = matches!(namespace.kind, NamespaceType::Mnt | NamespaceType::Cgroup);
    match namespace.holders.first() {
        _ if by_process => Err(format!(
            "No process is in it, and only a process shows what a {} namespace holds. Enter it with the command above and look again.",
            namespace.kind
        )),
        Some(holder) => Ok((
            Subject::Namespace {
                kind: namespace.kind,
                inode: namespace.inode,
                holder: holder.clone(),
            },
            what,
        )),
        None => Err("No process is in it and no file leads to it: only what hangs from it keeps it, and the kernel shows nothing of it.".to_owned()),
    }
}

/// A line in place of what could not be read.
#[derive(Template)]
#[template(path = "partials/namespace_unread.html")]
struct Unread {
    message: String,
    again: Option<String>,
}

/// Says why nothing was read; with an address, that it may be tried again.
pub fn unread(message: &str, again: Option<String>) -> String {
    html(&Unread {
        message: sentence(message),
        again,
    })
}

/// The piece as a page of its own, for browsers without scripts.
#[derive(Template)]
#[template(path = "namespace_detail.html")]
pub struct DetailPage {
    /// The frame.
    pub shell: Shell,
    /// `net:[4026532181]`.
    pub name: String,
    /// The namespace's own page.
    pub back: String,
    /// The piece.
    pub detail: String,
}

/// What was read, drawn.
pub fn drawn(survey: &Survey<'_>, namespace: &Namespace, read: Inspected) -> String {
    let wrong = "What was read is of another namespace: the process that showed it has left it meanwhile. Read it again.";
    let again = Some(format!(
        "{}/detail",
        survey.address(namespace.kind, namespace.inode)
    ));
    let of = match &read {
        Inspected::Mounts(m) => m.namespace,
        Inspected::Network(n) => n.namespace,
        Inspected::Uts(u) => u.namespace,
        Inspected::Ipc(i) => i.namespace,
        Inspected::User(u) => u.namespace,
        Inspected::Cgroup(c) => c.namespace,
        Inspected::Time(t) => t.namespace,
        Inspected::Pid(p) => p.namespace,
        Inspected::Wiring(_) | Inspected::Process(_) | Inspected::Isolation(_) => namespace.inode,
    };
    if of != namespace.inode {
        return unread(wrong, again);
    }
    match read {
        Inspected::Mounts(read) => mounts::drawn(survey, &read),
        Inspected::Network(read) => network::drawn(survey, namespace, &read),
        Inspected::Uts(read) => html(&UtsView::of(&read)),
        Inspected::Ipc(read) => html(&IpcView::of(survey, &read)),
        Inspected::User(read) => html(&UserView::of(&read)),
        Inspected::Cgroup(read) => html(&CgroupView::of(&read)),
        Inspected::Time(read) => html(&TimeView::of(&read)),
        Inspected::Pid(read) => html(&PidView::of(survey, &read)),
        Inspected::Wiring(_) | Inspected::Process(_) | Inspected::Isolation(_) => {
            unread("What was read is not what was asked for", again)
        }
    }
}

/// A process's number with its name, as a link.
fn process_link(survey: &Survey<'_>, pid: HostPid) -> Link {
    let name = survey
        .process(pid)
        .map_or_else(String::new, |p| visible(&p.command));
    Link {
        to: survey.process_address(pid),
        text: format!("{pid} {name}").trim_end().to_owned(),
    }
}

/// How many items were left out of a list, as a line.
fn left_out(number: u64) -> Option<String> {
    (number > 0).then(|| format!("and {number} more, which are not listed."))
}

#[derive(Template)]
#[template(path = "partials/namespace_facts_read.html")]
struct UtsView {
    facts: Vec<(&'static str, String)>,
    shared: Vec<(&'static str, String)>,
}

impl UtsView {
    fn of(read: &Uts) -> Self {
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

/// A table of objects: its heading, columns, rows.
struct Objects {
    title: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
    left_out: Option<String>,
}

/// A cell: a text, or a process.
enum Cell {
    Text(String),
    Process(Link),
}

fn text(value: impl ToString) -> Cell {
    Cell::Text(value.to_string())
}

#[derive(Template)]
#[template(path = "partials/namespace_ipc.html")]
struct IpcView {
    tables: Vec<Objects>,
    limits: Vec<Setting>,
    notes: Vec<String>,
}

impl IpcView {
    fn of(survey: &Survey<'_>, read: &Ipc) -> Self {
        let key = |key: u32| {
            text(if key == 0 {
                "private".to_owned()
            } else {
                format!("0x{key:08x}")
            })
        };
        let mode = |bits: u16| text(format!("{bits:03o}"));
        let who = |pid: Option<HostPid>| match pid {
            Some(pid) => Cell::Process(process_link(survey, pid)),
            None => text("nobody"),
        };
        let queues = read.queues.items.iter().map(|q| {
            let o = &q.object;
            vec![
                key(o.key),
                text(o.id),
                text(o.uid),
                mode(o.permissions),
                text(q.messages),
                text(bytes(q.bytes)),
                who(q.last_sender),
                who(q.last_receiver),
            ]
        });
        let sets = read.semaphores.items.iter().map(|s| {
            let o = &s.object;
            vec![
                key(o.key),
                text(o.id),
                text(o.uid),
                mode(o.permissions),
                text(s.semaphores),
            ]
        });
        let segments = read.segments.items.iter().map(|s| {
            let o = &s.object;
            let size = if s.removed {
                format!("{}, goes with the last", bytes(s.size))
            } else {
                bytes(s.size)
            };
            vec![
                key(o.key),
                text(o.id),
                text(o.uid),
                mode(o.permissions),
                text(size),
                text(s.attached),
                text(bytes(s.resident)),
                who(s.creator),
            ]
        });
        let posix = read.posix_queues.items.iter().map(|q| {
            let messages = q
                .messages
                .map_or_else(|| "not told".to_owned(), |m| m.to_string());
            vec![
                text(visible(&q.name)),
                text(q.uid),
                mode(q.permissions),
                text(messages),
                text(bytes(q.bytes)),
                who(q.notifies),
            ]
        });
        let tables = vec![
            Objects {
                title: "Message queues",
                columns: &[
                    "Key",
                    "Id",
                    "Owner",
                    "Mode",
                    "Messages",
                    "Size",
                    "Sent last",
                    "Received last",
                ],
                rows: queues.collect(),
                left_out: left_out(read.queues.left_out),
            },
            Objects {
                title: "Semaphores",
                columns: &["Key", "Id", "Owner", "Mode", "In the set"],
                rows: sets.collect(),
                left_out: left_out(read.semaphores.left_out),
            },
            Objects {
                title: "Shared memory",
                columns: &[
                    "Key",
                    "Id",
                    "Owner",
                    "Mode",
                    "Size",
                    "Attached",
                    "In memory",
                    "Made by",
                ],
                rows: segments.collect(),
                left_out: left_out(read.segments.left_out),
            },
            Objects {
                title: "POSIX message queues",
                columns: &["Name", "Owner", "Mode", "Messages", "Size", "Told"],
                rows: posix.collect(),
                left_out: left_out(read.posix_queues.left_out),
            },
        ];
        Self {
            tables,
            limits: read
                .limits
                .iter()
                .map(|s| Setting {
                    name: visible(&s.name),
                    value: visible(&s.value),
                })
                .collect(),
            notes: read.notes.iter().map(|note| sentence(note)).collect(),
        }
    }
}

/// A range of ids, drawn: where it begins and how wide it is in the drawing.
struct Range {
    x: usize,
    width: usize,
    inside: String,
    outside: String,
    count: String,
    words: String,
}

struct Map {
    title: &'static str,
    id: &'static str,
    ranges: Vec<Range>,
    width: usize,
}

/// Ranges that are drawn; all are listed.
const DRAWN: usize = 5;

impl Map {
    fn of(title: &'static str, id: &'static str, ranges: &[MappedRange]) -> Self {
        const WHOLE: usize = 900;
        let few = ranges.len().clamp(1, DRAWN);
        let width = (WHOLE - (few - 1) * 10) / few;
        let range = |(place, range): (usize, &MappedRange)| {
            let span = |first: u32| {
                let last = u64::from(first) + u64::from(range.count.max(1)) - 1;
                if range.count <= 1 {
                    first.to_string()
                } else {
                    format!("{first}–{last}")
                }
            };
            let by_parent = range.parent.filter(|parent| *parent != range.outside);
            let parent =
                by_parent.map_or_else(String::new, |p| format!(", {} in its parent", span(p)));
            Range {
                x: place * (width + 10),
                width,
                inside: span(range.inside),
                outside: span(range.outside),
                count: count(range.count as usize, "id", "ids"),
                words: format!(
                    "{} inside {} {} on the host{parent}",
                    span(range.inside),
                    if range.count == 1 { "is" } else { "are" },
                    span(range.outside)
                ),
            }
        };
        Self {
            title,
            id,
            ranges: ranges.iter().enumerate().map(range).collect(),
            width: WHOLE,
        }
    }
}

#[derive(Template)]
#[template(path = "partials/namespace_user.html")]
struct UserView {
    facts: Vec<(&'static str, String)>,
    maps: Vec<Map>,
    identical: bool,
}

impl UserView {
    fn of(read: &User) -> Self {
        let mut facts = vec![("Level", level(read.level))];
        if let Some(uid) = read.owner_uid {
            facts.push(("Made by", format!("uid {uid} on the host")));
        }
        if let Some(allowed) = read.setgroups {
            let word = if allowed { "allowed" } else { "denied" };
            facts.push(("setgroups", word.to_owned()));
        }
        let mut maps = vec![Map::of("Users", "uid", &read.uid_map)];
        let identical = read.uid_map == read.gid_map;
        if !identical {
            maps.push(Map::of("Groups", "gid", &read.gid_map));
        }
        Self {
            facts,
            maps,
            identical,
        }
    }
}

fn level(level: u32) -> String {
    match level {
        0 => "the topmost".to_owned(),
        1 => "1, below the host's".to_owned(),
        deep => format!("{deep} below the host's"),
    }
}

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
struct CgroupView {
    gauges: Vec<Gauge>,
    frozen: Option<bool>,
    groups: Vec<(String, String, String)>,
}

impl CgroupView {
    fn of(read: &Cgroup) -> Self {
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
                    span(cpu.throttled_us)
                )
            };
            gauges.push(Gauge {
                name: "Processor",
                now: span(cpu.usage_us),
                limit: cpu.cpus.map_or_else(
                    || "no limit".to_owned(),
                    |cpus| format!("at most {cpus} cores"),
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

/// A time in microseconds.
fn span(us: u64) -> String {
    nanoseconds(i128::from(us) * 1000)
}

/// A time in nanoseconds as people write one: `1 d 3 h 04 min 05.123 s`.
fn nanoseconds(ns: i128) -> String {
    let sign = if ns < 0 { "−" } else { "" };
    let ns = ns.unsigned_abs();
    let (seconds, ms) = (ns / 1_000_000_000, ns / 1_000_000 % 1000);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let rest = format!("{}.{ms:03} s", seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{rest}"),
        (0, 0, m) => format!("{sign}{m} min {rest}"),
        (0, h, m) => format!("{sign}{h} h {m} min {rest}"),
        (d, h, m) => format!("{sign}{d} d {h} h {m} min {rest}"),
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
struct TimeView {
    clocks: Vec<Clock>,
}

impl TimeView {
    fn of(read: &Time) -> Self {
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

/// A box of the nesting, the outermost first.
struct Nest {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
    text: String,
    to: String,
}

#[derive(Template)]
#[template(path = "partials/namespace_pid.html")]
struct PidView {
    facts: Vec<(&'static str, String)>,
    init: Option<Link>,
    nests: Vec<Nest>,
    width: usize,
    height: usize,
    notes: Vec<String>,
}

impl PidView {
    fn of(survey: &Survey<'_>, read: &Pid) -> Self {
        const STEP: usize = 26;
        let mut facts = vec![
            ("Level", level(read.level)),
            (
                "Processes",
                format!("{}, those below left out", read.processes),
            ),
        ];
        if let Some(max) = read.pid_max {
            facts.push(("Numbers stay below", max.to_string()));
        }
        if let Some(last) = read.last_pid {
            facts.push(("Given last", last.to_string()));
        }
        let line: Vec<_> = read
            .ancestors
            .iter()
            .rev()
            .copied()
            .chain([read.namespace])
            .collect();
        let deep = line.len();
        let (width, height) = (640, 40 + STEP * 2 * (deep - 1));
        let nests = line.iter().enumerate().map(|(step, inode)| {
            let processes = survey.namespace(*inode).map_or(0, |n| n.processes as usize);
            Nest {
                x: step * 18,
                y: step * STEP,
                width: width - step * 36,
                height: height - step * STEP * 2,
                text: format!(
                    "pid:[{inode}], {}",
                    count(processes, "process", "processes")
                ),
                to: survey.address(NamespaceType::Pid, *inode),
            }
        });
        Self {
            facts,
            init: read.init.map(|pid| process_link(survey, pid)),
            nests: nests.collect(),
            width,
            height,
            notes: read.notes.iter().map(|note| sentence(note)).collect(),
        }
    }
}
