//! A container's life.

use porthole_protocol::container::{ContainerSpec, NamespaceChoice, Owner};
use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::{Failure, FailureCode, Reply, Stage};
use porthole_protocol::monitor::{Started, ToMonitor};
use porthole_protocol::session::{Exit, ExitKind, Target};

use super::record::{Config, Deadline, Held, Life, Run, Standing, Starter, State, Then, Wish};
use super::{CONTAINERS, Effect, Ledger, Now, START_MS, Ticket, refuse, wrong_state};

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
            image_id: filled.image_id,
            // A placeholder that holds nothing, until they are allocated.
            ids: filled
                .ids
                .unwrap_or(porthole_protocol::container::IdRange(0, 0, 0)),
            created_at: now.wall,
        };
        let effect = Effect::Make(Box::new(config.clone()));
        let state = State {
            boot: self.boot.clone(),
            ..State::default()
        };
        let held = Held::new(config, state, Standing::Making(ticket));
        self.containers.insert(id, held);
        Ok(vec![effect])
    }

    /// The ids that are in use.
    pub(crate) fn used_ids(&self) -> Vec<porthole_protocol::container::IdRange> {
        let known = self.containers.values().map(|held| held.config.ids);
        let aside = self.aside.iter().filter_map(|aside| aside.first_id);
        known
            .filter(|ids| ids.2 > 0)
            .chain(aside.map(porthole_runtime::identity::block_from))
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
        match &held.state.life {
            Life::Running(run) if run.paused => {
                return Err(wrong_state("the container is paused; unpause it"));
            }
            Life::Running(_) => return Err(wrong_state("the container runs already")),
            Life::Starting { .. } => {
                return Err(wrong_state("the container is being started already"));
            }
            Life::Created | Life::Exited => {}
        }
        self.check_start(held)?;
        Ok(self.start_when_ready(Starter::Asked(ticket), id, now))
    }

    /// Whether somebody may have it started.
    pub(super) fn check_start(&self, held: &Held) -> Result<(), Failure> {
        if held.standing == Standing::Removing {
            return Err(wrong_state("the container is being removed"));
        }
        if matches!(held.next_start, Some(Starter::Asked(_))) {
            return Err(wrong_state("the container is being started already"));
        }
        self.check_policy(held)?;
        self.check_shared(&held.config.spec)
    }

    /// Starts what does not run, now or when the last run's output is in the journal and nothing
    /// of it is being changed.
    pub(super) fn start_when_ready(
        &mut self,
        starter: Starter,
        id: &ContainerId,
        now: Now,
    ) -> Vec<Effect> {
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        if held.monitor || held.changing.is_some() {
            held.next_start = Some(starter);
            return Vec::new();
        }
        match starter {
            Starter::Asked(_) => self.begin_start(starter, id, now),
            Starter::Policy => self.begin_again(id, now),
        }
    }

    /// Whoever's namespaces it shares must run.
    pub(super) fn check_shared(&self, spec: &ContainerSpec) -> Result<(), Failure> {
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

    fn begin_start(&mut self, starter: Starter, id: &ContainerId, now: Now) -> Vec<Effect> {
        let boot = self.boot.clone();
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        held.state.life = Life::Starting { boot };
        held.state.error = None;
        held.state.restart_at = None;
        held.starter = starter;
        held.monitor = true;
        if let Starter::Asked(ticket) = starter {
            held.waiting.push((ticket, Wish::Started));
            held.state.stopped = false;
            held.state.restarts = 0;
            held.state.backoff_ms = 0;
        }
        held.deadline = Some(Deadline {
            at_ms: now.ms + START_MS,
            then: Then::GiveUpStarting,
        });
        vec![
            Effect::Save(id.clone()),
            Effect::Launch(id.clone(), starter),
        ]
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
            paused: false,
        });
        held.state.started_at = Some(now.wall);
        held.state.exit = None;
        held.deadline = None;
        held.runs_since_ms = now.ms;
        let starters = held.take(Wish::Started);
        // Somebody has ended it meanwhile.
        let unwanted = held.awaits(Wish::Removed) || held.awaits(Wish::Ended);
        // Whoever waits comes first: a keeper that is killed before it has written this down is
        // followed by one that asks the monitor.
        let mut effects: Vec<_> = starters
            .into_iter()
            .map(|ticket| self.container_reply(ticket, id))
            .collect();
        effects.extend(self.tell(id));
        effects.push(Effect::Save(id.clone()));
        if unwanted {
            effects.extend(self.end_container(id, now));
        }
        effects
    }

    pub(super) fn container_failed(
        &mut self,
        id: &ContainerId,
        failure: Failure,
        now: Now,
    ) -> Vec<Effect> {
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
        if held.starter == Starter::Policy {
            held.plan_restart(None, now);
        }
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
            if held.awaits(Wish::Paused) || held.paused() {
                // Nothing waits any more for its processes to stand still.
                effects.push(Effect::Thaw(id.clone()));
            }
            held.state.life = Life::Exited;
            held.deadline = None;
            held.plan_restart(Some(&exit), now);
            held.state.exit = Some(exit);
            let pausing = held.take(Wish::Paused);
            effects.extend(
                pausing
                    .into_iter()
                    .map(|ticket| refuse(ticket, "the container has ended meanwhile")),
            );
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
                effects.extend(self.container_failed(id, failure, now));
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
                    oom_killed: false,
                };
                effects.extend(self.container_exited(id, exit, now));
            }
            (Life::Created | Life::Exited, _) => {}
        }
        effects.extend(self.proceed(id, now));
        effects
    }

    /// Does what had to wait until no monitor is there and nothing is being changed.
    pub(super) fn proceed(&mut self, id: &ContainerId, now: Now) -> Vec<Effect> {
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        if held.monitor || held.changing.is_some() || held.lives() {
            return Vec::new();
        }
        let start = held.next_start.take();
        let over = held.config.spec.auto_remove && held.state.life == Life::Exited;
        if held.awaits(Wish::Removed) || (over && start.is_none()) {
            let mut effects = self.begin_removal(id);
            if let Some(Starter::Asked(ticket)) = start {
                effects.push(refuse(ticket, "the container is being removed"));
            }
            return effects;
        }
        match start {
            Some(Starter::Asked(ticket)) => {
                let spec = held.config.spec.clone();
                match self.check_shared(&spec) {
                    Ok(()) => self.begin_start(Starter::Asked(ticket), id, now),
                    Err(failure) => vec![Effect::Reply(ticket, Reply::Failed(failure))],
                }
            }
            Some(Starter::Policy) => self.begin_again(id, now),
            None => Vec::new(),
        }
    }

    /// Starts a container by its restart policy, which nothing keeps from that any more but root's:
    /// that may have become stricter.
    fn begin_again(&mut self, id: &ContainerId, now: Now) -> Vec<Effect> {
        let allowed = match self.containers.get(id) {
            Some(held) => self
                .check_policy(held)
                .and_then(|()| self.check_shared(&held.config.spec)),
            None => return Vec::new(),
        };
        let mut effects = self.begin_start(Starter::Policy, id, now);
        if let Err(failure) = allowed {
            // As a start that has failed: what is in its way may go away.
            if let Some(held) = self.containers.get_mut(id) {
                held.monitor = false;
            }
            effects.clear();
            effects.extend(self.container_failed(id, failure, now));
        }
        effects
    }
}
