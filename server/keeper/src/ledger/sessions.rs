//! A session's life.

use porthole_protocol::container::Owner;
use porthole_protocol::id::{ContainerId, SessionId};
use porthole_protocol::keeper::{Event, Failure, FailureCode, Reply, Stage};
use porthole_protocol::monitor::{Started, ToMonitor};
use porthole_protocol::session::{Exit, ExitKind, SessionSpec, Target};

use super::endings::unkillable;
use super::record::{Deadline, HeldSession, Init, SessionLife, StoredSession, Then};
use super::{
    END_MS, ENDED_SESSIONS, Effect, Joining, KILL_MS, Ledger, Now, SESSIONS, START_MS, Ticket,
    check_waiting, wrong_state,
};

impl Ledger {
    pub(super) fn open_session(
        &mut self,
        ticket: Ticket,
        id: SessionId,
        spec: SessionSpec,
        owner: Owner,
        now: Now,
    ) -> Result<Vec<Effect>, Failure> {
        match &spec.foreign {
            Some(foreign) => self.check_foreign(&spec, foreign)?,
            None => self.check_container(&spec)?,
        }
        self.check_session(&spec)?;
        self.check_new(&id)?;
        let joining = Joining {
            session: id.clone(),
            spec,
            owner,
            ticket,
        };
        self.sessions.insert(
            id.clone(),
            HeldSession {
                id,
                container: joining.spec.container.clone(),
                foreign: joining.spec.foreign.is_some(),
                init: joining.spec.foreign.as_ref().map(|foreign| Init {
                    pid: foreign.pid,
                    start_ticks: foreign.start_ticks,
                }),
                life: SessionLife::Opening(Some(ticket)),
                monitor: true,
                waiting: Vec::new(),
                deadline: Some(Deadline {
                    at_ms: now.ms + START_MS,
                    then: Then::GiveUpStarting,
                }),
            },
        );
        Ok(vec![Effect::Join(Box::new(joining))])
    }

    /// A container of our own must run, and be allowed still.
    fn check_container(&self, spec: &SessionSpec) -> Result<(), Failure> {
        let held = self.container(&spec.container)?;
        if held.run().is_none() {
            return Err(wrong_state(format!(
                "the container {} does not run; start it first",
                held.config.name
            )));
        }
        if held.paused() || held.awaits(super::record::Wish::Paused) {
            return Err(wrong_state(format!(
                "the container {} is paused: nothing in it runs; unpause it first",
                held.config.name
            )));
        }
        self.check_policy(held)
    }

    fn check_new(&self, id: &SessionId) -> Result<(), Failure> {
        // Monitors' sockets are named by 32 digits of either kind of id.
        let known = self.sessions.contains_key(id)
            || self
                .containers
                .keys()
                .any(|container| container.as_str().starts_with(id.as_str()));
        if known {
            return Err(
                Failure::new(FailureCode::Invalid, "this identifier is in use already")
                    .field("session")
                    .stage(Stage::Request),
            );
        }
        let live = self
            .sessions
            .values()
            .filter(|session| !session.has_ended())
            .count();
        if live >= SESSIONS {
            return Err(Failure::new(
                FailureCode::Exhausted,
                format!("{SESSIONS} sessions run already; end some"),
            ));
        }
        Ok(())
    }

    pub(super) fn session_started(&mut self, id: &SessionId, started: Started) -> Vec<Effect> {
        let boot = self.boot.clone();
        let Some(held) = self.sessions.get_mut(id) else {
            return Vec::new();
        };
        let SessionLife::Opening(ticket) = held.life else {
            return Vec::new();
        };
        let Some(session) = started.session else {
            return Vec::new();
        };
        held.deadline = None;
        held.life = SessionLife::Open(Box::new(StoredSession {
            boot,
            foreign: held.foreign,
            init: held.init,
            session: *session.clone(),
        }));
        // Whoever waits comes first, as with containers.
        let mut effects = Vec::new();
        effects.extend(ticket.map(|ticket| Effect::Reply(ticket, Reply::Session(session.clone()))));
        effects.push(Effect::Tell(Event::Session(session)));
        effects.push(Effect::SaveSession(id.clone()));
        // Its container may have ended while it was being opened.
        let container = (!held.foreign).then(|| held.container.clone());
        let ended = container.is_some_and(|container| {
            let held = self.containers.get(&container);
            held.is_none_or(|held| held.run().is_none())
        });
        if ended {
            effects.push(Effect::Send(Target::Session(id.clone()), ToMonitor::End));
        }
        effects
    }

    pub(super) fn session_failed(&mut self, id: &SessionId, failure: Failure) -> Vec<Effect> {
        match self.sessions.get(id).map(|held| &held.life) {
            Some(SessionLife::Opening(ticket)) => {
                let ticket = *ticket;
                self.sessions.remove(id);
                let mut effects = vec![Effect::Forget(id.clone())];
                effects.extend(ticket.map(|ticket| Effect::Reply(ticket, Reply::Failed(failure))));
                effects
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn session_exited(&mut self, id: &SessionId, exit: Exit) -> Vec<Effect> {
        let release = Effect::Send(Target::Session(id.clone()), ToMonitor::Release);
        let Some(held) = self.sessions.get_mut(id) else {
            return vec![release];
        };
        let monitor = held.monitor;
        let SessionLife::Open(stored) = &mut held.life else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        if stored.session.exit.is_none() {
            stored.session.exit = Some(exit);
            held.deadline = None;
            let session = Box::new(stored.session.clone());
            effects.push(Effect::SaveSession(id.clone()));
            effects.push(Effect::Tell(Event::Session(session.clone())));
            effects.extend(
                std::mem::take(&mut held.waiting)
                    .into_iter()
                    .map(|ticket| Effect::Reply(ticket, Reply::Session(session.clone()))),
            );
        }
        if monitor {
            effects.push(release);
        }
        effects
    }

    pub(super) fn session_monitor_gone(
        &mut self,
        id: &SessionId,
        exit: Option<Exit>,
        failure: Option<Failure>,
        now: Now,
    ) -> Vec<Effect> {
        let Some(held) = self.sessions.get_mut(id) else {
            return Vec::new();
        };
        held.monitor = false;
        let mut effects = Vec::new();
        match &held.life {
            SessionLife::Opening(_) => {
                // By its container, since nothing is known of it any more when this is done; in
                // another engine's it is killed as it is forgotten.
                if !held.foreign {
                    let container = Some(held.container.clone());
                    effects.push(Effect::KillStray(id.clone(), container));
                }
                let failure = failure.unwrap_or_else(|| {
                    Failure::new(
                        FailureCode::Internal,
                        "the session's monitor ended before the session ran; try again",
                    )
                    .stage(Stage::Monitor)
                });
                effects.extend(self.session_failed(id, failure));
            }
            SessionLife::Open(stored) if stored.session.exit.is_none() => {
                let exit = exit.unwrap_or_else(|| {
                    effects.push(Effect::Kill(Target::Session(id.clone())));
                    Exit {
                        code: 137,
                        kind: ExitKind::Lost,
                        reason: "its monitor was lost, and with it how it ended; what was left of it was killed"
                            .to_owned(),
                        at: now.wall,
                        oom_killed: false,
                    }
                });
                effects.extend(self.session_exited(id, exit));
            }
            SessionLife::Open(_) => {}
        }
        effects.extend(self.drop_oldest());
        effects
    }

    pub(super) fn end_session(
        &mut self,
        ticket: Ticket,
        id: &SessionId,
        now: Now,
    ) -> Result<Vec<Effect>, Failure> {
        let held = self.session(id)?;
        check_waiting(held.waiting.len())?;
        let Some(session) = held.session() else {
            return Err(wrong_state("the session is being opened"));
        };
        if session.exit.is_some() {
            // It may have left something in the background, as a shell that exits does.
            let reply = Reply::Session(Box::new(session.clone()));
            return Ok(vec![
                Effect::Kill(Target::Session(id.clone())),
                Effect::Reply(ticket, reply),
            ]);
        }
        if let Some(held) = self.sessions.get_mut(id) {
            held.waiting.push(ticket);
        }
        Ok(self.ask_to_end(id, now))
    }

    fn ask_to_end(&mut self, id: &SessionId, now: Now) -> Vec<Effect> {
        if let Some(held) = self.sessions.get_mut(id) {
            held.deadline = Some(Deadline {
                at_ms: now.ms + END_MS,
                then: Then::Kill,
            });
        }
        vec![Effect::Send(Target::Session(id.clone()), ToMonitor::End)]
    }

    /// The sessions of a container that has ended, end.
    pub(super) fn end_sessions_of(&mut self, container: &ContainerId, now: Now) -> Vec<Effect> {
        let live: Vec<SessionId> = self
            .sessions
            .values()
            .filter(|held| held.container == *container && !held.foreign)
            .filter(|held| held.monitor && !held.has_ended())
            .filter(|held| held.session().is_some())
            .map(|held| held.id.clone())
            .collect();
        live.iter()
            .flat_map(|id| self.ask_to_end(id, now))
            .collect()
    }

    pub(super) fn session_due(&mut self, id: &SessionId, now: Now) -> Vec<Effect> {
        let target = Target::Session(id.clone());
        let Some(held) = self.sessions.get_mut(id) else {
            return Vec::new();
        };
        match held.deadline.take().map(|deadline| deadline.then) {
            Some(Then::GiveUpStarting) => {
                vec![Effect::KillMonitor(target.clone()), Effect::Kill(target)]
            }
            Some(Then::End | Then::Kill) => {
                held.deadline = Some(Deadline {
                    at_ms: now.ms + KILL_MS,
                    then: Then::GiveUpEnding,
                });
                vec![Effect::Kill(target)]
            }
            Some(Then::GiveUpEnding) => std::mem::take(&mut held.waiting)
                .into_iter()
                .map(|ticket| Effect::Reply(ticket, Reply::Failed(unkillable())))
                .collect(),
            // These are for containers.
            Some(Then::Restart | Then::Remove | Then::GiveUpPausing) | None => Vec::new(),
        }
    }

    pub(super) fn forget_session(
        &mut self,
        ticket: Ticket,
        id: &SessionId,
    ) -> Result<Vec<Effect>, Failure> {
        if !self.session(id)?.has_ended() {
            return Err(wrong_state("the session runs; end it first"));
        }
        let mut effects = self.drop_session(id);
        effects.push(Effect::Reply(ticket, Reply::Done));
        Ok(effects)
    }

    pub(super) fn drop_session(&mut self, id: &SessionId) -> Vec<Effect> {
        if self.sessions.remove(id).is_none() {
            return Vec::new();
        }
        vec![
            Effect::Forget(id.clone()),
            Effect::Tell(Event::SessionGone(id.clone())),
        ]
    }

    /// Of the ended sessions only so many are kept, those that began last.
    pub(crate) fn drop_oldest(&mut self) -> Vec<Effect> {
        let mut ended: Vec<_> = self
            .sessions
            .values()
            .filter(|held| held.has_ended() && !held.monitor)
            .filter_map(|held| Some((held.session()?.started_at, held.id.clone())))
            .collect();
        if ended.len() <= ENDED_SESSIONS {
            return Vec::new();
        }
        ended.sort_unstable();
        ended.truncate(ended.len() - ENDED_SESSIONS);
        ended
            .iter()
            .flat_map(|(_, id)| self.drop_session(id))
            .collect()
    }

    /// What is written down of a session.
    pub(crate) fn stored_session(&self, id: &SessionId) -> Option<&StoredSession> {
        match &self.sessions.get(id)?.life {
            SessionLife::Open(stored) => Some(stored),
            SessionLife::Opening(_) => None,
        }
    }

    /// Which container a session is in.
    pub(crate) fn container_of(&self, id: &SessionId) -> Option<&ContainerId> {
        Some(&self.sessions.get(id)?.container)
    }

    /// Whether a session is in a container of another engine's.
    pub(crate) fn is_foreign(&self, id: &SessionId) -> bool {
        self.sessions.get(id).is_some_and(|held| held.foreign)
    }
}
