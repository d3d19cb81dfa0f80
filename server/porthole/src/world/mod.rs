//! What is so now: containers, sessions, images, processes, namespaces.
//!
//! Fed by the keeper (`Watch`) and by the observer; everybody else only reads. Reading is cheap: a
//! short lock and clones of `Arc`s. Each change gets a number and is told to whoever
//! [subscribes](World::subscribe); a subscriber that falls behind gets `Lagged` and reads anew.

mod any;
mod changes;
mod departed;
mod foreign;
mod managing;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use porthole_protocol::container::{Container, Image, ImageName};
use porthole_protocol::engine::Engine;
use porthole_protocol::engines::{EndpointId, EngineContainer, EngineState};
use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode, SessionId};
use porthole_protocol::keeper::{Event, Hello};
use porthole_protocol::observation::{Namespace, Process, Sighting, Update};
use porthole_protocol::session::{Exit, Session};

use crate::engines::Availability;

pub use any::AnyContainer;
pub use changes::{Change, Changes, Numbered, Replay};
pub use departed::Departed;
pub use foreign::{Foreign, Group};
pub use managing::{EngineTrouble, Unmanaged};

/// Why a reference names no container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Nothing has this id or name.
    #[error("There is no container \"{0}\".")]
    NotFound(String),
    /// Several identifiers begin so.
    #[error(
        "Several containers are called \"{0}\" or have an identifier that begins so. Give more of its identifier."
    )]
    NotUnique(String),
    /// It is another engine's.
    #[error("The container \"{name}\" was not made here{}.", by(*engine))]
    NotOwn {
        /// Its name.
        name: String,
        /// Whose it is.
        engine: Engine,
    },
}

/// Who made what was not made here.
fn by(engine: Engine) -> String {
    match engine {
        Engine::Porthole => " but by another Porthole".to_owned(),
        Engine::None => ": its namespaces are some program's".to_owned(),
        engine => format!(" but by {}", engine.words()),
    }
}

impl FindError {
    /// Another engine's container is named where only Porthole's own will do.
    pub fn not_own(container: &Foreign) -> Self {
        Self::NotOwn {
            name: shown(&container.name),
            engine: container.engine,
        }
    }
}

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
    processes: HashMap<HostPid, Arc<Process>>,
    by_container: HashMap<ContainerId, BTreeSet<HostPid>>,
    ended: departed::Ended,
    namespaces: HashMap<NamespaceInode, Arc<Namespace>>,
    /// What the observer recognised, and what has been made of it.
    sightings: BTreeMap<ContainerId, Sighting>,
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
    notice: Option<String>,
    /// What has been told since the connection was made; whatever else is known when it is
    /// complete has gone meanwhile.
    told: Option<Told>,
}

#[derive(Default)]
struct Told {
    containers: HashSet<ContainerId>,
    sessions: HashSet<SessionId>,
    images: HashSet<ImageName>,
}

/// The model. One for the whole server.
#[derive(Default)]
pub struct World {
    state: RwLock<State>,
    changes: Changes,
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

    /// The container that a person means: an id, else a name, else the beginning of one id.
    pub fn find(&self, reference: &str) -> Result<Arc<Container>, FindError> {
        let found = self.find_any(reference)?;
        match found {
            AnyContainer::Own(own) => Ok(own),
            AnyContainer::Foreign(foreign) => Err(FindError::not_own(&foreign)),
        }
    }

    /// The same among all containers, whoever made them. Of two with one name Porthole's own is
    /// meant. Where an own one is called as another engine's is identified, neither is: whoever
    /// makes a container here chooses its name, and whoever may make control groups such an
    /// identifier, so that either could take the other's place.
    pub fn find_any(&self, reference: &str) -> Result<AnyContainer, FindError> {
        let state = self.read();
        let mut own = state.containers.values();
        let named = own.find(|c| c.name.as_str() == reference).cloned();
        let id = reference.parse::<ContainerId>();
        match (id.ok().and_then(|id| state.any(&id)), named) {
            (Some(AnyContainer::Foreign(_)), Some(_)) => {
                return Err(FindError::NotUnique(shown(reference)));
            }
            (Some(found), _) => return Ok(found),
            (None, Some(named)) => {
                let also = |foreign: &&Arc<Foreign>| foreign.id.short() == reference;
                return match state.foreign.values().find(also) {
                    Some(_) => Err(FindError::NotUnique(shown(reference))),
                    None => Ok(AnyContainer::Own(named)),
                };
            }
            (None, None) => {}
        }
        // A process chooses its name freely: a bare container is meant by its identifier alone.
        let named = state.foreign.values();
        let named = named.filter(|c| c.engine != Engine::None && c.name == reference);
        if let Some(found) = only(named, reference)? {
            return Ok(AnyContainer::Foreign(found.clone()));
        }
        let begins = |id: &ContainerId| !reference.is_empty() && id.as_str().starts_with(reference);
        let begun = state.containers.keys().chain(state.foreign.keys());
        only(begun.filter(|id| begins(id)), reference)?
            .and_then(|id| state.any(id))
            .ok_or_else(|| FindError::NotFound(shown(reference)))
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

    /// The keeper has said who it is and begins to tell what there is.
    pub fn keeper_came(&self, hello: Hello) {
        let mut state = self.write();
        state.keeper.hello = Some(hello);
        state.told = Some(Told::default());
    }

    /// The keeper is gone. What was known stays, marked by [`KeeperState::present`].
    pub fn keeper_left(&self) {
        let mut state = self.write();
        state.told = None;
        if std::mem::take(&mut state.keeper.present) {
            self.changes.tell(Change::Keeper);
        }
    }

    /// Takes note of what the keeper tells.
    pub fn apply(&self, event: Event) {
        let mut state = self.write();
        match event {
            Event::Container(container) => {
                if let Some(told) = &mut state.told {
                    told.containers.insert(container.id.clone());
                }
                self.put_container(&mut state, *container);
            }
            Event::ContainerGone(id) => {
                if let Some(last) = state.containers.remove(&id) {
                    self.changes.tell(Change::ContainerGone(last));
                }
            }
            Event::Session(session) => {
                if let Some(told) = &mut state.told {
                    told.sessions.insert(session.id.clone());
                }
                self.put_session(&mut state, *session);
            }
            Event::SessionGone(id) => {
                if let Some(last) = state.sessions.remove(&id) {
                    self.changes.tell(Change::SessionGone(last));
                }
            }
            Event::Image(image) => {
                if let Some(told) = &mut state.told {
                    told.images.insert(image.name.clone());
                }
                let image = Arc::new(*image);
                let before = state.images.insert(image.name.clone(), image.clone());
                if before.as_deref() != Some(&*image) {
                    self.changes.tell(Change::Image(image));
                }
            }
            Event::Synced => self.synced(&mut state),
        }
    }

    /// What an answer of the keeper's says of a container.
    pub fn learn_container(&self, container: &Container) {
        self.put_container(&mut self.write(), container.clone());
    }

    /// A container was removed, as the keeper has answered.
    pub fn forget_container(&self, id: &ContainerId) {
        self.apply(Event::ContainerGone(id.clone()));
    }

    /// What an answer of the keeper's says of a session.
    pub fn learn_session(&self, session: &Session) {
        self.put_session(&mut self.write(), session.clone());
    }

    /// A session was forgotten, as the keeper has answered.
    pub fn forget_session(&self, id: &SessionId) {
        self.apply(Event::SessionGone(id.clone()));
    }

    /// How a session has ended, as its monitor says; the keeper's own word follows.
    pub fn learn_exit(&self, id: &SessionId, exit: &Exit) {
        let mut state = self.write();
        if let Some(session) = state.sessions.get(id)
            && session.exit.is_none()
        {
            let mut ended = Session::clone(session);
            ended.exit = Some(exit.clone());
            self.put_session(&mut state, ended);
        }
    }

    fn put_container(&self, state: &mut State, container: Container) {
        let container = Arc::new(container);
        let id = container.id.clone();
        let before = state.containers.insert(id, container.clone());
        if before.as_deref() != Some(&*container) {
            self.changes.tell(Change::Container(container));
        }
    }

    fn put_session(&self, state: &mut State, session: Session) {
        let session = Arc::new(session);
        let id = session.id.clone();
        let before = state.sessions.insert(id, session.clone());
        if before.as_deref() != Some(&*session) {
            self.changes.tell(Change::Session(session));
        }
    }

    fn synced(&self, state: &mut State) {
        if let Some(told) = state.told.take() {
            for (_, gone) in state
                .containers
                .extract_if(.., |id, _| !told.containers.contains(id))
            {
                self.changes.tell(Change::ContainerGone(gone));
            }
            for (_, gone) in state
                .sessions
                .extract_if(.., |id, _| !told.sessions.contains(id))
            {
                self.changes.tell(Change::SessionGone(gone));
            }
            state.images.retain(|name, _| told.images.contains(name));
        }
        if !std::mem::replace(&mut state.keeper.present, true) {
            self.changes.tell(Change::Keeper);
        }
    }

    /// Takes note of what the observer saw.
    pub fn observe(&self, update: Update) {
        let mut state = self.write();
        // Whoever is not told of again has ended while nobody looked.
        let mut before = HashMap::new();
        if update.full {
            before = std::mem::take(&mut state.processes);
            state.by_container.clear();
            state.namespaces.clear();
            state.sightings.clear();
        }
        let containers_change = update.full
            || !update.containers.is_empty()
            || !update.containers_gone.is_empty()
            // With every process that comes or goes the host's are told again, as having more or fewer.
            || update.namespaces.iter().any(|n| {
                n.initial && !state.namespaces.get(&n.inode).is_some_and(|was| was.initial)
            });
        for id in &update.containers_gone {
            state.sightings.remove(id);
        }
        for sighting in update.containers {
            // Whoever makes a group that is called like one of Porthole's own is not believed.
            if !state.containers.contains_key(&sighting.id) {
                state.sightings.insert(sighting.id.clone(), sighting);
            }
        }
        let mut touched = BTreeSet::new();
        let mut gone = Vec::new();
        for pid in update.processes_gone {
            if let Some(process) = state.processes.remove(&pid) {
                state.leave(&process, &mut touched);
                state.ended.put(process.clone());
                gone.push(process);
            }
        }
        let mut changed = Vec::with_capacity(update.processes.len());
        for process in update.processes {
            let process = Arc::new(process);
            let told = state.processes.insert(process.host_pid, process.clone());
            if let Some(told) = &told
                && told.container != process.container
            {
                state.leave(told, &mut touched);
            }
            // Its number is another's now, or the same one's as before.
            if let Some(last) = before.remove(&process.host_pid).or(told)
                && last.start_ticks != process.start_ticks
            {
                state.ended.put(last);
            }
            if let Some(container) = &process.container {
                touched.insert(container.clone());
                state
                    .by_container
                    .entry(container.clone())
                    .or_default()
                    .insert(process.host_pid);
            }
            changed.push(process);
        }
        for (_, last) in before {
            state.ended.put(last);
        }
        for inode in &update.namespaces_gone {
            state.namespaces.remove(inode);
        }
        let mut namespaces = Vec::with_capacity(update.namespaces.len());
        for namespace in update.namespaces {
            let namespace = Arc::new(namespace);
            state.namespaces.insert(namespace.inode, namespace.clone());
            namespaces.push(namespace);
        }
        let outer: Vec<ContainerId> = touched
            .iter()
            .flat_map(|id| state.outer(id))
            .cloned()
            .collect();
        touched.extend(outer);
        state.notice = update.notice;
        if containers_change || state.renames(&changed) {
            self.recognise(&mut state);
        }
        if update.full || !changed.is_empty() || !gone.is_empty() {
            self.changes.tell(Change::Processes {
                containers: Arc::new(touched),
                changed: Arc::new(changed),
                gone: Arc::new(gone),
            });
        }
        if !namespaces.is_empty() || !update.namespaces_gone.is_empty() {
            self.changes.tell(Change::Namespaces {
                changed: Arc::new(namespaces),
                gone: Arc::new(update.namespaces_gone),
            });
        }
    }
}

/// The only one of these, if there is one.
fn only<T>(mut found: impl Iterator<Item = T>, reference: &str) -> Result<Option<T>, FindError> {
    match (found.next(), found.next()) {
        (one, None) => Ok(one),
        (_, Some(_)) => Err(FindError::NotUnique(shown(reference))),
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

    fn leave(&mut self, process: &Process, touched: &mut BTreeSet<ContainerId>) {
        let Some(container) = &process.container else {
            return;
        };
        touched.insert(container.clone());
        if let Some(pids) = self.by_container.get_mut(container) {
            pids.remove(&process.host_pid);
            if pids.is_empty() {
                self.by_container.remove(container);
            }
        }
    }
}

/// What somebody typed, fit to be shown back: short and without control characters.
fn shown(reference: &str) -> String {
    reference
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(80)
        .collect()
}

#[cfg(test)]
mod tests;
