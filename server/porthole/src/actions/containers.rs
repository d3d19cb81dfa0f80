//! Containers: create, start, stop, kill, restart, wait, remove.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use porthole_protocol::container::{Container, ContainerSpec, ContainerState, Owner};
use porthole_protocol::id::ContainerId;
use porthole_protocol::session::{Exit, Target};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::{audit, ceilings, namespaces};
use crate::access::Identity;
use crate::hubs::create_journal;
use crate::server::ending;
use crate::store::Act;
use crate::world::Change;
use crate::{AppState, Refusal};

/// How long SIGTERM has where no timeout is given.
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
    let most = match identity.is_admin() {
        true => usize::MAX,
        false => ceilings::CONTAINERS,
    };
    let _one_more = state
        .creations
        .begin(identity.name(), most, || owned(state, identity.name()))
        .ok_or_else(|| {
            Refusal::too_many(
                format!(
                    "You have {most} containers, which is the limit. Remove one of them first."
                ),
                5,
            )
        })?;
    let start_it = spec.start;
    let named = spec.name.as_ref().map(ToString::to_string);
    let detail =
        json!({"image": spec.image, "command": spec.command, "namespaces": spec.namespaces});
    let object = named.unwrap_or_default();
    audit(state, identity, Act::ContainerCreate, &object, detail).await?;
    let created = state.keeper.create(spec, identity.name().clone()).await?;
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
    audit(
        state,
        identity,
        Act::ContainerStart,
        container.id.as_str(),
        json!({}),
    )
    .await?;
    start_audited(state, &container.id).await
}

async fn start_audited(state: &AppState, id: &ContainerId) -> Result<Arc<Container>, Refusal> {
    let target = Target::Init(id.clone());
    let files = create_journal(state, &target).await?;
    let kept = files.try_clone().map_err(crate::hubs::journal_failed)?;
    let started = state.keeper.start(id.clone(), files).await?;
    if let Err(refusal) = state.hubs.ensure(state, &target, kept) {
        tracing::warn!(container = %id, why = %refusal, "it runs, its output is not followed yet");
    }
    Ok(Arc::new(started))
}

/// Ends a container's init: SIGTERM, and SIGKILL after the timeout (10 s where none is given).
pub async fn stop(
    state: &AppState,
    identity: &Identity,
    container: &Container,
    timeout: Option<Duration>,
) -> Result<Arc<Container>, Refusal> {
    let timeout = timeout.unwrap_or(STOP_TIMEOUT);
    if timeout > LONGEST_STOP {
        return Err(Refusal::unusable(
            "timeout",
            "A timeout has at most 3600 seconds.",
        ));
    }
    let detail = json!({"timeout": timeout.as_secs_f64()});
    audit(
        state,
        identity,
        Act::ContainerStop,
        container.id.as_str(),
        detail,
    )
    .await?;
    let stopped = state.keeper.stop(container.id.clone(), timeout).await?;
    Ok(Arc::new(stopped))
}

/// Sends a container's init a signal.
pub async fn kill(
    state: &AppState,
    identity: &Identity,
    container: &Container,
    signal: u8,
) -> Result<Arc<Container>, Refusal> {
    let detail = json!({"signal": signal});
    audit(
        state,
        identity,
        Act::ContainerKill,
        container.id.as_str(),
        detail,
    )
    .await?;
    Ok(Arc::new(
        state.keeper.kill(container.id.clone(), signal).await?,
    ))
}

/// Stops it where it runs, and starts it.
pub async fn restart(
    state: &AppState,
    identity: &Identity,
    container: &Container,
    timeout: Option<Duration>,
) -> Result<Arc<Container>, Refusal> {
    // Before it is stopped, too: what may not be started again goes on.
    namespaces::check_run(state, identity, container)?;
    let runs = |c: &Container| matches!(c.state, ContainerState::Running | ContainerState::Paused);
    if runs(container) {
        match stop(state, identity, container, timeout).await {
            // It ended by itself in the meantime.
            Err(refusal) if refusal.code == "wrong_state" => {}
            other => {
                other?;
            }
        }
    }
    start(state, identity, container).await
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
    loop {
        let Some(now) = state.world.container(&container.id) else {
            return Err(Refusal::not_found(
                "container_not_found",
                "The container was removed while it was waited for.",
            ));
        };
        match (now.state, &now.exit) {
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
        loop {
            match changes.recv().await.map(|numbered| numbered.change) {
                Ok(Change::Container(changed) | Change::ContainerGone(changed))
                    if changed.id == container.id =>
                {
                    break;
                }
                Err(RecvError::Lagged(_)) => break,
                Ok(_) => {}
                Err(RecvError::Closed) => return Err(Refusal::internal()),
            }
        }
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
    audit(
        state,
        identity,
        Act::ContainerRemove,
        container.id.as_str(),
        detail,
    )
    .await?;
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
