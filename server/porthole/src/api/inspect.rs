//! What has to be read inside a process's namespaces: mounts, networks, rights, what is not isolated.
//!
//! The world says which process or namespace is meant, and a child of the keeper's reads it. Who may
//! look into a container sees what only it has; what others have too, and what lies at the other end
//! of a wire or in the same peer group elsewhere, only who may look into the host.

use std::collections::HashSet;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::inspection::{
    Bounded, Fact, Inspected, Interface, ProcessIdentity, Seen, Subject, Verdict, What,
};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::{Namespace, Process};
use serde_json::{Value, json};

use super::view;
use crate::access::{Identity, TheAnyContainer};
use crate::actions::sessions::may_look_at_process;
use crate::compare::may_look;
use crate::world::{AnyContainer, World};
use crate::{AppState, Refusal};

/// How long a container's first process may be unknown to the observer, which tells of a new one
/// within 50 ms.
const NEW: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// The namespaces that somebody may look into.
pub struct Sight {
    everything: bool,
    seen: HashSet<NamespaceInode>,
}

impl Sight {
    /// What this person may look into now: what is in containers of theirs, and in no others.
    pub fn of(state: &AppState, identity: &Identity) -> Self {
        Self::in_world(&state.world, identity)
    }

    /// The same, of a world alone.
    pub fn in_world(world: &World, identity: &Identity) -> Self {
        let everything = identity.may_look_into_host();
        let (mut seen, mut closed) = (HashSet::new(), HashSet::new());
        if !everything {
            for container in world.any_containers() {
                let inodes = container
                    .namespaces()
                    .iter()
                    .filter_map(|(_, one)| one.inode);
                if identity.may_look_into_container(&container) {
                    seen.extend(inodes);
                } else {
                    closed.extend(inodes);
                }
            }
            let hosts = world.namespaces();
            closed.extend(hosts.iter().filter(|one| one.initial).map(|one| one.inode));
        }
        seen.retain(|inode| !closed.contains(inode));
        Self { everything, seen }
    }

    /// These and no others.
    #[cfg(test)]
    pub(crate) fn only(seen: impl IntoIterator<Item = NamespaceInode>) -> Self {
        Self {
            everything: false,
            seen: seen.into_iter().collect(),
        }
    }

    /// Whether this namespace may be looked into.
    pub fn covers(&self, inode: NamespaceInode) -> bool {
        self.everything || self.seen.contains(&inode)
    }

    /// Refuses where this namespace, of this type, may not be looked into.
    pub fn demand(
        &self,
        kind: NamespaceType,
        inode: Option<NamespaceInode>,
    ) -> Result<(), Refusal> {
        if self.everything || inode.is_some_and(|inode| self.seen.contains(&inode)) {
            return Ok(());
        }
        Err(Refusal::forbidden(format!(
            "This {kind} namespace is the host's, or others are in it too: only viewers and administrators look into it."
        )))
    }

    /// Leaves out what lies elsewhere, and counts it.
    pub(crate) fn restrict(&self, inspected: &mut Inspected) {
        if self.everything {
            return;
        }
        match inspected {
            Inspected::Mounts(mounts) => {
                for group in &mut mounts.groups.items {
                    self.keep(&mut group.members, |member| member.namespace);
                }
            }
            Inspected::Network(network) => self.hide_ends(&mut network.interfaces.items),
            Inspected::Wiring(wiring) => {
                self.keep(&mut wiring.namespaces, |one| one.inode);
                self.keep(&mut wiring.unread, |inode| *inode);
                for one in &mut wiring.namespaces.items {
                    self.hide_ends(&mut one.interfaces.items);
                }
            }
            Inspected::Isolation(isolation) => isolation.facts.iter_mut().for_each(hide_outside),
            _ => {}
        }
    }

    fn keep<T>(&self, list: &mut Bounded<T>, inode: impl Fn(&T) -> NamespaceInode) {
        let before = list.items.len();
        list.items.retain(|item| self.covers(inode(item)));
        list.left_out += (before - list.items.len()) as u64;
    }

    fn hide_ends(&self, interfaces: &mut [Interface]) {
        let peers = interfaces.iter_mut().filter_map(|one| one.peer.as_mut());
        for peer in peers.filter(|peer| peer.namespace.is_none_or(|inode| !self.covers(inode))) {
            (peer.name, peer.master) = (None, None);
        }
    }
}

/// What of the host a container reads by itself is told to whoever may look into that; nothing else.
/// Where inside another file system answers, which may be a program's of its own, that it has
/// guessed right would tell too.
fn hide_outside(fact: &mut Fact) {
    if fact.through.is_some() {
        fact.verdict = Verdict::Unknown;
    }
    if fact.verdict != Verdict::Same {
        fact.outside =
            Seen::Not("only viewers and administrators see what the host says".to_owned());
    }
}

/// Reads this, for this person.
pub async fn look(
    state: &AppState,
    identity: &Identity,
    subject: Subject,
    what: What,
) -> Result<Inspected, Refusal> {
    let mut inspected = state.keeper.inspect(subject, what).await?;
    Sight::of(state, identity).restrict(&mut inspected);
    Ok(inspected)
}

/// The same of one namespace. Who was seen in it may have left it since; what is read where they are
/// now is not what was asked for.
pub async fn look_into(
    state: &AppState,
    identity: &Identity,
    namespace: &Namespace,
    (subject, what): (Subject, What),
) -> Result<Inspected, Refusal> {
    let inspected = look(state, identity, subject, what).await?;
    match inspected.namespace() {
        Some(other) if other != namespace.inode => Err(Refusal::not_found(
            "namespace_not_found",
            "The process that was seen in this namespace has left it. Ask again in a moment.",
        )),
        _ => Ok(inspected),
    }
}

/// The first process of a container that runs.
pub async fn init(state: &AppState, container: &AnyContainer) -> Result<ProcessIdentity, Refusal> {
    let Some(pid) = container.pid() else {
        return Err(Refusal::conflict(
            "wrong_state",
            "This container does not run, so there is nothing inside to be read. Start it first.",
        ));
    };
    let known = async {
        loop {
            if let Some(process) = state.world.process(pid) {
                return identity_of(&process);
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(NEW, known)
        .await
        .map_err(|_| process_gone())
}

const fn identity_of(process: &Process) -> ProcessIdentity {
    ProcessIdentity {
        pid: process.host_pid,
        start_ticks: process.start_ticks,
    }
}

fn process_gone() -> Refusal {
    Refusal::not_found(
        "process_not_found",
        "There is no such process on the host now.",
    )
}

async fn of_container(
    state: &AppState,
    identity: &Identity,
    container: &AnyContainer,
    what: What,
) -> Result<Json<Value>, Refusal> {
    let subject = Subject::Process(init(state, container).await?);
    if let Some(kind) = what.namespace() {
        let namespace = container.namespaces().get(kind);
        Sight::of(state, identity).demand(kind, namespace.inode)?;
    }
    let inspected = look(state, identity, subject, what).await?;
    Ok(Json(view::value(&inspected)?))
}

/// The mounts that a container sees.
pub async fn mounts(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
) -> Result<Json<Value>, Refusal> {
    of_container(&state, &identity, &container, What::Mounts).await
}

/// A container's interfaces, routes and sockets.
pub async fn network(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
) -> Result<Json<Value>, Refusal> {
    of_container(&state, &identity, &container, What::Network).await
}

/// What a container's first process is and may, its users and its groups.
pub async fn security(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
) -> Result<Json<Value>, Refusal> {
    let subject = Subject::Process(init(&state, &container).await?);
    let read = |what| state.keeper.inspect(subject.clone(), what);
    let (process, user, cgroup) = tokio::join!(
        read(What::Process { environment: false }),
        read(What::User),
        read(What::Cgroup)
    );
    let (process, user, cgroup) = (process?, user?, cgroup?);
    tracing::debug!(account = %identity.name(), container = %container.id(), "looked at");
    Ok(Json(json!({
        "process": view::value(&process)?,
        "user": view::value(&user)?,
        "cgroup": view::value(&cgroup)?,
    })))
}

/// What is not isolated of a container, inside and outside at the same moment.
pub async fn isolation(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
) -> Result<Json<Value>, Refusal> {
    of_container(&state, &identity, &container, What::Isolation).await
}

/// A namespace from inside, as its type has it.
pub async fn namespace(
    State(state): State<AppState>,
    identity: Identity,
    Path((kind, inode)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let not_found = |why: &str| Refusal::not_found("namespace_not_found", why);
    let kind: NamespaceType = kind
        .parse()
        .map_err(|why| Refusal::not_found("namespace_not_found", format!("{why}.")))?;
    let namespace = inode
        .parse()
        .ok()
        .and_then(|inode| state.world.namespace(NamespaceInode(inode)))
        .filter(|namespace| namespace.kind == kind)
        .ok_or_else(|| not_found("There is no such namespace on the host now."))?;
    Sight::of(&state, &identity).demand(kind, Some(namespace.inode))?;
    let subject = (reach(&state, &namespace)?, What::of_namespace(kind));
    let inspected = look_into(&state, &identity, &namespace, subject).await?;
    Ok(Json(view::value(&inspected)?))
}

/// By whom or by what a namespace can be reached.
fn reach(state: &AppState, namespace: &Namespace) -> Result<Subject, Refusal> {
    let leader = namespace.leader.and_then(|pid| state.world.process(pid));
    if let Some(process) = leader {
        return Ok(Subject::Process(identity_of(&process)));
    }
    let holder = namespace.holders.first().cloned().ok_or_else(|| {
        Refusal::conflict(
            "nobody_inside",
            "No process is in this namespace and nothing holds it open: only namespaces below it keep it, and there is no way in.",
        )
    })?;
    Ok(Subject::Namespace {
        kind: namespace.kind,
        inode: namespace.inode,
        holder,
    })
}

/// Whether the environment of a process that this person may look into may be seen too: of those of
/// the host and of other engines, administrators alone.
pub fn may_see_environment(state: &AppState, process: &Process, identity: &Identity) -> bool {
    let container = process.container.as_ref();
    match container.and_then(|id| state.world.any_container(id)) {
        Some(AnyContainer::Own(_)) => may_look_at_process(&state.world, identity, process),
        _ => identity.is_admin(),
    }
}

/// What a process is and may. Its environment only for who may look into what it is in: of those of
/// the host and of other engines, administrators.
pub async fn process(
    State(state): State<AppState>,
    identity: Identity,
    Path(pid): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let process = pid
        .parse()
        .ok()
        .and_then(|pid| state.world.process(HostPid(pid)))
        .ok_or_else(process_gone)?;
    let may = may_look(&state.world, &process, &identity);
    if !may {
        return Err(Refusal::forbidden(
            "This process is the host's or another person's: only they, viewers and administrators see more of it.",
        ));
    }
    let environment = may_see_environment(&state, &process, &identity);
    let subject = Subject::Process(identity_of(&process));
    let what = What::Process { environment };
    let inspected = look(&state, &identity, subject, what).await?;
    Ok(Json(view::value(&inspected)?))
}

/// The wires between all network namespaces; of who may not look into the host, those of their
/// containers.
pub async fn wiring(
    State(state): State<AppState>,
    identity: Identity,
) -> Result<Json<Value>, Refusal> {
    let inspected = look(&state, &identity, Subject::Host, What::Wiring).await?;
    Ok(Json(view::value(&inspected)?))
}

#[cfg(test)]
mod tests {
    use porthole_protocol::inspection::NotIsolated;

    use super::*;

    #[test]
    fn of_the_host_only_what_the_inside_reads_is_told() {
        let fact = |verdict, through: Option<&str>| Fact {
            name: NotIsolated::Keys,
            file: "/proc/keys".to_owned(),
            inside: Seen::Value("7".to_owned()),
            outside: Seen::Value("the host's".to_owned()),
            verdict,
            through: through.map(str::to_owned),
        };
        for (verdict, through, told) in [
            (Verdict::Same, None, true),
            (Verdict::Different, None, false),
            (Verdict::Unknown, None, false),
            (Verdict::Same, Some("fuse"), false),
        ] {
            let mut fact = fact(verdict, through);
            hide_outside(&mut fact);
            let value = Seen::Value("the host's".to_owned());
            assert_eq!(fact.outside == value, told, "{verdict:?} {through:?}");
            assert!(told || fact.verdict != Verdict::Same, "{fact:?}");
        }
    }
}
