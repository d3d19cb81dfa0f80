//! How many refused sign-ins are written down one by one.
//!
//! Whoever tries passwords from many addresses would else fill the audit trail. What is not written
//! down is counted, and the next one that is says how many there were.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// In this time
const WINDOW: Duration = Duration::from_secs(60);
/// so many are written down.
const WRITTEN: u32 = 20;

#[derive(Default)]
struct Counts {
    begun: Option<Instant>,
    written: u32,
    unwritten: u64,
}

/// Counts refused sign-ins.
#[derive(Default)]
pub struct Refused(Mutex<Counts>);

impl Refused {
    /// One more: how many before it were not written down, where it is to be.
    pub fn one(&self, now: Instant) -> Option<u64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |begun: Instant| now.duration_since(begun) >= WINDOW;
        if counts.begun.is_none_or(over) {
            counts.begun = Some(now);
            counts.written = 0;
        }
        if counts.written == WRITTEN {
            counts.unwritten += 1;
            return None;
        }
        counts.written += 1;
        Some(std::mem::take(&mut counts.unwritten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_some_are_written_down_and_the_rest_is_counted() {
        let refused = Refused::default();
        let begun = Instant::now();
        for number in 0..WRITTEN {
            assert_eq!(refused.one(begun), Some(0), "{number}");
        }
        for _ in 0..1000 {
            assert_eq!(refused.one(begun), None);
        }
        assert_eq!(refused.one(begun + WINDOW), Some(1000));
        assert_eq!(refused.one(begun + WINDOW), Some(0));
    }
}
