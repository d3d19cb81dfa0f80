//! The namespaces: what they hang from, what they are called, and when one is known no more.

use std::collections::HashMap;

use porthole_protocol::container::IdRange;
use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::namespace::{NamespaceSet, NamespaceType};

use super::entry::Entry;
use super::{Known, Model, number_inside};
use crate::containers::Namespaces;
use crate::procfs::{IdMaps, Relation};

/// What leads to a namespace.
#[derive(Debug)]
pub(crate) enum Way {
    /// A link, from `/proc`.
    Link(String),
    /// A file, as this process sees it.
    Mount(HostPid, String),
}

impl Model {
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
            let called = (entry.owner_uid, entry.netnsid);
            (entry.owner_uid, entry.netnsid) = (relation.owner_uid, relation.netnsid);
            if called != (relation.owner_uid, relation.netnsid) {
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

    pub(super) fn entry(&mut self, kind: NamespaceType, inode: NamespaceInode) -> &mut Entry {
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

    pub(super) fn leave(&mut self, pid: HostPid, inode: NamespaceInode) {
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

    /// A process has left some namespaces and entered others.
    pub(super) fn change_namespaces(
        &mut self,
        pid: HostPid,
        left: &NamespaceSet,
        entered: &NamespaceSet,
    ) {
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
    }

    fn unhang(&mut self, inode: NamespaceInode) {
        if let Some(entry) = self.namespaces.get_mut(&inode) {
            entry.hangers = entry.hangers.saturating_sub(1);
            self.untold.namespaces.changed(inode);
            self.drop_if_unused(inode);
        }
    }

    pub(super) fn drop_if_unused(&mut self, inode: NamespaceInode) {
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
pub(super) struct Nested<'a> {
    pub(super) initial: &'a NamespaceSet,
    pub(super) namespaces: &'a HashMap<NamespaceInode, Entry>,
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
