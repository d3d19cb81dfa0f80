//! What holds namespaces beside the processes that are in them.

use std::collections::BTreeSet;

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Holder;

use super::Model;

/// A namespace that a process holds without being in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) kind: NamespaceType,
    pub(crate) inode: NamespaceInode,
    pub(crate) by: By,
}

/// What of a process holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By {
    Children,
    Thread(i32),
    Descriptor(i32),
}

impl By {
    /// As it is told, of this process.
    pub(crate) const fn of(self, pid: HostPid) -> Holder {
        match self {
            Self::Children => Holder::Children { pid },
            Self::Thread(tid) => Holder::Thread { pid, tid },
            Self::Descriptor(fd) => Holder::Descriptor { pid, fd },
        }
    }
}

/// A namespace that is mounted on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) kind: NamespaceType,
    pub(crate) inode: NamespaceInode,
    /// Where, as the process that was asked sees it.
    pub(crate) path: String,
}

impl Model {
    /// The namespaces that a process holds, all of them.
    pub(crate) fn hold(&mut self, pid: HostPid, held: Vec<Held>) {
        let before = if held.is_empty() {
            self.open.remove(&pid).unwrap_or_default()
        } else {
            self.open.insert(pid, held.clone()).unwrap_or_default()
        };
        if before == held {
            return;
        }
        let inodes: BTreeSet<_> = before.iter().chain(&held).map(|h| h.inode).collect();
        for inode in inodes {
            let mut here = held.iter().filter(|h| h.inode == inode);
            let by: Vec<By> = here.clone().map(|h| h.by).collect();
            if let Some(held) = here.next() {
                self.entry(held.kind, inode).open.insert(pid, by);
            } else if let Some(entry) = self.namespaces.get_mut(&inode) {
                entry.open.remove(&pid);
            }
            self.untold.namespaces.changed(inode);
            self.drop_if_unused(inode);
        }
    }

    /// Whether a thread of it is elsewhere.
    pub(crate) fn holds_by_thread(&self, pid: HostPid) -> bool {
        let held = self.open.get(&pid);
        held.is_some_and(|held| held.iter().any(|held| matches!(held.by, By::Thread(_))))
    }

    /// The namespaces that are mounted in a mount namespace, all of them.
    pub(crate) fn mount(&mut self, mnt: NamespaceInode, mounted: Vec<Mounted>) {
        let before = if mounted.is_empty() {
            self.mounts.remove(&mnt).unwrap_or_default()
        } else {
            self.mounts.insert(mnt, mounted.clone()).unwrap_or_default()
        };
        if before == mounted {
            return;
        }
        let inodes: BTreeSet<_> = before.iter().chain(&mounted).map(|m| m.inode).collect();
        for inode in inodes {
            let mut here = mounted.iter().filter(|m| m.inode == inode);
            let paths: Vec<String> = here.clone().map(|m| m.path.clone()).collect();
            if let Some(mounted) = here.next() {
                self.entry(mounted.kind, inode).mounted.insert(mnt, paths);
            } else if let Some(entry) = self.namespaces.get_mut(&inode) {
                entry.mounted.remove(&mnt);
            }
            self.untold.namespaces.changed(inode);
            self.drop_if_unused(inode);
        }
    }

    /// Somebody else sees now what is mounted in this namespace, or nobody.
    pub(super) fn lost_leader(&mut self, mnt: NamespaceInode, is_empty: bool) {
        if is_empty {
            return self.mount(mnt, Vec::new());
        }
        for mounted in self.mounts.get(&mnt).into_iter().flatten() {
            self.untold.namespaces.changed(mounted.inode);
        }
    }
}
