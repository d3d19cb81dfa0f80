//! What of a page is rendered anew when something has changed.
//!
//! The stream (`GET /events?…`), its pace and its bounds are the server's; what is sent is decided
//! here.

use serde::Deserialize;

use crate::AppState;
use crate::access::Identity;
use crate::world::Change;

/// What a page follows: the query of `/events`, e.g. `?page=containers&q=web`. The page's own
/// query is repeated in it, so that filters hold for what is pushed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// Which page.
    pub page: String,
}

/// A piece of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    /// The event's name, which htmx's `sse-swap` waits for.
    pub event: String,
    /// The HTML.
    pub html: String,
}

/// What to send to a page when these changes have happened: at most one piece for each place of
/// the page. `None`: everything that is live, because the page has just connected or fell behind.
/// Changes that do not concern the page give an empty list.
///
/// Called at most every 100 ms for each open page, with all changes since the last call.
pub fn render(
    _state: &AppState,
    _identity: &Identity,
    _subject: &Subject,
    _changes: Option<&[Change]>,
) -> Vec<Partial> {
    Vec::new()
}
