//! The namespaces of the host.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::{Holder, Namespace};
use serde::Serialize;
use serde_json::Value;

use super::body::Asked;
use super::list::{Listed, Page};
use super::view;
use crate::world::World;
use crate::{AppState, Refusal, machine};

const LISTED: Listed = Listed {
    fields: &[
        "type",
        "inode",
        "initial",
        "parent",
        "processes",
        "leader",
        "uid",
        "user",
        "netnsid",
        "children",
    ],
    key: "inode",
    sort: "inode",
};

/// A namespace, as the API shows it.
#[derive(Debug, Serialize)]
pub struct NamespaceView<'a> {
    #[serde(rename = "type")]
    kind: NamespaceType,
    inode: NamespaceInode,
    initial: bool,
    owner: Option<OwnerView>,
    parent: Option<NamespaceInode>,
    processes: u32,
    leader: Option<HostPid>,
    /// Its user on the host, and what the machine's `/etc/passwd` calls them.
    uid: Option<u32>,
    user: Option<String>,
    /// What the host's network namespace calls it; of network namespaces alone.
    netnsid: Option<i32>,
    held_by: Vec<HolderView<'a>>,
    /// Holders that are not listed.
    held_by_more: u32,
    /// Namespaces that have it as owner or parent.
    children: u32,
    /// The containers in it; events leave them out.
    #[serde(skip_serializing_if = "Option::is_none")]
    containers: Option<&'a [ContainerId]>,
}

/// Who owns a namespace.
#[derive(Debug, Serialize)]
struct OwnerView {
    /// The user namespace.
    inode: NamespaceInode,
    /// Whoever made a user namespace: the user id on the host, and its name there.
    uid: Option<u32>,
    user: Option<String>,
}

/// What keeps a namespace alive.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
enum HolderView<'a> {
    /// Processes that are in it: how many, and the one with the lowest PID.
    Process { pid: Option<HostPid>, count: u32 },
    /// A descriptor.
    Fd { pid: HostPid, fd: i32 },
    /// A thread of a process that is not in it.
    Thread { pid: HostPid, tid: i32 },
    /// A process whose children will be in it.
    Children { pid: HostPid },
    /// A mount on a file, as this process sees it.
    Bind { pid: HostPid, path: &'a str },
}

impl<'a> NamespaceView<'a> {
    /// Of this namespace, with the containers in it where they are known.
    pub fn of(
        namespace: &'a Namespace,
        world: &World,
        containers: Option<&'a [ContainerId]>,
    ) -> Self {
        let users = machine::users();
        let name = |uid: Option<u32>| users.name(uid?).map(str::to_owned);
        let leader = namespace.leader.and_then(|pid| world.process(pid));
        let uid = leader.map(|leader| leader.uid);
        let inside = (namespace.processes > 0).then_some(HolderView::Process {
            pid: namespace.leader,
            count: namespace.processes,
        });
        let others = namespace.holders.iter().map(|holder| match holder {
            Holder::Descriptor { pid, fd } => HolderView::Fd { pid: *pid, fd: *fd },
            Holder::Thread { pid, tid } => HolderView::Thread {
                pid: *pid,
                tid: *tid,
            },
            Holder::Children { pid } => HolderView::Children { pid: *pid },
            Holder::Mount { pid, path } => HolderView::Bind { pid: *pid, path },
        });
        Self {
            kind: namespace.kind,
            inode: namespace.inode,
            initial: namespace.initial,
            owner: namespace.owner.map(|inode| OwnerView {
                inode,
                uid: namespace.owner_uid,
                user: name(namespace.owner_uid),
            }),
            parent: namespace.parent,
            processes: namespace.processes,
            leader: namespace.leader,
            uid,
            user: name(uid),
            netnsid: namespace.netnsid,
            held_by: inside.into_iter().chain(others).collect(),
            held_by_more: namespace.more_holders,
            children: namespace.children,
            containers,
        }
    }
}

/// Which containers are in which namespace.
fn containers_in(world: &World) -> HashMap<NamespaceInode, Vec<ContainerId>> {
    let mut found: HashMap<NamespaceInode, Vec<ContainerId>> = HashMap::new();
    for container in world.any_containers() {
        for inode in container.namespaces().iter().filter_map(|(_, n)| n.inode) {
            found.entry(inode).or_default().push(container.id().clone());
        }
    }
    found
}

fn value(
    namespace: &Namespace,
    world: &World,
    containers: &HashMap<NamespaceInode, Vec<ContainerId>>,
) -> Result<Value, Refusal> {
    let inside = containers.get(&namespace.inode).map_or(&[][..], |ids| ids);
    view::value(&NamespaceView::of(namespace, world, Some(inside)))
}

/// All namespaces of the host, `?type=`.
pub async fn list(
    State(state): State<AppState>,
    Asked(query): Asked<Vec<(String, String)>>,
) -> Result<Json<Page>, Refusal> {
    let containers = containers_in(&state.world);
    let all = state.world.namespaces();
    let items: Result<Vec<Value>, Refusal> = all
        .iter()
        .map(|n| value(n, &state.world, &containers))
        .collect();
    Ok(Json(LISTED.page(items?, query)?))
}

/// One namespace.
pub async fn one(
    State(state): State<AppState>,
    Path((kind, inode)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let kind: NamespaceType = kind
        .parse()
        .map_err(|why| Refusal::not_found("namespace_not_found", format!("{why}.")))?;
    let found = inode
        .parse()
        .ok()
        .and_then(|inode| state.world.namespace(NamespaceInode(inode)))
        .filter(|namespace| namespace.kind == kind);
    let namespace = found.ok_or_else(|| {
        Refusal::not_found(
            "namespace_not_found",
            "There is no such namespace on the host now.",
        )
    })?;
    let containers = containers_in(&state.world);
    Ok(Json(value(&namespace, &state.world, &containers)?))
}
