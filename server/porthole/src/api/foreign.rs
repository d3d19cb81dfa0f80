//! The JSON of containers that another engine made: the fields of Porthole's own that apply.

use porthole_protocol::container::{ContainerNamespace, ContainerState, IdRange, Timestamp};
use porthole_protocol::engine::Engine;
use porthole_protocol::id::{ContainerId, HostPid};
use porthole_protocol::namespace::PerNamespace;
use serde::Serialize;
use serde_json::Value;

use super::view;
use crate::Refusal;
use crate::access::Identity;
use crate::world::{AnyContainer, Foreign};

/// A container of another engine's.
#[derive(Debug, Serialize)]
pub struct ForeignView<'a> {
    id: &'a ContainerId,
    name: &'a str,
    engine: Engine,
    /// Nobody's: administrators alone change it.
    owner: Option<&'a str>,
    state: ContainerState,
    pid: Option<HostPid>,
    started_at: Option<Timestamp>,
    namespaces: &'a PerNamespace<ContainerNamespace>,
    uid_map: &'a [IdRange],
    gid_map: &'a [IdRange],
    cgroup: Option<&'a str>,
    within: Option<&'a ContainerId>,
    pod: Option<&'a str>,
}

/// A container of another engine's.
pub fn foreign(container: &Foreign) -> ForeignView<'_> {
    ForeignView {
        id: &container.id,
        name: &container.name,
        engine: container.engine,
        owner: None,
        state: container.state,
        pid: container.pid,
        started_at: container.started_at,
        namespaces: &container.namespaces,
        uid_map: &container.uid_map,
        gid_map: &container.gid_map,
        cgroup: container.cgroup.as_deref(),
        within: container.within.as_ref(),
        pod: container.pod.as_deref(),
    }
}

/// A container, whoever made it, for this reader.
pub fn any(container: &AnyContainer, reader: &Identity) -> Result<Value, Refusal> {
    match container {
        AnyContainer::Own(own) => view::value(&view::container(own, reader)),
        AnyContainer::Foreign(other) => view::value(&foreign(other)),
    }
}
