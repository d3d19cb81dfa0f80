//! What of a page is rendered anew when something has changed.
//!
//! The stream (`GET /events?at=…`), its pace and its bounds are the server's; what is sent is
//! decided here. One [`Follower`] belongs to one open stream and knows what its page shows.

use serde::Deserialize;

use super::view::live::Region;
use crate::AppState;
use crate::access::Identity;
use crate::world::Change;

/// What a page follows: the query of `/events`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// The page's own path and query below the base path, `/containers?q=web`: filters hold for
    /// what is pushed.
    pub at: String,
}

/// One open page: what it follows and what it shows.
#[derive(Debug, Default)]
pub struct Follower {
    subject: Subject,
    shown: Option<Region>,
}

impl Follower {
    /// A page that has just connected.
    pub fn new(subject: Subject) -> Self {
        Self {
            subject,
            shown: None,
        }
    }

    /// What to send when these changes have happened: HTML for one event without a name, whose
    /// pieces say themselves where they belong. `changes` is `None` for a page that has just
    /// connected or fell behind. `None` is answered where nothing that the page shows has changed.
    ///
    /// Called at most every 100 ms for each open page, with all changes since the last call.
    pub fn render(
        &mut self,
        _state: &AppState,
        _identity: &Identity,
        _changes: Option<&[Change]>,
    ) -> Option<String> {
        let _ = (&self.subject, &self.shown);
        None
    }
}
