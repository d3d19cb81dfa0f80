//! A row for each namespace: what lsns(8) shows, and what it does not.

use askama::Template;
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Namespace;

use super::super::commands;
use super::super::html;
use super::super::live::{Part, Slot};
use super::super::processes::row::rest;
use super::super::words::visible;
use super::listing::Listing;
use super::survey::{Keeps, Link, Survey};

/// Rows of a page unless all are asked for.
pub(super) const ROWS: usize = 200;
/// Containers and holders of a row; the namespace's page has them all.
const FEW: usize = 2;

/// What a list can be sorted by, with the column's heading.
pub(super) const COLUMNS: [(&str, &str); 8] = [
    ("type", "Namespace"),
    ("netnsid", "Net ID"),
    ("processes", "Processes"),
    ("pid", "Leader"),
    ("command", "Command"),
    ("user", "User"),
    ("owner", "Owner"),
    ("parent", "Parent"),
];

/// The process of a namespace with the lowest PID.
struct Leader {
    to: String,
    pids: Vec<i32>,
    parent: Option<i32>,
    name: String,
    line: String,
    rest: String,
    user: Option<String>,
    uid: u32,
    uid_inside: Option<u32>,
    same_uid: bool,
}

#[derive(Template)]
#[template(path = "partials/namespaces_row.html")]
struct Row {
    to: String,
    kind: NamespaceType,
    inode: String,
    initial: bool,
    path: Option<String>,
    processes: u32,
    leader: Option<Leader>,
    netnsid: Option<i32>,
    owner_uid: Option<u32>,
    owner_user: Option<String>,
    owner: Option<Link>,
    parent: Option<Link>,
    containers: Vec<Link>,
    more_containers: usize,
    keeps: Vec<Keeps>,
    more_keeps: usize,
    nsenter: Option<String>,
    lsns: Option<String>,
}

/// The command that lists it. lsns(8) finds namespaces by processes; only newer ones list others.
pub(super) fn lsns(namespace: &Namespace) -> Option<String> {
    let pid = namespace.leader?;
    Some(commands::lsns(pid, Some(namespace.kind)))
}

impl Row {
    fn of(namespace: &Namespace, survey: &Survey<'_>) -> Self {
        let leader = survey.leader(namespace).map(|process| Leader {
            to: survey.process_address(process.host_pid),
            pids: process.pids.clone(),
            parent: process.parent.map(|pid| pid.0),
            name: visible(&process.command),
            line: survey.line(process),
            rest: rest(process, survey.may_look(process)),
            user: survey.user(process.uid).map(str::to_owned),
            uid: process.uid,
            uid_inside: process.uid_inside,
            same_uid: process.uid_inside == Some(process.uid),
        });
        let mut containers = survey.containers_in(namespace.inode);
        let shown: Vec<_> = containers
            .by_ref()
            .take(FEW)
            .map(|c| survey.container_link(c))
            .collect();
        let mut keeps = survey.keeps(namespace);
        let more_keeps = keeps.len().saturating_sub(FEW);
        keeps.truncate(FEW);
        Self {
            to: survey.address(namespace.kind, namespace.inode),
            kind: namespace.kind,
            inode: namespace.inode.to_string(),
            initial: namespace.initial,
            path: survey.path(namespace).map(|path| visible(&path)),
            processes: namespace.processes,
            leader,
            netnsid: namespace.netnsid,
            owner_uid: namespace.owner_uid,
            owner_user: namespace
                .owner_uid
                .and_then(|uid| survey.user(uid))
                .map(str::to_owned),
            owner: namespace
                .owner
                .map(|inode| survey.link(inode, NamespaceType::User)),
            parent: namespace
                .parent
                .map(|inode| survey.link(inode, namespace.kind)),
            more_containers: containers.count(),
            containers: shown,
            keeps,
            more_keeps,
            nsenter: survey.nsenter(namespace),
            lsns: lsns(namespace),
        }
    }
}

/// The rows, and how many there are in all.
pub(super) fn slot(survey: &Survey<'_>, listing: &Listing) -> (Slot, usize) {
    let found = listing.select(survey);
    let parts = found
        .iter()
        .take(listing.limit(ROWS))
        .map(|namespace| Part {
            id: format!("n-{}", namespace.inode),
            html: html(&Row::of(namespace, survey)),
        })
        .collect();
    (Slot { id: "rows", parts }, found.len())
}
