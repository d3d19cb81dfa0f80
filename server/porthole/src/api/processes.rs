//! Processes, from both sides.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use porthole_protocol::engine::Engine;
use porthole_protocol::id::HostPid;
use porthole_protocol::observation::Process;
use serde_json::Value;

use super::body::Asked;
use super::list::{Listed, Page};
use super::view;
use crate::access::{Identity, TheAnyContainer};
use crate::compare::{Comparison, One};
use crate::pages::view::Scene;
use crate::pages::view::processes::known::Known;
use crate::pages::view::processes::listing::Listing;
use crate::{AppState, Refusal};

const LISTED: Listed = Listed {
    fields: &[
        "host_pid",
        "pid",
        "parent",
        "uid",
        "uid_inside",
        "gid",
        "gid_inside",
        "command",
        "tty",
        "state",
        "started_at",
        "threads",
        "rss",
        "container",
        "session",
    ],
    key: "host_pid",
    sort: "host_pid",
};

type Query = Vec<(String, String)>;

/// `pid` is a filter over every level's PID, which the item shows as `pids`.
fn by_any_pid(query: &mut Query) -> Result<Option<i32>, Refusal> {
    let Some(place) = query.iter().position(|(name, _)| name == "pid") else {
        return Ok(None);
    };
    let (_, value) = query.remove(place);
    let pid = value
        .parse()
        .map_err(|_| Refusal::unusable("pid", "A PID is a number."))?;
    Ok(Some(pid))
}

/// Takes a parameter out of the query; empty where it is not there.
fn take(query: &mut Query, name: &str) -> String {
    let place = query.iter().position(|(known, _)| known == name);
    place.map_or_else(String::new, |place| query.remove(place).1)
}

fn page(
    state: &AppState,
    reader: &Identity,
    processes: &[Arc<Process>],
    mut query: Query,
) -> Result<Page, Refusal> {
    let pid = by_any_pid(&mut query)?;
    // Searched for as the page does: an item shows neither its engine nor every PID as one word.
    let wanted = Listing {
        q: take(&mut query, "q"),
        engine: take(&mut query, "engine"),
        ..Listing::default()
    };
    let engines = Engine::ALL.map(Engine::name);
    if !wanted.engine.is_empty() && !engines.contains(&wanted.engine.as_str()) {
        let why = format!("There is no such engine; they are {}.", engines.join(", "));
        return Err(Refusal::unusable("engine", why));
    }
    let base = &state.settings.base_path;
    let known = Known::new(&state.world, Scene { base, who: reader });
    let search = wanted.search(&known);
    let items: Result<Vec<Value>, Refusal> = processes
        .iter()
        .filter(|process| pid.is_none_or(|pid| process.pids.contains(&pid)))
        .filter(|process| search.holds(process, &known))
        .map(|process| view::value(&view::process(state, process, reader, false)))
        .collect();
    LISTED.page(items?, query)
}

/// All processes of the host, `?q=&host_pid=&pid=&container=&engine=`.
pub async fn list(
    State(state): State<AppState>,
    identity: Identity,
    Asked(mut query): Asked<Query>,
) -> Result<Json<Page>, Refusal> {
    // A container is named by any reference, not only by its id.
    for (name, value) in &mut query {
        if name == "container" && !value.is_empty() {
            *value = state.world.find_any(value)?.id().to_string();
        }
    }
    let processes = state.world.processes();
    Ok(Json(page(&state, &identity, &processes, query)?))
}

/// The processes of one container.
pub async fn of_container(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
    Asked(query): Asked<Query>,
) -> Result<Json<Page>, Refusal> {
    let processes = state.world.processes_of(container.id());
    Ok(Json(page(&state, &identity, &processes, query)?))
}

/// One process, with its eight namespaces.
pub async fn one(
    State(state): State<AppState>,
    identity: Identity,
    Path(pid): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let found = pid
        .parse()
        .ok()
        .and_then(|pid| state.world.process(HostPid(pid)));
    let process = found.ok_or_else(|| {
        Refusal::not_found(
            "process_not_found",
            "There is no such process on the host now.",
        )
    })?;
    Ok(Json(view::value(&view::process(
        &state, &process, &identity, true,
    ))?))
}

/// Which two are compared.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Two {
    a: String,
    b: String,
}

/// What two processes or containers have in common and what not, `?a=&b=`: PIDs on the host, or
/// containers as they are named everywhere.
pub async fn compare(
    State(state): State<AppState>,
    identity: Identity,
    Asked(two): Asked<Two>,
) -> Result<Json<Value>, Refusal> {
    let find = |field: &'static str, reference: &str| {
        if reference.is_empty() {
            let why = "Name two: PIDs on the host, or containers.";
            return Err(Refusal::unusable(field, why));
        }
        One::find(&state.world, reference).map_err(|refusal| refusal.field(field))
    };
    let (a, b) = (find("a", &two.a)?, find("b", &two.b)?);
    let mut comparison = Comparison::of(&a, &b);
    let inside = Comparison::inside(&state, &identity, &a, &b).await;
    comparison.lines.extend(inside.lines);
    comparison.notes.extend(inside.notes);
    Ok(Json(view::value(&comparison)?))
}
