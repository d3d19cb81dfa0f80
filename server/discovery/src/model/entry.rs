//! What is known of one namespace.

use std::collections::{BTreeMap, BTreeSet};

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::namespace::{NamespaceSet, NamespaceType};
use porthole_protocol::observation::{HOLDERS, Holder, Namespace};

use super::held::By;
use crate::procfs::IdMaps;

/// A namespace that a process is in, that another one hangs from, or that something holds.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: NamespaceType,
    pub(super) owner: Option<NamespaceInode>,
    pub(super) parent: Option<NamespaceInode>,
    pub(super) owner_uid: Option<u32>,
    pub(super) netnsid: Option<i32>,
    /// Whether these have been asked for.
    pub(super) related: bool,
    pub(super) members: BTreeSet<HostPid>,
    /// How many others have it as owner or parent.
    pub(super) hangers: u32,
    /// The maps of a user namespace, once they are written.
    pub(super) maps: Option<IdMaps>,
    /// Which processes hold it, and by what.
    pub(super) open: BTreeMap<HostPid, Vec<By>>,
    /// In which mount namespaces it is mounted, and where.
    pub(super) mounted: BTreeMap<NamespaceInode, Vec<String>>,
}

impl Entry {
    pub(super) fn new(kind: NamespaceType) -> Self {
        Self {
            kind,
            owner: None,
            parent: None,
            owner_uid: None,
            netnsid: None,
            related: false,
            members: BTreeSet::new(),
            hangers: 0,
            maps: None,
            open: BTreeMap::new(),
            mounted: BTreeMap::new(),
        }
    }

    /// What it hangs from, each once: the owner of a user namespace is its parent too.
    pub(super) fn above(&self) -> [Option<NamespaceInode>; 2] {
        [
            self.owner,
            self.parent.filter(|_| self.parent != self.owner),
        ]
    }

    /// Whether anything keeps it alive that is known.
    pub(super) fn is_used(&self) -> bool {
        !self.members.is_empty()
            || self.hangers > 0
            || !self.open.is_empty()
            || !self.mounted.is_empty()
    }

    /// As it is told. `leader` answers the first process of a mount namespace.
    pub(super) fn told(
        &self,
        inode: NamespaceInode,
        initial: &NamespaceSet,
        leader: impl Fn(NamespaceInode) -> Option<HostPid>,
    ) -> Namespace {
        let open = self.open.iter();
        let open = open.flat_map(|(pid, by)| by.iter().map(|by| by.of(*pid)));
        let mounts = self.mounted.iter().filter_map(|(mnt, paths)| {
            let pid = leader(*mnt)?;
            Some(paths.iter().map(move |path| Holder::Mount {
                pid,
                path: path.clone(),
            }))
        });
        // A mount stays where descriptors come and go.
        let mut holders = mounts.flatten().chain(open);
        let told: Vec<Holder> = holders.by_ref().take(HOLDERS).collect();
        Namespace {
            kind: self.kind,
            inode,
            initial: *initial.get(self.kind) == Some(inode),
            owner: self.owner,
            parent: self.parent,
            processes: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
            leader: self.members.first().copied(),
            owner_uid: self.owner_uid,
            netnsid: self.netnsid,
            holders: told,
            more_holders: u32::try_from(holders.count()).unwrap_or(u32::MAX),
            children: self.hangers,
        }
    }
}
