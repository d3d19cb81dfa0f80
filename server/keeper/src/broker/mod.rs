//! The keeper: the one privileged process that servers ask.
//!
//! One thread, one loop, nothing is waited for: requests, monitors' and workers' messages and the
//! clock go to the [`Ledger`], and what it decides is done here. Everything that may take long, or
//! that touches what a container controls, happens in a forked monitor, worker or observer.
//!
//! ```text
//!   servers ==SEQPACKET==> connection --> Ledger --> effects --> monitors, workers, observers
//!                              ^                        |
//!                              +------ replies, events -+
//! ```

mod connection;
mod effects;
mod identity;
mod inspections;
mod monitors;
mod takeover;
mod worker;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use porthole_protocol::keeper::{Hello, Policy, VERSION};
use porthole_protocol::monitor::{self as monitor_protocol, FromMonitor};
use porthole_protocol::session::Target;
use porthole_runtime::{Cgroups, Images};
use porthole_sys::packet::{Listener, Packet, PacketError};
use porthole_sys::process::Child;
use rustix::event::epoll::EventFlags;
use rustix::fs::{FlockOperation, Mode, flock};
use rustix::process::WaitOptions;

use self::connection::{Connection, Incoming};
use self::inspections::Inspection;
use self::worker::Worker;
use crate::ledger::{Effect, Ledger, Machine, Now, Ticket};
use crate::log::log;
use crate::monitor::Ground;
use crate::poll::{Poll, READ, READ_WRITE};
use crate::settings::Places;
use crate::{accounts, clock, ground, policy, program, store};

/// Servers that may be connected at once; there is one, and another while it is replaced.
const CONNECTIONS: usize = 32;

/// Messages taken from one peer before the others have their turn.
const MESSAGES_AT_ONCE: usize = 32;

/// A monitor's message may hold a session's record.
const MONITOR_MESSAGE_LIMIT: usize = 256 * 1024;

/// How long a predecessor has to go, which holds the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Whom a number of [`Poll`]'s means.
#[derive(Debug, Clone)]
enum Source {
    Listener,
    Children,
    Connection(u64),
    Monitor(Target),
    Worker(u64),
}

/// A connection to a monitor.
#[derive(Debug)]
struct Link {
    number: u64,
    packet: Packet,
    /// The monitor; `None` where that could not be found out.
    process: Option<OwnedFd>,
    /// Whether it speaks our version of the protocol.
    understood: bool,
}

/// The keeper.
struct Broker {
    poll: Poll,
    listener: Listener,
    children: SignalFd,
    ground: Ground,
    ledger: Ledger,
    policy: Policy,
    lacking: Vec<String>,
    /// The account that servers run as, beside root; `None` where there is none.
    server_uid: Option<u32>,
    sources: HashMap<u64, Source>,
    next_number: u64,
    connections: BTreeMap<u64, Connection>,
    monitors: BTreeMap<Target, Link>,
    workers: HashMap<u64, Worker>,
    /// One for each connection that asked for it.
    observers: HashMap<u64, Child>,
    inspections: Vec<Inspection>,
    /// What came with requests that are not answered yet.
    descriptors: HashMap<Ticket, [OwnedFd; 2]>,
    queue: VecDeque<Effect>,
}

/// Runs the keeper until it is killed. Returns only what keeps it from running.
pub(crate) fn run() -> anyhow::Result<std::convert::Infallible> {
    rustix::thread::set_name(c"porthole-keeper")?;
    rustix::process::umask(Mode::from_bits_retain(0o077));
    ground::must_be_root()?;
    let places = Places::from_environment()?;
    let rules = policy::read(&places.policy)?;
    ground::make_directories(&places, accounts::server()?.as_ref())?;
    let _lock = lock(&places)?;
    let listener = listener(&places)?;
    let mut broker = Broker::new(places, rules, listener)?;
    broker.take_over()?;
    log!("keeper", "ready, {} containers", broker.ledger.count());
    loop {
        if let Err(error) = broker.turn() {
            // Another one may do better, and everything is on disk.
            log!("keeper", "{error}");
            std::process::exit(1);
        }
    }
}

/// Two keepers of one root would undo each other's work.
fn lock(places: &Places) -> anyhow::Result<std::fs::File> {
    let path = places.keeper().join("lock");
    let file = std::fs::File::create(&path)?;
    let since = std::time::Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if since.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => anyhow::bail!(
                "another keeper works in {}; stop it, or choose another PORTHOLE_ROOT",
                places.root.display()
            ),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The listener that `serve` passes, or one of our own where nobody does.
fn listener(places: &Places) -> anyhow::Result<Listener> {
    if std::env::var_os("LISTEN_FDS").is_some_and(|count| count == "1") {
        let passed = porthole_sys::process::inherited(porthole_sys::passing::FIRST)
            .ok_or_else(|| anyhow::anyhow!("LISTEN_FDS is set, but nothing was passed"))?;
        return Ok(Listener::from_fd(passed)?);
    }
    ground::keeper_listener(places, accounts::server()?.as_ref())
}

impl Broker {
    fn new(places: Places, rules: policy::Rules, listener: Listener) -> anyhow::Result<Self> {
        let (cgroups, mut lacking) = Cgroups::detect(&places.instance())?;
        lacking.extend(ground::lacking());
        let images = Images::prepare(&places.keeper().join("images"));
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let server_uid = accounts::server()?.map(|account| account.uid);
        let ledger = Ledger::new(
            images.list(),
            rules,
            Machine {
                boot: boot.trim().to_owned(),
                cgroup: ground::cgroup_base(&cgroups),
                host: identity::own_namespaces(),
            },
        );
        let program = program::sealed()?;
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()?;
        let children = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let mut broker = Self {
            poll: Poll::new()?,
            listener,
            children,
            ground: Ground {
                places,
                images,
                cgroups,
                program,
            },
            ledger,
            policy: rules.policy,
            lacking,
            server_uid,
            sources: HashMap::new(),
            next_number: 0,
            connections: BTreeMap::new(),
            monitors: BTreeMap::new(),
            workers: HashMap::new(),
            observers: HashMap::new(),
            inspections: Vec::new(),
            descriptors: HashMap::new(),
            queue: VecDeque::new(),
        };
        let number = broker.number(Source::Listener);
        broker.poll.add(&broker.listener, number, READ)?;
        let number = broker.number(Source::Children);
        broker.poll.add(&broker.children, number, READ)?;
        Ok(broker)
    }

    fn number(&mut self, source: Source) -> u64 {
        self.next_number += 1;
        self.sources.insert(self.next_number, source);
        self.next_number
    }

    fn now() -> Now {
        Now {
            wall: clock::wall(),
            ms: clock::monotonic_ms(),
        }
    }

    /// Waits for something to happen and sees to it.
    fn turn(&mut self) -> io::Result<()> {
        let timeout = self
            .ledger
            .next_deadline()
            .into_iter()
            .chain(self.next_inspection_deadline())
            .min()
            .map(|at| at.saturating_sub(clock::monotonic_ms()) + 1);
        for (number, flags) in self.poll.wait(timeout)? {
            match self.sources.get(&number).cloned() {
                Some(Source::Listener) => self.accept(),
                Some(Source::Children) => self.reap(),
                Some(Source::Connection(id)) => self.serve(id, flags),
                Some(Source::Monitor(target)) => self.hear(&target),
                Some(Source::Worker(id)) => self.hear_worker(id),
                // Gone since the kernel gathered its event.
                None => {}
            }
        }
        self.end_inspections();
        let effects = self.ledger.tick(Self::now());
        self.perform(effects);
        Ok(())
    }

    // ---- Servers

    fn accept(&mut self) {
        while let Ok(packet) = self.listener.accept(true) {
            let allowed = packet
                .credentials()
                .is_ok_and(|who| who.uid == 0 || Some(who.uid) == self.server_uid);
            if !allowed || self.connections.len() >= CONNECTIONS {
                continue;
            }
            let number = self.number(Source::Connection(self.next_number + 1));
            if self.poll.add(&packet, number, READ).is_ok() {
                self.connections.insert(number, Connection::new(packet));
            } else {
                self.sources.remove(&number);
            }
        }
    }

    fn serve(&mut self, id: u64, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.flush(id);
        }
        for _ in 0..MESSAGES_AT_ONCE {
            let Some(connection) = self.connections.get(&id) else {
                return;
            };
            match connection.receive() {
                Ok(Some((bytes, descriptors))) => self.understand(id, &bytes, descriptors),
                Err(error) if error.is_would_block() => return,
                Ok(None) => return self.hang_up(id),
                Err(PacketError::Descriptors { bytes }) => {
                    self.act(id, connection::without_descriptors(&bytes));
                }
                Err(error) => {
                    log!("keeper", "a server was cut off: {error}");
                    return self.hang_up(id);
                }
            }
        }
    }

    fn understand(&mut self, id: u64, bytes: &[u8], descriptors: Vec<OwnedFd>) {
        let hello = Hello {
            version: VERSION,
            pid: std::process::id().cast_signed(),
            policy: self.policy,
            lacking: self.lacking.clone(),
        };
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let incoming = connection
            .conversation
            .understand(bytes, descriptors, || hello);
        self.act(id, incoming);
    }

    fn act(&mut self, id: u64, incoming: Incoming) {
        match incoming {
            Incoming::Request(number, request, descriptors) => {
                let ticket = Ticket {
                    connection: id,
                    id: number,
                };
                self.request(ticket, request, descriptors);
            }
            Incoming::Answer(number, reply) => {
                self.reply(
                    Ticket {
                        connection: id,
                        id: number,
                    },
                    reply,
                    Vec::new(),
                );
            }
            Incoming::LastAnswer(number, reply) => {
                self.reply(
                    Ticket {
                        connection: id,
                        id: number,
                    },
                    reply,
                    Vec::new(),
                );
                self.hang_up(id);
            }
            Incoming::Senseless(why) => {
                log!("keeper", "a server was cut off: {why}");
                self.hang_up(id);
            }
        }
    }

    fn flush(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match connection.flush() {
            Ok(true) => {}
            Ok(false) => {
                let _ = self.poll.change(&connection.packet, id, READ);
            }
            Err(closed) => {
                log!("keeper", "a server was cut off: {closed}");
                self.hang_up(id);
            }
        }
    }

    fn hang_up(&mut self, id: u64) {
        if let Some(connection) = self.connections.remove(&id) {
            self.poll.remove(&connection.packet);
        }
        self.sources.remove(&id);
        self.descriptors.retain(|ticket, _| ticket.connection != id);
        if let Some(observer) = self.observers.remove(&id) {
            let _ = porthole_sys::signals::send(&observer.pidfd, 9);
        }
    }

    // ---- What was forked

    fn reap(&mut self) {
        while let Ok(Some(_)) = self.children.read_signal() {}
        // What became of it is told by its connection.
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
    }

    /// A monitor has something to say, or is gone.
    fn hear(&mut self, target: &Target) {
        for _ in 0..MESSAGES_AT_ONCE {
            let Some(link) = self.monitors.get(target) else {
                return;
            };
            match link.packet.receive(MONITOR_MESSAGE_LIMIT) {
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

    fn heard(&mut self, target: &Target, message: FromMonitor) {
        if let FromMonitor::Hello {
            version,
            target: says,
            started,
            ..
        } = &message
        {
            let understood = *version == monitor_protocol::VERSION && says == target;
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

    fn lose_monitor(&mut self, target: &Target) {
        if let Some(link) = self.monitors.remove(target) {
            self.poll.remove(&link.packet);
            self.sources.remove(&link.number);
        }
        // One that was killed leaves its socket.
        let socket = crate::monitor::socket(&self.ground.places, target);
        let _ = std::fs::remove_file(socket);
        let directory = crate::monitor::directory(&self.ground.places, target);
        let exit = store::read(&directory.join("exit.json")).ok().flatten();
        let failure = store::read(&directory.join("failure.json")).ok().flatten();
        let effects = self.ledger.monitor_gone(target, exit, failure, Self::now());
        self.perform(effects);
    }

    fn hear_worker(&mut self, id: u64) {
        let Some(report) = self.workers.get(&id).and_then(Worker::report) else {
            return;
        };
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        self.poll.remove(&worker.packet);
        self.sources.remove(&id);
        let effects = self.worked(&worker.work, report);
        self.perform(effects);
    }

    /// Waits until there is room for what a connection is still to be sent.
    fn await_room(&mut self, id: u64) {
        if let Some(connection) = self.connections.get(&id) {
            let _ = self.poll.change(connection.packet.as_fd(), id, READ_WRITE);
        }
    }
}
