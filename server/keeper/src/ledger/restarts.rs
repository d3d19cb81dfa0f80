//! Restart policies: whether and when a container that has ended is started again.
//!
//! As Docker does it: the first wait has 100 ms, each next one twice as much, up to a minute; a run
//! of ten seconds begins anew. What is waited for is written down, so that another keeper goes on
//! with it.

use porthole_protocol::container::{RestartPolicy, Signal, Timestamp};
use porthole_protocol::id::ContainerId;
use porthole_protocol::session::Exit;

use super::record::{Deadline, Held, Then};
use super::{Effect, Ledger, Now};

/// The first wait, in milliseconds.
const FIRST_MS: u64 = 100;

/// The longest wait.
const LONGEST_MS: u64 = 60_000;

/// A run that lasted so long was no failure to start.
const WELL_MS: u64 = 10_000;

/// How long to wait after a run of `ran_ms`, where the last wait had `last_ms`.
fn next_wait(last_ms: u64, ran_ms: u64) -> u64 {
    if ran_ms >= WELL_MS {
        FIRST_MS
    } else {
        (last_ms * 2).clamp(FIRST_MS, LONGEST_MS)
    }
}

/// Whether it is started again. `exit`: `None` where it could not be started.
fn again(policy: RestartPolicy, exit: Option<&Exit>, restarts: u32) -> bool {
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::OnFailure { most } => {
            exit.is_none_or(|exit| exit.code != 0) && (most == 0 || restarts < most)
        }
    }
}

impl Held {
    /// The signal that asks it to end.
    pub(super) fn stop_signal(&self) -> Signal {
        self.config.spec.stop_signal.unwrap_or(Signal::TERM)
    }

    /// It has ended so, or could not be started: arranges what its restart policy wants.
    pub(super) fn plan_restart(&mut self, exit: Option<&Exit>, now: Now) {
        let policy = self.config.spec.restart;
        let wanted = self.next_start.is_none()
            && !self.state.stopped
            && again(policy, exit, self.state.restarts);
        if !wanted {
            return;
        }
        let ran_ms = match exit {
            Some(_) => now.ms.saturating_sub(self.runs_since_ms),
            None => 0,
        };
        self.state.backoff_ms = next_wait(self.state.backoff_ms, ran_ms);
        self.state.restarts = self.state.restarts.saturating_add(1);
        self.restart_after(self.state.backoff_ms, now);
    }

    fn restart_after(&mut self, wait_ms: u64, now: Now) {
        let at_ms = now.ms.saturating_add(wait_ms);
        self.state.restart_at = Some(Timestamp(now.wall.0.saturating_add(wait_ms)));
        self.state.restart_ms = Some(at_ms);
        self.deadline = Some(Deadline {
            at_ms,
            then: Then::Restart,
        });
    }

    /// What an earlier keeper was waiting for, or the machine's restart asks for.
    pub(super) fn resume_restart(&mut self, rebooted: bool, now: Now) {
        if self.lives() || self.state.restart_at.is_none() && !rebooted {
            return;
        }
        let policy = self.config.spec.restart;
        let wait_ms = match (self.state.restart_at, self.state.restart_ms) {
            _ if rebooted => FIRST_MS,
            // The clock on the wall may have been set meanwhile.
            (Some(_), Some(at_ms)) => at_ms.saturating_sub(now.ms).min(self.state.backoff_ms),
            // Earlier versions wrote down only that one.
            (Some(at), None) => at.0.saturating_sub(now.wall.0).min(self.state.backoff_ms),
            (None, _) => FIRST_MS,
        };
        let has_run = self.state.started_at.is_some();
        let wanted = match policy {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure { .. } => !rebooted,
            RestartPolicy::UnlessStopped => has_run && !self.state.stopped,
            RestartPolicy::Always => has_run,
        };
        if wanted {
            if rebooted {
                self.state.stopped = false;
                self.state.backoff_ms = 0;
            }
            self.restart_after(wait_ms, now);
        } else {
            self.state.restart_at = None;
        }
    }
}

impl Ledger {
    /// Somebody ends a container: its restart policy does not start it again.
    pub(super) fn give_up_restarting(&mut self, id: &ContainerId) -> Vec<Effect> {
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        let known = std::mem::replace(&mut held.state.stopped, true);
        let save = (!known).then(|| Effect::Save(id.clone()));
        let mut effects: Vec<_> = save.into_iter().collect();
        if held.lives() {
            return effects;
        }
        let waited = held.state.restart_at.take().is_some();
        held.deadline = None;
        if held.next_start == Some(super::Starter::Policy) {
            held.next_start = None;
        }
        if waited {
            effects.push(Effect::Save(id.clone()));
            effects.extend(self.tell(id));
        }
        effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use porthole_protocol::session::ExitKind;

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_a_good_run() {
        let mut waits = Vec::new();
        let mut last = 0;
        for _ in 0..12 {
            last = next_wait(last, 9_999);
            waits.push(last);
        }
        assert_eq!(
            waits,
            [
                100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000, 60_000
            ]
        );
        assert_eq!(next_wait(last, 10_000), 100);
    }

    #[test]
    fn each_policy_has_its_reasons() {
        let exit = |code| Exit {
            code,
            kind: ExitKind::Exited,
            reason: String::new(),
            at: Timestamp(0),
            oom_killed: false,
        };
        let (well, badly) = (exit(0), exit(1));
        assert!(!again(RestartPolicy::No, Some(&badly), 0));
        for policy in [RestartPolicy::Always, RestartPolicy::UnlessStopped] {
            assert!(again(policy, Some(&well), 1_000));
        }
        let three = RestartPolicy::OnFailure { most: 3 };
        assert!(!again(three, Some(&well), 0));
        assert!(again(three, Some(&badly), 2) && !again(three, Some(&badly), 3));
        assert!(again(RestartPolicy::OnFailure { most: 0 }, None, 1_000));
    }
}
