//! Which namespaces of a container a session is in, and which of the machine's.

use porthole_protocol::id::HostPid;
use porthole_protocol::namespace::{NamespaceSet, NamespaceType, PerNamespace};
use porthole_protocol::session::{JoinedNamespace, SessionSpec, Whose};

use super::joiner;
use crate::observe;

/// Where a joiner goes, and to whom.
pub(super) struct Visit<'a> {
    pub(super) place: Place<'a>,
    pub(super) whose: joiner::Whose<'a>,
}

/// Which namespaces are joined.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) spec: &'a SessionSpec,
    /// The container's.
    pub(super) namespaces: &'a NamespaceSet,
}

impl Place<'_> {
    /// Whether a session is to be in the container's namespace of this type.
    pub(super) fn enters(&self, kind: NamespaceType) -> bool {
        let chosen = self.spec.join.as_ref();
        chosen.is_none_or(|chosen| chosen.contains(&kind))
    }

    /// Whether the container's files are the session's.
    pub(super) fn has_files(&self) -> bool {
        self.enters(NamespaceType::Mnt)
    }

    /// Namespaces of the container's own that the session is not to be in.
    pub(super) fn left_out(&self, own: &NamespaceSet) -> Vec<NamespaceType> {
        NamespaceType::ALL
            .into_iter()
            .filter(|kind| self.namespaces.get(*kind) != own.get(*kind))
            .filter(|kind| !self.enters(*kind))
            .collect()
    }

    /// The namespaces to enter: those that were chosen and that we are not in already. (Entering
    /// the user namespace that one is in is refused by setns(2), for all that were asked for with it.)
    pub(super) fn kinds(&self, own: &NamespaceSet) -> Vec<NamespaceType> {
        NamespaceType::ALL
            .into_iter()
            .filter(|kind| self.namespaces.get(*kind) != own.get(*kind))
            .filter(|kind| self.enters(*kind))
            .collect()
    }
}

/// In which namespaces a session is: as it is found, or where it has ended already, as it was to be.
pub(super) fn joined(
    visit: &Visit<'_>,
    command: HostPid,
    own: &NamespaceSet,
) -> PerNamespace<JoinedNamespace> {
    let found = observe::namespaces(command).ok();
    let has_own_files =
        matches!(&visit.whose, joiner::Whose::Foreign(abroad) if abroad.has_own_files());
    PerNamespace::build(|kind| {
        let ours = *own.get(kind);
        let session = kind == NamespaceType::Mnt && has_own_files;
        let meant = match visit.place.enters(kind) {
            _ if session => None,
            true => *visit.place.namespaces.get(kind),
            false => ours,
        };
        let inode = found.map_or(meant, |found| *found.get(kind));
        let whose = if session {
            Whose::Session
        } else if inode == ours {
            Whose::Host
        } else {
            Whose::Container
        };
        JoinedNamespace { inode, whose }
    })
}
