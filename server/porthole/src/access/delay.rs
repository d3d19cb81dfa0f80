//! Wrong passwords make the next try wait, longer each time, never for good.
//!
//! Pure: the clock is passed in. A try that came too early is not looked at and does not count, so
//! nobody can keep the wait from ending by trying on.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Wrong passwords that cost nothing yet.
const FREE: u32 = 3;
/// After this long without a wrong password all is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);
/// How many accounts or addresses are kept in mind; the oldest go first.
const KEPT: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

/// Waits for one kind of thing: addresses, or accounts.
#[derive(Debug)]
pub struct Delays<K> {
    longest: Duration,
    failures: HashMap<K, Failures>,
}

impl<K: Hash + Eq + Clone> Delays<K> {
    /// No failures yet; a wait is never longer than this.
    pub fn new(longest: Duration) -> Self {
        Self {
            longest,
            failures: HashMap::new(),
        }
    }

    fn wait(&self, failures: Failures) -> Duration {
        let doublings = failures.count.saturating_sub(FREE);
        if doublings == 0 {
            return Duration::ZERO;
        }
        Duration::from_secs(1 << (doublings - 1).min(16)).min(self.longest)
    }

    /// How much longer the next try has to wait.
    pub fn remaining(&self, key: &K, now: Instant) -> Duration {
        let Some(&failures) = self.failures.get(key) else {
            return Duration::ZERO;
        };
        self.wait(failures)
            .saturating_sub(now.saturating_duration_since(failures.last))
    }

    /// A wrong password. Called before the password is looked at, and taken back where it was
    /// right, so that tries beside each other count too.
    pub fn failed(&mut self, key: K, now: Instant) {
        if self.failures.len() >= KEPT && !self.failures.contains_key(&key) {
            self.forget(now);
        }
        let failures = self.failures.entry(key).or_insert(Failures {
            count: 0,
            last: now,
        });
        if now.saturating_duration_since(failures.last) > FORGOTTEN {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    /// The right password.
    pub fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }

    fn forget(&mut self, now: Instant) {
        self.failures
            .retain(|_, f| now.saturating_duration_since(f.last) <= FORGOTTEN);
        if self.failures.len() >= KEPT
            && let Some(oldest) = self
                .failures
                .iter()
                .min_by_key(|(_, f)| f.last)
                .map(|(key, _)| key.clone())
        {
            self.failures.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_grow_up_to_a_bound_and_end() {
        let mut delays = Delays::new(30 * SECOND);
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..10 {
            delays.failed("ann", now);
            let wait = delays.remaining(&"ann", now);
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(delays.remaining(&"ann", now), Duration::ZERO);
        }
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(delays.remaining(&"bob", now), Duration::ZERO, "another's");
    }

    #[test]
    fn the_right_password_and_time_forgive() {
        let mut delays = Delays::new(30 * SECOND);
        let now = Instant::now();
        for _ in 0..8 {
            delays.failed("ann", now);
            delays.failed("bob", now);
        }
        delays.succeeded(&"ann");
        assert_eq!(delays.remaining(&"ann", now), Duration::ZERO);
        let later = now + FORGOTTEN + SECOND;
        delays.failed("bob", later);
        assert_eq!(delays.remaining(&"bob", later), Duration::ZERO);
    }

    #[test]
    fn memory_is_bounded() {
        let mut delays = Delays::new(SECOND);
        let now = Instant::now();
        for key in 0..KEPT + 100 {
            delays.failed(key, now + Duration::from_millis(key as u64));
        }
        assert_eq!(delays.failures.len(), KEPT);
    }
}
