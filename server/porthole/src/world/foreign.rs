//! Containers that Porthole did not make: what the observer recognised, whose name and history
//! their engine adds where it answers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use porthole_protocol::container::{ContainerNamespace, ContainerState, IdRange, Owner, Timestamp};
use porthole_protocol::engine::Engine;
use porthole_protocol::engines::{EngineContainer, FromBroker, RunState};
use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode};
use porthole_protocol::namespace::{Isolation, NamespaceSet, PerNamespace};
use porthole_protocol::observation::{Namespace, Process, Sighting};
use serde::Serialize;

use super::{Change, Claim, State, World};

/// A container that another engine made.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreign {
    /// Its engine's identifier.
    pub id: ContainerId,
    /// Who made it.
    pub engine: Engine,
    /// Its name; a short identifier where nobody tells one.
    pub name: String,
    /// The project or pod that it belongs to.
    pub group: Option<Group>,
    /// What it is doing.
    pub state: ContainerState,
    /// Its init on the host, while it runs.
    pub pid: Option<HostPid>,
    /// When that was started, in clock ticks since boot.
    pub start_ticks: u64,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// Its eight namespaces.
    pub namespaces: PerNamespace<ContainerNamespace>,
    /// Its user ids.
    pub uid_map: Vec<IdRange>,
    /// Its group ids.
    pub gid_map: Vec<IdRange>,
    /// Its group, from its hierarchy's root.
    pub cgroup: Option<String>,
    /// The container that it runs in.
    pub within: Option<ContainerId>,
    /// Whose Porthole's own container is that it runs in, be it some levels down.
    pub host_owner: Option<Owner>,
    /// What its engine says of it, where that answers.
    pub told: Option<Arc<EngineContainer>>,
    /// What it has by the name of its control group alone.
    pub claim: Option<Claim>,
    /// Its engine has not said yet that what is seen is its container.
    pub unconfirmed: bool,
}

/// Containers that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "name")]
pub enum Group {
    /// A project of Docker Compose or of its like, by its name.
    Project(String),
    /// A pod, by the name or identifier that its engine gives it.
    Pod(String),
}

impl Group {
    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            Self::Project(name) | Self::Pod(name) => name,
        }
    }

    /// `project shop`, `pod web`.
    pub fn words(&self) -> String {
        match self {
            Self::Project(name) => format!("project {name}"),
            Self::Pod(name) => format!("pod {name}"),
        }
    }
}

/// Who is in which namespace.
struct Members<'a> {
    containers: HashMap<NamespaceInode, Vec<&'a ContainerId>>,
    namespaces: &'a HashMap<NamespaceInode, Arc<Namespace>>,
}

impl<'a> Members<'a> {
    fn new(state: &'a State) -> Self {
        let mut containers: HashMap<NamespaceInode, Vec<&'a ContainerId>> = HashMap::new();
        for container in state.containers.values() {
            for inode in container.namespaces.iter().filter_map(|(_, n)| n.inode) {
                containers.entry(inode).or_default().push(&container.id);
            }
        }
        for sighting in state.sightings.values() {
            for inode in sighting.namespaces.iter().filter_map(|(_, inode)| *inode) {
                containers.entry(inode).or_default().push(&sighting.id);
            }
        }
        Self {
            containers,
            namespaces: &state.namespaces,
        }
    }

    fn of(&self, id: &ContainerId, inode: Option<NamespaceInode>) -> ContainerNamespace {
        // A kernel that lacks a type has the host's alone.
        let initial = |inode| self.namespaces.get(&inode).is_some_and(|n| n.initial);
        let is_host = inode.is_none_or(initial);
        let shared_with: Vec<ContainerId> = inode
            .filter(|_| !is_host)
            .and_then(|inode| self.containers.get(&inode))
            .into_iter()
            .flatten()
            .filter(|other| **other != id)
            .map(|other| (*other).clone())
            .collect();
        let isolation = match (is_host, shared_with.is_empty()) {
            (true, _) => Isolation::Host,
            (false, true) => Isolation::Own,
            (false, false) => Isolation::Shared,
        };
        ContainerNamespace {
            inode,
            isolation,
            shared_with,
        }
    }
}

/// Everything of other engines that is known now.
fn recognised(state: &State) -> BTreeMap<ContainerId, Foreign> {
    let members = Members::new(state);
    let ids: BTreeSet<&ContainerId> = state
        .sightings
        .keys()
        .chain(state.by_engines.keys())
        .collect();
    ids.into_iter()
        .map(|id| {
            let seen = state.sightings.get(id).map(|seen| &**seen);
            let told = state.by_engines.get(id);
            (id.clone(), Foreign::new(id, seen, told, &members, state))
        })
        .collect()
}

impl Foreign {
    fn new(
        id: &ContainerId,
        seen: Option<&Sighting>,
        told: Option<&Arc<EngineContainer>>,
        members: &Members<'_>,
        state: &State,
    ) -> Self {
        // Its engine may know of a first process that nothing else tells from the host's.
        let first = told
            .filter(|told| told.state.has_processes())
            .and_then(|told| state.processes.get(&told.pid?));
        let namespaces = match (seen, first) {
            (Some(seen), _) => seen.namespaces,
            (None, Some(first)) => first.namespaces,
            (None, None) => NamespaceSet::default(),
        };
        let (claim, unconfirmed) = state.claim(id);
        let name = told.map(|told| told.name.clone()).filter(|n| !n.is_empty());
        let name = name.or_else(|| seen?.name.clone());
        // Nobody has given it a name: it is called by what runs in it.
        let name = name.or_else(|| bare_name(seen?, &state.processes));
        Self {
            id: id.clone(),
            engine: match (told, seen) {
                (Some(told), _) => told.engine,
                (None, Some(seen)) => seen.engine,
                (None, None) => Engine::None,
            },
            name: name.unwrap_or_else(|| id.short().to_owned()),
            state: run_state(
                seen,
                told.filter(|told| first.is_some() || state.vouched_for(told)),
            ),
            pid: seen.map(|s| s.init).or(first.map(|p| p.host_pid)),
            start_ticks: seen
                .map(|s| s.start_ticks)
                .or(first.map(|p| p.start_ticks))
                .unwrap_or_default(),
            started_at: seen
                .map(|s| s.started_at)
                .or_else(|| told.and_then(|told| told.started_at)),
            namespaces: PerNamespace::build(|kind| members.of(id, *namespaces.get(kind))),
            uid_map: seen.map_or_else(Vec::new, |s| s.uid_map.clone()),
            gid_map: seen.map_or_else(Vec::new, |s| s.gid_map.clone()),
            cgroup: seen.and_then(|s| s.cgroup.clone()),
            within: seen.and_then(|s| s.within.clone()),
            host_owner: host_owner(id, state),
            group: group(seen, told),
            told: told.cloned(),
            claim,
            unconfirmed,
        }
    }

    /// What its engine calls what it does, where that says more than its state.
    pub fn status(&self) -> Option<&'static str> {
        let word = self.told.as_ref()?.state.name();
        let known = self.state != ContainerState::Unknown && word != "unknown";
        (known && word != self.state.name()).then_some(word)
    }

    /// The command as its engine was told it: what stands first, and its arguments.
    pub fn command(&self) -> Vec<&str> {
        let told = self.told.iter();
        let words = told.flat_map(|told| told.entrypoint.iter().chain(&told.command));
        words.map(String::as_str).collect()
    }

    /// How its last run ended.
    pub fn exit_code(&self) -> Option<i32> {
        self.told.as_ref()?.exit_code
    }

    /// When it was made.
    pub fn created_at(&self) -> Option<Timestamp> {
        self.told.as_ref()?.created_at
    }

    /// When its last run ended.
    pub fn finished_at(&self) -> Option<Timestamp> {
        self.told.as_ref()?.finished_at
    }

    /// What it was made of, as its engine names that.
    pub fn image(&self) -> Option<&str> {
        let image = self.told.as_ref()?.image.as_str();
        (!image.is_empty()).then_some(image)
    }
}

/// Whose container this one runs in at last.
fn host_owner(id: &ContainerId, state: &State) -> Option<Owner> {
    let within = |id: &ContainerId| state.sightings.get(id).and_then(|s| s.within.as_ref());
    std::iter::successors(within(id), |id| within(id))
        .take(32)
        .find_map(|outer| state.containers.get(outer))
        .map(|own| own.owner.clone())
}

/// What a container that no engine made is called: as its first process.
fn bare_name(seen: &Sighting, processes: &HashMap<HostPid, Arc<Process>>) -> Option<String> {
    let bare = seen.engine == Engine::None;
    bare.then(|| processes.get(&seen.init))
        .flatten()
        .map(|first| first.command.clone())
}

impl State {
    /// Whether what an engine said last is its word now: of what runs, one that does not answer
    /// knows nothing.
    fn vouched_for(&self, told: &EngineContainer) -> bool {
        let engine = self.engines.get(&told.endpoint);
        !told.state.has_processes() || engine.is_none_or(|engine| engine.trouble.is_none())
    }

    /// Whether one of these is the first process of a bare container, and is called otherwise now.
    pub(super) fn renames(&self, changed: &[Arc<Process>]) -> bool {
        changed.iter().any(|process| {
            let bare = process
                .container
                .as_ref()
                .and_then(|id| self.foreign.get(id));
            bare.is_some_and(|bare| {
                bare.engine == Engine::None
                    && bare.pid == Some(process.host_pid)
                    && bare.name != process.command
            })
        })
    }
}

/// Processes that are there prove more than an engine that has not noticed yet.
fn run_state(seen: Option<&Sighting>, told: Option<&Arc<EngineContainer>>) -> ContainerState {
    let told = told.map(|told| told.state);
    match (seen, told) {
        (Some(seen), _) if seen.paused => ContainerState::Paused,
        (_, Some(RunState::Paused)) => ContainerState::Paused,
        (Some(_), _) | (_, Some(RunState::Running | RunState::Stopping | RunState::Removing)) => {
            ContainerState::Running
        }
        (None, Some(RunState::Created)) => ContainerState::Created,
        (None, Some(RunState::Exited | RunState::Dead | RunState::Restarting)) => {
            ContainerState::Exited
        }
        (None, Some(RunState::Unknown) | None) => ContainerState::Unknown,
    }
}

fn group(seen: Option<&Sighting>, told: Option<&Arc<EngineContainer>>) -> Option<Group> {
    let told = told.and_then(|told| {
        let project = told
            .compose
            .as_ref()
            .map(|c| Group::Project(c.project.clone()));
        project.or_else(|| told.pod.clone().map(Group::Pod))
    });
    told.or_else(|| seen?.pod.clone().map(Group::Pod))
}

impl World {
    /// Makes containers of what is known of those of other engines, and tells what has changed.
    pub(super) fn recognise(&self, state: &mut State) {
        self.recognise_at(state, Instant::now());
    }

    pub(super) fn recognise_at(&self, state: &mut State, at: Instant) {
        let moved = self.name_rightly(state, at);
        let now = recognised(state);
        let gone = state.foreign.extract_if(.., |id, _| !now.contains_key(id));
        let gone: Vec<_> = gone.map(|(_, last)| last).collect();
        for last in gone {
            self.changes.tell(Change::ForeignGone(last));
        }
        for (id, container) in now {
            if state.foreign.get(&id).is_none_or(|was| **was != container) {
                let container = Arc::new(container);
                state.foreign.insert(id, container.clone());
                self.changes.tell(Change::Foreign(container));
            }
        }
        if let Some(moved) = moved {
            self.changes.tell(moved);
        }
    }

    /// Takes note of what the engines' broker tells.
    pub fn engines(&self, message: FromBroker) {
        let mut state = self.write();
        match message {
            FromBroker::Hello(hello) => {
                state.manages = hello.manage;
                state.engines_told = Some(HashSet::new());
            }
            FromBroker::Engine(engine) => {
                let before = state.engines.insert(engine.endpoint, (*engine).clone());
                if before.as_ref() != Some(&*engine) {
                    self.changes.tell(Change::Engines);
                    // Whether it answers decides what is believed of what it said.
                    if state.engines_told.is_none() {
                        self.recognise(&mut state);
                    }
                }
            }
            FromBroker::Container(container) => {
                let id = container.id.clone();
                if let Some(now) = &mut state.engines_told {
                    now.insert(id.clone());
                }
                // An engine's word is not believed of what is Porthole's own.
                if !state.containers.contains_key(&id) {
                    state.by_engines.insert(id, Arc::from(container));
                    // At first everything is told at once.
                    if state.engines_told.is_none() {
                        self.recognise(&mut state);
                    }
                }
            }
            FromBroker::ContainerGone(gone) => {
                state.by_engines.remove(&gone.id);
                self.recognise(&mut state);
            }
            FromBroker::Synced => {
                if let Some(now) = state.engines_told.take() {
                    state.by_engines.retain(|id, _| now.contains(id));
                    self.recognise(&mut state);
                }
            }
            FromBroker::Reply { .. } => {}
        }
    }
}
