//! How long a container waits before each restart, by the clock that is never set, watched while
//! everything else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use porthole_tests::Client;
use serde_json::Value;

/// How much longer than asked for a slow machine may wait.
const SLOW: Duration = Duration::from_secs(60);

/// A number of restarts: last not seen yet, first seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    restarts: u64,
    not_before: Instant,
    by: Instant,
}

/// Somebody who looks again and again.
pub(crate) struct Waits {
    over: Arc<AtomicBool>,
    looks: JoinHandle<Vec<Seen>>,
}

impl Waits {
    pub(crate) fn watch(client: Client, name: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (until, path) = (Arc::clone(&over), format!("/api/v1/containers/{name}"));
        let looks = std::thread::spawn(move || {
            let mut seen: Vec<Seen> = Vec::new();
            let mut last = Instant::now();
            while !until.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(200));
                let asked = Instant::now();
                // While Porthole is started anew nobody answers, or not yet with what there is.
                let Ok(answer) = client.try_send("GET", &path, None) else {
                    continue;
                };
                let Ok(Value::Object(told)) = serde_json::from_str(&answer.body) else {
                    continue;
                };
                let Some(restarts) = told.get("restarts").and_then(Value::as_u64) else {
                    continue;
                };
                if seen.last().is_none_or(|last| last.restarts != restarts) {
                    seen.push(Seen {
                        restarts,
                        not_before: last,
                        by: Instant::now(),
                    });
                }
                last = asked;
            }
            seen
        });
        Self { over, looks }
    }

    /// Every wait that was seen from its beginning to its end was as long as it was meant to be.
    #[track_caller]
    pub(crate) fn check(self) {
        self.over.store(true, Ordering::Relaxed);
        let seen = self.looks.join().expect("somebody looked");
        let mut waits = 0;
        // Where it was first seen nobody knows how long it had been so.
        for pair in seen.get(1..).unwrap_or_default().windows(2) {
            let [from, to] = pair else { continue };
            if to.restarts != from.restarts + 1 {
                continue;
            }
            // 100 ms, doubled each time, up to a minute.
            let meant = Duration::from_millis(
                (100_u64 << from.restarts.saturating_sub(1).min(16)).min(60_000),
            );
            let (most, least) = (
                to.by - from.not_before,
                to.not_before.saturating_duration_since(from.by),
            );
            assert!(
                most + Duration::from_millis(500) > meant,
                "{most:?} instead of {meant:?}: {seen:?}"
            );
            assert!(
                least < meant + SLOW,
                "{least:?} instead of {meant:?}: {seen:?}"
            );
            waits += 1;
        }
        assert!(waits > 0, "{seen:?}");
    }
}
