//! The control group of what a monitor watches.

use porthole_protocol::id::{ContainerId, SessionId};
use porthole_protocol::keeper::Failure;
use porthole_runtime::{Cgroups, ForeignGroup};

/// Whose group it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Group<'a> {
    /// There is none: it was not found.
    Nothing,
    /// A container's of our own.
    Container {
        cgroups: &'a Cgroups,
        id: &'a ContainerId,
    },
    /// That of a session in one of those.
    Session {
        cgroups: &'a Cgroups,
        container: &'a ContainerId,
        id: &'a SessionId,
    },
    /// That of a session in another engine's container.
    Foreign {
        group: &'a ForeignGroup,
        /// Whether its processes end with the container's init by themselves.
        shares_pids: bool,
    },
}

impl Group<'_> {
    /// Kills every process in it.
    pub(super) fn kill(&self) -> Result<(), Failure> {
        match self {
            Self::Nothing => Ok(()),
            Self::Container { cgroups, id } => cgroups.kill(id),
            Self::Session {
                cgroups,
                container,
                id,
            } => cgroups.kill_session(container, id),
            Self::Foreign { group, .. } => group.kill(),
        }
    }

    /// A container ends with its init, also where it has no PID namespace that would see to that.
    /// A session that ends by itself leaves what it put in the background, if somebody will end
    /// that: in another engine's container only the end of its PID namespace does.
    pub(super) fn process_ended(&self) -> Result<(), Failure> {
        match self {
            Self::Container { .. }
            | Self::Foreign {
                shares_pids: false, ..
            } => self.kill(),
            // Where nothing is left, its engine finds no group of ours in its own.
            Self::Foreign { group, .. } if group.count() == 0 => group.remove().map(|_| ()),
            Self::Nothing | Self::Session { .. } | Self::Foreign { .. } => Ok(()),
        }
    }

    /// How many processes a session has put in the background.
    pub(super) fn left_behind(&self) -> usize {
        match self {
            Self::Session {
                cgroups,
                container,
                id,
            } => cgroups.count_session(container, id).unwrap_or(0),
            Self::Foreign {
                group,
                shares_pids: true,
            } => group.count(),
            Self::Nothing | Self::Container { .. } | Self::Foreign { .. } => 0,
        }
    }

    /// The limit of memory at which the kernel has killed a process of a container, if it has.
    pub(super) fn out_of_memory(&self) -> Option<u64> {
        match self {
            Self::Container { cgroups, id } => cgroups.out_of_memory(id),
            Self::Nothing | Self::Session { .. } | Self::Foreign { .. } => None,
        }
    }

    /// Removes it, if nothing is in it any more.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        match self {
            Self::Nothing => Ok(()),
            Self::Container { cgroups, id } => cgroups.remove(id),
            Self::Session {
                cgroups,
                container,
                id,
            } => cgroups.remove_session(container, id).map(|_| ()),
            Self::Foreign { group, .. } => group.remove().map(|_| ()),
        }
    }
}
