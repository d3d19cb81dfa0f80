//! What is so now: containers, sessions, images, processes, namespaces.
//!
//! Fed by the keeper (`Watch`) and by the observer; everybody else only reads. Reading is cheap: a
//! short lock and clones of `Arc`s. Each change gets a number and is told to whoever
//! [subscribes](World::subscribe); a subscriber that falls behind gets `Lagged` and reads anew.

mod any;
mod changes;
mod claims;
mod departed;
mod find;
mod foreign;
mod keeper;
mod managing;
mod observed;
pub mod usage;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use porthole_protocol::container::{Container, Image, ImageName};
use porthole_protocol::engines::{EndpointId, EngineContainer, EngineState};
use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode, SessionId};
use porthole_protocol::image::Importing;
use porthole_protocol::keeper::Hello;
use porthole_protocol::observation::{Namespace, Process, Sighting};
use porthole_protocol::session::Session;
use tokio::sync::Notify;

use crate::engines::Availability;

pub use any::AnyContainer;
pub use changes::{Change, Changes, Numbered, Replay};
pub use claims::Claim;
pub use departed::Departed;
pub use find::FindError;
pub use foreign::{Foreign, Group};
pub use managing::{EngineTrouble, Unmanaged, does_not_answer};

/// Whether the keeper is there, and who it is.
#[derive(Debug, Clone, Default)]
pub struct KeeperState {
    /// The connection stands and everything that there is has been told.
    pub present: bool,
    /// What it said of itself when it was last there.
    pub hello: Option<Hello>,
}

/// Who is at a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watched {
    /// How many look at it.
    pub viewers: usize,
    /// How many of them may type.
    pub writers: usize,
    /// Whose window sets the size.
    pub driver: Option<Arc<str>>,
}

#[derive(Default)]
struct State {
    keeper: KeeperState,
    containers: BTreeMap<ContainerId, Arc<Container>>,
    sessions: BTreeMap<SessionId, Arc<Session>>,
    images: BTreeMap<ImageName, Arc<Image>>,
    /// Imports that have neither come to an image nor to nothing.
    imports: Vec<Importing>,
    processes: HashMap<HostPid, Arc<Process>>,
    by_container: HashMap<ContainerId, BTreeSet<HostPid>>,
    ended: departed::Ended,
    namespaces: HashMap<NamespaceInode, Arc<Namespace>>,
    /// How often the wires between networks may have changed.
    wirings: u64,
    /// What the observer recognised, the same as it is called by right, and what has been made of
    /// it.
    seen: BTreeMap<ContainerId, Arc<Sighting>>,
    sightings: BTreeMap<ContainerId, Arc<Sighting>>,
    claims: claims::Claims,
    foreign: BTreeMap<ContainerId, Arc<Foreign>>,
    /// What engines say of their containers, and how they answer.
    by_engines: BTreeMap<ContainerId, Arc<EngineContainer>>,
    engines: BTreeMap<EndpointId, EngineState>,
    manages: bool,
    asking: Availability,
    /// What the broker has told since it is there, until it has told everything.
    engines_told: Option<HashSet<ContainerId>>,
    /// Only sessions that somebody is at.
    watched: HashMap<SessionId, Watched>,
    /// Of those that ran when somebody looked last.
    usage: HashMap<ContainerId, Arc<usage::Usage>>,
    notice: Option<String>,
    /// What has been told since the connection was made; whatever else is known when it is
    /// complete has gone meanwhile.
    told: Option<keeper::Told>,
}

/// The model. One for the whole server.
#[derive(Default)]
pub struct World {
    state: RwLock<State>,
    changes: Changes,
    /// Something is seen that its engine has not confirmed.
    doubted: Notify,
}

impl World {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the keeper is there.
    pub fn keeper(&self) -> KeeperState {
        self.read().keeper.clone()
    }

    /// Every container, by id.
    pub fn containers(&self) -> Vec<Arc<Container>> {
        self.read().containers.values().cloned().collect()
    }

    /// The container with this id.
    pub fn container(&self, id: &ContainerId) -> Option<Arc<Container>> {
        self.read().containers.get(id).cloned()
    }

    /// Every container, whoever made it: Porthole's own first, each by id.
    pub fn any_containers(&self) -> Vec<AnyContainer> {
        let state = self.read();
        let own = state.containers.values().cloned().map(AnyContainer::Own);
        let foreign = state.foreign.values().cloned().map(AnyContainer::Foreign);
        own.chain(foreign).collect()
    }

    /// The container with this id, whoever made it.
    pub fn any_container(&self, id: &ContainerId) -> Option<AnyContainer> {
        self.read().any(id)
    }

    /// Every session, live and ended, by id.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.read().sessions.values().cloned().collect()
    }

    /// The session with this id.
    pub fn session(&self, id: &SessionId) -> Option<Arc<Session>> {
        self.read().sessions.get(id).cloned()
    }

    /// The sessions of a container, the newest first.
    pub fn sessions_of(&self, container: &ContainerId) -> Vec<Arc<Session>> {
        let mut found: Vec<_> = self
            .read()
            .sessions
            .values()
            .filter(|s| s.container == *container)
            .cloned()
            .collect();
        found.sort_by_key(|s| std::cmp::Reverse(s.started_at));
        found
    }

    /// Who is at a session now. A short lock: no hub is asked.
    pub fn watched(&self, session: &SessionId) -> Watched {
        self.read()
            .watched
            .get(session)
            .cloned()
            .unwrap_or_default()
    }

    /// Somebody has come to or left a session, drives it now, or its size is another.
    pub fn learn_watched(&self, session: &SessionId, now: Watched) {
        let mut state = self.write();
        if now.viewers == 0 {
            state.watched.remove(session);
        } else {
            state.watched.insert(session.clone(), now);
        }
        self.changes.tell(Change::Viewers(session.clone()));
    }

    /// Every image, by name.
    pub fn images(&self) -> Vec<Arc<Image>> {
        self.read().images.values().cloned().collect()
    }

    /// How far the imports of images have come that go on now, the oldest first.
    pub fn imports(&self) -> Vec<Importing> {
        self.read().imports.clone()
    }

    /// Every process of the host, by PID.
    pub fn processes(&self) -> Vec<Arc<Process>> {
        let mut all: Vec<_> = self.read().processes.values().cloned().collect();
        all.sort_by_key(|p| p.host_pid);
        all
    }

    /// The process with this PID on the host.
    pub fn process(&self, pid: HostPid) -> Option<Arc<Process>> {
        self.read().processes.get(&pid).cloned()
    }

    /// The last process that had this PID on the host and has ended; with a start, that very one.
    pub fn departed(&self, pid: HostPid, start_ticks: Option<u64>) -> Option<Departed> {
        self.read().ended.find(pid, start_ticks)
    }

    /// The processes of a container and of those that run in it, by host PID.
    pub fn processes_of(&self, container: &ContainerId) -> Vec<Arc<Process>> {
        let state = self.read();
        let inner = state.foreign.keys();
        let inner = inner.filter(|id| state.outer(id).any(|outer| outer == container));
        let pids: BTreeSet<HostPid> = std::iter::once(container)
            .chain(inner)
            .filter_map(|id| state.by_container.get(id))
            .flatten()
            .copied()
            .collect();
        pids.iter()
            .filter_map(|pid| state.processes.get(pid).cloned())
            .collect()
    }

    /// The namespace with this inode.
    pub fn namespace(&self, inode: NamespaceInode) -> Option<Arc<Namespace>> {
        self.read().namespaces.get(&inode).cloned()
    }

    /// Every namespace, by type and inode.
    pub fn namespaces(&self) -> Vec<Arc<Namespace>> {
        let mut all: Vec<_> = self.read().namespaces.values().cloned().collect();
        all.sort_by_key(|n| (n.kind, n.inode));
        all
    }

    /// Why changes of processes are not seen at once, where that is so.
    pub fn notice(&self) -> Option<String> {
        self.read().notice.clone()
    }

    /// Changes from now on, and the number of the last one before.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }
}

impl State {
    fn any(&self, id: &ContainerId) -> Option<AnyContainer> {
        let own = self.containers.get(id).cloned().map(AnyContainer::Own);
        own.or_else(|| self.foreign.get(id).cloned().map(AnyContainer::Foreign))
    }

    /// The containers that this one runs in, the innermost first.
    fn outer<'a>(&'a self, id: &ContainerId) -> impl Iterator<Item = &'a ContainerId> {
        let within = |id: &ContainerId| self.foreign.get(id).and_then(|c| c.within.as_ref());
        // The kernel nests PID namespaces 32 deep; a circle can only be a reading torn in two.
        std::iter::successors(within(id), move |id| within(id)).take(32)
    }
}

#[cfg(test)]
mod tests;
