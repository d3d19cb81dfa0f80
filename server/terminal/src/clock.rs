//! What time it is, where time is written down.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time that the journal's records are stamped with. Deadlines are tokio's, which a
/// test can pause.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970.
    fn now_us(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
            })
    }
}
