//! One set of processes, seen from two sides: as the host numbers them and as the container does.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use askama::Template;
use porthole_protocol::id::HostPid;
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Process;

use super::Scene;
use super::words::{count, process_line, visible};
use crate::world::{AnyContainer, World};

/// Rows of a side at most; the page about processes has them all.
const ROWS: usize = 30;
/// How tall a row is, in the style sheet too.
const ROW: usize = 30;
/// How many ancestors of the container's first process the host's side shows.
const ANCESTORS: usize = 4;

/// What Porthole's own first process of a container calls itself.
const INIT: &str = "porthole-init";

/// A process on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number on this side.
    pub pid: i32,
    /// Its number on the other; `None` where it does not exist there.
    pub other: Option<i32>,
    /// What one hovers on both sides at once: the PID on the host.
    pub pair: i32,
    /// What it is.
    pub command: String,
    /// Its whole command line.
    pub title: String,
    /// Its user on this side.
    pub uid: Option<u32>,
}

/// The map.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "partials/pid_map.html")]
pub struct PidMap {
    /// The PID namespace of the host, `pid:[4026531836]`.
    pub host_namespace: String,
    /// The container's.
    pub namespace: String,
    /// It is the host's: both sides are the same.
    pub same: bool,
    /// As the host sees it.
    pub host: Vec<Row>,
    /// As the container sees it.
    pub inside: Vec<Row>,
    /// Lines between the sides: what they join, and their path.
    pub lines: Vec<(i32, String)>,
    /// How tall the lines' drawing is.
    pub height: usize,
    /// Where all of its processes are listed.
    pub processes: String,
    /// How many of the container's processes are not drawn.
    pub more: usize,
    /// What of the host does not exist in the container.
    pub hidden: String,
}

fn namespace(process: &Process) -> String {
    let inode = process.namespaces.pid;
    inode.map_or_else(String::new, |inode| format!("pid:[{inode}]"))
}

/// A process's name on the map: its command line's first word without its directory, then the
/// arguments; its name where it has no command line.
fn named(process: &Process) -> String {
    match process.args.split_first() {
        // How our own init was told what to run is of no use here; the next row is what it runs.
        Some((first, _)) if first == INIT => INIT.to_owned(),
        Some((first, _)) if first.contains(' ') => process_line(&process.args),
        Some((first, rest)) => {
            let program = first.rsplit('/').next().unwrap_or(first);
            let mut words = vec![program.to_owned()];
            words.extend(rest.iter().cloned());
            process_line(&words)
        }
        None => visible(&process.command),
    }
}

fn row(process: &Process, inside: bool, known_inside: bool) -> Row {
    let here = process.host_pid.0;
    let inner = known_inside.then(|| process.pids.last().copied()).flatten();
    Row {
        pid: if inside { inner.unwrap_or(here) } else { here },
        other: if inside { Some(here) } else { inner },
        pair: here,
        command: named(process),
        title: process_line(&process.args),
        uid: if inside {
            process.uid_inside
        } else {
            Some(process.uid)
        },
    }
}

fn ancestors(world: &World, first: &Process) -> Vec<Arc<Process>> {
    let mut line = Vec::new();
    let mut parent = first.parent;
    while let Some(process) = parent.and_then(|pid| world.process(pid)) {
        // A parent that is its own ancestor can only be a reading torn by a reused PID.
        if line.len() > 64 {
            break;
        }
        parent = process.parent;
        line.push(process);
    }
    line.reverse();
    if line.len() > ANCESTORS {
        // The first process and the nearest ones say most.
        line.drain(1..=line.len() - ANCESTORS);
    }
    line
}

impl PidMap {
    /// Of this container; `None` where it does not run or nothing has been seen of it yet.
    pub fn of(container: &AnyContainer, world: &World, scene: Scene<'_>) -> Option<Self> {
        let pid = container.pid()?;
        let processes = world.processes_of(container.id());
        let init = world.process(pid)?;
        let outside = ancestors(world, &init);
        let mut mine: Vec<_> = processes;
        if !mine.iter().any(|p| p.host_pid == pid) {
            mine.insert(0, init.clone());
        }
        let all = mine.len();
        mine.truncate(ROWS);
        let host_pid_namespace = world
            .namespaces()
            .iter()
            .find(|n| n.kind == NamespaceType::Pid && n.initial)
            .map(|n| n.inode)
            .or_else(|| world.process(HostPid(1)).and_then(|p| p.namespaces.pid));
        let mut host: Vec<_> = outside.iter().map(|p| row(p, false, false)).collect();
        host.extend(mine.iter().map(|p| row(p, false, true)));
        let mut inside: Vec<_> = mine.iter().map(|p| row(p, true, true)).collect();
        inside.sort_by_key(|row| row.pid);
        let at: HashMap<i32, usize> = inside
            .iter()
            .enumerate()
            .map(|(index, row)| (row.pair, index))
            .collect();
        let lines = host
            .iter()
            .enumerate()
            .filter_map(|(from, row)| at.get(&row.pair).map(|to| (row.pair, line(from, *to))))
            .collect();
        let elsewhere = world.processes().len().saturating_sub(all);
        Some(Self {
            host_namespace: host_pid_namespace
                .map_or_else(String::new, |inode| format!("pid:[{inode}]")),
            namespace: namespace(&init),
            same: init.namespaces.pid.is_some() && init.namespaces.pid == host_pid_namespace,
            height: host.len().max(inside.len() + 1) * ROW,
            host,
            inside,
            lines,
            processes: format!(
                "{}/containers/{}/processes",
                scene.base,
                super::reference(container)
            ),
            more: all - mine.len(),
            hidden: count(
                elsewhere,
                "other process of the host does not exist here",
                "other processes of the host do not exist here",
            ),
        })
    }
}

/// From the middle of one row to the middle of another.
fn line(from: usize, to: usize) -> String {
    let (a, b) = (from * ROW + ROW / 2, to * ROW + ROW / 2);
    let mut path = String::new();
    let _ = write!(path, "M0 {a} C60 {a} 60 {b} 120 {b}");
    path
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn both_sides_show_the_same_processes() {
        let world = sample::world();
        let web = world.find_any("web").expect("there");
        let who = sample::admin();
        let scene = Scene {
            base: "",
            who: &who,
        };
        let map = PidMap::of(&web, &world, scene).expect("runs");
        let inside: Vec<_> = map.inside.iter().map(|r| (r.pid, r.other, r.uid)).collect();
        assert_eq!(
            inside,
            [
                (1, Some(7548), Some(0)),
                (6, Some(7561), Some(0)),
                (8, Some(7563), Some(33)),
                (14, Some(7604), Some(0)),
            ]
        );
        assert_eq!(map.lines.len(), map.inside.len());
        assert_eq!(map.host.first().map(|r| (r.pid, r.other)), Some((1, None)));
        assert!(!map.same);
    }

    #[test]
    fn what_does_not_run_has_no_map() {
        let world = sample::world();
        let old = world.find_any("old-lab").expect("there");
        let who = sample::admin();
        let scene = Scene {
            base: "",
            who: &who,
        };
        assert_eq!(PidMap::of(&old, &world, scene), None);
    }
}
