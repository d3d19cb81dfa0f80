//! Containers and images.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use porthole_protocol::container::ContainerSpec;
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
    #[serde(deserialize_with = "signal")]
    signal: u8,
}

impl Default for Kill {
    fn default() -> Self {
        Self { signal: 9 }
    }
}

/// Names of signals on Linux by number, signal(7).
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The signal that this text names: `SIGHUP`, `hup`, `1`.
pub fn parse_signal(text: &str) -> Option<u8> {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let place = SIGNALS.iter().position(|known| *known == name)?;
    u8::try_from(place + 1).ok()
}

fn signal<'de, D: Deserializer<'de>>(input: D) -> Result<u8, D::Error> {
    let text = match Value::deserialize(input)? {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text,
        _ => String::new(),
    };
    parse_signal(&text).ok_or_else(|| {
        serde::de::Error::custom("a signal is a name such as \"SIGHUP\" or a number from 1 to 64")
    })
}

/// Sends a container's init a signal; SIGKILL where none is named.
pub async fn kill(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
    SentOr(Kill { signal }): SentOr<Kill>,
) -> Result<Json<Value>, Refusal> {
    done((state, identity), &container, Deed::Kill(signal)).await
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

/// All images.
pub async fn images(
    State(state): State<AppState>,
    Asked(query): Asked<Vec<(String, String)>>,
) -> Result<Json<Page>, Refusal> {
    const LISTED: Listed = Listed {
        fields: &["name", "description", "unavailable"],
        key: "name",
        sort: "name",
    };
    let items: Result<Vec<Value>, Refusal> = state
        .world
        .images()
        .iter()
        .map(|image| view::value(&**image))
        .collect();
    Ok(Json(LISTED.page(items?, query)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_or_a_number() {
        for (text, number) in [
            ("SIGHUP", Some(1)),
            ("hup", Some(1)),
            ("SIGKILL", Some(9)),
            ("TERM", Some(15)),
            ("SIGSYS", Some(31)),
            ("64", Some(64)),
            ("0", None),
            ("65", None),
            ("SIGFOO", None),
            ("", None),
            ("-9", None),
        ] {
            assert_eq!(parse_signal(text), number, "{text}");
        }
    }
}
