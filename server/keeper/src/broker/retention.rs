//! Looking whether other engines' containers are still there, so that what is kept of sessions in
//! those that are not comes to an end.

use super::{Broker, identity};
use crate::clock;

/// How long after one another, in milliseconds.
const PACE_MS: u64 = 10 * 60 * 1000;

impl Broker {
    /// Looks, where it is time.
    pub(super) fn expire(&mut self) {
        let now = clock::monotonic_ms();
        if now < self.next_look {
            return;
        }
        self.next_look = now + PACE_MS;
        let lives = |init: crate::ledger::Init| identity::open(init.pid, init.start_ticks).is_ok();
        let effects = self.ledger.expire(lives, Self::now());
        self.perform(effects);
        self.sweep_groups();
    }
}
