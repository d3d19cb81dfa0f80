//! Sessions.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use porthole_protocol::id::HostPid;
use porthole_protocol::session::{Session, Target};
use porthole_protocol::trace::Trace;
use serde::Deserialize;
use serde_json::Value;

use super::body::{Asked, SentOr};
use super::list::{Listed, Page};
use super::view;
use crate::access::{Identity, TheAnyContainer, TheSession};
use crate::actions::sessions::{self, OpenSession};
use crate::{AppState, Refusal};

const LISTED: Listed = Listed {
    fields: &[
        "id",
        "container",
        "owner",
        "tty",
        "state",
        "exit_code",
        "host_pid",
        "container_pid",
        "started_at",
        "ended_at",
    ],
    key: "id",
    sort: "-started_at",
};

/// All sessions.
pub async fn list(
    State(state): State<AppState>,
    identity: Identity,
    Asked(mut query): Asked<Vec<(String, String)>>,
) -> Result<Json<Page>, Refusal> {
    // A container is named by any reference, not only by its id.
    for (name, value) in &mut query {
        if name == "container" {
            *value = state.world.find_any(value)?.id().to_string();
        }
    }
    let items: Result<Vec<Value>, Refusal> = state
        .world
        .sessions()
        .iter()
        .map(|session| view::value(&view::session(&state, session, &identity)))
        .collect();
    let page = LISTED.page(items?, query)?;
    Ok(Json(page.as_known_to(&state.world)))
}

/// Opens a session in a container.
pub async fn open(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
    SentOr(open): SentOr<OpenSession>,
) -> Result<Response, Refusal> {
    let session = sessions::open(&state, &identity, &container, open).await?;
    Ok(opened(&state, &session, &identity))
}

/// Which process is meant, for good: its number alone will be another's one day.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Meant {
    start_ticks: Option<u64>,
}

/// Opens a session in the namespaces of a process.
pub async fn open_at(
    State(state): State<AppState>,
    identity: Identity,
    Path(pid): Path<String>,
    Asked(Meant { start_ticks }): Asked<Meant>,
    SentOr(open): SentOr<OpenSession>,
) -> Result<Response, Refusal> {
    let process = pid
        .parse()
        .ok()
        .and_then(|pid| state.world.process(HostPid(pid)))
        .filter(|process| start_ticks.is_none_or(|ticks| ticks == process.start_ticks))
        .ok_or_else(|| {
            Refusal::not_found(
                "process_not_found",
                "This process has ended: there is nothing left to join.",
            )
        })?;
    let session = sessions::open_at(&state, &identity, &process, open).await?;
    Ok(opened(&state, &session, &identity))
}

fn opened(state: &AppState, session: &Session, identity: &Identity) -> Response {
    let location = format!(
        "{}/api/v1/sessions/{}",
        state.settings.base_path, session.id
    );
    (
        StatusCode::CREATED,
        [("location", location)],
        Json(view::session(state, session, identity)),
    )
        .into_response()
}

/// One session.
pub async fn one(
    State(state): State<AppState>,
    identity: Identity,
    TheSession(session): TheSession,
) -> Response {
    Json(view::session(&state, &session, &identity)).into_response()
}

/// Ends a session.
pub async fn end(
    State(state): State<AppState>,
    identity: Identity,
    TheSession(session): TheSession,
) -> Result<StatusCode, Refusal> {
    sessions::end(&state, &identity, &session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The calls that made a session.
pub async fn trace(
    State(state): State<AppState>,
    TheSession(session): TheSession,
) -> Result<Json<Trace>, Refusal> {
    let trace = state
        .keeper
        .trace(Target::Session(session.id.clone()))
        .await?;
    Ok(Json(trace))
}
