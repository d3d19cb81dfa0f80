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
use crate::world::{AnyContainer, Claim, Foreign, Group};

/// A container of another engine's.
#[derive(Debug, Serialize)]
pub struct ForeignView<'a> {
    id: &'a ContainerId,
    name: &'a str,
    engine: Engine,
    own: bool,
    /// Nobody's: administrators alone change it.
    owner: Option<&'a str>,
    state: ContainerState,
    status: Option<&'a str>,
    image: Option<&'a str>,
    exit_code: Option<i32>,
    created_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    /// `null` for who may not look inside.
    command: Option<Vec<&'a str>>,
    pid: Option<HostPid>,
    started_at: Option<Timestamp>,
    /// `null` while it does not run: whose they will be is its engine's to decide.
    namespaces: Option<&'a PerNamespace<ContainerNamespace>>,
    uid_map: &'a [IdRange],
    gid_map: &'a [IdRange],
    cgroup: Option<&'a str>,
    within: Option<&'a ContainerId>,
    group: Option<&'a Group>,
    /// The identifier that its control group claims, and that is another's.
    claim: Option<&'a Claim>,
}

/// A container of another engine's, for this reader.
pub fn foreign<'a>(container: &'a Foreign, reader: &Identity) -> ForeignView<'a> {
    ForeignView {
        id: &container.id,
        name: &container.name,
        engine: container.engine,
        own: false,
        owner: None,
        state: container.state,
        status: container.status(),
        image: container.image(),
        exit_code: container.exit_code(),
        created_at: container.created_at(),
        finished_at: container.finished_at(),
        command: reader.may_look_into_host().then(|| container.command()),
        pid: container.pid,
        started_at: container.started_at,
        namespaces: container.pid.map(|_| &container.namespaces),
        uid_map: &container.uid_map,
        gid_map: &container.gid_map,
        cgroup: container.cgroup.as_deref(),
        within: container.within.as_ref(),
        group: container.group.as_ref(),
        claim: container.claim.as_ref(),
    }
}

/// A container, whoever made it, for this reader.
pub fn any(container: &AnyContainer, reader: &Identity) -> Result<Value, Refusal> {
    match container {
        AnyContainer::Own(own) => view::value(&view::container(own, reader)),
        AnyContainer::Foreign(other) => view::value(&foreign(other, reader)),
    }
}
