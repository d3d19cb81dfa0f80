//! What was read inside a namespace, as a piece of its page.
//!
//! Read by a child of the keeper's when the page is open already: where that hangs or fails, a line
//! says so in its place.

use askama::Template;
use porthole_protocol::id::HostPid;
use porthole_protocol::inspection::{Inspected, ProcessIdentity, Subject, What};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Namespace;

use super::super::html;
use super::super::shell::Shell;
use super::super::words::{sentence, visible};
use super::survey::{Link, Survey};

mod cgroup;
mod ipc;
mod mounts;
mod names;
mod network;
mod numbers;
mod users;

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
        Inspected::Mounts(read) => mounts::drawn(&read),
        Inspected::Network(read) => network::drawn(survey, namespace, &read),
        Inspected::Uts(read) => html(&names::UtsView::of(&read)),
        Inspected::Ipc(read) => html(&ipc::IpcView::of(survey, &read)),
        Inspected::User(read) => html(&users::UserView::of(&read)),
        Inspected::Cgroup(read) => html(&cgroup::CgroupView::of(&read)),
        Inspected::Time(read) => html(&names::TimeView::of(&read)),
        Inspected::Pid(read) => html(&numbers::PidView::of(survey, &read)),
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

fn level(level: u32) -> String {
    match level {
        0 => "the topmost".to_owned(),
        1 => "1, below the host's".to_owned(),
        deep => format!("{deep} below the host's"),
    }
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
