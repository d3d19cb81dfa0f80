//! What the keeper knows and decides: pure, so that every order of events can be tried.
//!
//! A request, a monitor's message, a clock's tick come in; what is to be done about it comes out
//! as [`Effect`]s, in the order in which they are to be done. Nothing here does I/O.
//!
//! ```text
//!              Create             Start               Started
//!   (nothing) -------> Making --> Created ---------> Starting --------> Running
//!                         |          ^  ^               | Failed           | Exited, or the
//!                  failed |          |  +---------------+                  | monitor is gone
//!                         v          |        Start                        v
//!                     (nothing)      +--------------------------------  Exited
//!                                                     (by way of Starting)
//!   Created, Exited -- Remove --> Removing --> (nothing)
//!   Exited, Created -- its restart policy, after a while --> Starting
//!   Exited -- where it is removed when it ends --> Removing
//! ```
//!
//! A monitor outlives its process until all output is in the journal. A container whose last
//! monitor has not gone yet is started, or removed, as soon as it has.

mod changes;
mod containers;
mod endings;
mod images;
mod network;
mod pausing;
mod record;
mod recovery;
mod render;
mod restarts;
mod retention;
mod sessions;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use porthole_protocol::container::{Image, ImageName, Limits, Timestamp};
use porthole_protocol::id::{ContainerId, ImportId, SessionId};
use porthole_protocol::image::{Digest, StoredImage};
use porthole_protocol::inspection::{Subject, What};
use porthole_protocol::keeper::{Event, Failure, FailureCode, Policy, Reply, Request};
use porthole_protocol::monitor::{FromMonitor, ToMonitor};
use porthole_protocol::namespace::NamespaceSet;
use porthole_protocol::session::{Exit, SessionSpec, Target};

use crate::policy::{Ceilings, Rules};
use images::Shelf;
pub(crate) use images::{Import, cancelled};
pub(crate) use network::Network;
pub(crate) use record::{Config, Init, Run, Starter, State, StoredSession};
use record::{Deadline, Held, HeldSession};
pub(crate) use recovery::{Aside, Found, FoundSession};

/// A request that is to be answered: by which connection it came, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket {
    pub(crate) connection: u64,
    pub(crate) id: u64,
}

/// What time it is, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) wall: Timestamp,
    /// Milliseconds of the clock that never jumps.
    pub(crate) ms: u64,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Answer a request.
    Reply(Ticket, Reply),
    /// Tell everybody who watches.
    Tell(Event),
    /// From now on this connection watches; what there is goes to it first.
    Watch(u64),
    /// Allocate ids unless they are given, and make the container on disk; then
    /// [`Ledger::made`] or [`Ledger::not_made`].
    Make(Box<Config>),
    /// Delete the container from the disk, its groups too; then [`Ledger::removed`].
    Unmake(ContainerId),
    /// Write the container's state down.
    Save(ContainerId),
    /// Write the session's record down.
    SaveSession(SessionId),
    /// Delete the session's record.
    Forget(SessionId),
    /// Fork a monitor that starts the container, with the descriptors that came with the request,
    /// or its journal where nobody has asked.
    Launch(ContainerId, Starter),
    /// Freeze the container's processes; then [`Ledger::frozen`].
    Freeze(ContainerId),
    /// Let the container's processes go on.
    Thaw(ContainerId),
    /// Write down what the container is from now on, and set its limits, where it runs and they are
    /// others than these; then [`Ledger::changed`].
    Configure(Box<Config>, Option<Limits>),
    /// Fork a monitor that starts the session, with the descriptors that came with the request.
    Join(Box<Joining>),
    /// Send this to the target's monitor.
    Send(Target, ToMonitor),
    /// Make the requesting connection the target's reader.
    Attach(Target, Ticket),
    /// Answer with the recorded calls.
    Trace(Target, Ticket),
    /// Fork an observer for the requesting connection.
    Observe(Ticket),
    /// Fork a child that makes an image of the archive that came with the request; then
    /// [`Ledger::imported`].
    Import(Box<Import>),
    /// Kill the child that makes it.
    CancelImport(ImportId),
    /// Write the list of imported images down; then [`Ledger::images_saved`].
    SaveImages(Vec<StoredImage>),
    /// From now on containers are made of these, beside those that are made here.
    UseImages(Vec<StoredImage>),
    /// Delete all layers but these; then [`Ledger::images_swept`].
    SweepImages(BTreeSet<Digest>),
    /// Fork a child that looks into a process's namespaces, and answer with its pipe.
    Inspect(Ticket, Subject, What),
    /// Kill every process of the target, without its monitor.
    Kill(Target),
    /// Kill every process of a session that nothing else is known of: in this container, or in
    /// whichever it is.
    KillStray(SessionId, Option<ContainerId>),
    /// Kill the target's monitor.
    KillMonitor(Target),
}

/// Something that whoever begins to watch is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Thing {
    Image(ImageName),
    Container(ContainerId),
    Session(SessionId),
    /// That was all.
    Synced,
}

/// A session that is to be opened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Joining {
    pub(crate) session: SessionId,
    pub(crate) spec: SessionSpec,
    pub(crate) owner: porthole_protocol::container::Owner,
    pub(crate) ticket: Ticket,
}

/// Sessions that may run at once.
const SESSIONS: usize = 1024;

/// Containers that there may be.
const CONTAINERS: usize = 1024;

/// Requests that may wait for the same thing.
const WAITING: usize = 64;

/// Ended sessions whose records are kept.
const ENDED_SESSIONS: usize = 200;

/// How long a start may take, in milliseconds.
const START_MS: u64 = 30_000;

/// The longest time that SIGTERM is given, in milliseconds: a day.
const STOP_MS: u64 = 24 * 60 * 60 * 1000;

/// How long processes have to come to a stand, in milliseconds.
const FREEZE_MS: u64 = 2_000;

/// How long a monitor has to kill a group before the keeper does it.
const END_MS: u64 = 2_000;

/// How long killed processes have until whoever waits is told that they are still there.
const KILL_MS: u64 = 10_000;

/// Everything the keeper knows.
#[derive(Debug)]
pub(crate) struct Ledger {
    containers: BTreeMap<ContainerId, Held>,
    sessions: BTreeMap<SessionId, HeldSession>,
    images: Shelf,
    policy: Policy,
    /// The most that a container may be given.
    ceilings: Ceilings,
    /// This boot of the machine.
    boot: String,
    /// The containers' groups' parent, from the cgroup2 tree's root.
    cgroup: String,
    /// The host's namespaces.
    host: NamespaceSet,
    /// What containers can be attached to.
    network: Network,
    /// The last number of its pool that was given.
    last_number: u32,
    /// Containers of which no more is known than what nobody else may have.
    aside: Vec<Aside>,
}

/// Where a ledger is kept.
pub(crate) struct Machine {
    /// This boot of it.
    pub(crate) boot: String,
    /// The path of the group in which each container has its own.
    pub(crate) cgroup: String,
    /// The namespaces that a process has that makes none.
    pub(crate) host: NamespaceSet,
}

impl Ledger {
    /// A ledger that knows of no container yet.
    pub(crate) fn new(images: Vec<Image>, rules: Rules, machine: Machine) -> Self {
        Self {
            containers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            images: Shelf::new(images),
            policy: rules.policy,
            ceilings: rules.ceilings,
            boot: machine.boot,
            cgroup: machine.cgroup,
            host: machine.host,
            network: Network::default(),
            last_number: 0,
            aside: Vec::new(),
        }
    }

    /// A request came. `random` is fresh.
    pub(crate) fn request(
        &mut self,
        ticket: Ticket,
        request: Request,
        now: Now,
        random: [u8; 34],
    ) -> Vec<Effect> {
        let answer = match request {
            // The connection answers it before anything gets here.
            Request::Hello { .. } => Err(bad_request("Hello was said before")),
            Request::Watch => Ok(vec![
                Effect::Reply(ticket, Reply::Done),
                Effect::Watch(ticket.connection),
            ]),
            Request::Create { spec, owner } => self.create(ticket, *spec, owner, now, random),
            Request::Start { container } => self.start(ticket, &container, now),
            Request::Stop {
                container,
                timeout_ms,
            } => self.stop(ticket, &container, timeout_ms, now),
            Request::Restart {
                container,
                timeout_ms,
            } => self.restart(ticket, &container, timeout_ms, now),
            Request::Pause { container } => self.pause(ticket, &container, now),
            Request::Unpause { container } => self.unpause(ticket, &container),
            Request::Change { container, change } => self.change(ticket, &container, change),
            Request::Kill { container, signal } => self.kill(ticket, &container, signal),
            Request::Remove { container, force } => self.remove(ticket, &container, force, now),
            Request::OpenSession {
                session,
                spec,
                owner,
            } => self.open_session(ticket, session, *spec, owner, now),
            Request::Attach { target } => self.attach(ticket, target),
            Request::EndSession { session } => self.end_session(ticket, &session, now),
            Request::ForgetSession { session } => self.forget_session(ticket, &session),
            Request::Trace { target } => self.trace(ticket, target),
            Request::Observe => Ok(vec![Effect::Observe(ticket)]),
            Request::Inspect { subject, what } => Ok(vec![Effect::Inspect(ticket, subject, what)]),
            Request::ImportImage { id, name, owner } => self.import_image(ticket, id, name, owner),
            Request::CancelImport { id } => self.cancel_import(ticket, &id),
            Request::TagImage { image, name } => self.tag_image(ticket, image, &name),
            Request::RemoveImage { image } => self.remove_image(ticket, image),
            Request::PruneImages { all } => self.prune_images(ticket, all),
        };
        answer.unwrap_or_else(|failure| vec![Effect::Reply(ticket, Reply::Failed(failure))])
    }

    /// A monitor said something.
    pub(crate) fn said(&mut self, target: &Target, message: FromMonitor, now: Now) -> Vec<Effect> {
        match (target, message) {
            (Target::Init(id), FromMonitor::Started(started)) => {
                self.container_started(id, started, now)
            }
            (Target::Init(id), FromMonitor::Failed(failure)) => {
                self.container_failed(id, failure, now)
            }
            (Target::Init(id), FromMonitor::Exited(exit)) => self.container_exited(id, exit, now),
            (Target::Session(id), FromMonitor::Started(started)) => {
                self.session_started(id, started)
            }
            (Target::Session(id), FromMonitor::Failed(failure)) => self.session_failed(id, failure),
            (Target::Session(id), FromMonitor::Exited(exit)) => self.session_exited(id, exit),
            (target, FromMonitor::Hello { started, exit, .. }) => {
                // An adopted monitor tells what happened while no keeper was there.
                let mut effects = Vec::new();
                if let (Target::Init(id), Some(_)) = (target, &started) {
                    self.believe_monitor(id, exit.is_some());
                }
                if let Some(started) = started {
                    effects.extend(self.said(target, FromMonitor::Started(started), now));
                }
                if let Some(exit) = exit {
                    effects.extend(self.said(target, FromMonitor::Exited(exit), now));
                }
                effects
            }
        }
    }

    /// A monitor is gone, and this is what it left behind: how its process ended, or why there was
    /// none. Neither of it where it was killed itself.
    pub(crate) fn monitor_gone(
        &mut self,
        target: &Target,
        exit: Option<Exit>,
        failure: Option<Failure>,
        now: Now,
    ) -> Vec<Effect> {
        match target {
            Target::Init(id) => self.container_monitor_gone(id, exit, failure, now),
            Target::Session(id) => self.session_monitor_gone(id, exit, failure, now),
        }
    }

    /// How many containers there are.
    pub(crate) fn count(&self) -> usize {
        self.containers.len()
    }

    /// Which containers run.
    pub(crate) fn running(&self) -> Vec<ContainerId> {
        let running = self.containers.iter().filter(|(_, held)| held.lives());
        running.map(|(id, _)| id.clone()).collect()
    }

    /// A container's run, if it runs.
    pub(crate) fn run(&self, id: &ContainerId) -> Option<&Run> {
        self.containers.get(id)?.run()
    }

    /// Everything there is, for somebody who begins to watch.
    pub(crate) fn things(&self) -> VecDeque<Thing> {
        let images = self.images.names().map(Thing::Image);
        let containers = self.containers.keys().cloned().map(Thing::Container);
        let sessions = self.sessions.keys().cloned().map(Thing::Session);
        images
            .chain(containers)
            .chain(sessions)
            .chain([Thing::Synced])
            .collect()
    }

    /// What is told of one of them; `None` where it has gone, or nobody is to know of it yet.
    pub(crate) fn event_of(&self, thing: &Thing) -> Option<Event> {
        Some(match thing {
            Thing::Image(name) => Event::Image(Box::new(self.images.called(name)?)),
            Thing::Container(id) => self.container_event(id)?,
            Thing::Session(id) => {
                Event::Session(Box::new(self.sessions.get(id)?.session()?.clone()))
            }
            Thing::Synced => Event::Synced,
        })
    }

    /// When [`Ledger::tick`] is to be called, in milliseconds of the clock that never jumps.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let containers = self.containers.values().filter_map(|held| held.deadline);
        let sessions = self.sessions.values().filter_map(|held| held.deadline);
        containers.chain(sessions).map(|d| d.at_ms).min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Now) -> Vec<Effect> {
        let due = |deadline: &Option<Deadline>| deadline.is_some_and(|d| d.at_ms <= now.ms);
        let containers: Vec<_> = self
            .containers
            .iter()
            .filter(|(_, held)| due(&held.deadline))
            .map(|(id, _)| id.clone())
            .collect();
        let sessions: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, held)| due(&held.deadline))
            .map(|(id, _)| id.clone())
            .collect();
        let mut effects = Vec::new();
        for id in containers {
            effects.extend(self.container_due(&id, now));
        }
        for id in sessions {
            effects.extend(self.session_due(&id, now));
        }
        effects.extend(self.sweep_images());
        effects
    }

    fn attach(&self, ticket: Ticket, target: Target) -> Result<Vec<Effect>, Failure> {
        let runs = match &target {
            Target::Init(id) => {
                let held = self.container(id)?;
                held.run().is_some() && held.monitor
            }
            Target::Session(id) => {
                let held = self.session(id)?;
                held.session().is_some() && !held.has_ended() && held.monitor
            }
        };
        if !runs {
            return Err(wrong_state(
                "nothing is running that could be attached to; what it has written is in its journal",
            ));
        }
        Ok(vec![Effect::Attach(target, ticket)])
    }

    fn trace(&self, ticket: Ticket, target: Target) -> Result<Vec<Effect>, Failure> {
        match &target {
            Target::Init(id) => drop(self.container(id)?),
            Target::Session(id) => drop(self.session(id)?),
        }
        Ok(vec![Effect::Trace(target, ticket)])
    }

    fn container(&self, id: &ContainerId) -> Result<&Held, Failure> {
        self.containers
            .get(id)
            .filter(|held| !matches!(held.standing, record::Standing::Making(_)))
            .ok_or_else(|| {
                Failure::new(
                    FailureCode::ContainerNotFound,
                    format!("there is no container {}", id.short()),
                )
            })
    }

    fn session(&self, id: &SessionId) -> Result<&HeldSession, Failure> {
        self.sessions.get(id).ok_or_else(|| {
            Failure::new(
                FailureCode::SessionNotFound,
                format!("there is no session {}", id.short()),
            )
        })
    }
}

/// Refuses what would let requests that wait pile up.
fn check_waiting(waiting: usize) -> Result<(), Failure> {
    if waiting < WAITING {
        Ok(())
    } else {
        Err(Failure::new(
            FailureCode::Exhausted,
            format!("{WAITING} requests wait for this already; wait for their answers"),
        ))
    }
}

/// Failures of this kind.
fn wrong_state(message: impl Into<String>) -> Failure {
    Failure::new(FailureCode::WrongState, message)
}

/// Answers that it is not to be done, as things are.
fn refuse(ticket: Ticket, why: &str) -> Effect {
    Effect::Reply(ticket, Reply::Failed(wrong_state(why)))
}

fn bad_request(message: impl Into<String>) -> Failure {
    Failure::new(FailureCode::BadRequest, message)
}
