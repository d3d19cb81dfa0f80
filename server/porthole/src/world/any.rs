//! A container, be it Porthole's own or another engine's.

use std::sync::Arc;

use porthole_protocol::container::{
    Container, ContainerNamespace, ContainerState, IdRange, Owner, Timestamp,
};
use porthole_protocol::engine::Engine;
use porthole_protocol::id::{ContainerId, HostPid};
use porthole_protocol::namespace::PerNamespace;

use super::foreign::{Foreign, Group};

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
            Self::Foreign(foreign) => foreign.image(),
        }
    }

    /// The words of its first process's command, as they were asked for.
    pub fn command(&self) -> Vec<&str> {
        match self {
            Self::Own(own) => {
                let words = own.spec.entrypoint.iter().chain(&own.spec.command);
                words.map(|word| word.as_str()).collect()
            }
            Self::Foreign(foreign) => foreign.command(),
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
            Self::Foreign(foreign) => foreign.created_at().or(foreign.started_at),
        }
    }

    /// The exit code of its last run.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Own(own) => own.exit.as_ref().map(|exit| exit.code),
            Self::Foreign(foreign) => foreign.exit_code(),
        }
    }

    /// When its last run ended.
    pub fn finished_at(&self) -> Option<Timestamp> {
        match self {
            Self::Own(own) => own.finished_at,
            Self::Foreign(foreign) => foreign.finished_at(),
        }
    }

    /// What went wrong when it was last started.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Own(own) => own.error.as_deref(),
            Self::Foreign(foreign) => foreign.told.as_ref()?.error.as_deref(),
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
