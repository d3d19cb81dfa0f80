//! How long ended sessions are kept whose container is another engine's and has gone. Of Porthole's
//! own they go with their container; when somebody removes another's, nobody says so.

use std::collections::HashMap;

use porthole_protocol::id::{ContainerId, SessionId};

use super::record::Init;
use super::{Effect, Ledger, Now};

/// How long after its end such a session is kept, in milliseconds: seven days.
pub(super) const KEPT_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// So many of a container's are kept that long: those that began last.
pub(super) const KEPT: usize = 20;

impl Ledger {
    /// Forgets those that have been kept for long enough. `lives` says whether this process, the
    /// first one of a container, is there still.
    pub(crate) fn expire(&mut self, lives: impl Fn(Init) -> bool, now: Now) -> Vec<Effect> {
        self.images.try_again();
        let mut of: HashMap<&ContainerId, Vec<_>> = HashMap::new();
        for held in self.sessions.values() {
            let Some(stored) = self.stored_session(&held.id) else {
                continue;
            };
            let Some(exit) = &stored.session.exit else {
                continue;
            };
            // A number of a process means nothing after the machine was started anew.
            let is_there = stored.boot == self.boot && stored.init.is_some_and(&lives);
            if held.foreign && !held.monitor && !is_there {
                let one = (stored.session.started_at, exit.at, held.id.clone());
                of.entry(&held.container).or_default().push(one);
            }
        }
        let mut over: Vec<SessionId> = Vec::new();
        for sessions in of.values_mut() {
            sessions.sort_unstable();
            let too_many = sessions.len().saturating_sub(KEPT);
            for (place, (_, ended_at, id)) in sessions.drain(..).enumerate() {
                if place < too_many || now.wall.0.saturating_sub(ended_at.0) > KEPT_MS {
                    over.push(id);
                }
            }
        }
        over.iter().flat_map(|id| self.drop_session(id)).collect()
    }
}
