//! What the tests across crates stand on: a real Porthole, started for one test and gone after it.
//!
//! [`Instance`] runs the built `porthole serve` with directories and a port of its own, so that
//! tests run side by side. [`Client`] speaks its HTTP API and [`Terminal`] `porthole.v1`. What
//! they answer is compared with [`host`], which asks the kernel itself. An instance that is
//! dropped ends everything that it started and fails the test if anything is left.
#![forbid(unsafe_code)]

pub mod broker;
pub mod client;
pub mod debian;
pub mod engines;
pub mod events;
pub mod host;
pub mod instance;
pub mod network;
pub mod scene;
pub mod terminal;

use std::time::{Duration, Instant};

pub use broker::Broker;
pub use client::{Answer, Client};
pub use events::Events;
pub use instance::{Builder, Instance};
pub use network::Network;
pub use scene::Scene;
pub use terminal::{Exit, Terminal};

/// How long something may take that has no time of its own: ample on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within `limit`; `what` says what was waited for.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            begun.elapsed() < limit,
            "{what}: not within {} s",
            limit.as_secs_f32()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
