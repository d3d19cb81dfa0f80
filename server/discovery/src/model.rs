//! What the host looks like, and what of it the receiver has not been told yet.
//!
//! Pure: whoever reads `/proc` puts in what was found, and takes out [`Update`](porthole_protocol::observation::Update)s. What changes
//! while the receiver does not read is remembered as a set of numbers, not as a list of changes,
//! so that it can never be more than there are processes and namespaces.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::namespace::NamespaceSet;
use porthole_protocol::observation::Process;

use crate::containers::{Containers, Place};
use crate::procfs::IdMaps;
use crate::recognise::Group;
use crate::{parse, recognise};

mod entry;
mod held;
mod namespaces;
mod telling;
mod untold;

pub(crate) use held::{By, Held, Mounted};
pub(crate) use namespaces::Way;

use entry::Entry;
use namespaces::Nested;
use untold::Untold;

/// A process with its control group.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) process: Process,
    pub(crate) group: Arc<Group>,
}

impl Known {
    /// What decides in which container it is.
    pub(crate) fn place(&self) -> Place {
        (self.group.number, self.process.namespaces.pid)
    }
}

/// The host as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct Model {
    initial: NamespaceSet,
    processes: HashMap<HostPid, Known>,
    namespaces: HashMap<NamespaceInode, Entry>,
    containers: Containers,
    /// Whether they have to be found anew.
    moved: bool,
    /// The groups of containers that are frozen.
    frozen: HashSet<String>,
    /// What processes hold without being in it.
    open: HashMap<HostPid, Vec<Held>>,
    /// What is mounted in mount namespaces.
    mounts: HashMap<NamespaceInode, Vec<Mounted>>,
    notice: Option<String>,
    untold: Untold,
}

impl Model {
    /// A host that began with these namespaces.
    pub(crate) fn new(initial: NamespaceSet) -> Self {
        Self {
            initial,
            ..Self::default()
        }
    }

    /// The namespaces that the host began with.
    pub(crate) const fn initial(&self) -> &NamespaceSet {
        &self.initial
    }

    /// What is known of a process.
    pub(crate) fn process(&self, pid: HostPid) -> Option<&Process> {
        self.processes.get(&pid).map(|known| &known.process)
    }

    /// All that are known.
    pub(crate) fn pids(&self) -> impl Iterator<Item = HostPid> {
        self.processes.keys().copied()
    }

    /// The children of any of these.
    pub(crate) fn children(&self, parents: &HashSet<HostPid>) -> Vec<HostPid> {
        self.processes
            .values()
            .map(|known| &known.process)
            .filter(|process| process.parent.is_some_and(|p| parents.contains(&p)))
            .map(|process| process.host_pid)
            .collect()
    }

    /// A process as it is now, in this group. Its ids inside and its container are filled in here;
    /// its arguments stay what they were as long as it is the same process. Answers whether it is
    /// a new one.
    pub(crate) fn put(&mut self, process: Process, group: Arc<Group>) -> bool {
        let pid = process.host_pid;
        let mut known = Known { process, group };
        let before = self.processes.get(&pid);
        let is_new = before.is_none_or(|b| b.process.start_ticks != known.process.start_ticks);
        self.fill_in(&mut known, before);
        if let Some(before) = before
            && before.process == known.process
            && before.group.number == known.group.number
        {
            return is_new;
        }
        self.moved |= self.containers.concerns(before, &known);
        let left = before.map_or(NamespaceSet::default(), |b| b.process.namespaces);
        self.change_namespaces(pid, &left, &known.process.namespaces);
        if is_new {
            self.hold(pid, Vec::new());
        }
        self.processes.insert(pid, known);
        self.untold.processes.changed(pid);
        is_new
    }

    /// Fills in what is not read with a process; `before` is what was known under its number.
    fn fill_in(&self, known: &mut Known, before: Option<&Known>) {
        let place = known.place();
        let process = &mut known.process;
        let before = before.map(|before| &before.process);
        if let Some(before) = before
            && before.start_ticks == process.start_ticks
            && process.args.is_empty()
        {
            process.args.clone_from(&before.args);
        }
        let user = process.namespaces.user;
        let maps = user.and_then(|inode| self.namespaces.get(&inode)?.maps.as_ref());
        if let Some(maps) = maps {
            number_inside(process, maps);
        } else if let Some(before) = before
            && before.namespaces.user == user
            && (before.uid, before.gid) == (process.uid, process.gid)
        {
            process.uid_inside = before.uid_inside;
            process.gid_inside = before.gid_inside;
        }
        // A zombie has left its namespaces: it stays where it was.
        process.container = match self.containers.of(place) {
            Some(container) if process.namespaces.pid.is_some() => container.clone(),
            _ => before.and_then(|before| before.container.clone()),
        };
    }

    /// The arguments of a process, as long as it is the one that was asked.
    pub(crate) fn arguments(&mut self, pid: HostPid, start_ticks: u64, args: Vec<String>) {
        let Some(known) = self.processes.get_mut(&pid) else {
            return;
        };
        let process = &mut known.process;
        if process.start_ticks != start_ticks || process.args == args {
            return;
        }
        self.moved |= recognise::is_supervisor(&process.command);
        process.args = args;
        self.untold.processes.changed(pid);
    }

    /// A process is gone.
    pub(crate) fn remove(&mut self, pid: HostPid) {
        let Some(Known { process, .. }) = self.processes.remove(&pid) else {
            return;
        };
        self.moved |= self.containers.is_init(pid);
        self.hold(pid, Vec::new());
        for inode in process.namespaces.iter().filter_map(|(_, inode)| *inode) {
            self.leave(pid, inode);
        }
        self.untold.processes.gone(pid);
    }

    /// Interfaces or wires have changed.
    pub(crate) const fn rewired(&mut self) {
        self.untold.wires = true;
    }

    /// The groups of the containers that others made.
    pub(crate) fn groups(&self) -> Vec<String> {
        let all = self.containers.foreign.values();
        all.filter_map(|sighting| sighting.cgroup.clone()).collect()
    }

    /// Whether this group is frozen.
    pub(crate) fn freeze(&mut self, group: &str, frozen: bool) {
        self.moved |= if frozen {
            self.frozen.insert(group.to_owned())
        } else {
            self.frozen.remove(group)
        };
    }

    /// Whether containers have to be found anew.
    pub(crate) const fn is_unsettled(&self) -> bool {
        self.moved
    }

    /// Finds out which containers there are, if that may have changed.
    pub(crate) fn settle(&mut self) {
        if !std::mem::take(&mut self.moved) {
            return;
        }
        let before = std::mem::take(&mut self.containers.foreign);
        let view = Nested {
            initial: &self.initial,
            namespaces: &self.namespaces,
        };
        self.containers.find(&self.processes, &view, &self.frozen);
        let now = &self.containers.foreign;
        if !self.frozen.is_empty() {
            let groups: HashSet<_> = now.values().filter_map(|s| s.cgroup.as_ref()).collect();
            self.frozen.retain(|group| groups.contains(group));
        }
        for (id, sighting) in now {
            if before.get(id) != Some(sighting) {
                self.untold.containers.changed(id.clone());
            }
        }
        for id in before.into_keys().filter(|id| !now.contains_key(id)) {
            self.untold.containers.gone(id);
        }
        for (pid, known) in &mut self.processes {
            if known.process.namespaces.pid.is_some()
                && let Some(container) = self.containers.of(known.place())
                && known.process.container != *container
            {
                known.process.container.clone_from(container);
                self.untold.processes.changed(*pid);
            }
        }
    }
}

fn number_inside(process: &mut Process, maps: &IdMaps) {
    process.uid_inside = parse::inside(&maps.users, process.uid);
    process.gid_inside = parse::inside(&maps.groups, process.gid);
}

#[cfg(test)]
mod tests;
