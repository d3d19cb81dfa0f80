//! How a container is stopped, killed and removed, with ever harder means.

use porthole_protocol::container::Signal;
use porthole_protocol::id::{ContainerId, SessionId};
use porthole_protocol::keeper::{Event, Failure, FailureCode, Reply, Stage};
use porthole_protocol::monitor::ToMonitor;
use porthole_protocol::session::Target;

use super::record::{Deadline, Life, Standing, Starter, Then, Wish};
use super::{
    END_MS, Effect, KILL_MS, Ledger, Now, STOP_MS, Ticket, check_waiting, refuse, wrong_state,
};

/// How long after it could not be removed a container that goes when it ends is tried again, in
/// milliseconds.
const REMOVE_AGAIN_MS: u64 = 60_000;

impl Ledger {
    pub(super) fn stop(
        &mut self,
        ticket: Ticket,
        id: &ContainerId,
        timeout_ms: u64,
        now: Now,
    ) -> Result<Vec<Effect>, Failure> {
        let held = self.container(id)?;
        let starting = matches!(held.state.life, Life::Starting { .. });
        if starting && held.starter != Starter::Policy {
            return Err(wrong_state(
                "the container is being started; try again when it runs",
            ));
        }
        check_waiting(held.waiting.len())?;
        let mut effects = self.give_up_restarting(id);
        let Some(held) = self.containers.get_mut(id) else {
            return Ok(effects);
        };
        if !held.lives() {
            // It is as it was asked to be.
            effects.push(self.container_reply(ticket, id));
            return Ok(effects);
        }
        held.waiting.push((ticket, Wish::Ended));
        // One that its restart policy is just starting is ended as soon as it runs.
        if !starting {
            effects.extend(self.begin_stop(id, timeout_ms, now));
        }
        Ok(effects)
    }

    /// Stops a container where it runs, and starts it.
    pub(super) fn restart(
        &mut self,
        ticket: Ticket,
        id: &ContainerId,
        timeout_ms: u64,
        now: Now,
    ) -> Result<Vec<Effect>, Failure> {
        let held = self.container(id)?;
        if held.run().is_none() {
            return self.start(ticket, id, now);
        }
        // Before it is stopped: what may not be started again goes on.
        self.check_start(held)?;
        check_waiting(held.waiting.len())?;
        if let Some(held) = self.containers.get_mut(id) {
            held.next_start = Some(Starter::Asked(ticket));
        }
        Ok(self.begin_stop(id, timeout_ms, now))
    }

    /// Asks a container that runs to end.
    fn begin_stop(&mut self, id: &ContainerId, timeout_ms: u64, now: Now) -> Vec<Effect> {
        if timeout_ms == 0 {
            return self.end_container(id, now);
        }
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        let pausing = held.take(Wish::Paused);
        let frozen = held.paused() || !pausing.is_empty();
        if held.deadline.is_some_and(|d| d.then == Then::GiveUpPausing) {
            held.deadline = None;
        }
        let deadline = Deadline {
            at_ms: now.ms + timeout_ms.min(STOP_MS),
            then: Then::End,
        };
        // Who asks a second time may shorten the wait, not lengthen it.
        if held
            .deadline
            .is_none_or(|d| d.then == Then::End && d.at_ms > deadline.at_ms)
        {
            held.deadline = Some(deadline);
        }
        let signal = held.stop_signal().get();
        let target = Target::Init(id.clone());
        let mut effects = vec![Effect::Send(target, ToMonitor::Signal { signal })];
        // It can end by itself only when it goes on.
        if frozen {
            effects.extend(self.thaw(id));
        }
        effects.extend(
            pausing
                .into_iter()
                .map(|ticket| refuse(ticket, "the container is being stopped")),
        );
        effects
    }

    pub(super) fn kill(
        &mut self,
        ticket: Ticket,
        id: &ContainerId,
        signal: u8,
    ) -> Result<Vec<Effect>, Failure> {
        if !(1..=64).contains(&signal) {
            return Err(Failure::new(
                FailureCode::Invalid,
                "a signal's number is between 1 and 64",
            )
            .field("signal"));
        }
        let held = self.container(id)?;
        if held.run().is_none() {
            return Err(wrong_state("the container does not run"));
        }
        let mut effects = Vec::new();
        if signal == Signal::KILL.get() || signal == held.stop_signal().get() {
            effects.extend(self.give_up_restarting(id));
        }
        effects.push(Effect::Send(
            Target::Init(id.clone()),
            ToMonitor::Signal { signal },
        ));
        effects.push(self.container_reply(ticket, id));
        Ok(effects)
    }

    pub(super) fn remove(
        &mut self,
        ticket: Ticket,
        id: &ContainerId,
        force: bool,
        now: Now,
    ) -> Result<Vec<Effect>, Failure> {
        let held = self.container(id)?;
        if held.lives() && !force {
            return Err(wrong_state(
                "the container runs; stop it first, or remove it by force",
            ));
        }
        check_waiting(held.waiting.len())?;
        let runs = held.run().is_some();
        let idle = !held.lives()
            && !held.monitor
            && held.changing.is_none()
            && held.standing == Standing::Whole;
        if let Some(held) = self.containers.get_mut(id) {
            held.waiting.push((ticket, Wish::Removed));
            held.state.stopped = true;
        }
        // One that is being started is ended as soon as it runs, one whose last output is being
        // put away is removed when that is done.
        Ok(if idle {
            self.begin_removal(id)
        } else if runs {
            self.end_container(id, now)
        } else {
            Vec::new()
        })
    }

    pub(super) fn begin_removal(&mut self, id: &ContainerId) -> Vec<Effect> {
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        if held.standing != Standing::Whole {
            return Vec::new();
        }
        held.standing = Standing::Removing;
        held.deadline = None;
        vec![Effect::Unmake(id.clone())]
    }

    /// Nothing of the container was deleted: it is all there, as before. One that goes when it ends
    /// is tried again, since nobody else will.
    pub(crate) fn not_removed(
        &mut self,
        id: &ContainerId,
        failure: &Failure,
        now: Now,
    ) -> Vec<Effect> {
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        held.standing = Standing::Whole;
        if held.config.spec.auto_remove && held.state.life == Life::Exited {
            held.deadline = Some(Deadline {
                at_ms: now.ms + REMOVE_AGAIN_MS,
                then: Then::Remove,
            });
        }
        std::mem::take(&mut held.waiting)
            .into_iter()
            .map(|(ticket, _)| Effect::Reply(ticket, Reply::Failed(failure.clone())))
            .collect()
    }

    /// The container is gone from the disk, or what of it could not be deleted.
    pub(crate) fn removed(&mut self, id: &ContainerId, result: Result<(), Failure>) -> Vec<Effect> {
        let Some(held) = self.containers.remove(id) else {
            return Vec::new();
        };
        let sessions: Vec<SessionId> = self
            .sessions
            .values()
            .filter(|session| session.container == *id)
            .map(|session| session.id.clone())
            .collect();
        let mut effects = Vec::new();
        for session in sessions {
            effects.extend(self.drop_session(&session));
        }
        effects.push(Effect::Tell(Event::ContainerGone(id.clone())));
        effects.extend(self.tell_related(&held.config));
        let reply = match result {
            Ok(()) => Reply::Done,
            Err(failure) => Reply::Failed(failure),
        };
        effects.extend(
            held.waiting
                .into_iter()
                .map(|(ticket, _)| Effect::Reply(ticket, reply.clone())),
        );
        effects
    }

    /// Kills everything of a container that runs.
    pub(super) fn end_container(&mut self, id: &ContainerId, now: Now) -> Vec<Effect> {
        let mut effects = vec![Effect::Send(Target::Init(id.clone()), ToMonitor::End)];
        if let Some(held) = self.containers.get_mut(id) {
            held.deadline = Some(Deadline {
                at_ms: now.ms + END_MS,
                then: Then::Kill,
            });
            // Or their answer would take this deadline for theirs.
            let pausing = held.take(Wish::Paused);
            if !pausing.is_empty() {
                effects.push(Effect::Thaw(id.clone()));
            }
            effects.extend(
                pausing
                    .into_iter()
                    .map(|ticket| refuse(ticket, "the container is being ended")),
            );
        }
        effects
    }

    pub(super) fn answer_ended(&mut self, id: &ContainerId) -> Vec<Effect> {
        let waiting = self
            .containers
            .get_mut(id)
            .map(|held| held.take(Wish::Ended))
            .unwrap_or_default();
        waiting
            .into_iter()
            .map(|ticket| self.container_reply(ticket, id))
            .collect()
    }

    pub(super) fn container_due(&mut self, id: &ContainerId, now: Now) -> Vec<Effect> {
        let target = Target::Init(id.clone());
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        let Some(deadline) = held.deadline.take() else {
            return Vec::new();
        };
        match deadline.then {
            // The monitor's end is then noticed, and says the rest.
            Then::GiveUpStarting => vec![Effect::KillMonitor(target.clone()), Effect::Kill(target)],
            Then::Restart => self.start_when_ready(Starter::Policy, id, now),
            Then::Remove => self.proceed(id, now),
            Then::GiveUpPausing => self.give_up_pausing(id),
            Then::End => self.end_container(id, now),
            Then::Kill => {
                held.deadline = Some(Deadline {
                    at_ms: now.ms + KILL_MS,
                    then: Then::GiveUpEnding,
                });
                vec![Effect::Kill(target)]
            }
            Then::GiveUpEnding => {
                let mut waiting = held.take(Wish::Ended);
                waiting.extend(held.take(Wish::Removed));
                if let Some(Starter::Asked(ticket)) = held.next_start.take() {
                    waiting.push(ticket);
                }
                waiting
                    .into_iter()
                    .map(|ticket| Effect::Reply(ticket, Reply::Failed(unkillable())))
                    .collect()
            }
        }
    }
}

pub(super) fn unkillable() -> Failure {
    Failure::new(
        FailureCode::Internal,
        "its processes were killed and have not ended yet: they wait for a device or file system that does not answer",
    )
    .stage(Stage::Cleanup)
}
