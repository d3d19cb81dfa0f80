//! The control group of what a monitor watches.

use porthole_protocol::id::{ContainerId, SessionId};
use porthole_protocol::keeper::Failure;
use porthole_runtime::Cgroups;

/// A container's group, or that of a session in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group<'a> {
    pub(super) cgroups: &'a Cgroups,
    pub(super) container: &'a ContainerId,
    pub(super) session: Option<&'a SessionId>,
}

impl Group<'_> {
    /// Kills every process in it.
    pub(super) fn kill(&self) -> Result<(), Failure> {
        match self.session {
            Some(session) => self.cgroups.kill_session(self.container, session),
            None => self.cgroups.kill(self.container),
        }
    }

    /// A container ends with its init, also where it has no PID namespace that would see to that.
    /// A session that ends by itself leaves what it put in the background.
    pub(super) fn process_ended(&self) -> Result<(), Failure> {
        match self.session {
            Some(_) => Ok(()),
            None => self.kill(),
        }
    }

    /// How many processes a session has put in the background.
    pub(super) fn left_behind(&self) -> usize {
        self.session
            .and_then(|session| self.cgroups.count_session(self.container, session).ok())
            .unwrap_or(0)
    }

    /// Removes it, if nothing is in it any more.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        match self.session {
            Some(session) => self
                .cgroups
                .remove_session(self.container, session)
                .map(|_| ()),
            None => self.cgroups.remove(self.container),
        }
    }
}
