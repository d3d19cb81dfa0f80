//! The two clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use porthole_protocol::container::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of the clock that never jumps.
pub(crate) fn monotonic_ms() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// What a calendar and a clock on the wall show.
pub(crate) fn wall() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// The same in microseconds since 1970, as journals have it.
pub(crate) fn wall_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))
}
