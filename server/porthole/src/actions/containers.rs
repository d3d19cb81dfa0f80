//! Containers: create, start, stop, kill, restart, pause, change, wait, remove.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use porthole_journal::Files;
use porthole_protocol::container::{Change, Container, ContainerSpec, ContainerState, Owner};
use porthole_protocol::id::ContainerId;
use porthole_protocol::session::{Exit, Target};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::{audit, audited, ceilings, limits, namespaces};
use crate::access::Identity;
use crate::hubs::create_journal;
use crate::server::ending;
use crate::store::Act;
use crate::world::Change as Told;
use crate::{AppState, Refusal};

/// How long a container has to end by itself where nothing else is said.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest timeout that can be asked for.
pub const LONGEST_STOP: Duration = Duration::from_secs(3600);
/// How long one request waits for a container's end.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Makes a container and, where its spec says so, starts it. A failed start keeps the container,
/// in state `created`, with its `error`.
pub async fn create(
    state: &AppState,
    identity: &Identity,
    mut spec: ContainerSpec,
) -> Result<Arc<Container>, Refusal> {
    spec.check()
        .map_err(|(field, why)| Refusal::unusable(field, why.to_string()))?;
    ceilings::check(identity, &spec.limits)?;
    namespaces::check_new(state, identity, &mut spec)?;
    let one_more = limits::container(state, identity, &spec.limits)?;
    let start_it = spec.start;
    let named = spec.name.as_ref().map(ToString::to_string);
    let detail = json!({"image": spec.image, "command": spec.command, "namespaces": spec.namespaces, "network": spec.network, "publish": spec.publish});
    let object = named.unwrap_or_default();
    let asked = audit(state, identity, Act::ContainerCreate, &object, detail).await?;
    let created = state.keeper.create(spec, identity.name().clone()).await;
    let created = created.map_err(Refusal::from);
    match &created {
        Ok(made) => {
            one_more.is_called(&made.id);
            asked.of(&made.id).ended(&created);
        }
        Err(_) => asked.ended(&created),
    }
    let created = created?;
    if !start_it {
        return Ok(Arc::new(created));
    }
    match start_audited(state, &created.id).await {
        Ok(container) => Ok(container),
        Err(refusal) => {
            // It exists, and its page says why it does not run.
            let mut container = state
                .world
                .container(&created.id)
                .map_or(created, |container| Container::clone(&container));
            container.error.get_or_insert(refusal.message);
            Ok(Arc::new(container))
        }
    }
}

/// How many containers somebody has.
pub(super) fn owned(state: &AppState, owner: &Owner) -> usize {
    let containers = state.world.containers();
    containers.iter().filter(|c| c.owner == *owner).count()
}

/// Starts a container.
pub async fn start(
    state: &AppState,
    identity: &Identity,
    container: &Container,
) -> Result<Arc<Container>, Refusal> {
    namespaces::check_run(state, identity, container)?;
    let id = container.id.as_str();
    let started = start_audited(state, &container.id);
    audited(state, identity, Act::ContainerStart, id, json!({}), started).await
}

async fn start_audited(state: &AppState, id: &ContainerId) -> Result<Arc<Container>, Refusal> {
    let target = Target::Init(id.clone());
    let files = create_journal(state, &target).await?;
    let kept = files.try_clone().map_err(crate::hubs::journal_failed)?;
    let started = state.keeper.start(id.clone(), files).await?;
    follow(state, &target, kept);
    Ok(Arc::new(started))
}

/// How long a container has to end by itself: as asked for, else as it was made with, else 10 s.
fn stop_timeout(container: &Container, asked: Option<Duration>) -> Result<Duration, Refusal> {
    let made = container.spec.stop_timeout;
    let made = made.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let timeout = asked.or(made).unwrap_or(STOP_TIMEOUT);
    if timeout > LONGEST_STOP {
        return Err(Refusal::unusable(
            "timeout",
            "A timeout has at most 3600 seconds.",
        ));
    }
    Ok(timeout)
}

/// Ends a container's init: its stop signal, and SIGKILL after the timeout.
pub async fn stop(
    state: &AppState,
    identity: &Identity,
    container: &Container,
    timeout: Option<Duration>,
) -> Result<Arc<Container>, Refusal> {
    let timeout = stop_timeout(container, timeout)?;
    let detail = json!({"timeout": timeout.as_secs_f64()});
    let id = container.id.as_str();
    let stopped = async {
        Ok(Arc::new(
            state.keeper.stop(container.id.clone(), timeout).await?,
        ))
    };
    audited(state, identity, Act::ContainerStop, id, detail, stopped).await
}

/// Freezes a container's processes.
pub async fn pause(
    state: &AppState,
    identity: &Identity,
    container: &Container,
) -> Result<Arc<Container>, Refusal> {
    let id = container.id.as_str();
    let paused = async { Ok(Arc::new(state.keeper.pause(container.id.clone()).await?)) };
    audited(state, identity, Act::ContainerPause, id, json!({}), paused).await
}

/// Lets them go on.
pub async fn unpause(
    state: &AppState,
    identity: &Identity,
    container: &Container,
) -> Result<Arc<Container>, Refusal> {
    let id = container.id.as_str();
    let goes_on = async { Ok(Arc::new(state.keeper.unpause(container.id.clone()).await?)) };
    audited(
        state,
        identity,
        Act::ContainerUnpause,
        id,
        json!({}),
        goes_on,
    )
    .await
}

/// Gives a container another name, other limits or another restart policy. Of several who do so at
/// once each waits for the one before, so that the last one's is what is so in the end.
pub async fn change(
    state: &AppState,
    identity: &Identity,
    container: &Container,
    change: Change,
) -> Result<Arc<Container>, Refusal> {
    change
        .limits
        .check()
        .map_err(|(field, why)| Refusal::unusable(field, why.to_string()))?;
    ceilings::check(identity, &change.limits)?;
    let given = change.limits;
    let _turn = state.making.turn(&container.id).await;
    // As whoever had the turn before has left it.
    let now = state.world.container(&container.id);
    let container = now.as_deref().unwrap_or(container);
    let _more = limits::change(state, container, &given)?;
    let mut detail = json!({"name": change.name, "restart": change.restart, "limits": given});
    detail["was"] = json!({
        "name": container.name, "restart": container.spec.restart, "limits": container.spec.limits,
    });
    let id = container.id.as_str();
    let changed = async {
        Ok(Arc::new(
            state.keeper.change(container.id.clone(), change).await?,
        ))
    };
    audited(state, identity, Act::ContainerChange, id, detail, changed).await
}

/// Sends a container's init a signal.
pub async fn kill(
    state: &AppState,
    identity: &Identity,
    container: &Container,
    signal: u8,
) -> Result<Arc<Container>, Refusal> {
    let detail = json!({"signal": signal});
    let id = container.id.as_str();
    let killed = async {
        Ok(Arc::new(
            state.keeper.kill(container.id.clone(), signal).await?,
        ))
    };
    audited(state, identity, Act::ContainerKill, id, detail, killed).await
}

/// Stops it where it runs, and starts it.
pub async fn restart(
    state: &AppState,
    identity: &Identity,
    container: &Container,
    timeout: Option<Duration>,
) -> Result<Arc<Container>, Refusal> {
    let timeout = stop_timeout(container, timeout)?;
    namespaces::check_run(state, identity, container)?;
    let detail = json!({"timeout": timeout.as_secs_f64()});
    let id = container.id.as_str();
    let restarted = async {
        let target = Target::Init(container.id.clone());
        let files = create_journal(state, &target).await?;
        let kept = files.try_clone().map_err(crate::hubs::journal_failed)?;
        let started = state
            .keeper
            .restart(container.id.clone(), timeout, files)
            .await?;
        follow(state, &target, kept);
        Ok(Arc::new(started))
    };
    audited(
        state,
        identity,
        Act::ContainerRestart,
        id,
        detail,
        restarted,
    )
    .await
}

/// What it writes is read from now on.
fn follow(state: &AppState, target: &Target, files: Files) {
    if let Err(refusal) = state.hubs.ensure(state, target, files) {
        tracing::warn!(?target, why = %refusal, "it runs, its output is not followed yet");
    }
}

/// Waits until a container that runs has ended: as long as who asks may know, the server runs, and
/// not longer than [`LONGEST_WAIT`].
pub async fn wait(
    state: &AppState,
    identity: &Identity,
    container: &Container,
) -> Result<Exit, Refusal> {
    tokio::select! {
        // Rights first: nothing is told any more once they are gone.
        biased;
        () = state.access.standing.lost(&state.store, identity) => Err(Refusal::forbidden(
            "You were signed out, or your role has changed, while it was waited for.",
        )),
        () = ending(state) => Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "restarting",
            "Porthole is restarting; the container goes on. Ask again in a moment.",
        )),
        exit = ended(state, container) => exit,
        () = tokio::time::sleep(LONGEST_WAIT) => Err(Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            "still_running",
            "It still runs after an hour. Ask again.",
        )),
    }
}

async fn ended(state: &AppState, container: &Container) -> Result<Exit, Refusal> {
    let (_, mut changes) = state.world.changes().subscribe();
    let mut now = state.world.container(&container.id);
    loop {
        let Some(seen) = now else {
            return Err(Refusal::not_found(
                "container_not_found",
                "The container was removed while it was waited for.",
            ));
        };
        match (seen.state, &seen.exit) {
            (ContainerState::Running | ContainerState::Paused, _) => {}
            (_, Some(exit)) => return Ok(exit.clone()),
            (_, None) => {
                return Err(Refusal::new(
                    StatusCode::CONFLICT,
                    "wrong_state",
                    "The container has not run yet. Start it first.",
                ));
            }
        }
        now = loop {
            match changes.recv().await.map(|numbered| numbered.change) {
                // As it was then: one that is removed when it ends is not there any more.
                Ok(Told::Container(changed)) if changed.id == container.id => {
                    break Some(changed);
                }
                Ok(Told::ContainerGone(gone)) if gone.id == container.id => break None,
                Err(RecvError::Lagged(_)) => break state.world.container(&container.id),
                Ok(_) => {}
                Err(RecvError::Closed) => return Err(Refusal::internal()),
            }
        };
    }
}

/// Removes a container with everything of it; `force` kills it first where it runs.
pub async fn remove(
    state: &AppState,
    identity: &Identity,
    container: &Container,
    force: bool,
) -> Result<(), Refusal> {
    let detail = json!({"name": container.name, "force": force});
    let id = container.id.as_str();
    let removed = remove_audited(state, container, force);
    audited(state, identity, Act::ContainerRemove, id, detail, removed).await
}

async fn remove_audited(
    state: &AppState,
    container: &Container,
    force: bool,
) -> Result<(), Refusal> {
    let sessions = state.world.sessions_of(&container.id);
    state.keeper.remove(container.id.clone(), force).await?;
    state.world.forget_container(&container.id);
    // Its output goes with it, and is gone when this is answered.
    let target = Target::Init(container.id.clone());
    state.hubs.forget(state, target).await;
    for session in sessions {
        let target = Target::Session(session.id.clone());
        state.hubs.forget(state, target).await;
    }
    Ok(())
}
