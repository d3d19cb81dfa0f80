//! What the host looks like, and what of it the receiver has not been told yet.
//!
//! Pure: whoever reads `/proc` puts in what was found, and takes out [`Update`]s. What changes
//! while the receiver does not read is remembered as a set of numbers, not as a list of changes,
//! so that it can never be more than there are processes and namespaces.

use std::collections::{BTreeSet, HashMap, HashSet};

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::namespace::{NamespaceSet, NamespaceType};
use porthole_protocol::observation::{Namespace, Process, Update};

use crate::parse;
use crate::procfs::{IdMaps, Relation};

/// About how many bytes of JSON one update may have; well below the protocol's limit.
const UPDATE_BYTES: usize = 256 * 1024;

/// What an entry of an update has about in JSON, arguments apart.
const ENTRY_BYTES: usize = 640;

/// A namespace that a process is in, or that another one hangs from.
#[derive(Debug)]
struct Entry {
    kind: NamespaceType,
    owner: Option<NamespaceInode>,
    parent: Option<NamespaceInode>,
    /// Whether owner and parent have been asked for.
    related: bool,
    members: BTreeSet<HostPid>,
    /// How many others have it as owner or parent.
    hangers: u32,
    /// The maps of a user namespace, once they are written.
    maps: Option<IdMaps>,
}

/// The host as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct Model {
    initial: NamespaceSet,
    processes: HashMap<HostPid, Process>,
    namespaces: HashMap<NamespaceInode, Entry>,
    notice: Option<String>,
    untold: Untold,
}

/// What the receiver does not know.
#[derive(Debug, Default)]
struct Untold {
    begun: bool,
    notice: bool,
    processes: BTreeSet<HostPid>,
    namespaces: BTreeSet<NamespaceInode>,
    told_processes: HashSet<HostPid>,
    told_namespaces: HashSet<NamespaceInode>,
}

impl Untold {
    /// What was never told need not be told to be gone.
    fn process_gone(&mut self, pid: HostPid) {
        if self.told_processes.contains(&pid) {
            self.processes.insert(pid);
        } else {
            self.processes.remove(&pid);
        }
    }

    fn namespace_gone(&mut self, inode: NamespaceInode) {
        if self.told_namespaces.contains(&inode) {
            self.namespaces.insert(inode);
        } else {
            self.namespaces.remove(&inode);
        }
    }
}

impl Model {
    /// A host that began with these namespaces.
    pub(crate) fn new(initial: NamespaceSet) -> Self {
        Self {
            initial,
            ..Self::default()
        }
    }

    /// What is known of a process.
    pub(crate) fn process(&self, pid: HostPid) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// All that are known.
    pub(crate) fn pids(&self) -> impl Iterator<Item = HostPid> {
        self.processes.keys().copied()
    }

    /// The children of any of these.
    pub(crate) fn children(&self, parents: &HashSet<HostPid>) -> Vec<HostPid> {
        self.processes
            .values()
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
            let before = [entry.owner, entry.parent];
            let after = [relation.owner, relation.parent];
            [entry.owner, entry.parent] = after;
            entry.related = true;
            if before != after {
                self.untold.namespaces.insert(relation.inode);
                for inode in after.into_iter().flatten() {
                    let kind = match relation.kind {
                        NamespaceType::Pid if Some(inode) == relation.parent => NamespaceType::Pid,
                        _ => NamespaceType::User,
                    };
                    self.entry(kind, inode).hangers += 1;
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
            let Some(process) = self.processes.get_mut(pid) else {
                continue;
            };
            let before = (process.uid_inside, process.gid_inside);
            number_inside(process, &maps);
            if before != (process.uid_inside, process.gid_inside) {
                self.untold.processes.insert(*pid);
            }
        }
        // One map may still be missing: those that write them begin with either.
        if !maps.users.is_empty() && !maps.groups.is_empty() {
            entry.maps = Some(maps);
        }
    }

    /// A process as it is now. Its ids inside are filled in here.
    pub(crate) fn put(&mut self, mut process: Process) {
        let pid = process.host_pid;
        let maps = process
            .namespaces
            .user
            .and_then(|inode| self.namespaces.get(&inode)?.maps.as_ref());
        if let Some(maps) = maps {
            number_inside(&mut process, maps);
        } else if let Some(before) = self.processes.get(&pid)
            && before.namespaces.user == process.namespaces.user
            && (before.uid, before.gid) == (process.uid, process.gid)
        {
            process.uid_inside = before.uid_inside;
            process.gid_inside = before.gid_inside;
        }
        let before = match self.processes.get(&pid) {
            Some(before) if *before == process => return,
            Some(before) => before.namespaces,
            None => NamespaceSet::default(),
        };
        // All are left before any is entered: a number may be given again to another type.
        for (kind, inode) in before.iter() {
            if let Some(inode) = *inode
                && Some(inode) != *process.namespaces.get(kind)
            {
                self.leave(pid, inode);
            }
        }
        for (kind, inode) in process.namespaces.iter() {
            if let Some(inode) = *inode
                && Some(inode) != *before.get(kind)
            {
                self.entry(kind, inode).members.insert(pid);
                self.untold.namespaces.insert(inode);
            }
        }
        self.processes.insert(pid, process);
        self.untold.processes.insert(pid);
    }

    /// A process is gone.
    pub(crate) fn remove(&mut self, pid: HostPid) {
        let Some(process) = self.processes.remove(&pid) else {
            return;
        };
        for inode in process.namespaces.iter().filter_map(|(_, inode)| *inode) {
            self.leave(pid, inode);
        }
        self.untold.process_gone(pid);
    }

    /// A sentence for people on how changes are learnt of; `None` where that is at once.
    pub(crate) fn notice(&mut self, notice: Option<String>) {
        self.untold.notice |= self.notice != notice;
        self.notice = notice;
    }

    /// A part of what the receiver does not know, which it is then taken to know; `None` if it
    /// knows everything. The first is the beginning.
    pub(crate) fn take_update(&mut self) -> Option<Update> {
        let untold = &mut self.untold;
        if untold.begun
            && !untold.notice
            && untold.processes.is_empty()
            && untold.namespaces.is_empty()
        {
            return None;
        }
        let mut update = Update {
            full: !untold.begun,
            notice: self.notice.clone(),
            ..Update::default()
        };
        untold.begun = true;
        untold.notice = false;
        let mut left = UPDATE_BYTES;
        while left > 0
            && let Some(inode) = untold.namespaces.pop_first()
        {
            left = left.saturating_sub(ENTRY_BYTES / 2);
            if let Some(entry) = self.namespaces.get(&inode) {
                untold.told_namespaces.insert(inode);
                update.namespaces.push(entry.told(inode, &self.initial));
            } else if untold.told_namespaces.remove(&inode) {
                update.namespaces_gone.push(inode);
            }
        }
        while left > 0
            && let Some(pid) = untold.processes.pop_first()
        {
            if let Some(process) = self.processes.get(&pid) {
                let args: usize = process.args.iter().map(|arg| arg.len() + 3).sum();
                left = left.saturating_sub(ENTRY_BYTES + args);
                untold.told_processes.insert(pid);
                update.processes.push(process.clone());
            } else if untold.told_processes.remove(&pid) {
                left = left.saturating_sub(8);
                update.processes_gone.push(pid);
            }
        }
        Some(update)
    }

    fn entry(&mut self, kind: NamespaceType, inode: NamespaceInode) -> &mut Entry {
        let entry = self.namespaces.entry(inode).or_insert_with(|| {
            self.untold.namespaces.insert(inode);
            Entry {
                kind,
                owner: None,
                parent: None,
                related: false,
                members: BTreeSet::new(),
                hangers: 0,
                maps: None,
            }
        });
        if entry.kind != kind {
            // The number is another namespace's now.
            entry.kind = kind;
            entry.related = false;
            entry.maps = None;
        }
        entry
    }

    fn leave(&mut self, pid: HostPid, inode: NamespaceInode) {
        if let Some(entry) = self.namespaces.get_mut(&inode) {
            entry.members.remove(&pid);
            self.untold.namespaces.insert(inode);
            self.drop_if_unused(inode);
        }
    }

    fn unhang(&mut self, inode: NamespaceInode) {
        if let Some(entry) = self.namespaces.get_mut(&inode) {
            entry.hangers = entry.hangers.saturating_sub(1);
            self.drop_if_unused(inode);
        }
    }

    fn drop_if_unused(&mut self, inode: NamespaceInode) {
        let used = |entry: &Entry| !entry.members.is_empty() || entry.hangers > 0;
        if self.namespaces.get(&inode).is_none_or(used) {
            return;
        }
        if let Some(entry) = self.namespaces.remove(&inode) {
            self.untold.namespace_gone(inode);
            // At most 32 levels deep, see user_namespaces(7).
            for above in [entry.owner, entry.parent].into_iter().flatten() {
                self.unhang(above);
            }
        }
    }
}

impl Entry {
    fn told(&self, inode: NamespaceInode, initial: &NamespaceSet) -> Namespace {
        Namespace {
            kind: self.kind,
            inode,
            initial: *initial.get(self.kind) == Some(inode),
            owner: self.owner,
            parent: self.parent,
            processes: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
            leader: self.members.first().copied(),
            owner_uid: None,
            holders: Vec::new(),
            more_holders: 0,
            children: self.hangers,
        }
    }
}

fn number_inside(process: &mut Process, maps: &IdMaps) {
    process.uid_inside = parse::inside(&maps.users, process.uid);
    process.gid_inside = parse::inside(&maps.groups, process.gid);
}

#[cfg(test)]
mod tests;
