//! What is known of containers and sessions, and what of it is written down.

use porthole_protocol::container::{ContainerName, ContainerSpec, IdRange, Owner, Timestamp};
use porthole_protocol::id::{ContainerId, HostPid, SessionId};
use porthole_protocol::image::Digest;
use porthole_protocol::namespace::NamespaceSet;
use porthole_protocol::session::{Exit, Session};
use serde::{Deserialize, Serialize};

use super::Ticket;

/// `containers/<id>/config.json`: what it is. A directory without it is half made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) id: ContainerId,
    pub(crate) name: ContainerName,
    pub(crate) owner: Owner,
    /// With every default filled in, and containers that it refers to by their full ids.
    pub(crate) spec: ContainerSpec,
    /// The imported image that it was made of.
    #[serde(default)]
    pub(crate) image_id: Option<Digest>,
    /// Its block of ids, or that of the container whose user namespace it is in.
    pub(crate) ids: IdRange,
    pub(crate) created_at: Timestamp,
}

/// `containers/<id>/state.json`: what became of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) life: Life,
    /// When it was last started.
    pub(crate) started_at: Option<Timestamp>,
    /// How its last run ended.
    pub(crate) exit: Option<Exit>,
    /// Why its last start failed.
    pub(crate) error: Option<String>,
    /// Its number in the pool of addresses, once it was connected.
    #[serde(default)]
    pub(crate) network: Option<u32>,
    /// The boot of the machine in which this was written; empty in records of earlier versions.
    #[serde(default)]
    pub(crate) boot: String,
    /// Whether somebody has ended it: its restart policy is in force again when somebody starts it.
    #[serde(default)]
    pub(crate) stopped: bool,
    /// How often its restart policy has started it, since somebody did.
    #[serde(default)]
    pub(crate) restarts: u32,
    /// How long its restart policy waited the last time, in milliseconds; 0: it did not yet.
    #[serde(default)]
    pub(crate) backoff_ms: u64,
    /// When its restart policy starts it again.
    #[serde(default)]
    pub(crate) restart_at: Option<Timestamp>,
    /// The same in milliseconds of the clock that never jumps, as this boot of the machine has it.
    #[serde(default)]
    pub(crate) restart_ms: Option<u64>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Life {
    /// It never ran, or its last start failed.
    #[default]
    Created,
    /// A monitor is starting it, since this boot of the machine.
    Starting { boot: String },
    /// Its init runs.
    Running(Run),
    /// Its init has ended.
    Exited,
}

/// A run of a container: its init, so that it cannot be mistaken for another process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The boot of the machine in which the numbers below mean anything.
    pub(crate) boot: String,
    pub(crate) host_pid: HostPid,
    pub(crate) start_ticks: u64,
    pub(crate) namespaces: NamespaceSet,
    /// Whether its processes are frozen. After a keeper's end the kernel says it, not this.
    #[serde(default)]
    pub(crate) paused: bool,
}

/// `sessions/<id>/session.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredSession {
    pub(crate) boot: String,
    /// Whether its container is another engine's.
    #[serde(default)]
    pub(crate) foreign: bool,
    /// That one's first process; `None` for a container of our own.
    #[serde(default)]
    pub(crate) init: Option<Init>,
    pub(crate) session: Session,
}

/// The first process of another engine's container, for this boot of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Init {
    pub(crate) pid: HostPid,
    pub(crate) start_ticks: u64,
}

/// A container as the ledger holds it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) config: Config,
    pub(crate) state: State,
    pub(crate) standing: Standing,
    /// Whether a monitor of it lives, which it may do for a while after its init has ended.
    pub(crate) monitor: bool,
    /// Who waits for what.
    pub(crate) waiting: Vec<(Ticket, Wish)>,
    /// What is done when it takes too long.
    pub(crate) deadline: Option<Deadline>,
    /// A start that waits until the last run's monitor has gone.
    pub(crate) next_start: Option<Starter>,
    /// Who has begun the start that is under way, or the run.
    pub(crate) starter: Starter,
    /// Since when it runs, as far as this keeper knows, in milliseconds of the clock that never
    /// jumps.
    pub(crate) runs_since_ms: u64,
    /// What it is to become; a worker is at it.
    pub(crate) changing: Option<Changing>,
}

/// A change of a container that is being put into force.
#[derive(Debug, Clone)]
pub(crate) struct Changing {
    pub(crate) ticket: Ticket,
    pub(crate) config: Config,
}

/// Who starts a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Starter {
    /// Somebody who has asked for it.
    Asked(Ticket),
    /// Its restart policy.
    Policy,
}

/// Whether a container is all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Being made; nobody has been told of it.
    Making(Ticket),
    Whole,
    /// Being deleted.
    Removing,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Started,
    Paused,
    Ended,
    Removed,
}

/// A moment of the monotonic clock, in milliseconds, and what is done then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) at_ms: u64,
    pub(crate) then: Then,
}

/// Ever harder means to bring something to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is not started in time: its monitor is killed.
    GiveUpStarting,
    /// It is time that its restart policy starts it.
    Restart,
    /// It goes when it ends, and could not be removed then.
    Remove,
    /// Its processes do not come to a stand in time: they go on.
    GiveUpPausing,
    /// Its stop signal had no effect: the monitor is told to end it.
    End,
    /// The monitor does not do that: the keeper kills the group.
    Kill,
    /// Nothing helps: whoever waits is told.
    GiveUpEnding,
}

/// A session as the ledger holds it.
#[derive(Debug)]
pub(crate) struct HeldSession {
    pub(crate) id: SessionId,
    pub(crate) container: ContainerId,
    /// Whether that is another engine's, of which nothing is held here.
    pub(crate) foreign: bool,
    /// That one's first process, where it is known.
    pub(crate) init: Option<Init>,
    pub(crate) life: SessionLife,
    pub(crate) monitor: bool,
    /// Who waits until it has ended.
    pub(crate) waiting: Vec<Ticket>,
    pub(crate) deadline: Option<Deadline>,
}

/// Where a session is in its life.
#[derive(Debug)]
pub(crate) enum SessionLife {
    /// A monitor is starting it. Nobody asks for it any more where a keeper has gone in between.
    Opening(Option<Ticket>),
    /// `session.exit` says whether it runs.
    Open(Box<StoredSession>),
}

impl Held {
    pub(crate) fn run(&self) -> Option<&Run> {
        match &self.state.life {
            Life::Running(run) => Some(run),
            _ => None,
        }
    }

    /// A container of which nothing is known yet but what it is to be.
    pub(crate) fn new(config: Config, state: State, standing: Standing) -> Self {
        Self {
            config,
            state,
            standing,
            monitor: false,
            waiting: Vec::new(),
            deadline: None,
            next_start: None,
            starter: Starter::Policy,
            runs_since_ms: 0,
            changing: None,
        }
    }

    /// Whether somebody waits for this.
    pub(crate) fn awaits(&self, wish: Wish) -> bool {
        self.waiting.iter().any(|(_, wanted)| *wanted == wish)
    }

    /// Whether its processes are frozen.
    pub(crate) fn paused(&self) -> bool {
        self.run().is_some_and(|run| run.paused)
    }

    /// Whether processes of it live or are about to.
    pub(crate) fn lives(&self) -> bool {
        matches!(self.state.life, Life::Starting { .. } | Life::Running(_))
    }

    /// Takes those who wait for this.
    pub(crate) fn take(&mut self, wish: Wish) -> Vec<Ticket> {
        let mut taken = Vec::new();
        self.waiting.retain(|(ticket, wanted)| {
            if *wanted == wish {
                taken.push(*ticket);
            }
            *wanted != wish
        });
        taken
    }
}

impl HeldSession {
    pub(crate) fn session(&self) -> Option<&Session> {
        match &self.life {
            SessionLife::Open(stored) => Some(&stored.session),
            SessionLife::Opening(_) => None,
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.session().is_some_and(|session| session.exit.is_some())
    }
}
