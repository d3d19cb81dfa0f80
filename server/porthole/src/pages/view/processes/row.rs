//! A process's row, the same in every list.

use askama::Template;
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Process;

use super::super::words::{When, bytes, count, process_line, visible};
use super::super::{commands, html};
use super::confinement::Confinement;
use super::known::{Known, Place};
use super::tree::Leaf;

/// Longer command lines are cut: 4 KiB in each of a thousand rows would be sent for nobody.
const LINE: usize = 160;
/// What is shown where one points at it.
const TITLE: usize = 600;

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// In a list of more than one container.
    pub names_container: bool,
    /// It is only there because it leads to another.
    pub context: bool,
    /// It is the one that the page is about.
    pub subject: bool,
}

#[derive(Template)]
#[template(path = "partials/process_row.html")]
struct ProcessRow<'a> {
    base: &'a str,
    id: String,
    chosen: String,
    manner: Manner,
    place: Option<&'a Place>,
    is_init: bool,
    twig: &'a str,
    below: &'a str,
    name: String,
    line: String,
    rest: String,
    host_pid: i32,
    pids: &'a [i32],
    uid: u32,
    uid_inside: Option<u32>,
    gid: u32,
    gid_inside: Option<u32>,
    mapped: bool,
    tty: String,
    session: Option<String>,
    cgroup: String,
    cgroup_end: String,
    confinement: Confinement,
    state: char,
    state_word: &'static str,
    threads: String,
    rss: String,
    started: When,
    ps: String,
    nsenter: Option<String>,
    lsns: String,
}

/// A process's state as a word, from the letter that proc(5) has for it.
pub const fn state_word(letter: char) -> &'static str {
    match letter {
        'R' => "running",
        'S' => "sleeping",
        'D' => "waiting for a device",
        'Z' => "ended, not yet reaped",
        'T' => "stopped",
        't' => "stopped by a debugger",
        'I' => "idle",
        'X' => "dead",
        _ => "unknown",
    }
}

/// The id of its row: another process's that gets the same number is another.
pub fn row_id(process: &Process) -> String {
    format!("p-{}-{}", process.host_pid, process.start_ticks)
}

/// What names it for good: its number alone will be another's one day.
pub fn identity(process: &Process) -> String {
    format!("{}@{}", process.host_pid, process.start_ticks)
}

/// The text, at most so many characters of it.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Its command line, where the reader may see it.
pub fn line(process: &Process, may_look: bool) -> String {
    if may_look && !process.args.is_empty() {
        process_line(&process.args)
    } else {
        visible(&process.command)
    }
}

/// The command line beside the process's name: without its first word where that says the same.
pub fn rest(process: &Process, may_look: bool) -> String {
    if !may_look {
        return String::new();
    }
    match process.args.split_first() {
        Some((first, rest)) if first.rsplit('/').next() == Some(&process.command) => {
            process_line(rest)
        }
        _ => process_line(&process.args),
    }
}

/// Enters the namespaces of it that are not the host's.
pub fn nsenter(process: &Process, known: &Known<'_>) -> Option<String> {
    let own = |kind: &NamespaceType| {
        let inode = *process.namespaces.get(*kind);
        inode.is_some_and(|inode| !known.world.namespace(inode).is_some_and(|n| n.initial))
    };
    let mut kinds = NamespaceType::ALL.into_iter().filter(own).peekable();
    kinds.peek()?;
    Some(commands::nsenter(process.host_pid, kinds))
}

/// The row.
pub fn row(leaf: &Leaf, known: &Known<'_>, manner: Manner) -> String {
    let process = &*leaf.process;
    let may_look = known.may_look(process);
    let place = known.place(process);
    let cgroup = process.cgroup.as_deref().map_or_else(String::new, visible);
    html(&ProcessRow {
        base: known.scene.base,
        id: row_id(process),
        chosen: identity(process),
        manner,
        place,
        is_init: place.is_some_and(|place| place.init == Some(process.host_pid)),
        twig: &leaf.twig,
        below: &leaf.below,
        name: visible(&process.command),
        line: cut(&line(process, may_look), TITLE),
        rest: cut(&rest(process, may_look), LINE),
        host_pid: process.host_pid.0,
        pids: &process.pids,
        uid: process.uid,
        uid_inside: process.uid_inside,
        gid: process.gid,
        gid_inside: process.gid_inside,
        mapped: process.uid_inside != Some(process.uid) || process.gid_inside != Some(process.gid),
        tty: process.tty.as_deref().map_or_else(String::new, visible),
        session: process
            .session
            .as_ref()
            .filter(|_| may_look && place.is_some())
            .map(ToString::to_string),
        cgroup_end: cgroup
            .rsplit('/')
            .next()
            .map_or_else(String::new, |end| cut(end, 48)),
        cgroup,
        confinement: Confinement::of(process, known.world),
        state: process.state,
        state_word: state_word(process.state),
        threads: count(process.threads as usize, "thread", "threads"),
        rss: bytes(process.rss),
        started: process.started_at.into(),
        ps: commands::ps(process.host_pid),
        nsenter: nsenter(process, known),
        lsns: commands::lsns(process.host_pid, None),
    })
}
