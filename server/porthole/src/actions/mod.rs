//! What can be done, for pages and API alike. Whoever calls has checked the permission on the very
//! object that is passed (a route's [`Permission`](crate::access::Permission) does); what depends
//! on the request's content, such as host namespaces being for administrators, is checked here.
//!
//! What is to be done is in the audit trail, on disk, before it is done.

pub mod accounts;
pub mod ceilings;
pub mod containers;
pub mod foreign;
mod namespaces;
pub mod sessions;

use serde_json::Value;

use crate::access::Identity;
use crate::store::Act;
use crate::{AppState, Refusal};

/// Writes down what is about to be done. Without it nothing is done.
async fn audit(
    state: &AppState,
    identity: &Identity,
    act: Act,
    object: &str,
    detail: Value,
) -> Result<(), Refusal> {
    let account = identity.name().to_string();
    tracing::info!(account, act = act.name(), object, "asked for");
    state
        .store
        .audit(account, act, object.to_owned(), detail.to_string())
        .await?;
    Ok(())
}
