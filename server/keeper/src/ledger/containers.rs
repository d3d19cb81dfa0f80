//! A container's life.

use porthole_protocol::container::{ContainerSpec, NamespaceChoice, Owner};
use porthole_protocol::id::{ContainerId, SessionId};
use porthole_protocol::keeper::{Event, Failure, FailureCode, Reply, Stage};
use porthole_protocol::monitor::{Started, ToMonitor};
use porthole_protocol::session::{Exit, ExitKind, Target};

use super::record::{Config, Deadline, Held, Life, Run, Standing, State, Then, Wish};
use super::{
    CONTAINERS, END_MS, Effect, KILL_MS, Ledger, Now, START_MS, STOP_MS, Ticket, check_waiting,
    wrong_state,
};

/// SIGTERM.
const TERM: u8 = 15;

impl Ledger {
    pub(super) fn create(
        &mut self,
        ticket: Ticket,
        spec: ContainerSpec,
        owner: Owner,
        now: Now,
        random: [u8; 34],
    ) -> Result<Vec<Effect>, Failure> {
        if self.containers.len() >= CONTAINERS {
            return Err(Failure::new(
                FailureCode::Exhausted,
                format!("there are {CONTAINERS} containers already; remove some"),
            ));
        }
        let [id @ .., a, b] = random;
        let id = ContainerId::from_bytes(id);
        let filled = self.fill_in(spec, &id, [a, b])?;
        let config = Config {
            id: id.clone(),
            name: filled.name,
            owner,
            spec: filled.spec,
            // A placeholder that holds nothing, until they are allocated.
            ids: filled
                .ids
                .unwrap_or(porthole_protocol::container::IdRange(0, 0, 0)),
            created_at: now.wall,
        };
        let effect = Effect::Make(Box::new(config.clone()));
        self.containers.insert(
            id,
            Held {
                config,
                state: State::default(),
                standing: Standing::Making(ticket),
                monitor: false,
                waiting: Vec::new(),
                deadline: None,
                next_start: None,
            },
        );
        Ok(vec![effect])
    }

    /// The ids that are in use.
    pub(crate) fn used_ids(&self) -> Vec<porthole_protocol::container::IdRange> {
        self.containers
            .values()
            .map(|held| held.config.ids)
            .filter(|ids| ids.2 > 0)
            .collect()
    }

    /// The ids of a container that is being made have been chosen.
    pub(crate) fn allocated(&mut self, config: &Config) {
        if let Some(held) = self.containers.get_mut(&config.id) {
            held.config.ids = config.ids;
        }
    }

    /// The container is on disk.
    pub(crate) fn made(&mut self, id: &ContainerId) -> Vec<Effect> {
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        let Standing::Making(ticket) = held.standing else {
            return Vec::new();
        };
        held.standing = Standing::Whole;
        let mut effects = self.tell(id);
        effects.push(self.container_reply(ticket, id));
        effects
    }

    /// The container could not be made.
    pub(crate) fn not_made(&mut self, id: &ContainerId, failure: Failure) -> Vec<Effect> {
        match self.containers.remove(id).map(|held| held.standing) {
            Some(Standing::Making(ticket)) => vec![Effect::Reply(ticket, Reply::Failed(failure))],
            _ => Vec::new(),
        }
    }

    pub(super) fn start(
        &mut self,
        ticket: Ticket,
        id: &ContainerId,
        now: Now,
    ) -> Result<Vec<Effect>, Failure> {
        let held = self.container(id)?;
        match (&held.state.life, held.standing) {
            (_, Standing::Removing) => return Err(wrong_state("the container is being removed")),
            (Life::Running(_), _) => return Err(wrong_state("the container runs already")),
            (Life::Starting { .. }, _) => {
                return Err(wrong_state("the container is being started already"));
            }
            (Life::Created | Life::Exited, _) => {}
        }
        if held.next_start.is_some() {
            return Err(wrong_state("the container is being started already"));
        }
        self.check_shared(&held.config.spec)?;
        if held.monitor {
            // The last run's output is still being put into the journal.
            if let Some(held) = self.containers.get_mut(id) {
                held.next_start = Some(ticket);
            }
            return Ok(Vec::new());
        }
        Ok(self.begin_start(ticket, id, now))
    }

    /// Whoever's namespaces it shares must run.
    fn check_shared(&self, spec: &ContainerSpec) -> Result<(), Failure> {
        for (kind, choice) in &spec.namespaces {
            let NamespaceChoice::Container(reference) = choice else {
                continue;
            };
            let other = reference
                .parse()
                .ok()
                .and_then(|id| self.containers.get(&id));
            let Some(other) = other else {
                return Err(wrong_state(format!(
                    "the container whose {kind} namespace it shares was removed"
                )));
            };
            if other.run().is_none() {
                return Err(wrong_state(format!(
                    "the container {}, whose {kind} namespace it shares, does not run; start that one first",
                    other.config.name
                )));
            }
        }
        Ok(())
    }

    fn begin_start(&mut self, ticket: Ticket, id: &ContainerId, now: Now) -> Vec<Effect> {
        let boot = self.boot.clone();
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        held.state.life = Life::Starting { boot };
        held.state.error = None;
        held.monitor = true;
        held.waiting.push((ticket, Wish::Started));
        held.deadline = Some(Deadline {
            at_ms: now.ms + START_MS,
            then: Then::GiveUpStarting,
        });
        vec![Effect::Save(id.clone()), Effect::Launch(id.clone(), ticket)]
    }

    pub(super) fn container_started(
        &mut self,
        id: &ContainerId,
        started: Started,
        now: Now,
    ) -> Vec<Effect> {
        let boot = self.boot.clone();
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        if !matches!(held.state.life, Life::Starting { .. }) {
            return Vec::new();
        }
        held.state.life = Life::Running(Run {
            boot,
            host_pid: started.host_pid,
            start_ticks: started.start_ticks,
            namespaces: started.namespaces,
        });
        held.state.started_at = Some(now.wall);
        held.state.exit = None;
        held.deadline = None;
        let starters = held.take(Wish::Started);
        let unwanted = held.waiting.iter().any(|(_, wish)| *wish == Wish::Removed);
        let mut effects = vec![Effect::Save(id.clone())];
        effects.extend(self.tell(id));
        effects.extend(starters.into_iter().map(|t| self.container_reply(t, id)));
        if unwanted {
            effects.extend(self.end_container(id, now));
        }
        effects
    }

    pub(super) fn container_failed(&mut self, id: &ContainerId, failure: Failure) -> Vec<Effect> {
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        if !matches!(held.state.life, Life::Starting { .. }) {
            return Vec::new();
        }
        held.state.life = Life::Created;
        held.state.error = Some(failure.message.clone());
        held.deadline = None;
        let starters = held.take(Wish::Started);
        let mut effects = vec![Effect::Save(id.clone())];
        effects.extend(self.tell(id));
        effects.extend(
            starters
                .into_iter()
                .map(|ticket| Effect::Reply(ticket, Reply::Failed(failure.clone()))),
        );
        effects.extend(self.answer_ended(id));
        effects
    }

    pub(super) fn container_exited(
        &mut self,
        id: &ContainerId,
        exit: Exit,
        now: Now,
    ) -> Vec<Effect> {
        let target = Target::Init(id.clone());
        let Some(held) = self.containers.get_mut(id) else {
            return vec![Effect::Send(target, ToMonitor::Release)];
        };
        let mut effects = Vec::new();
        if held.lives() {
            held.state.life = Life::Exited;
            held.state.exit = Some(exit);
            held.deadline = None;
            effects.push(Effect::Save(id.clone()));
            effects.extend(self.tell(id));
            effects.extend(self.end_sessions_of(id, now));
            effects.extend(self.answer_ended(id));
        }
        if self.containers.get(id).is_some_and(|held| held.monitor) {
            effects.push(Effect::Send(target, ToMonitor::Release));
        }
        effects
    }

    pub(super) fn container_monitor_gone(
        &mut self,
        id: &ContainerId,
        exit: Option<Exit>,
        failure: Option<Failure>,
        now: Now,
    ) -> Vec<Effect> {
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        held.monitor = false;
        let mut effects = Vec::new();
        match (&held.state.life, exit) {
            (Life::Starting { .. }, None) => {
                effects.push(Effect::Kill(Target::Init(id.clone())));
                let failure = failure.unwrap_or_else(|| {
                    Failure::new(
                        FailureCode::Internal,
                        "the container's monitor ended before the container ran; try again",
                    )
                    .stage(Stage::Monitor)
                });
                effects.extend(self.container_failed(id, failure));
            }
            (Life::Starting { .. } | Life::Running(_), Some(exit)) => {
                effects.extend(self.container_exited(id, exit, now));
            }
            (Life::Running(_), None) => {
                effects.push(Effect::Kill(Target::Init(id.clone())));
                let exit = Exit {
                    code: 137,
                    kind: ExitKind::Lost,
                    reason: "its monitor was lost, and with it how it ended; what was left of it was killed"
                        .to_owned(),
                    at: now.wall,
                };
                effects.extend(self.container_exited(id, exit, now));
            }
            (Life::Created | Life::Exited, _) => {}
        }
        effects.extend(self.after_monitor(id, now));
        effects
    }

    /// Does what had to wait until no monitor is there.
    fn after_monitor(&mut self, id: &ContainerId, now: Now) -> Vec<Effect> {
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        let removal = held.waiting.iter().any(|(_, wish)| *wish == Wish::Removed);
        let start = held.next_start.take();
        if removal {
            let mut effects = self.begin_removal(id);
            effects.extend(start.map(|ticket| {
                Effect::Reply(
                    ticket,
                    Reply::Failed(wrong_state("the container is being removed")),
                )
            }));
            return effects;
        }
        match start {
            Some(ticket) => {
                let spec = held.config.spec.clone();
                match self.check_shared(&spec) {
                    Ok(()) => self.begin_start(ticket, id, now),
                    Err(failure) => vec![Effect::Reply(ticket, Reply::Failed(failure))],
                }
            }
            None => Vec::new(),
        }
    }

    pub(super) fn stop(
        &mut self,
        ticket: Ticket,
        id: &ContainerId,
        timeout_ms: u64,
        now: Now,
    ) -> Result<Vec<Effect>, Failure> {
        let held = self.container(id)?;
        if matches!(held.state.life, Life::Starting { .. }) {
            return Err(wrong_state(
                "the container is being started; try again when it runs",
            ));
        }
        if held.run().is_none() {
            // It is as it was asked to be.
            return Ok(vec![self.container_reply(ticket, id)]);
        }
        check_waiting(held.waiting.len())?;
        let Some(held) = self.containers.get_mut(id) else {
            return Ok(Vec::new());
        };
        held.waiting.push((ticket, Wish::Ended));
        if timeout_ms == 0 {
            return Ok(self.end_container(id, now));
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
        Ok(vec![Effect::Send(
            Target::Init(id.clone()),
            ToMonitor::Signal { signal: TERM },
        )])
    }

    pub(super) fn kill(
        &self,
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
        if self.container(id)?.run().is_none() {
            return Err(wrong_state("the container does not run"));
        }
        Ok(vec![
            Effect::Send(Target::Init(id.clone()), ToMonitor::Signal { signal }),
            self.container_reply(ticket, id),
        ])
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
        let idle = !held.lives() && !held.monitor && held.standing == Standing::Whole;
        if let Some(held) = self.containers.get_mut(id) {
            held.waiting.push((ticket, Wish::Removed));
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

    fn begin_removal(&mut self, id: &ContainerId) -> Vec<Effect> {
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        if held.standing != Standing::Whole {
            return Vec::new();
        }
        held.standing = Standing::Removing;
        vec![Effect::Unmake(id.clone())]
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
    fn end_container(&mut self, id: &ContainerId, now: Now) -> Vec<Effect> {
        if let Some(held) = self.containers.get_mut(id) {
            held.deadline = Some(Deadline {
                at_ms: now.ms + END_MS,
                then: Then::Kill,
            });
        }
        vec![Effect::Send(Target::Init(id.clone()), ToMonitor::End)]
    }

    fn answer_ended(&mut self, id: &ContainerId) -> Vec<Effect> {
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
