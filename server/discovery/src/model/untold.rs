//! What the receiver does not know.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;

use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode};

/// Things of one kind, by what identifies them.
#[derive(Debug)]
pub(super) struct Kind<T> {
    /// Is new, has changed or is gone.
    open: BTreeSet<T>,
    /// Was told to be there.
    told: HashSet<T>,
}

impl<T> Default for Kind<T> {
    fn default() -> Self {
        Self {
            open: BTreeSet::new(),
            told: HashSet::new(),
        }
    }
}

impl<T: Ord + Hash + Clone> Kind<T> {
    /// It is new or has changed.
    pub(super) fn changed(&mut self, it: T) {
        self.open.insert(it);
    }

    /// It is gone. What was never told need not be told to be gone.
    pub(super) fn gone(&mut self, it: T) {
        if self.told.contains(&it) {
            self.open.insert(it);
        } else {
            self.open.remove(&it);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The next one to tell.
    pub(super) fn next(&mut self) -> Option<T> {
        self.open.pop_first()
    }

    /// It is told to be there.
    pub(super) fn tell(&mut self, it: T) {
        self.told.insert(it);
    }

    /// It is told to be gone; false if that need not be told.
    pub(super) fn tell_gone(&mut self, it: &T) -> bool {
        self.told.remove(it)
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Untold {
    pub(super) begun: bool,
    pub(super) notice: bool,
    pub(super) wires: bool,
    pub(super) processes: Kind<HostPid>,
    pub(super) namespaces: Kind<NamespaceInode>,
    pub(super) containers: Kind<ContainerId>,
}

impl Untold {
    /// Whether the receiver knows everything.
    pub(super) fn is_nothing(&self) -> bool {
        self.begun
            && !self.notice
            && !self.wires
            && self.processes.is_empty()
            && self.namespaces.is_empty()
            && self.containers.is_empty()
    }
}
