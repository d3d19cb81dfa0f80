//! Containers that Porthole did not make: what the observer recognised, whose name and history
//! their engine adds where it answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use porthole_protocol::container::{
    Container, ContainerNamespace, ContainerState, IdRange, Owner, Timestamp,
};
use porthole_protocol::engine::Engine;
use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode};
use porthole_protocol::namespace::{Isolation, NamespaceType, PerNamespace};
use porthole_protocol::observation::Sighting;
use serde::Serialize;

/// A container that another engine made.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreign {
    /// Its engine's identifier.
    pub id: ContainerId,
    /// Who made it.
    pub engine: Engine,
    /// Its name; a short identifier where nobody tells one.
    pub name: String,
    /// What it was made of, as its engine names that.
    pub image: Option<String>,
    /// The command of its first process, as its engine was told it.
    pub command: Vec<String>,
    /// The project or pod that it belongs to.
    pub group: Option<Group>,
    /// What it is doing.
    pub state: ContainerState,
    /// What its engine calls that, where it says more.
    pub status: Option<String>,
    /// How its last run ended.
    pub exit_code: Option<i32>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When its last run ended.
    pub finished_at: Option<Timestamp>,
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

/// A container, whoever made it.
#[derive(Debug, Clone)]
pub enum AnyContainer {
    /// Porthole's own.
    Own(Arc<Container>),
    /// Another engine's.
    Foreign(Arc<Foreign>),
}

impl From<Arc<Container>> for AnyContainer {
    fn from(container: Arc<Container>) -> Self {
        Self::Own(container)
    }
}

impl AnyContainer {
    /// Its identifier.
    pub fn id(&self) -> &ContainerId {
        match self {
            Self::Own(own) => &own.id,
            Self::Foreign(foreign) => &foreign.id,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Own(own) => own.name.as_str(),
            Self::Foreign(foreign) => &foreign.name,
        }
    }

    /// Who made it.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Own(own) => own.engine,
            Self::Foreign(foreign) => foreign.engine,
        }
    }

    /// What it is doing.
    pub fn state(&self) -> ContainerState {
        match self {
            Self::Own(own) => own.state,
            Self::Foreign(foreign) => foreign.state,
        }
    }

    /// Its init on the host.
    pub fn pid(&self) -> Option<HostPid> {
        match self {
            Self::Own(own) => own.pid,
            Self::Foreign(foreign) => foreign.pid,
        }
    }

    /// Its eight namespaces.
    pub fn namespaces(&self) -> &PerNamespace<ContainerNamespace> {
        match self {
            Self::Own(own) => &own.namespaces,
            Self::Foreign(foreign) => &foreign.namespaces,
        }
    }

    /// The maps of its user and group ids.
    pub fn id_maps(&self) -> (&[IdRange], &[IdRange]) {
        match self {
            Self::Own(own) => (&own.uid_map, &own.gid_map),
            Self::Foreign(foreign) => (&foreign.uid_map, &foreign.gid_map),
        }
    }

    /// Its group.
    pub fn cgroup(&self) -> Option<&str> {
        match self {
            Self::Own(own) => own.cgroup.as_deref(),
            Self::Foreign(foreign) => foreign.cgroup.as_deref(),
        }
    }

    /// When it was last started.
    pub fn started_at(&self) -> Option<Timestamp> {
        match self {
            Self::Own(own) => own.started_at,
            Self::Foreign(foreign) => foreign.started_at,
        }
    }

    /// What it was made of.
    pub fn image(&self) -> Option<&str> {
        match self {
            Self::Own(own) => Some(own.spec.image.as_str()),
            Self::Foreign(foreign) => foreign.image.as_deref(),
        }
    }

    /// The words of its first process's command, as they were asked for.
    pub fn command(&self) -> Vec<&str> {
        match self {
            Self::Own(own) => {
                let words = own.spec.entrypoint.iter().chain(&own.spec.command);
                words.map(|word| word.as_str()).collect()
            }
            Self::Foreign(foreign) => foreign.command.iter().map(String::as_str).collect(),
        }
    }

    /// Whose it is; another engine's is nobody's.
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Own(own) => Some(&own.owner),
            Self::Foreign(_) => None,
        }
    }

    /// When it was made, as far as that is known.
    pub fn created_at(&self) -> Option<Timestamp> {
        match self {
            Self::Own(own) => Some(own.created_at),
            Self::Foreign(foreign) => foreign.created_at.or(foreign.started_at),
        }
    }

    /// The exit code of its last run.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Own(own) => own.exit.as_ref().map(|exit| exit.code),
            Self::Foreign(foreign) => foreign.exit_code,
        }
    }

    /// When its last run ended.
    pub fn finished_at(&self) -> Option<Timestamp> {
        match self {
            Self::Own(own) => own.finished_at,
            Self::Foreign(foreign) => foreign.finished_at,
        }
    }

    /// What went wrong when it was last started.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Own(own) => own.error.as_deref(),
            Self::Foreign(_) => None,
        }
    }

    /// The container that it runs in.
    pub fn within(&self) -> Option<&ContainerId> {
        match self {
            Self::Own(_) => None,
            Self::Foreign(foreign) => foreign.within.as_ref(),
        }
    }

    /// What it belongs to.
    pub fn group(&self) -> Option<&Group> {
        match self {
            Self::Own(_) => None,
            Self::Foreign(foreign) => foreign.group.as_ref(),
        }
    }

    /// Porthole's own container that this is.
    pub fn own(&self) -> Option<&Arc<Container>> {
        match self {
            Self::Own(own) => Some(own),
            Self::Foreign(_) => None,
        }
    }
}

/// Who is in which namespace.
pub(super) struct Members<'a> {
    containers: HashMap<NamespaceInode, Vec<&'a ContainerId>>,
    is_initial: &'a dyn Fn(NamespaceInode) -> bool,
}

impl<'a> Members<'a> {
    pub(super) fn new(
        own: impl Iterator<Item = &'a Arc<Container>>,
        sightings: &'a BTreeMap<ContainerId, Sighting>,
        is_initial: &'a dyn Fn(NamespaceInode) -> bool,
    ) -> Self {
        let mut containers: HashMap<NamespaceInode, Vec<&'a ContainerId>> = HashMap::new();
        for container in own {
            for inode in container.namespaces.iter().filter_map(|(_, n)| n.inode) {
                containers.entry(inode).or_default().push(&container.id);
            }
        }
        for sighting in sightings.values() {
            for inode in sighting.namespaces.iter().filter_map(|(_, inode)| *inode) {
                containers.entry(inode).or_default().push(&sighting.id);
            }
        }
        Self {
            containers,
            is_initial,
        }
    }

    fn of(&self, sighting: &Sighting, kind: NamespaceType) -> ContainerNamespace {
        let inode = *sighting.namespaces.get(kind);
        // A kernel that lacks a type has the host's alone.
        let is_host = inode.is_none_or(|inode| (self.is_initial)(inode));
        let shared_with: Vec<ContainerId> = inode
            .filter(|_| !is_host)
            .and_then(|inode| self.containers.get(&inode))
            .into_iter()
            .flatten()
            .filter(|other| ***other != sighting.id)
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

impl Foreign {
    pub(super) fn seen(sighting: &Sighting, members: &Members<'_>) -> Self {
        let name = sighting.name.clone();
        Self {
            id: sighting.id.clone(),
            engine: sighting.engine,
            name: name.unwrap_or_else(|| sighting.id.short().to_owned()),
            state: if sighting.paused {
                ContainerState::Paused
            } else {
                ContainerState::Running
            },
            pid: Some(sighting.init),
            start_ticks: sighting.start_ticks,
            started_at: Some(sighting.started_at),
            namespaces: PerNamespace::build(|kind| members.of(sighting, kind)),
            uid_map: sighting.uid_map.clone(),
            gid_map: sighting.gid_map.clone(),
            cgroup: sighting.cgroup.clone(),
            within: sighting.within.clone(),
            image: None,
            command: Vec::new(),
            group: sighting.pod.clone().map(Group::Pod),
            status: None,
            exit_code: None,
            created_at: None,
            finished_at: None,
        }
    }
}
