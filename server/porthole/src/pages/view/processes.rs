//! A container's processes as a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use askama::Template;
use porthole_protocol::id::HostPid;
use porthole_protocol::observation::Process;

use super::live::{Part, Slot};
use super::words::{When, bytes, process_line, visible};
use super::{Scene, html};
use crate::world::{AnyContainer, World};

#[derive(Template)]
#[template(path = "partials/process_row.html")]
struct ProcessRow {
    base: String,
    container: String,
    twig: String,
    name: String,
    line: String,
    rest: String,
    host_pid: i32,
    pids: Vec<i32>,
    uid: u32,
    uid_inside: Option<u32>,
    gid: u32,
    gid_inside: Option<u32>,
    tty: String,
    state: char,
    state_word: &'static str,
    threads: u32,
    rss: String,
    started: When,
    session: Option<String>,
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

/// A process with the branches that lead to it.
pub type Leaf = (String, Arc<Process>);

/// The processes, each after its parent, with the branches drawn before it.
pub fn tree(processes: Vec<Arc<Process>>) -> Vec<Leaf> {
    let known: BTreeSet<HostPid> = processes.iter().map(|p| p.host_pid).collect();
    let mut children: BTreeMap<Option<HostPid>, Vec<Arc<Process>>> = BTreeMap::new();
    for process in processes {
        let parent = process
            .parent
            .filter(|parent| known.contains(parent) && *parent != process.host_pid);
        children.entry(parent).or_default().push(process);
    }
    let mut rows = Vec::with_capacity(known.len());
    if let Some(roots) = children.remove(&None) {
        for root in roots {
            grow(&mut rows, &mut children, root, "", "");
        }
    }
    // Parents in a circle: a reading torn by a reused PID. They are shown all the same.
    for (_, rest) in children {
        rows.extend(rest.into_iter().map(|process| (String::new(), process)));
    }
    rows
}

fn grow(
    rows: &mut Vec<Leaf>,
    children: &mut BTreeMap<Option<HostPid>, Vec<Arc<Process>>>,
    process: Arc<Process>,
    twig: &str,
    below: &str,
) {
    let own = children.remove(&Some(process.host_pid)).unwrap_or_default();
    rows.push((twig.to_owned(), process));
    let last = own.len().saturating_sub(1);
    for (index, child) in own.into_iter().enumerate() {
        // Deeper than anybody looks the tree goes straight down.
        let deep = below.chars().count() >= 60;
        let (branch, beneath) = match (deep, index == last) {
            (true, _) => ("", ""),
            (false, true) => ("└─ ", "   "),
            (false, false) => ("├─ ", "│  "),
        };
        grow(
            rows,
            children,
            child,
            &format!("{below}{branch}"),
            &format!("{below}{beneath}"),
        );
    }
}

/// The rows of a container's processes.
pub fn slot(container: &AnyContainer, world: &World, scene: Scene<'_>) -> Slot {
    let parts = tree(world.processes_of(container.id()))
        .into_iter()
        .map(|(twig, process)| Part {
            id: format!("p-{}", process.host_pid),
            html: html(&process_row(&process, twig, container, scene)),
        })
        .collect();
    Slot { id: "rows", parts }
}

fn process_row(
    process: &Process,
    twig: String,
    container: &AnyContainer,
    scene: Scene<'_>,
) -> ProcessRow {
    ProcessRow {
        base: scene.base.to_owned(),
        container: super::reference(container),
        twig,
        name: visible(&process.command),
        line: process_line(&process.args),
        rest: rest(process),
        host_pid: process.host_pid.0,
        pids: process.pids.clone(),
        uid: process.uid,
        uid_inside: process.uid_inside,
        gid: process.gid,
        gid_inside: process.gid_inside,
        tty: process.tty.as_deref().map_or_else(String::new, visible),
        state: process.state,
        state_word: state_word(process.state),
        threads: process.threads,
        rss: bytes(process.rss),
        started: process.started_at.into(),
        session: process.session.as_ref().map(ToString::to_string),
    }
}

/// The command line beside the process's name: without its first word where that says the same.
fn rest(process: &Process) -> String {
    match process.args.split_first() {
        Some((first, rest)) if first.rsplit('/').next() == Some(&process.command) => {
            process_line(rest)
        }
        _ => process_line(&process.args),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn each_process_stands_below_its_parent() {
        let world = sample::world();
        let web = world.find("web").expect("there");
        let rows: Vec<_> = tree(world.processes_of(&web.id))
            .into_iter()
            .map(|(twig, process)| (twig, process.host_pid.0))
            .collect();
        assert_eq!(
            rows,
            [
                (String::new(), 7548),
                ("└─ ".to_owned(), 7561),
                ("   └─ ".to_owned(), 7563),
                (String::new(), 7604),
            ]
        );
    }

    #[test]
    fn a_circle_of_parents_loses_nobody() {
        let one = |pid, parent| {
            let mut process = sample::process(pid, parent, &[pid], "a");
            process.parent = Some(HostPid(parent));
            Arc::new(process)
        };
        assert_eq!(tree(vec![one(5, 6), one(6, 5)]).len(), 2);
    }
}
