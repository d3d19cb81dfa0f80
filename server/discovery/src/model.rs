//! What the host looks like, and what of it the receiver has not been told yet.
//!
//! Pure: whoever reads `/proc` puts in what was found, and takes out [`Update`]s. What changes
//! while the receiver does not read is remembered as a set of numbers, not as a list of changes,
//! so that it can never be more than there are processes and namespaces.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use porthole_protocol::container::IdRange;
use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::namespace::{NamespaceSet, NamespaceType};
use porthole_protocol::observation::{Process, Update};

use crate::containers::{Containers, Namespaces, Place};
use crate::procfs::{IdMaps, Relation};
use crate::recognise::Group;
use crate::{parse, recognise};

mod entry;
mod held;
mod untold;

pub(crate) use held::{By, Held, Mounted};

use entry::Entry;
use untold::Untold;

/// About how many bytes of JSON one update may have; well below the protocol's limit.
const UPDATE_BYTES: usize = 256 * 1024;

/// What an entry of an update has about in JSON, arguments apart.
const ENTRY_BYTES: usize = 1024;

/// What a holder of a namespace, and a range of ids, have about.
const HOLDER_BYTES: usize = 120;
const RANGE_BYTES: usize = 32;

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

/// What leads to a namespace.
#[derive(Debug)]
pub(crate) enum Way {
    /// A link, from `/proc`.
    Link(String),
    /// A file, as this process sees it.
    Mount(HostPid, String),
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

    /// Whether it is known what this namespace hangs from.
    pub(crate) fn is_related(&self, kind: NamespaceType, inode: NamespaceInode) -> bool {
        self.namespaces
            .get(&inode)
            .is_some_and(|entry| entry.related && entry.kind == kind)
    }

    /// The same of a namespace of any type.
    pub(crate) fn is_any_related(&self, inode: NamespaceInode) -> bool {
        self.namespaces
            .get(&inode)
            .is_some_and(|entry| entry.related)
    }

    /// Whether the maps of this user namespace are known.
    pub(crate) fn is_mapped(&self, inode: NamespaceInode) -> bool {
        self.namespaces
            .get(&inode)
            .is_some_and(|entry| entry.maps.is_some())
    }

    /// Asks for everything about the namespaces anew: the kernel gives a number again as soon as
    /// it is free, and a namespace may have been another for a while.
    pub(crate) fn doubt(&mut self) {
        for entry in self.namespaces.values_mut() {
            entry.related = false;
            entry.maps = None;
        }
    }

    /// What namespaces hang from. Each but the first is one that the first hangs from.
    pub(crate) fn relate(&mut self, relations: &[Relation]) {
        for relation in relations {
            let entry = self.entry(relation.kind, relation.inode);
            let before = entry.above();
            (entry.owner, entry.parent) = (relation.owner, relation.parent);
            let after = entry.above();
            entry.related = true;
            let before_it = (entry.owner_uid, entry.netnsid);
            (entry.owner_uid, entry.netnsid) = (relation.owner_uid, relation.netnsid);
            if before_it != (relation.owner_uid, relation.netnsid) {
                self.untold.namespaces.changed(relation.inode);
            }
            if before != after {
                self.moved = true;
                self.untold.namespaces.changed(relation.inode);
                for inode in after.into_iter().flatten() {
                    let kind = match relation.kind {
                        NamespaceType::Pid if Some(inode) == relation.parent => NamespaceType::Pid,
                        _ => NamespaceType::User,
                    };
                    self.entry(kind, inode).hangers += 1;
                    self.untold.namespaces.changed(inode);
                }
                for inode in before.into_iter().flatten() {
                    self.unhang(inode);
                }
            }
        }
    }

    /// The maps of a user namespace. Those in it get their ids inside.
    pub(crate) fn map(&mut self, inode: NamespaceInode, maps: IdMaps) {
        // Not written yet: ask again next time.
        if maps.users.is_empty() && maps.groups.is_empty() {
            return;
        }
        let Some(entry) = self.namespaces.get_mut(&inode) else {
            return;
        };
        for pid in &entry.members {
            let Some(Known { process, .. }) = self.processes.get_mut(pid) else {
                continue;
            };
            let before = (process.uid_inside, process.gid_inside);
            number_inside(process, &maps);
            if before != (process.uid_inside, process.gid_inside) {
                self.untold.processes.changed(*pid);
            }
        }
        self.moved = true;
        // One map may still be missing: those that write them begin with either.
        if !maps.users.is_empty() && !maps.groups.is_empty() {
            entry.maps = Some(maps);
        }
    }

    /// A process as it is now, in this group. Its ids inside and its container are filled in here;
    /// its arguments stay what they were as long as it is the same process. Answers whether it is
    /// a new one.
    pub(crate) fn put(&mut self, mut process: Process, group: Arc<Group>) -> bool {
        let pid = process.host_pid;
        let before = self.processes.get(&pid);
        let same = before.filter(|b| b.process.start_ticks == process.start_ticks);
        let is_new = same.is_none();
        if let Some(before) = same
            && process.args.is_empty()
        {
            process.args.clone_from(&before.process.args);
        }
        let maps = process
            .namespaces
            .user
            .and_then(|inode| self.namespaces.get(&inode)?.maps.as_ref());
        if let Some(maps) = maps {
            number_inside(&mut process, maps);
        } else if let Some(Known {
            process: before, ..
        }) = before
            && before.namespaces.user == process.namespaces.user
            && (before.uid, before.gid) == (process.uid, process.gid)
        {
            process.uid_inside = before.uid_inside;
            process.gid_inside = before.gid_inside;
        }
        let mut known = Known { process, group };
        // A zombie has left its namespaces: it stays where it was.
        let container = match self.containers.of(known.place()) {
            Some(container) if known.process.namespaces.pid.is_some() => container.clone(),
            _ => before.and_then(|before| before.process.container.clone()),
        };
        known.process.container = container;
        if let Some(before) = before
            && before.process == known.process
            && before.group.number == known.group.number
        {
            return is_new;
        }
        self.moved |= self.containers.concerns(before, &known);
        let left = before.map_or(NamespaceSet::default(), |b| b.process.namespaces);
        let entered = known.process.namespaces;
        // All are left before any is entered: a number may be given again to another type.
        for (kind, inode) in left.iter() {
            if let Some(inode) = *inode
                && Some(inode) != *entered.get(kind)
            {
                self.leave(pid, inode);
            }
        }
        for (kind, inode) in entered.iter() {
            if let Some(inode) = *inode
                && Some(inode) != *left.get(kind)
            {
                self.entry(kind, inode).members.insert(pid);
                self.untold.namespaces.changed(inode);
            }
        }
        if is_new {
            self.hold(pid, Vec::new());
        }
        self.processes.insert(pid, known);
        self.untold.processes.changed(pid);
        is_new
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

    /// The mount namespaces that are known.
    pub(crate) fn mount_namespaces(&self) -> impl Iterator<Item = NamespaceInode> {
        let mounts = self.namespaces.iter();
        mounts
            .filter(|(_, entry)| entry.kind == NamespaceType::Mnt)
            .map(|(inode, _)| *inode)
    }

    /// A process in this mount namespace.
    pub(crate) fn leader(&self, inode: NamespaceInode) -> Option<HostPid> {
        self.namespaces.get(&inode)?.members.first().copied()
    }

    /// The network namespaces that have no number yet, each with what leads to it: a link below
    /// `/proc`, or a process and the path at which that sees it mounted.
    pub(crate) fn unnumbered(&self) -> Vec<(NamespaceInode, Way)> {
        let all = self.namespaces.iter();
        let unnumbered = all.filter(|(_, e)| e.kind == NamespaceType::Net && e.netnsid.is_none());
        let way = |entry: &Entry| {
            if let Some(pid) = entry.members.first() {
                return Some(Way::Link(format!("{pid}/ns/net")));
            }
            if let Some((pid, by)) = entry.open.first_key_value() {
                let link = by.first()?.of(*pid).link(NamespaceType::Net);
                return link.map(Way::Link);
            }
            let (mnt, paths) = entry.mounted.first_key_value()?;
            Some(Way::Mount(self.leader(*mnt)?, paths.first()?.clone()))
        };
        unnumbered
            .filter_map(|(inode, entry)| Some((*inode, way(entry)?)))
            .collect()
    }

    /// What the observer's network namespace calls this one.
    pub(crate) fn number(&mut self, inode: NamespaceInode, netnsid: i32) {
        if let Some(entry) = self.namespaces.get_mut(&inode) {
            entry.netnsid = Some(netnsid);
            self.untold.namespaces.changed(inode);
        }
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

    /// A sentence for people on how changes are learnt of; `None` where that is at once.
    pub(crate) fn notice(&mut self, notice: Option<String>) {
        self.untold.notice |= self.notice != notice;
        self.notice = notice;
    }

    /// A part of what the receiver does not know, which it is then taken to know; `None` if it
    /// knows everything. The first is the beginning.
    pub(crate) fn take_update(&mut self) -> Option<Update> {
        self.settle();
        let untold = &mut self.untold;
        if untold.is_nothing() {
            return None;
        }
        let mut update = Update {
            full: !untold.begun,
            wires: untold.wires,
            notice: self.notice.clone(),
            ..Update::default()
        };
        untold.begun = true;
        untold.notice = false;
        untold.wires = false;
        let mut left = UPDATE_BYTES;
        while left > 0
            && let Some(inode) = untold.namespaces.next()
        {
            left = left.saturating_sub(ENTRY_BYTES / 2);
            if let Some(entry) = self.namespaces.get(&inode) {
                untold.namespaces.tell(inode);
                let leader = |mnt| self.namespaces.get(&mnt)?.members.first().copied();
                let told = entry.told(inode, &self.initial, leader);
                left = left.saturating_sub(told.holders.len() * HOLDER_BYTES);
                update.namespaces.push(told);
            } else if untold.namespaces.tell_gone(&inode) {
                update.namespaces_gone.push(inode);
            }
        }
        while left > 0
            && let Some(id) = untold.containers.next()
        {
            left = left.saturating_sub(ENTRY_BYTES);
            if let Some(sighting) = self.containers.foreign.get(&id) {
                let ranges = sighting.uid_map.len() + sighting.gid_map.len();
                left = left.saturating_sub(ranges * RANGE_BYTES);
                untold.containers.tell(id);
                update.containers.push(sighting.clone());
            } else if untold.containers.tell_gone(&id) {
                update.containers_gone.push(id);
            }
        }
        while left > 0
            && let Some(pid) = untold.processes.next()
        {
            if let Some(Known { process, .. }) = self.processes.get(&pid) {
                let args: usize = process.args.iter().map(|arg| arg.len() + 3).sum();
                left = left.saturating_sub(ENTRY_BYTES + args);
                untold.processes.tell(pid);
                update.processes.push(process.clone());
            } else if untold.processes.tell_gone(&pid) {
                left = left.saturating_sub(8);
                update.processes_gone.push(pid);
            }
        }
        Some(update)
    }

    fn entry(&mut self, kind: NamespaceType, inode: NamespaceInode) -> &mut Entry {
        let entry = self.namespaces.entry(inode).or_insert_with(|| {
            self.untold.namespaces.changed(inode);
            Entry::new(kind)
        });
        if entry.kind != kind {
            // The number is another namespace's now.
            entry.kind = kind;
            entry.related = false;
            entry.maps = None;
            entry.owner_uid = None;
            entry.netnsid = None;
        }
        entry
    }

    fn leave(&mut self, pid: HostPid, inode: NamespaceInode) {
        if let Some(entry) = self.namespaces.get_mut(&inode) {
            let led = entry.members.first() == Some(&pid);
            entry.members.remove(&pid);
            let is_empty = entry.members.is_empty();
            self.untold.namespaces.changed(inode);
            if led && self.mounts.contains_key(&inode) {
                self.lost_leader(inode, is_empty);
            }
            self.drop_if_unused(inode);
        }
    }

    fn unhang(&mut self, inode: NamespaceInode) {
        if let Some(entry) = self.namespaces.get_mut(&inode) {
            entry.hangers = entry.hangers.saturating_sub(1);
            self.untold.namespaces.changed(inode);
            self.drop_if_unused(inode);
        }
    }

    fn drop_if_unused(&mut self, inode: NamespaceInode) {
        if self.namespaces.get(&inode).is_none_or(Entry::is_used) {
            return;
        }
        if let Some(entry) = self.namespaces.remove(&inode) {
            self.untold.namespaces.gone(inode);
            // At most 32 levels deep, see user_namespaces(7).
            for above in entry.above().into_iter().flatten() {
                self.unhang(above);
            }
        }
    }
}

/// What the search for containers asks about namespaces.
struct Nested<'a> {
    initial: &'a NamespaceSet,
    namespaces: &'a HashMap<NamespaceInode, Entry>,
}

impl Namespaces for Nested<'_> {
    fn initial(&self) -> &NamespaceSet {
        self.initial
    }

    fn parent(&self, inode: NamespaceInode) -> Option<NamespaceInode> {
        self.namespaces.get(&inode)?.parent
    }

    fn maps(&self, inode: NamespaceInode) -> Option<(&[IdRange], &[IdRange])> {
        let maps = self.namespaces.get(&inode)?.maps.as_ref()?;
        Some((&maps.users, &maps.groups))
    }
}

fn number_inside(process: &mut Process, maps: &IdMaps) {
    process.uid_inside = parse::inside(&maps.users, process.uid);
    process.gid_inside = parse::inside(&maps.groups, process.gid);
}

#[cfg(test)]
mod tests;
