//! Monitors: forking them, sending to them, hearing them, handing them readers.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use porthole_protocol::container::NamespaceChoice;
use porthole_protocol::id::{ContainerId, SessionId};
use porthole_protocol::keeper::{Failure, FailureCode, Reply, Stage};
use porthole_protocol::monitor::{FromMonitor, ToMonitor, VERSION};
use porthole_protocol::namespace::PerNamespace;
use porthole_protocol::session::Target;
use porthole_runtime::Cgroups;
use porthole_sys::packet::Packet;
use rustix::process::{Signal, pidfd_send_signal};

use super::{Broker, Link, MESSAGES_AT_ONCE, Source, identity};
use crate::ledger::{Config, Effect, Joining, Starter, Ticket};
use crate::log::log;
use crate::monitor::{self, Assignment, io_failure};
use crate::poll::READ;
use crate::store;

/// A monitor's message may hold a session's record.
const MESSAGE_LIMIT: usize = 256 * 1024;

impl Broker {
    pub(super) fn launch(&mut self, id: &ContainerId, starter: Starter) {
        let target = Target::Init(id.clone());
        if let Err(failure) = self.try_launch(id, starter) {
            let effects = self
                .ledger
                .said(&target, FromMonitor::Failed(failure), Self::now());
            self.queue.extend(effects);
            let effects = self.ledger.monitor_gone(&target, None, None, Self::now());
            self.queue.extend(effects);
        }
    }

    fn try_launch(&mut self, id: &ContainerId, starter: Starter) -> Result<(), Failure> {
        let [journal, index] = match starter {
            Starter::Asked(ticket) => self.take_journal(ticket)?,
            Starter::Policy => self.open_journal(id)?,
        };
        let directory = self.container_directory(id);
        for old in ["exit.json", "failure.json"] {
            match std::fs::remove_file(directory.join(old)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_failure(
                        &error,
                        "what the last run left cannot be deleted",
                    ));
                }
                _ => {}
            }
        }
        let Some((config, _)) = self.ledger.stored(id) else {
            return Err(Failure::new(FailureCode::ContainerNotFound, "it is gone"));
        };
        let config = config.clone();
        let shared = self.shared(&config)?;
        let network = self.lease(id)?;
        let assignment = Assignment::Container {
            config: &config,
            shared,
            network,
        };
        let (packet, child) = monitor::fork(&self.ground, &assignment, &journal, &index)
            .map_err(|error| io_failure(&error, "no monitor can be started"))?;
        self.link_new(Target::Init(id.clone()), packet, child.pidfd)
    }

    /// Its number in the pool of addresses, where it is to be connected: once, and for good.
    fn lease(&mut self, id: &ContainerId) -> Result<Option<u32>, Failure> {
        let Some((number, new)) = self.ledger.lease(id)? else {
            return Ok(None);
        };
        if new {
            self.save(id);
        }
        Ok(Some(number))
    }

    /// The containers whose namespaces this one is to share.
    fn shared(&self, config: &Config) -> Result<PerNamespace<Option<OwnedFd>>, Failure> {
        let mut shared = PerNamespace::build(|_| None);
        for (kind, choice) in &config.spec.namespaces {
            let NamespaceChoice::Container(reference) = choice else {
                continue;
            };
            let run = reference
                .parse()
                .ok()
                .and_then(|other| self.ledger.run(&other));
            let pidfd = run.map(|run| {
                identity::open_in(run.host_pid, run.start_ticks, *kind, &run.namespaces)
            });
            match pidfd {
                Some(Ok(pidfd)) => *shared.get_mut(*kind) = Some(pidfd),
                Some(Err(_)) | None => {
                    return Err(Failure::new(
                        FailureCode::WrongState,
                        format!("the container whose {kind} namespace it shares does not run"),
                    )
                    .stage(Stage::Clone));
                }
            }
        }
        Ok(shared)
    }

    pub(super) fn join(&mut self, joining: &Joining) {
        let target = Target::Session(joining.session.clone());
        if let Err(failure) = self.try_join(joining) {
            let effects = self
                .ledger
                .said(&target, FromMonitor::Failed(failure), Self::now());
            self.queue.extend(effects);
        }
    }

    fn try_join(&mut self, joining: &Joining) -> Result<(), Failure> {
        let [journal, index] = self.take_journal(joining.ticket)?;
        let target = Target::Session(joining.session.clone());
        let assignment = match &joining.spec.foreign {
            Some(foreign) => Assignment::Foreign {
                joining,
                foreign,
                privileged: self.policy.join_privileged,
            },
            None => self.own_assignment(joining)?,
        };
        let directory = monitor::directory(&self.ground.places, &target);
        std::fs::create_dir(&directory)
            .map_err(|error| io_failure(&error, "the session's directory cannot be made"))?;
        let (packet, child) = monitor::fork(&self.ground, &assignment, &journal, &index)
            .map_err(|error| io_failure(&error, "no monitor can be started"))?;
        self.link_new(target, packet, child.pidfd)
    }

    fn own_assignment<'a>(&'a self, joining: &'a Joining) -> Result<Assignment<'a>, Failure> {
        let (Some((config, _)), Some(run)) = (
            self.ledger.stored(&joining.spec.container),
            self.ledger.run(&joining.spec.container),
        ) else {
            return Err(Failure::new(
                FailureCode::WrongState,
                "the container does not run",
            ));
        };
        Ok(Assignment::Session {
            joining,
            config,
            run,
        })
    }

    /// Links one that was just forked. One that cannot be heard goes, with what it has begun.
    fn link_new(
        &mut self,
        target: Target,
        packet: Packet,
        process: OwnedFd,
    ) -> Result<(), Failure> {
        let again = process.try_clone();
        let linked = self.link(target.clone(), packet, Some(process));
        if linked.is_err() {
            if let Ok(process) = again {
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
            match &target {
                Target::Init(id) => drop(self.ground.cgroups.kill(id)),
                Target::Session(session) => self.kill_stray(session, None),
            }
        }
        linked.map_err(|error| io_failure(&error, "no monitor can be waited for"))
    }

    pub(super) fn link(
        &mut self,
        target: Target,
        packet: Packet,
        process: Option<OwnedFd>,
    ) -> io::Result<()> {
        let number = self.number(Source::Monitor(target.clone()));
        if let Err(error) = self.poll.add(&packet, number, READ) {
            self.sources.remove(&number);
            return Err(error);
        }
        let link = Link {
            number,
            packet,
            process,
            understood: true,
        };
        if let Some(old) = self.monitors.insert(target, link) {
            self.poll.remove(&old.packet);
            self.sources.remove(&old.number);
        }
        Ok(())
    }

    pub(super) fn send(&self, target: &Target, message: &ToMonitor) {
        let Some(link) = self.monitors.get(target) else {
            return;
        };
        let sent = serde_json::to_vec(message)
            .map_err(io::Error::from)
            .and_then(|bytes| link.packet.send(&bytes, &[]));
        // One that is gone is noticed by its connection's end.
        if let Err(error) = sent
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            log!("keeper", "{target:?}: its monitor: {error}");
        }
    }

    pub(super) fn attach(&mut self, target: &Target, ticket: Ticket) {
        let attached = self.try_attach(target);
        match attached {
            Ok(servers) => self.reply(ticket, Reply::Attached, vec![servers]),
            Err(failure) => self.reply(ticket, Reply::Failed(failure), Vec::new()),
        }
    }

    fn try_attach(&self, target: &Target) -> Result<OwnedFd, Failure> {
        let failed = |error: &io::Error| io_failure(error, "its monitor cannot be asked");
        let link = self
            .monitors
            .get(target)
            .ok_or_else(|| Failure::new(FailureCode::WrongState, "it has no monitor any more"))?;
        if !link.understood {
            return Err(Failure::new(
                FailureCode::WrongState,
                "its monitor was started by another version of Porthole and cannot be attached to; it can when it is started anew",
            ));
        }
        let (servers, monitors) = Packet::pair(true).map_err(|error| failed(&error))?;
        let bytes =
            serde_json::to_vec(&ToMonitor::Attach).map_err(|error| failed(&error.into()))?;
        link.packet
            .send(&bytes, &[monitors.as_fd()])
            .map_err(|error| failed(&error))?;
        Ok(servers.into())
    }

    pub(super) fn kill(&self, target: &Target) {
        let killed = match target {
            Target::Init(id) => self.ground.cgroups.kill(id),
            Target::Session(id) if self.ledger.is_foreign(id) => self.kill_foreign(id),
            Target::Session(id) => match self.ledger.container_of(id) {
                Some(container) => self.ground.cgroups.kill_session(container, id),
                None => Ok(()),
            },
        };
        if let Err(failure) = killed {
            log!("keeper", "{target:?}: {failure}");
        }
    }

    /// Kills what is left of a session that is in no record, of whose container the group's place
    /// alone may tell.
    pub(super) fn kill_stray(&self, session: &SessionId, container: Option<ContainerId>) {
        let containers = match container {
            Some(container) => vec![container],
            None => self.ledger.running(),
        };
        for container in containers {
            if let Err(failure) = self.ground.cgroups.kill_session(&container, session) {
                log!("keeper", "session {}: {failure}", session.short());
            }
        }
    }

    /// A monitor has something to say, or is gone.
    pub(super) fn hear(&mut self, target: &Target) {
        for _ in 0..MESSAGES_AT_ONCE {
            let Some(link) = self.monitors.get(target) else {
                return;
            };
            match link.packet.receive(MESSAGE_LIMIT) {
                Ok(Some((bytes, _))) => match serde_json::from_slice::<FromMonitor>(&bytes) {
                    Ok(message) => self.heard(target, message),
                    Err(error) => log!("keeper", "{target:?}: its monitor: {error}"),
                },
                Err(error) if error.is_would_block() => return,
                Ok(None) => return self.lose_monitor(target),
                Err(error) => {
                    log!("keeper", "{target:?}: its monitor: {error}");
                    return self.lose_monitor(target);
                }
            }
        }
    }

    pub(super) fn heard(&mut self, target: &Target, message: FromMonitor) {
        if let FromMonitor::Hello {
            version,
            target: says,
            started,
            ..
        } = &message
        {
            let understood = *version == VERSION && says == target;
            if let Some(link) = self.monitors.get_mut(target) {
                link.understood = understood;
            }
            if !understood {
                log!(
                    "keeper",
                    "{target:?}: its monitor speaks version {version}: it works on, but cannot be attached to"
                );
            }
            // A session that no record speaks of: its keeper went while it was being opened.
            if let (Target::Session(id), Some(started)) = (target, started)
                && let Some(session) = &started.session
            {
                self.ledger
                    .recover_opening(id, &session.container, Self::now());
            }
        }
        let effects = self.ledger.said(target, message, Self::now());
        self.perform(effects);
    }

    pub(super) fn lose_monitor(&mut self, target: &Target) {
        if let Some(link) = self.monitors.remove(target) {
            self.poll.remove(&link.packet);
            self.sources.remove(&link.number);
        }
        if let Target::Init(id) = target {
            self.left_bridge(id);
        }
        // One that was killed leaves its socket.
        let socket = monitor::socket(&self.ground.places, target);
        let _ = std::fs::remove_file(socket);
        let directory = monitor::directory(&self.ground.places, target);
        let exit = store::read(&directory.join("exit.json")).ok().flatten();
        let failure = store::read(&directory.join("failure.json")).ok().flatten();
        let effects = self.ledger.monitor_gone(target, exit, failure, Self::now());
        self.perform(effects);
        // Its keeper went while it was being opened, and so did it.
        if let Target::Session(id) = target
            && self.ledger.container_of(id).is_none()
        {
            self.perform(vec![
                Effect::KillStray(id.clone(), None),
                Effect::Forget(id.clone()),
            ]);
        }
    }

    /// Kills a session in another engine's container, whose monitor has written down where it is.
    pub(super) fn kill_foreign(&self, id: &SessionId) -> Result<(), Failure> {
        let target = Target::Session(id.clone());
        let path = monitor::directory(&self.ground.places, &target).join(monitor::foreign::GROUP);
        match store::read::<String>(&path) {
            Ok(Some(group)) => Cgroups::kill_foreign(&group),
            // It has not come as far as that.
            Ok(None) => Ok(()),
            Err(error) => Err(io_failure(&error, "where the session is cannot be read")),
        }
    }
}
