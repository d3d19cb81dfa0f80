//! What a keeper makes of what an earlier one left: records, live monitors, or neither.

use porthole_protocol::id::{ContainerId, SessionId};
use porthole_protocol::keeper::Failure;
use porthole_protocol::session::{Exit, ExitKind, Target};

use super::record::{
    Config, Deadline, Held, HeldSession, Life, SessionLife, Standing, State, StoredSession, Then,
};
use super::{Effect, Ledger, Now, START_MS};

/// A container that an earlier keeper has written down.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) config: Config,
    /// `None` where it was never written, or is no record any more after a power cut.
    pub(crate) state: Option<State>,
    /// Whether a monitor answers at its socket.
    pub(crate) monitor: bool,
    /// `exit.json`, which a monitor wrote.
    pub(crate) exit: Option<Exit>,
    /// `failure.json`, which a monitor wrote that had no keeper to tell.
    pub(crate) failure: Option<Failure>,
    /// Whether the kernel says that its processes are frozen.
    pub(crate) frozen: bool,
}

/// A session that an earlier keeper has written down, or whose monitor lives.
#[derive(Debug)]
pub(crate) struct FoundSession {
    pub(crate) id: SessionId,
    /// `None` where it was still being opened.
    pub(crate) stored: Option<StoredSession>,
    pub(crate) monitor: bool,
    pub(crate) exit: Option<Exit>,
}

/// What belongs to a container whose record cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct Aside {
    pub(crate) id: ContainerId,
    /// The first of its block of ids.
    pub(crate) first_id: Option<u32>,
    /// Its number in the pool of addresses.
    pub(crate) network: Option<u32>,
}

impl Ledger {
    /// Keeps for a container whose record cannot be read what is its own.
    pub(crate) fn leave_alone(&mut self, aside: Aside) {
        self.aside.push(aside);
    }

    /// Whether a container is such a one.
    pub(crate) fn is_left_alone(&self, id: &ContainerId) -> bool {
        self.aside.iter().any(|aside| aside.id == *id)
    }

    /// Takes over a container.
    pub(crate) fn recover(&mut self, found: Found, now: Now) -> Vec<Effect> {
        let id = found.config.id.clone();
        let mut state = found.state.unwrap_or_default();
        let rebooted = !state.boot.is_empty() && state.boot != self.boot;
        state.boot.clone_from(&self.boot);
        // Numbers of processes mean nothing after the machine was started anew.
        let same_boot = match &state.life {
            Life::Starting { boot } => *boot == self.boot,
            Life::Running(run) => run.boot == self.boot,
            Life::Created | Life::Exited => true,
        };
        let starting = matches!(state.life, Life::Starting { .. });
        let monitor = found.monitor && same_boot;
        let mut held = Held::new(found.config, state, Standing::Whole);
        held.monitor = monitor;
        // From when on it is known to run.
        held.runs_since_ms = now.ms;
        held.deadline = (starting && monitor).then_some(Deadline {
            at_ms: now.ms + START_MS,
            then: Then::GiveUpStarting,
        });
        if let Life::Running(run) = &mut held.state.life {
            run.paused = found.frozen;
        }
        let mut effects = Vec::new();
        if !same_boot && !starting {
            held.state.life = Life::Exited;
            held.state.exit = Some(found.exit.clone().unwrap_or_else(|| restarted(now)));
            effects.push(Effect::Save(id.clone()));
        }
        held.resume_restart(rebooted, now);
        self.containers.insert(id.clone(), held);
        if monitor {
            // It says what became of it in answer to Hello.
            return effects;
        }
        effects.extend(self.monitor_gone(&Target::Init(id), found.exit, found.failure, now));
        if !same_boot {
            effects.retain(|effect| !matches!(effect, Effect::Kill(_)));
        }
        effects
    }

    /// A monitor runs, or ran, what the record says nothing of: it could not be written when the
    /// container was started, since the disk was full.
    pub(super) fn believe_monitor(&mut self, id: &ContainerId, has_ended: bool) {
        let boot = self.boot.clone();
        if let Some(held) = self.containers.get_mut(id) {
            let unknown = match held.state.life {
                Life::Created => true,
                Life::Exited => !has_ended,
                Life::Starting { .. } | Life::Running(_) => false,
            };
            if unknown {
                held.state.life = Life::Starting { boot };
            }
        }
    }

    /// Takes over a session.
    pub(crate) fn recover_session(&mut self, found: FoundSession, now: Now) -> Vec<Effect> {
        let same_boot = found
            .stored
            .as_ref()
            .is_none_or(|stored| stored.boot == self.boot);
        let monitor = found.monitor && same_boot;
        let Some(stored) = found.stored else {
            // Where its monitor lives it is taken over once that has told its container.
            return if monitor {
                Vec::new()
            } else {
                vec![
                    Effect::KillStray(found.id.clone(), None),
                    Effect::Forget(found.id),
                ]
            };
        };
        let container = stored.session.container.clone();
        let foreign = stored.foreign;
        if !foreign && !self.containers.contains_key(&container) {
            return vec![Effect::Forget(found.id)];
        }
        let ended = stored.session.exit.is_some();
        self.sessions.insert(
            found.id.clone(),
            HeldSession {
                id: found.id.clone(),
                container,
                foreign,
                init: stored.init,
                life: SessionLife::Open(Box::new(stored)),
                monitor,
                waiting: Vec::new(),
                deadline: None,
            },
        );
        if monitor || ended {
            return Vec::new();
        }
        let exit = found.exit.or_else(|| (!same_boot).then(|| restarted(now)));
        self.monitor_gone(&Target::Session(found.id), exit, None, now)
    }

    /// A monitor was found of a session that no record speaks of: a keeper went while it was being
    /// opened. `container` is what the monitor said.
    pub(crate) fn recover_opening(&mut self, id: &SessionId, container: &ContainerId, now: Now) {
        let foreign = !self.containers.contains_key(container);
        self.sessions
            .entry(id.clone())
            .or_insert_with(|| HeldSession {
                id: id.clone(),
                container: container.clone(),
                foreign,
                init: None,
                life: SessionLife::Opening(None),
                monitor: true,
                waiting: Vec::new(),
                deadline: Some(Deadline {
                    at_ms: now.ms + START_MS,
                    then: Then::GiveUpStarting,
                }),
            });
    }
}

fn restarted(now: Now) -> Exit {
    Exit {
        code: 137,
        kind: ExitKind::Lost,
        reason: "the machine was restarted".to_owned(),
        at: now.wall,
        oom_killed: false,
    }
}
