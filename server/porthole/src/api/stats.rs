//! What a container uses, once or as it changes.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use porthole_protocol::container::Timestamp;
use porthole_protocol::id::ContainerId;
use serde::Serialize;

use crate::access::{Identity, TheAnyContainer};
use crate::server::sse;
use crate::world::AnyContainer;
use crate::world::usage::Sample;
use crate::{AppState, Refusal, usage};

/// How often somebody who follows is told.
const PACE: Duration = Duration::from_secs(1);

/// What a container uses. What this machine does not count is `null`.
#[derive(Debug, Serialize)]
pub struct StatsView<'a> {
    id: &'a ContainerId,
    at: Timestamp,
    cpu: Option<CpuView>,
    memory: Option<MemoryView>,
    pids: Option<PidsView>,
}

#[derive(Debug, Serialize)]
struct CpuView {
    usage_ns: u64,
    /// Of one core.
    percent: Option<f64>,
    throttled_ns: Option<u64>,
    limit_cpus: Option<f64>,
}

#[derive(Debug, Serialize)]
struct MemoryView {
    used: u64,
    cache: u64,
    peak: Option<u64>,
    limit: Option<u64>,
    oom_kills: u64,
}

#[derive(Debug, Serialize)]
struct PidsView {
    count: u64,
    limit: Option<u64>,
}

fn stats<'a>(id: &'a ContainerId, before: &Sample, now: &Sample) -> StatsView<'a> {
    StatsView {
        id,
        at: Timestamp::from_system(SystemTime::now()),
        cpu: now.processor.map(|used| CpuView {
            usage_ns: used.used_ns,
            percent: now.percent_since(before),
            throttled_ns: used.throttled_ns,
            limit_cpus: used.cores,
        }),
        memory: now.memory.map(|used| MemoryView {
            used: used.used,
            cache: used.cache,
            peak: used.peak,
            limit: used.limit,
            oom_kills: used.oom_kills,
        }),
        pids: now.pids.map(|used| PidsView {
            count: used.now,
            limit: used.limit,
        }),
    }
}

fn not_counted(container: &AnyContainer) -> Refusal {
    if container.pid().is_none() {
        return Refusal::conflict(
            "wrong_state",
            "The container does not run: it uses nothing. Start it first.",
        );
    }
    Refusal::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "unsupported",
        "What this container uses is not counted: it has no control group of its own.",
    )
}

/// `GET /api/v1/containers/{container}/stats`: once, or, where events are accepted, every second
/// until it ends.
pub async fn of_container(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    let (before, now) = usage::measure(&container)
        .await
        .ok_or_else(|| not_counted(&container))?;
    if !accept.is_some_and(|accept| accept.contains("text/event-stream")) {
        return Ok(Json(stats(container.id(), &before, &now)).into_response());
    }
    let id = container.id().clone();
    let world = state.clone();
    let events = unfold((id, before, Some(now)), move |(id, before, now)| {
        let state = world.clone();
        async move {
            let now = match now {
                Some(first) => first,
                None => {
                    tokio::time::sleep(PACE).await;
                    // It may have been started anew meanwhile.
                    usage::look_at(&state.world.any_container(&id)?).await?
                }
            };
            let data = serde_json::to_string(&stats(&id, &before, &now)).ok()?;
            Some((sse::event(Some("stats"), None, &data), (id, now, None)))
        }
    });
    Ok(sse::response(&state, &identity, events))
}
