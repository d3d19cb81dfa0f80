//! A process's eight namespace files.

use askama::Template;
use porthole_protocol::namespace::{Isolation, NamespaceType};
use porthole_protocol::observation::Process;

use super::super::live::Part;
use super::super::processes::known::Known;
use super::super::words::{count, visible};
use super::super::{commands, html, reference};

/// Containers that are named as being in it too; the namespace's page has them all.
const NAMED: usize = 4;

#[derive(Template)]
#[template(path = "partials/process_namespace.html")]
struct NamespaceFile<'a> {
    base: &'a str,
    kind: &'static str,
    inode: Option<u64>,
    path: String,
    isolation: &'static str,
    whose: &'static str,
    /// Other containers in it: how each is addressed, its name.
    with: Vec<(String, String)>,
    more: usize,
    others: String,
    nsenter: String,
    lsns: String,
}

/// The eight rows.
pub(super) fn parts(process: &Process, known: &Known<'_>) -> Vec<Part> {
    let kinds = NamespaceType::ALL.into_iter();
    kinds
        .map(|kind| Part {
            id: format!("n-{kind}"),
            html: html(&file(kind, process, known)),
        })
        .collect()
}

fn file<'a>(kind: NamespaceType, process: &Process, known: &Known<'a>) -> NamespaceFile<'a> {
    let inode = *process.namespaces.get(kind);
    let namespace = inode.and_then(|inode| known.world.namespace(inode));
    let initial = namespace.as_ref().is_some_and(|n| n.initial);
    let all = known.world.any_containers();
    let mut with: Vec<(String, String)> = all
        .iter()
        .filter(|_| !initial && inode.is_some())
        .filter(|c| c.namespaces().get(kind).inode == inode)
        .filter(|c| Some(c.id()) != process.container.as_ref())
        .map(|c| (reference(known.world, c), visible(c.name())))
        .collect();
    let more = with.len().saturating_sub(NAMED);
    with.truncate(NAMED);
    let isolation = match (initial, with.is_empty()) {
        (true, _) => Isolation::Host,
        (false, true) => Isolation::Own,
        (false, false) => Isolation::Shared,
    };
    let others = namespace.map(|n| n.processes.saturating_sub(1) as usize);
    NamespaceFile {
        base: known.scene.base,
        kind: kind.name(),
        inode: inode.map(|inode| inode.0),
        path: format!("/proc/{}/ns/{kind}", process.host_pid),
        isolation: isolation.name(),
        whose: match (isolation, process.container.is_some(), others) {
            (Isolation::Host, _, _) => "the host's",
            (Isolation::Shared, _, _) => "shared",
            (Isolation::Own, true, _) => "its container's own",
            (Isolation::Own, false, Some(0)) => "its own",
            (Isolation::Own, false, _) => "not the host's",
        },
        with,
        more,
        others: match others {
            None => String::new(),
            Some(0) => "nobody else".to_owned(),
            Some(others) => count(others, "other process", "other processes"),
        },
        nsenter: commands::nsenter(process.host_pid, [kind]),
        lsns: commands::lsns(process.host_pid, Some(kind)),
    }
}
