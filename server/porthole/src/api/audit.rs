//! The audit trail: read, exported, verified.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use porthole_protocol::container::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Asked;
use crate::access::Identity;
use crate::store::audit::search::{Found, Wanted};
use crate::{AppState, Refusal};

/// Entries of one page where nothing else is asked for.
const LIMIT: u32 = 100;
/// The most entries of one page, and of one piece of an export.
const MOST: u32 = 1000;

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    account: String,
    act: String,
    object: String,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    limit: Option<u32>,
    after: Option<i64>,
}

fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

impl Query {
    fn wanted(&self) -> Wanted {
        Wanted {
            account: self.account.clone(),
            act: self.act.clone(),
            object: self.object.clone(),
            since: self.since.map(millis),
            until: self.until.map(millis),
            ..Wanted::default()
        }
    }
}

fn told(found: Found) -> Value {
    let mut value = json!(found.record);
    if let Some(ended) = found.ended {
        value["result"] = json!(ended.result);
        value["why"] = json!(ended.why);
        value["made"] = json!(ended.made);
    }
    value
}

/// Entries, the newest first, each with its outcome.
pub async fn list(
    State(state): State<AppState>,
    Asked(query): Asked<Query>,
) -> Result<Json<Value>, Refusal> {
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(Refusal::unusable(
            "limit",
            format!("A limit is a number between 1 and {MOST}."),
        ));
    }
    let wanted = Wanted {
        before: query.after,
        ..query.wanted()
    };
    let found = state.store.audit_entries(&wanted, limit).await?;
    let more = u32::try_from(found.len()).is_ok_and(|n| n == limit);
    let next = found
        .last()
        .filter(|_| more)
        .map(|f| f.record.number.to_string());
    let items: Vec<_> = found.into_iter().map(told).collect();
    Ok(Json(json!({"items": items, "next": next})))
}

/// Everything that is looked for as lines of JSON, the oldest first, as it is in the chain. Ends with
/// the rights to it: a client that reads slowly reads for long.
pub async fn export(
    State(state): State<AppState>,
    identity: Identity,
    Asked(query): Asked<Query>,
) -> Result<Response, Refusal> {
    let first = Wanted {
        outcomes: true,
        after: Some(query.after.unwrap_or(0)),
        ..query.wanted()
    };
    let pieces = stream::unfold(Some(first), move |wanted| {
        let (state, identity) = (state.clone(), identity.clone());
        async move {
            let mut wanted = wanted?;
            if !state.store.still(&identity).unwrap_or(false) {
                let why = "the rights to the audit trail have ended";
                return Some((Err(std::io::Error::other(why)), None));
            }
            let found = match state.store.audit_entries(&wanted, MOST).await {
                Ok(found) if found.is_empty() => return None,
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(%error, "exporting the audit trail");
                    return Some((Err(std::io::Error::other("the database")), None));
                }
            };
            let mut lines = Vec::new();
            for Found { record, .. } in &found {
                // Writing into memory does not fail.
                let _ = serde_json::to_writer(&mut lines, record);
                lines.push(b'\n');
            }
            wanted.after = found.last().map(|f| f.record.number);
            Some((Ok(Bytes::from(lines)), Some(wanted)))
        }
    });
    // Compressing asks once more behind the end.
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/jsonl"),
        ),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"porthole-audit.jsonl\""),
        ),
    ];
    Ok((headers, Body::from_stream(pieces.fuse())).into_response())
}

/// Whether the trail holds together.
pub async fn verify(State(state): State<AppState>) -> Result<Json<Value>, Refusal> {
    Ok(Json(match state.store.audit_verify().await? {
        Ok(verified) => json!({"holds": true, "trail": verified}),
        Err(broken) => json!({"holds": false, "entry": broken.number, "why": broken.to_string()}),
    }))
}
