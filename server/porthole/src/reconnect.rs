//! How a client comes back to a part of Porthole that is away: after waits that grow, and with one
//! line in the log for each time that it is away.

use std::time::Duration;

use tokio::sync::mpsc;

/// The first wait after a connection was lost, doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// The longest wait: a dashboard is whole again within two seconds of the part that it misses.
const LONGEST_WAIT: Duration = Duration::from_millis(640);

/// How long greeting may take.
pub(crate) const GREETING: Duration = Duration::from_secs(5);

/// The tries since the last connection.
#[derive(Debug)]
pub(crate) struct Tries {
    wait: Duration,
    told: bool,
}

impl Tries {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self {
            wait: FIRST_WAIT,
            told: false,
        }
    }

    /// One has failed. Whether that is to be told: it is the first.
    pub(crate) fn failed(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }

    /// Lets time pass before the next one, and refuses what is asked meanwhile.
    pub(crate) async fn pause<T>(&mut self, asked: &mut mpsc::Receiver<T>, refuse: impl Fn(T)) {
        let _ = tokio::time::timeout(self.wait, async {
            while let Some(one) = asked.recv().await {
                refuse(one);
            }
            std::future::pending::<()>().await;
        })
        .await;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }
}
