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
mod errands;
mod freezer;
mod identity;
mod images;
mod inspections;
mod journals;
mod monitors;
mod network;
mod retention;
mod servers;
mod takeover;
mod worker;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::Policy;
use porthole_protocol::session::Target;
use porthole_runtime::{Cgroups, Freezing, Images};
use porthole_sys::packet::{Listener, Packet};
use porthole_sys::process::Child;
use rustix::fs::{FlockOperation, Mode, flock};
use rustix::process::WaitOptions;

use self::connection::Connection;
use self::images::ImageWork;
use self::inspections::Inspection;
use self::worker::Worker;
use crate::ledger::{Effect, Ledger, Machine, Now, Ticket};
use crate::log::log;
use crate::monitor::Ground;
use crate::poll::{Poll, READ};
use crate::settings::Places;
use crate::{accounts, clock, ground, policy, program};

/// Messages taken from one peer before the others have their turn.
const MESSAGES_AT_ONCE: usize = 32;

/// Bytes of the monitors' log after which another one is begun.
const LOG_LIMIT: u64 = 4 * 1024 * 1024;

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
    Rules,
    Images(u64),
    Freezer(ContainerId),
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
    /// Containers whose processes are coming to a stand.
    freezing: HashMap<ContainerId, (u64, Freezing)>,
    /// One for each connection that asked for it.
    observers: HashMap<u64, Child>,
    inspections: Vec<Inspection>,
    mending: network::Mending,
    /// When it is looked next which containers of others have gone.
    next_look: u64,
    /// What came with requests that are not answered yet.
    descriptors: HashMap<Ticket, [OwnedFd; 2]>,
    images: ImageWork,
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
    keep_log_short(&places);
    let listener = listener(&places)?;
    let mut broker = Broker::new(places, rules, listener)?;
    if let Err(error) = broker.take_over() {
        // Nothing is wrong with what is there: the next one may have what this one lacked.
        log!("keeper", "what there is cannot be taken over: {error}");
        std::process::exit(1);
    }
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

/// What monitors have written goes aside once it is long; those that write still go on there.
fn keep_log_short(places: &Places) {
    let path = places.monitors_log();
    if std::fs::metadata(&path).is_ok_and(|log| log.len() > LOG_LIMIT)
        && let Err(error) = std::fs::rename(&path, path.with_extension("log.old"))
    {
        log!("keeper", "{}: {error}", path.display());
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
        let (mending, network) = network::prepare(&places, rules.network, &mut lacking);
        let mut policy = rules.policy;
        policy.bridge = network.is_ready();
        policy.publish_anywhere = policy.bridge && rules.network.publish_anywhere;
        let mut ledger = Ledger::new(
            images.list(),
            rules,
            Machine {
                boot: boot.trim().to_owned(),
                cgroup: ground::cgroup_base(&cgroups),
                host: identity::own_namespaces(),
            },
        );
        ledger.connect(network);
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
                bridge: mending.bridge.clone(),
            },
            ledger,
            policy,
            lacking,
            server_uid,
            sources: HashMap::new(),
            next_number: 0,
            connections: BTreeMap::new(),
            monitors: BTreeMap::new(),
            workers: HashMap::new(),
            freezing: HashMap::new(),
            observers: HashMap::new(),
            inspections: Vec::new(),
            mending,
            next_look: 0,
            descriptors: HashMap::new(),
            images: ImageWork::default(),
            queue: VecDeque::new(),
        };
        let number = broker.number(Source::Listener);
        broker.poll.add(&broker.listener, number, READ)?;
        let number = broker.number(Source::Children);
        broker.poll.add(&broker.children, number, READ)?;
        broker.watch_rules();
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
            .chain(self.next_mending())
            .chain([self.next_look])
            .min()
            .map(|at| at.saturating_sub(clock::monotonic_ms()) + 1);
        for (number, flags) in self.poll.wait(timeout)? {
            match self.sources.get(&number).cloned() {
                Some(Source::Listener) => self.accept(),
                Some(Source::Children) => self.reap(),
                Some(Source::Connection(id)) => self.serve(id, flags),
                Some(Source::Monitor(target)) => self.hear(&target),
                Some(Source::Worker(id)) => self.hear_worker(id),
                Some(Source::Rules) => self.hear_rules(),
                Some(Source::Images(number)) => self.hear_images(number),
                Some(Source::Freezer(id)) => self.look_at_freezer(&id),
                // Gone since the kernel gathered its event.
                None => {}
            }
        }
        self.end_inspections();
        self.mend();
        self.expire();
        let effects = self.ledger.tick(Self::now());
        self.perform(effects);
        Ok(())
    }

    fn reap(&mut self) {
        while let Ok(Some(_)) = self.children.read_signal() {}
        // What became of it is told by its connection.
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            self.note_end(pid, status);
        }
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
}
