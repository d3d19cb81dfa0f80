//! Doing what the ledger has decided.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use porthole_discovery::Settings;
use porthole_protocol::id::{ContainerId, SessionId};
use porthole_protocol::keeper::{
    Event, Failure, FailureCode, FromKeeper, MESSAGE_LIMIT, Reply, Request,
};
use porthole_protocol::session::Target;
use porthole_protocol::trace::Trace;
use porthole_sys::process::{Child, Clone, SingleThreaded};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::connection::Closed;
use super::journals::check_journal;
use super::worker::{Attempt, Report, Work, Worker};
use super::{Broker, Source};
use crate::ledger::{Config, Effect, Ticket};
use crate::log::log;
use crate::monitor::{self, io_failure};
use crate::poll::READ;
use crate::{ground, store};

impl Broker {
    /// A request that a server may make at this point.
    pub(super) fn request(&mut self, ticket: Ticket, request: Request, descriptors: Vec<OwnedFd>) {
        let peer = self
            .connections
            .get(&ticket.connection)
            .and_then(|connection| connection.packet.credentials().ok());
        let peer = peer.map(|peer| peer.uid);
        let pair = <[OwnedFd; 2]>::try_from(descriptors).map_err(|mut other| other.pop());
        if let Err(Some(archive)) = pair {
            if let Err(failure) = self.take_archive(ticket, archive, peer) {
                return self.reply(ticket, Reply::Failed(failure), Vec::new());
            }
        } else if let Ok(pair) = pair {
            if let Err(failure) = check_journal(&pair, peer) {
                return self.reply(ticket, Reply::Failed(failure), Vec::new());
            }
            // A number that is used twice at once would take the first one's descriptors away.
            if self.descriptors.contains_key(&ticket) {
                let failure = Failure::new(FailureCode::BadRequest, "this number is in use");
                return self.reply(ticket, Reply::Failed(failure), Vec::new());
            }
            self.descriptors.insert(ticket, pair);
        }
        let mut random = [0; 34];
        if let Err(failure) = fill_random(&mut random) {
            return self.reply(ticket, Reply::Failed(failure), Vec::new());
        }
        let effects = self.ledger.request(ticket, request, Self::now(), random);
        self.perform(effects);
    }

    pub(super) fn perform(&mut self, effects: Vec<Effect>) {
        self.queue.extend(effects);
        while let Some(effect) = self.queue.pop_front() {
            self.perform_one(effect);
        }
    }

    fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::Reply(ticket, reply) => self.reply(ticket, reply, Vec::new()),
            Effect::Tell(event) => self.tell(&event),
            Effect::Watch(connection) => self.begin_to_watch(connection),
            Effect::Make(config) => self.make(*config),
            Effect::Unmake(id) => self.work(Work::Unmake(id, Attempt::First)),
            Effect::Save(id) => self.save(&id),
            Effect::SaveSession(id) => self.save_session(&id),
            Effect::Forget(id) => self.forget(&id),
            Effect::Launch(id, starter) => self.launch(&id, starter),
            Effect::Freeze(id) => self.freeze(&id),
            Effect::Thaw(id) => self.thaw(&id),
            Effect::Configure(config, was) => {
                self.work(Work::Configure(config, was, Attempt::First))
            }
            Effect::Join(joining) => self.join(&joining),
            Effect::Send(target, message) => self.send(&target, &message),
            Effect::Attach(target, ticket) => self.attach(&target, ticket),
            Effect::Trace(target, ticket) => self.trace(&target, ticket),
            Effect::Observe(ticket) => self.observe(ticket),
            Effect::Inspect(ticket, subject, what) => self.inspect(ticket, subject, what),
            Effect::Import(import) => self.import_image(import),
            Effect::CancelImport(id) => self.cancel_import(&id),
            Effect::SaveImages(images) => self.save_images(images),
            Effect::UseImages(images) => self.ground.images.hold(images),
            Effect::SweepImages(kept) => self.sweep_images(kept),
            Effect::Kill(target) => self.kill(&target),
            Effect::KillStray(session, container) => self.kill_stray(&session, container),
            Effect::KillMonitor(target) => {
                if let Some(process) = self.monitors.get(&target).and_then(|l| l.process.as_ref()) {
                    let _ = porthole_sys::signals::send(process, 9);
                }
            }
        }
    }

    // ---- To servers

    pub(super) fn reply(&mut self, ticket: Ticket, reply: Reply, descriptors: Vec<OwnedFd>) {
        self.descriptors.remove(&ticket);
        self.drop_archive(ticket, &reply);
        let message = FromKeeper::Reply {
            id: ticket.id,
            reply: Box::new(reply),
        };
        self.send_to(ticket.connection, &message, descriptors);
    }

    pub(super) fn tell(&mut self, event: &Event) {
        let watching: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.watches)
            .map(|(id, _)| *id)
            .collect();
        let message = FromKeeper::Event(Box::new(event.clone()));
        for id in watching {
            self.send_to(id, &message, Vec::new());
        }
    }

    /// From now on a server is told of every change, and of what there is, as fast as it reads: all
    /// at once would be more than may wait for it.
    fn begin_to_watch(&mut self, id: u64) {
        let things = self.ledger.things();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.watches = true;
            connection.untold = things;
        }
        self.tell_the_rest(id);
    }

    /// Tells it more of what there is, until that waits for it to read. What has gone since it began
    /// to watch it was told as a change, and what has changed it may be told of twice.
    pub(super) fn tell_the_rest(&mut self, id: u64) {
        loop {
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            if connection.is_behind() {
                return;
            }
            let Some(thing) = connection.untold.pop_front() else {
                return;
            };
            if let Some(event) = self.ledger.event_of(&thing) {
                self.send_to(id, &FromKeeper::Event(Box::new(event)), Vec::new());
            }
        }
    }

    fn send_to(&mut self, id: u64, message: &FromKeeper, descriptors: Vec<OwnedFd>) {
        // Whoever has hung up since needs no answer.
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match connection.send(message, descriptors) {
            Ok(false) => {}
            Ok(true) => self.await_room(id),
            Err(closed) => {
                if !matches!(closed, Closed::Send(_)) {
                    log!("keeper", "a server was cut off: {closed}");
                }
                self.hang_up(id);
            }
        }
    }

    // ---- Files

    fn make(&mut self, mut config: Config) {
        if config.ids.2 == 0 {
            match porthole_runtime::allocate_ids(&self.ledger.used_ids()) {
                Ok(ids) => config.ids = ids,
                Err(failure) => {
                    let effects = self.ledger.not_made(&config.id, failure);
                    return self.queue.extend(effects);
                }
            }
            self.ledger.allocated(&config);
        }
        self.work(Work::Make(Box::new(config)));
    }

    pub(super) fn work(&mut self, work: Work) {
        let forked = Worker::fork(&self.ground, work.clone()).and_then(|worker| {
            let number = self.number(Source::Worker(self.next_number + 1));
            self.poll.add(&worker.packet, number, READ)?;
            self.workers.insert(number, worker);
            Ok(())
        });
        if let Err(error) = forked {
            let failure = io_failure(&error, "no process can be started");
            let effects = self.worked(&work, Report::Done(Err(failure)));
            self.queue.extend(effects);
        }
    }

    pub(super) fn worked(&mut self, work: &Work, report: Report) -> Vec<Effect> {
        let report = match (work, report) {
            // Of what was changed nobody knows how much was: all of it, then.
            (Work::Configure(config, was, Attempt::First), Report::Killed(_)) => {
                self.work(Work::Configure(config.clone(), *was, Attempt::Last));
                return Vec::new();
            }
            (_, Report::Done(report)) => report,
            (_, Report::Killed(failure)) => Err(failure),
        };
        if let Err(failure) = &report {
            log!(
                "keeper",
                "container {}: {failure}",
                work.container().short()
            );
        }
        match (work, report) {
            (Work::Make(config), Ok(())) => self.ledger.made(&config.id),
            (Work::Make(config), Err(failure)) => {
                // A worker that was killed has not cleared up.
                if self.container_directory(&config.id).exists() {
                    self.work(Work::Unmake(config.id.clone(), Attempt::First));
                }
                self.ledger.not_made(&config.id, failure)
            }
            // One that was killed halfway has left the rest, which nobody would find before the
            // next start: its record is gone first.
            (Work::Unmake(id, Attempt::First), Err(_)) => {
                self.work(Work::Unmake(id.clone(), Attempt::Last));
                Vec::new()
            }
            (Work::Unmake(id, _), Err(failure)) if self.is_recorded(id) => {
                self.ledger.not_removed(id, &failure, Self::now())
            }
            (Work::Unmake(id, _), report) => self.ledger.removed(id, report),
            (Work::Configure(config, ..), report) => {
                let effects = self.ledger.changed(&config.id, report, Self::now());
                self.look_at_bridge(&config.id);
                effects
            }
        }
    }

    pub(super) fn save(&self, id: &ContainerId) {
        let Some((_, state)) = self.ledger.stored(id) else {
            return;
        };
        let path = self.container_directory(id).join("state.json");
        if let Err(error) = store::replace(&path, state) {
            log!("keeper", "{}: {error}", path.display());
        }
    }

    fn save_session(&self, id: &SessionId) {
        let Some(stored) = self.ledger.stored_session(id) else {
            return;
        };
        let directory = monitor::directory(&self.ground.places, &Target::Session(id.clone()));
        let path = directory.join("session.json");
        if let Err(error) = store::replace(&path, stored) {
            log!("keeper", "{}: {error}", path.display());
        }
    }

    fn forget(&self, id: &SessionId) {
        if let Err(failure) = self.kill_foreign(id) {
            log!("keeper", "session {}: {failure}", id.short());
        }
        let directory = monitor::directory(&self.ground.places, &Target::Session(id.clone()));
        // What its container has written there may be any number of files.
        if porthole_runtime::has_toolbox(&directory) {
            return self.delete_aside(directory);
        }
        if let Err(error) = porthole_runtime::delete_tree(&directory) {
            log!("keeper", "{}: {error}", directory.display());
        }
    }

    pub(super) fn container_directory(&self, id: &ContainerId) -> std::path::PathBuf {
        monitor::directory(&self.ground.places, &Target::Init(id.clone()))
    }

    /// Whether it is a container for the next keeper, too.
    fn is_recorded(&self, id: &ContainerId) -> bool {
        self.container_directory(id).join("config.json").exists()
    }

    fn trace(&mut self, target: &Target, ticket: Ticket) {
        let path = monitor::directory(&self.ground.places, target).join("trace.json");
        let reply = match store::read::<Trace>(&path) {
            Ok(trace) => Reply::Trace(shortened(trace.unwrap_or_default())),
            Err(error) => Reply::Failed(io_failure(&error, "the trace cannot be read")),
        };
        self.reply(ticket, reply, Vec::new());
    }

    // ---- Observers

    fn observe(&mut self, ticket: Ticket) {
        if let Some(old) = self.observers.remove(&ticket.connection) {
            let _ = porthole_sys::signals::send(&old.pidfd, 9);
        }
        let settings = Settings {
            sessions: Some(self.ground.places.sessions()),
            ..Settings::new(Some(ground::cgroup_base(&self.ground.cgroups)))
        };
        match fork_observer(&settings) {
            Ok((stream, child)) => {
                self.observers.insert(ticket.connection, child);
                self.reply(ticket, Reply::Observing, vec![stream]);
            }
            Err(error) => {
                let failure = io_failure(&error, "no observer can be started");
                self.reply(ticket, Reply::Failed(failure), Vec::new());
            }
        }
    }
}

fn fork_observer(settings: &Settings) -> io::Result<(OwnedFd, Child)> {
    let (ours, its) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let alone = SingleThreaded::verify()?;
    let child = porthole_sys::process::clone(alone, &Clone::default(), |forked| -> Infallible {
        let _ = rustix::thread::set_name(c"porthole-watch");
        let observed = forked
            .close_all_but(&[its.as_fd()])
            .and_then(|()| its.try_clone())
            .map_err(|error| error.to_string())
            .and_then(|stream| {
                // The copy is the only one now, so that the server's end is noticed.
                porthole_discovery::observe(stream, settings).map_err(|failure| failure.to_string())
            });
        if let Err(error) = &observed {
            log!("observer", "{error}");
        }
        porthole_sys::process::exit(i32::from(observed.is_err()))
    })?;
    Ok((ours, child))
}

pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), Failure> {
    let filled = rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty());
    match filled {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(Failure::new(
            FailureCode::Internal,
            "the kernel gave too few random bytes",
        )),
        Err(errno) => Err(io_failure(&errno.into(), "no random bytes")),
    }
}

/// As much of a trace as fits a message.
fn shortened(mut trace: Trace) -> Trace {
    while serde_json::to_vec(&trace).map_or(0, |json| json.len()) > MESSAGE_LIMIT - 1024 {
        let kept = trace.steps.len() * 3 / 4;
        trace.steps.truncate(kept);
    }
    trace
}
