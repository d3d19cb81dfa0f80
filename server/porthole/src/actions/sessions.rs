//! Sessions: open, end.

mod configured;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use porthole_protocol::container::{
    AbsolutePath, Argument, ContainerSpec, ContainerState, EnvName, Owner, UserSpec,
};
use porthole_protocol::id::{ContainerId, HostPid, SessionId};
use porthole_protocol::keeper::FailureCode;
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Process;
use porthole_protocol::session::{self, Aspect, Session, SessionSpec, Size, Target, Toolbox};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::{audit, audited, limits, namespaces};
use crate::access::Identity;
use crate::access::secret::random;
use crate::hubs::create_journal;
use crate::keeper::KeeperError;
use crate::store::Act;
use crate::world::{AnyContainer, World};
use crate::{AppState, Refusal};

/// What to run in a container. The body of `POST /api/v1/containers/{container}/sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OpenSession {
    /// What to run. Empty: the user's login shell, then bash, ash, sh.
    pub command: Vec<Argument>,
    /// Whether it gets a terminal; pipes otherwise.
    pub tty: bool,
    /// The terminal's columns.
    pub cols: u16,
    /// The terminal's rows.
    pub rows: u16,
    /// As whom; the container's user where it is not given.
    pub user: Option<UserSpec>,
    /// Where; the container's where it is not given.
    pub workdir: Option<AbsolutePath>,
    /// Added to the container's environment.
    pub env: BTreeMap<EnvName, Argument>,
    /// Which namespaces to join; all where it is not given.
    pub join: Option<Vec<NamespaceType>>,
    /// In another engine's container: in what the session may be less confined than its init.
    pub accept: Vec<Aspect>,
    /// In another engine's container: the tools of this image instead of its own files, which lie
    /// at `/target`.
    pub toolbox: Option<Toolbox>,
}

impl Default for OpenSession {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            tty: true,
            cols: Size::DEFAULT.cols,
            rows: Size::DEFAULT.rows,
            user: None,
            workdir: None,
            env: BTreeMap::new(),
            join: None,
            accept: Vec::new(),
            toolbox: None,
        }
    }
}

/// Runs something in a container. That it was asked for is in the audit trail, on disk, before
/// its shell exists.
pub async fn open(
    state: &AppState,
    identity: &Identity,
    container: &AnyContainer,
    open: OpenSession,
) -> Result<Arc<Session>, Refusal> {
    let container = &seen(state, container).await;
    let foreign = match container {
        AnyContainer::Own(own) => {
            namespaces::check_run(state, identity, own)?;
            namespaces::check_join(state, identity, own, open.join.as_deref())?;
            only_foreign(&open)?;
            None
        }
        // The route lets in administrators alone; what root allows of it is the keeper's to say.
        AnyContainer::Foreign(foreign) => Some(Box::new(configured::target(foreign, &open)?)),
    };
    let mut spec = spec(container.id(), open)?;
    if let AnyContainer::Foreign(foreign) = container {
        configured::as_configured(&mut spec, foreign);
    }
    spec.foreign = foreign;
    begin(state, identity, spec).await
}

/// How long observer and engine may disagree about a container that was just started: one does not
/// know its first process, or the other has not said which it is.
const NEW: Duration = Duration::from_secs(2);

/// The container as it is now: one that its engine says to run, once its first process was seen, and
/// one whose first process is seen, once its engine says so.
async fn seen(state: &AppState, container: &AnyContainer) -> AnyContainer {
    let unseen = |container: &AnyContainer| match container {
        AnyContainer::Own(_) => false,
        AnyContainer::Foreign(foreign) => {
            let running = foreign.state == ContainerState::Running;
            foreign.unconfirmed || running && foreign.pid.is_none()
        }
    };
    let now = || {
        let now = state.world.any_container(container.id());
        now.unwrap_or_else(|| container.clone())
    };
    let (_, mut changes) = state.world.changes().subscribe();
    let until = tokio::time::Instant::now() + NEW;
    while unseen(&now()) {
        let next = tokio::time::timeout_at(until, changes.recv()).await;
        if matches!(next, Err(_) | Ok(Err(RecvError::Closed))) {
            break;
        }
    }
    now()
}

/// Runs something in the namespaces of any process, which confines it: for those that are in no
/// container, or not in all of its namespaces. Whoever calls has seen that an administrator asks.
pub async fn open_at(
    state: &AppState,
    identity: &Identity,
    process: &Process,
    open: OpenSession,
) -> Result<Arc<Session>, Refusal> {
    let container = process.container.as_ref();
    if let Some(own) = container.and_then(|id| state.world.container(id)) {
        return self::open(state, identity, &AnyContainer::Own(own), open).await;
    }
    let alone = || beside(process).parse();
    let id = container.cloned().map_or_else(alone, Ok);
    let id = id.map_err(|_| Refusal::internal())?;
    let foreign = session::Foreign {
        pid: process.host_pid,
        start_ticks: process.start_ticks,
        namespaces: process.namespaces,
        env: None,
        accept: open.accept.clone(),
        toolbox: open.toolbox.clone(),
    };
    let mut spec = spec(&id, open)?;
    spec.foreign = Some(Box::new(foreign));
    begin(state, identity, spec).await
}

/// What the sessions beside a process have for a container where it is in none.
pub fn beside(process: &Process) -> String {
    format!("none-{}-{}", process.host_pid, process.start_ticks)
}

/// The process that a container's identifier of [`beside`] names.
pub fn beside_whom(container: &ContainerId) -> Option<HostPid> {
    let (pid, _) = container.as_str().strip_prefix("none-")?.split_once('-')?;
    pid.parse().ok().map(HostPid)
}

/// Asks the keeper for the session that has been checked.
async fn begin(
    state: &AppState,
    identity: &Identity,
    spec: SessionSpec,
) -> Result<Arc<Session>, Refusal> {
    let id = SessionId::from_bytes(random());
    let _one_more = limits::session(state, identity, &id)?;
    let target = Target::Session(id.clone());
    let detail = json!({
        "container": spec.container,
        "command": spec.command,
        "user": spec.user,
        "join": spec.join,
        "process": spec.foreign.as_ref().map(|foreign| foreign.pid),
        "accept": spec.foreign.as_ref().map(|foreign| &foreign.accept),
        "toolbox": spec.foreign.as_ref().and_then(|foreign| foreign.toolbox.as_ref()),
    });
    // Both wait for the disk: beside each other.
    let (files, asked) = tokio::join!(
        create_journal(state, &target),
        audit(state, identity, Act::SessionOpen, id.as_str(), detail),
    );
    let (files, asked) = match (files, asked) {
        (Ok(files), Ok(asked)) => (files, asked),
        (Ok(_), Err(refusal)) => {
            state.hubs.discard(state, target).await;
            return Err(refusal);
        }
        (Err(refusal), asked) => {
            let none = Err::<(), _>(refusal.clone());
            if let Ok(asked) = asked {
                asked.ended(&none);
            }
            return Err(refusal);
        }
    };
    let kept = files.try_clone().map_err(crate::hubs::journal_failed)?;
    let owner = identity.name().clone();
    let opened = state.keeper.open_session(id, spec, owner, files).await;
    let late = opened
        .as_ref()
        .is_err_and(|e| !matches!(e, KeeperError::Failed(_)));
    let opened = opened.map_err(Refusal::from);
    asked.ended(&opened);
    match opened {
        Ok(session) => {
            if let Err(refusal) = state.hubs.ensure(state, &target, kept) {
                tracing::warn!(session = %session.id, why = %refusal, "it runs, its output is not followed yet");
            }
            Ok(Arc::new(session))
        }
        Err(refusal) => {
            // Where the answer is late it may still come to be, and needs its journal.
            if !late {
                state.hubs.discard(state, target).await;
            }
            Err(refusal)
        }
    }
}

/// What only another engine's container has.
fn only_foreign(open: &OpenSession) -> Result<(), Refusal> {
    let field = match (open.accept.is_empty(), &open.toolbox) {
        (true, None) => return Ok(()),
        (false, _) => "accept",
        (true, Some(_)) => "toolbox",
    };
    Err(Refusal::unusable(
        field,
        "This is for containers of other engines: a session in one of Porthole's own is as confined as its first process.",
    ))
}

fn spec(container: &ContainerId, open: OpenSession) -> Result<SessionSpec, Refusal> {
    let size = Size::new(open.cols, open.rows).map_err(|why| {
        let wide = Size::new(open.cols, 1).is_err();
        Refusal::unusable(if wide { "cols" } else { "rows" }, why.to_string())
    })?;
    let words: usize = open.command.iter().map(|w| w.as_str().len() + 1).sum();
    let variables: usize = open
        .env
        .iter()
        .map(|(name, value)| name.as_str().len() + value.as_str().len() + 2)
        .sum();
    if words + variables > ContainerSpec::WORDS {
        return Err(Refusal::unusable(
            "command",
            "Command and environment have at most 49152 bytes together.",
        ));
    }
    Ok(SessionSpec {
        container: container.clone(),
        command: open.command,
        tty: open.tty,
        size,
        user: open.user,
        workdir: open.workdir,
        env: open.env,
        join: open.join,
        foreign: None,
    })
}

/// Whether this person may type into a session: it is theirs, and it runs where they could run
/// something now.
pub fn may_write(state: &AppState, identity: &Identity, session: &Session) -> bool {
    if identity.is_admin() || !identity.may_change_session(session) {
        return identity.may_change_session(session);
    }
    // Only administrators open one in another engine's container, or beside a process in none.
    let container = state.world.container(&session.container);
    container.is_some_and(|c| namespaces::check_run(state, identity, &c).is_ok())
        && !namespaces::runs_in_the_hosts(session)
}

/// Whether this person may see what happens in a session. Who opened it may, but for one in the
/// host's namespaces or in what is not theirs to look into: such a session was opened as an
/// administrator, and shows the host also to who is none any more.
pub fn may_look(world: &World, identity: &Identity, session: &Session) -> bool {
    if identity.may_look_into_host() || !identity.may_look_into(&session.owner) {
        return identity.may_look_into(&session.owner);
    }
    let container = world.any_container(&session.container);
    container.is_some_and(|container| identity.may_look_into_container(&container))
        && !namespaces::runs_in_the_hosts(session)
}

/// Whether what a process does may be seen, as far as its session says that: the owner of a
/// container sees what runs in it, but for what an administrator runs beside it in the host's
/// namespaces.
pub fn may_look_at_process(world: &World, identity: &Identity, process: &Process) -> bool {
    let inside = |id| {
        let session = world.session(id);
        session.is_some_and(|session| !namespaces::runs_in_the_hosts(&session))
    };
    identity.may_look_into_host() || process.session.as_ref().is_none_or(inside)
}

/// What stands for the command of a session that this person may not look into.
pub fn in_place_of_command(session: &Session) -> &'static str {
    if namespaces::runs_in_the_hosts(session) {
        "an administrator's session in the host's namespaces"
    } else {
        "another person's"
    }
}

/// Ends every process of a session: also what one that has ended left in the background.
pub async fn end(
    state: &AppState,
    identity: &Identity,
    session: &Session,
) -> Result<Arc<Session>, Refusal> {
    let id = session.id.as_str();
    let ended = async {
        Ok(Arc::new(
            state.keeper.end_session(session.id.clone()).await?,
        ))
    };
    audited(state, identity, Act::SessionEnd, id, json!({}), ended).await
}

/// The sessions of somebody, live and ended.
pub(super) fn owned(state: &AppState, owner: &Owner) -> Vec<Arc<Session>> {
    let mut sessions = state.world.sessions();
    sessions.retain(|session| session.owner == *owner);
    sessions
}

/// Ends all sessions of somebody, forgets them and deletes what they wrote.
pub(super) async fn end_all(state: &AppState, owner: &Owner) -> Result<(), Refusal> {
    for session in owned(state, owner) {
        let id = &session.id;
        let gone = async {
            // Also what an ended one has left in the background.
            state.keeper.end_session(id.clone()).await?;
            state.keeper.forget_session(id.clone()).await
        };
        match gone.await {
            Ok(()) => {}
            // It went with its container meanwhile.
            Err(KeeperError::Failed(failure)) if failure.code == FailureCode::SessionNotFound => {}
            Err(error) => return Err(error.into()),
        }
        state.world.forget_session(id);
        let target = Target::Session(id.clone());
        state.hubs.forget(state, target).await;
    }
    Ok(())
}
