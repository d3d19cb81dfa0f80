//! Containers.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use porthole_protocol::container::{
    Change, ContainerName, ContainerSpec, Limits, RestartPolicy, Signal,
};
use porthole_protocol::session::Target;
use porthole_protocol::trace::Trace;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::body::{Asked, Sent, SentOr};
use super::list::{Listed, Page};
use super::{foreign, view};
use crate::access::{Identity, TheAnyContainer, TheContainer};
use crate::actions::containers;
use crate::actions::foreign::{self as actions, Deed};
use crate::world::AnyContainer;
use crate::{AppState, Refusal};

const LISTED: Listed = Listed {
    fields: &[
        "id",
        "name",
        "engine",
        "own",
        "owner",
        "state",
        "pid",
        "exit_code",
        "created_at",
        "started_at",
        "finished_at",
        "image",
        "labels",
    ],
    key: "id",
    sort: "-created_at",
};

/// Does it, and shows the container as it is then.
async fn done(
    (state, identity): (AppState, Identity),
    container: &AnyContainer,
    deed: Deed,
) -> Result<Json<Value>, Refusal> {
    let now = actions::act(&state, &identity, container, deed).await?;
    Ok(Json(foreign::any(&now, &identity)?))
}

/// All containers.
pub async fn list(
    State(state): State<AppState>,
    identity: Identity,
    Asked(query): Asked<Vec<(String, String)>>,
) -> Result<Json<Page>, Refusal> {
    let items: Result<Vec<Value>, Refusal> = state
        .world
        .any_containers()
        .iter()
        .map(|container| foreign::any(container, &identity))
        .collect();
    let page = LISTED.page(items?, query)?;
    Ok(Json(page.as_known_to(&state.world)))
}

/// One container.
pub async fn one(
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(foreign::any(&container, &identity)?))
}

/// Makes a container.
pub async fn create(
    State(state): State<AppState>,
    identity: Identity,
    Sent(spec): Sent<ContainerSpec>,
) -> Result<Response, Refusal> {
    let container = containers::create(&state, &identity, spec).await?;
    let location = format!(
        "{}/api/v1/containers/{}",
        state.settings.base_path, container.id
    );
    Ok((
        StatusCode::CREATED,
        [("location", location)],
        Json(view::container(&container, &identity)),
    )
        .into_response())
}

/// How a container is removed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Removal {
    force: bool,
}

/// Removes a container.
pub async fn remove(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
    Asked(Removal { force }): Asked<Removal>,
) -> Result<StatusCode, Refusal> {
    actions::remove(&state, &identity, &container, force).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Nothing is said in the body.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Starts a container.
pub async fn start(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
    SentOr(Nothing {}): SentOr<Nothing>,
) -> Result<Json<Value>, Refusal> {
    done((state, identity), &container, Deed::Start).await
}

/// How long SIGTERM has, in seconds.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Timeout {
    #[serde(deserialize_with = "seconds")]
    timeout: Option<Duration>,
}

fn seconds<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    let Some(seconds) = Option::<f64>::deserialize(input)? else {
        return Ok(None);
    };
    Duration::try_from_secs_f64(seconds)
        .map(Some)
        .map_err(|_| serde::de::Error::custom("a timeout is a number of seconds, 0 or more"))
}

/// Stops a container.
pub async fn stop(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
    SentOr(Timeout { timeout }): SentOr<Timeout>,
) -> Result<Json<Value>, Refusal> {
    done((state, identity), &container, Deed::Stop(timeout)).await
}

/// Stops a container and starts it again.
pub async fn restart(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
    SentOr(Timeout { timeout }): SentOr<Timeout>,
) -> Result<Json<Value>, Refusal> {
    done((state, identity), &container, Deed::Restart(timeout)).await
}

/// A signal by name or number.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kill {
    signal: Signal,
}

impl Default for Kill {
    fn default() -> Self {
        Self {
            signal: Signal::KILL,
        }
    }
}

/// Sends a container's init a signal; SIGKILL where none is named.
pub async fn kill(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
    SentOr(Kill { signal }): SentOr<Kill>,
) -> Result<Json<Value>, Refusal> {
    done((state, identity), &container, Deed::Kill(signal.get())).await
}

/// Freezes a container's processes.
pub async fn pause(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
    SentOr(Nothing {}): SentOr<Nothing>,
) -> Result<Json<Value>, Refusal> {
    done((state, identity), &container, Deed::Pause).await
}

/// Lets them run again.
pub async fn unpause(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
    SentOr(Nothing {}): SentOr<Nothing>,
) -> Result<Json<Value>, Refusal> {
    done((state, identity), &container, Deed::Unpause).await
}

/// Another name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    name: ContainerName,
}

/// Gives a container another name.
pub async fn rename(
    State(state): State<AppState>,
    identity: Identity,
    TheContainer(container): TheContainer,
    Sent(Rename { name }): Sent<Rename>,
) -> Result<Json<Value>, Refusal> {
    let change = Change {
        name: Some(name),
        ..Change::default()
    };
    let now = containers::change(&state, &identity, &container, change).await?;
    Ok(Json(view::value(&view::container(&now, &identity))?))
}

/// Other limits, another restart policy. What is not given stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    restart: Option<RestartPolicy>,
}

/// Changes a container, be it that it runs.
pub async fn change(
    State(state): State<AppState>,
    identity: Identity,
    TheContainer(container): TheContainer,
    Sent(Changed { limits, restart }): Sent<Changed>,
) -> Result<Json<Value>, Refusal> {
    let change = Change {
        name: None,
        limits,
        restart,
    };
    let now = containers::change(&state, &identity, &container, change).await?;
    Ok(Json(view::value(&view::container(&now, &identity))?))
}

/// Waits for a container's end.
pub async fn wait(
    State(state): State<AppState>,
    identity: Identity,
    TheContainer(container): TheContainer,
    SentOr(Nothing {}): SentOr<Nothing>,
) -> Result<Json<Value>, Refusal> {
    let exit = containers::wait(&state, &identity, &container).await?;
    Ok(Json(json!({
        "exit_code": exit.code,
        "exit_kind": exit.kind,
        "oom_killed": exit.oom_killed,
        "reason": exit.reason,
    })))
}

/// The calls that made a container.
pub async fn trace(
    State(state): State<AppState>,
    TheContainer(container): TheContainer,
) -> Result<Json<Trace>, Refusal> {
    let trace = state
        .keeper
        .trace(Target::Init(container.id.clone()))
        .await?;
    Ok(Json(trace))
}
