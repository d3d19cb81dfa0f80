//! Changes of the world, numbered, for whoever follows them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use porthole_protocol::container::{Container, Image, ImageName};
use porthole_protocol::id::{ContainerId, NamespaceInode, SessionId};
use porthole_protocol::image::Importing;
use porthole_protocol::observation::{Namespace, Process};
use porthole_protocol::session::Session;
use tokio::sync::broadcast;

use super::foreign::Foreign;
use crate::access::secret::{hex, random};

/// How many changes a follower may be behind before it has to read everything anew, and how many
/// are kept for one that comes back.
pub(super) const KEPT: usize = 512;

/// What has changed. Cheap to clone: each follower gets a copy.
#[derive(Debug, Clone)]
pub enum Change {
    /// A container is new or has become this.
    Container(Arc<Container>),
    /// A container was removed; this is what it last was.
    ContainerGone(Arc<Container>),
    /// Another engine's container is new or has become this.
    Foreign(Arc<Foreign>),
    /// Another engine's container is gone; this is what it last was.
    ForeignGone(Arc<Foreign>),
    /// An engine answers, or does not any more: [`super::World::engine_states`].
    Engines,
    /// A session is new or has become this.
    Session(Arc<Session>),
    /// A session's record was removed.
    SessionGone(Arc<Session>),
    /// Somebody has come to or left a session, drives it now, or its size is another:
    /// [`super::World::watched`].
    Viewers(SessionId),
    /// An image is new or has become this.
    Image(Arc<Image>),
    /// There is no image of this name any more.
    ImageGone(ImageName),
    /// How far an import has come.
    Importing(Importing),
    /// Processes have changed.
    Processes {
        /// The containers that they belong or belonged to.
        containers: Arc<BTreeSet<ContainerId>>,
        /// New or changed.
        changed: Arc<Vec<Arc<Process>>>,
        /// What they last were.
        gone: Arc<Vec<Arc<Process>>>,
    },
    /// Namespaces have changed.
    Namespaces {
        /// New or changed.
        changed: Arc<Vec<Arc<Namespace>>>,
        /// Gone.
        gone: Arc<Vec<NamespaceInode>>,
    },
    /// Interfaces of network namespaces or the wires between them may have changed:
    /// [`super::World::wirings`].
    Wires,
    /// What containers use was looked at: [`super::World::usage`].
    Usage,
    /// The keeper has come or gone: [`super::World::keeper`].
    Keeper,
}

/// A change with its place in the order of all since this server started.
#[derive(Debug, Clone)]
pub struct Numbered {
    /// Counted from 1.
    pub number: u64,
    /// What has changed.
    pub change: Change,
}

/// Changes that a returning follower has missed.
#[derive(Debug)]
pub enum Replay {
    /// These.
    Missed(Vec<Numbered>),
    /// More than are kept: read everything anew.
    TooOld,
}

/// Everybody who follows, and the last few changes.
pub struct Changes {
    /// Random for each server: its numbers are no other's.
    epoch: String,
    sender: broadcast::Sender<Numbered>,
    kept: Mutex<VecDeque<Numbered>>,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            epoch: hex(&random::<4>()),
            sender: broadcast::channel(KEPT).0,
            kept: Mutex::new(VecDeque::with_capacity(KEPT)),
        }
    }
}

impl Changes {
    /// The text that names a change to who may come back, for `Last-Event-ID`.
    pub fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.epoch)
    }

    /// The change that such a text of this server's names.
    pub fn number_of(&self, id: &str) -> Option<u64> {
        id.strip_prefix(self.epoch.as_str())?
            .strip_prefix('-')?
            .parse()
            .ok()
    }

    /// Tells everybody.
    pub fn tell(&self, change: Change) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let number = kept.back().map_or(1, |last| last.number + 1);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        let numbered = Numbered { number, change };
        kept.push_back(numbered.clone());
        // Nobody listening is no error. Sent under the lock, so that the order is the numbers'.
        let _ = self.sender.send(numbered);
    }

    /// Changes from now on, and the number of the last one before.
    pub fn subscribe(&self) -> (u64, broadcast::Receiver<Numbered>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (
            kept.back().map_or(0, |last| last.number),
            self.sender.subscribe(),
        )
    }

    /// What has happened since this number, and what happens from now on.
    pub fn resume(&self, after: u64) -> (Replay, broadcast::Receiver<Numbered>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let last = kept.back().map_or(0, |last| last.number);
        let first = kept.front().map_or(1, |first| first.number);
        let replay = if after > last || after + 1 < first {
            Replay::TooOld
        } else {
            Replay::Missed(kept.iter().filter(|n| n.number > after).cloned().collect())
        };
        (replay, self.sender.subscribe())
    }
}
