//! Whose screen is drawn next.
//!
//! One at a time in the whole server, so that drawing never takes more than one processor from the
//! sessions; a turn is short ([`TURN`](crate::limits::TURN)), and whoever is not done asks for
//! another, behind the others. So somebody who waits for a small screen does not wait for another
//! session's hundred megabytes, and what is only drawn for later never delays who waits now.
//!
//! ```text
//!  waiting  ▢▢▢ ──┐
//!                 ├─▶ one turn ──▶ done, or to the back of its row
//!  ahead    ▢▢ ───┘ only while nobody is waiting
//! ```

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// What something is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Somebody waits for it.
    Waiting,
    /// For later.
    Ahead,
}

/// Who draws, and who is next. Its length is bounded by the number of sessions: each asks once.
#[derive(Debug)]
pub(crate) struct Turns {
    rows: Mutex<Rows>,
}

#[derive(Debug)]
struct Rows {
    taken: bool,
    waiting: VecDeque<oneshot::Sender<Turn>>,
    ahead: VecDeque<oneshot::Sender<Turn>>,
}

/// The right to draw; dropping it is the next one's turn.
#[derive(Debug)]
pub(crate) struct Turn {
    of: &'static Turns,
}

impl Turns {
    pub(crate) const fn new() -> Self {
        Self {
            rows: Mutex::new(Rows {
                taken: false,
                waiting: VecDeque::new(),
                ahead: VecDeque::new(),
            }),
        }
    }

    fn rows(&self) -> std::sync::MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn. Safe to cancel: a turn that nobody takes any more is the next one's.
    pub(crate) async fn take(&'static self, purpose: Purpose) -> Turn {
        let receiver = {
            let mut rows = self.rows();
            if !std::mem::replace(&mut rows.taken, true) {
                return Turn { of: self };
            }
            rows.queue(purpose)
        };
        given(receiver).await
    }
}

impl Rows {
    fn queue(&mut self, purpose: Purpose) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        match purpose {
            Purpose::Waiting => self.waiting.push_back(sender),
            Purpose::Ahead => self.ahead.push_back(sender),
        }
        receiver
    }

    /// Whether somebody has a better right to a turn, or as good a one.
    fn others(&mut self, purpose: Purpose) -> bool {
        self.waiting.retain(|next| !next.is_closed());
        self.ahead.retain(|next| !next.is_closed());
        !self.waiting.is_empty() || purpose == Purpose::Ahead && !self.ahead.is_empty()
    }
}

impl Turn {
    /// Another turn after this one, behind those who have as good a right to it. As safe to cancel
    /// as [`Turns::take`].
    pub(crate) async fn again(self, purpose: Purpose) -> Turn {
        let receiver = {
            let mut rows = self.of.rows();
            rows.others(purpose).then(|| rows.queue(purpose))
        };
        match receiver {
            None => self,
            Some(receiver) => {
                drop(self);
                given(receiver).await
            }
        }
    }
}

async fn given(receiver: oneshot::Receiver<Turn>) -> Turn {
    match receiver.await {
        Ok(turn) => turn,
        // A sender is dropped only where its receiver was before.
        Err(_) => std::future::pending().await,
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut rows = self.of.rows();
            // Whoever has gone is passed over.
            let Rows { waiting, ahead, .. } = &mut *rows;
            let mut row = std::iter::from_fn(|| waiting.pop_front().or_else(|| ahead.pop_front()));
            let next = row.find(|next| !next.is_closed());
            rows.taken = next.is_some();
            next
        };
        if let Some(next) = next {
            // One that has gone in this moment drops what it is sent, which comes here again.
            let _ = next.send(Turn { of: self.of });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::task::JoinSet;

    fn turns() -> &'static Turns {
        Box::leak(Box::new(Turns::new()))
    }

    /// Has so many turns and notes each.
    async fn draw(
        turns: &'static Turns,
        purpose: Purpose,
        name: char,
        count: usize,
        log: Arc<Mutex<String>>,
    ) {
        let mut turn = turns.take(purpose).await;
        for left in (0..count).rev() {
            log.lock().expect("a log").push(name);
            tokio::task::yield_now().await;
            if left > 0 {
                turn = turn.again(purpose).await;
            }
        }
    }

    async fn order(all: &[(Purpose, char, usize)]) -> String {
        let (turns, log) = (turns(), Arc::default());
        // So that all are there before the first has its turn.
        let first = turns.take(Purpose::Waiting).await;
        let mut tasks = JoinSet::new();
        for &(purpose, name, count) in all {
            tasks.spawn(draw(turns, purpose, name, count, Arc::clone(&log)));
            tokio::task::yield_now().await;
        }
        drop(first);
        tasks.join_all().await;
        let log = log.lock().expect("a log");
        log.clone()
    }

    #[tokio::test]
    async fn who_waits_comes_before_what_is_for_later() {
        use Purpose::{Ahead, Waiting};
        assert_eq!(
            order(&[(Ahead, 'a', 3), (Waiting, 'w', 3), (Ahead, 'b', 1)]).await,
            "wwwabaa"
        );
        assert_eq!(
            order(&[(Ahead, 'a', 2), (Waiting, 'w', 1), (Waiting, 'v', 1)]).await,
            "wvaa"
        );
    }

    /// A long one does not hold up a short one that came later.
    #[tokio::test]
    async fn those_who_wait_take_turns() {
        use Purpose::Waiting;
        assert_eq!(
            order(&[(Waiting, 'l', 5), (Waiting, 'm', 4), (Waiting, 's', 1)]).await,
            "lmslmlmlml"
        );
    }

    #[tokio::test]
    async fn a_turn_that_nobody_takes_is_the_next_ones() {
        let turns = turns();
        let first = turns.take(Purpose::Waiting).await;
        let gone = tokio::spawn(turns.take(Purpose::Waiting));
        let given = tokio::spawn(turns.take(Purpose::Waiting));
        let next = tokio::spawn(turns.take(Purpose::Ahead));
        tokio::task::yield_now().await;
        gone.abort();
        tokio::task::yield_now().await;
        drop(first);
        // It has its turn now, but has not been polled since.
        given.abort();
        drop(next.await.expect("a turn"));
        drop(turns.take(Purpose::Ahead).await);
    }
}
