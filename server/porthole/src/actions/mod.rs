//! What can be done, for pages and API alike. Whoever calls has checked the permission on the very
//! object that is passed (a route's [`Permission`](crate::access::Permission) does); what depends
//! on the request's content, such as host namespaces being for administrators, is checked here.
//!
//! What is to be done is in the audit trail, on disk, before it is done; how it ended, after it.

pub mod accounts;
pub mod ceilings;
pub mod containers;
pub mod foreign;
pub mod images;
pub mod limits;
mod namespaces;
pub mod sessions;

use std::future::Future;

use serde_json::{Value, json};

use crate::access::Identity;
use crate::store::{Act, Actor, Note, Outcome};
use crate::{AppState, Refusal};

/// What was asked for and is in the audit trail; how it ended belongs behind it, also where nobody
/// waits for that any more.
struct Asked {
    state: AppState,
    number: i64,
    by: Actor,
    act: Act,
    object: String,
    ended: bool,
}

/// What is written down where a client has hung up before its answer.
const HUNG_UP: &str =
    "Whoever asked for it hung up before it was answered; how it ended is not known.";

/// Writes down what is about to be done. Without it nothing is done.
async fn audit(
    state: &AppState,
    identity: &Identity,
    act: Act,
    object: &str,
    detail: Value,
) -> Result<Asked, Refusal> {
    let by = Actor::from(identity);
    let note = Note::asked(&by, act, object).with(detail);
    let record = state.store.record(note).await?;
    Ok(Asked {
        state: state.clone(),
        number: record.number,
        by,
        act,
        object: object.to_owned(),
        ended: false,
    })
}

/// Writes down what is about to be done, does it, and writes down how it ended.
async fn audited<T>(
    state: &AppState,
    identity: &Identity,
    act: Act,
    object: &str,
    detail: Value,
    doing: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let asked = audit(state, identity, act, object, detail).await?;
    let result = doing.await;
    asked.ended(&result);
    result
}

impl Asked {
    /// The same, of something that has come to be called so.
    fn of(mut self, object: impl ToString) -> Self {
        self.object = object.to_string();
        self
    }

    /// Writes down how it ended. Nobody waits for that: what was asked for is on disk already.
    fn ended<T>(mut self, result: &Result<T, Refusal>) {
        let failed = |refusal: &Refusal| {
            refusal.status.is_server_error() || refusal.code == Refusal::INCOMPLETE
        };
        let (outcome, detail) = match result {
            Ok(_) => (Outcome::Done, json!({})),
            Err(refusal) if failed(refusal) => (Outcome::Failed, json!({"why": refusal.message})),
            Err(refusal) => (Outcome::Refused, json!({"why": refusal.message})),
        };
        self.write_down(outcome, detail);
    }

    fn write_down(&mut self, outcome: Outcome, detail: Value) {
        self.ended = true;
        let note = Note {
            by: std::mem::take(&mut self.by),
            act: self.act,
            object: std::mem::take(&mut self.object),
            outcome,
            of: self.number,
            detail,
        };
        let store = self.state.store.clone();
        // Outside of a runtime nothing is on its way any more.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = store.record(note).await {
                tracing::error!(%error, "the audit trail");
            }
        });
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.ended {
            self.write_down(Outcome::Failed, json!({"why": HUNG_UP}));
        }
    }
}
