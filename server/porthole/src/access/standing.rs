//! Open sockets end when the rights that opened them do.
//!
//! The database counts what was taken away from anybody (logins, roles, passwords, tokens,
//! accounts). This server's own changes are told at once; another process's, such as
//! `porthole admin`, are seen by looking twice a second.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::identity::{Account, Identity, Via};
use crate::store::{Store, StoreError};

/// How often the count is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often an open socket checks anyway: logins also end by time.
const ANYWAY: Duration = Duration::from_secs(60);

/// Tells that somebody has lost something.
#[derive(Debug)]
pub struct Standing(watch::Sender<i64>);

impl Default for Standing {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Standing {
    /// Looks whether anybody has lost anything, and tells. Called after every change here.
    pub fn look(&self, store: &Store) {
        match store.revocations() {
            Ok(number) => {
                self.0.send_if_modified(|known| {
                    let changed = *known != number;
                    *known = number;
                    changed
                });
            }
            Err(error) => tracing::error!(%error, "revocations cannot be read"),
        }
    }

    /// Looks for changes by other processes, for as long as the server runs.
    pub async fn keep_looking(&self, store: &Store) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(store);
        }
    }

    /// Returns once this identity is not what it was: signed out, removed, or of another role.
    pub async fn lost(&self, store: &Store, identity: &Identity) {
        let mut changes = self.0.subscribe();
        loop {
            match store.still(identity) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(%error, "whether somebody is still signed in cannot be read");
                    return;
                }
            }
            let ends = store.ends_in(&identity.via).ok().flatten();
            let ends = ends.map(|left| Duration::from_millis(left.unsigned_abs() + 1));
            let wait = ends.map_or(ANYWAY, |left| left.min(ANYWAY));
            let _ = tokio::time::timeout(wait, changes.changed()).await;
        }
    }
}

impl Store {
    /// The account that this proof is good for now. `None` also for the unix socket, whose users
    /// have none.
    pub fn current(&self, via: &Via) -> Result<Option<Account>, StoreError> {
        match via {
            Via::Login(hash) => self.login(hash),
            Via::Token(hash) => self.token(hash),
            Via::Local => Ok(None),
        }
    }

    /// Whether this identity is what it was when it was proved: neither signed out, nor removed, nor
    /// of another role.
    pub fn still(&self, identity: &Identity) -> Result<bool, StoreError> {
        Ok(match self.current(&identity.via)? {
            Some(account) => account.role == identity.account.role,
            None => identity.via == Via::Local,
        })
    }
}
