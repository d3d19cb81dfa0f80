//! The supervisor: opens the listeners, and starts and restarts the keeper, the server and, where
//! root's policy enables other engines, the broker that talks to those.
//!
//! It parses nothing that comes from outside but the one byte by which the broker asks for a
//! connection, and the server for its certificate. Monitors that a killed keeper leaves become its children, which it reaps when they
//! end. When it is told to stop it stops what it has started; containers and sessions run on, and
//! are found again by the next start.

mod certificate;
mod children;
mod engines;
mod listeners;
mod notify;

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use porthole_runtime::Cgroups;
use porthole_sys::process::Words;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{WaitOptions, set_child_subreaper};

use self::certificate::Certificate;
use self::children::{Kid, Role, Setting};
use self::engines::Engines;
use self::listeners::Listeners;
use crate::log::log;
use crate::poll::{Poll, READ};
use crate::settings::Places;
use crate::{accounts, clock, ground, policy, program};

/// How long the server has to end by itself, in milliseconds.
const STOP_MS: u64 = 8_000;

/// Runs until it is told to stop.
pub(crate) fn run() -> anyhow::Result<()> {
    ground::must_be_root()?;
    ground::check_kernel()?;
    ground::raise_open_files();
    let places = Places::from_environment()?;
    let server = accounts::server()?.context(
        "there is no account 'porthole' for the server to run as; make it: useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin porthole",
    )?;
    let program = sealed()?;
    let engines = Engines::settle(
        policy::read_engines(&places.policy)?,
        &server,
        accounts::engines()?,
    )?;
    // Its directory would keep a file system busy.
    std::env::set_current_dir("/")?;
    rustix::thread::set_name(c"porthole-serve")?;
    set_child_subreaper(Some(rustix::process::getpid()))?;
    ground::make_directories(&places, Some(&server))?;
    let _lock = lock(&places)?;
    Cgroups::move_to_leaf()?;
    Cgroups::detect(&places.instance())?;
    let listeners = Listeners::open(&places, &server, engines.account.is_some())?;
    let setting = Setting {
        program,
        server,
        server_program: children::server_program()?,
        listeners,
        engines,
        certificate: Certificate::from_environment(),
    };
    let outcome = Supervisor::new(&setting)?.run();
    setting.listeners.close();
    outcome
}

/// A sealed copy of this program; where it does not run from one yet, it starts itself again.
fn sealed() -> anyhow::Result<OwnedFd> {
    let copy = program::sealed().context("no sealed copy of this program can be made")?;
    if porthole_sys::memfd::runs_sealed()? {
        return Ok(copy);
    }
    let text = |bytes: &[u8]| CString::new(bytes).context("a NUL byte in the environment");
    let words = Words {
        arguments: vec![c"porthole-keeper".to_owned(), c"serve".to_owned()],
        environment: std::env::vars_os()
            .map(|(name, value)| text(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<anyhow::Result<_>>()?,
    };
    let error = porthole_sys::process::execute(&copy, &words);
    Err(error).context("the sealed copy of this program cannot be run")
}

/// Two of one root would fight over it.
fn lock(places: &Places) -> anyhow::Result<std::fs::File> {
    let path = places.root.join("lock");
    let file =
        std::fs::File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => anyhow::bail!(
            "Porthole runs already with its state in {}; stop that one, or choose another PORTHOLE_ROOT and PORTHOLE_RUN",
            places.root.display()
        ),
        Err(errno) => Err(errno).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// The numbers of what is waited for.
const SIGNALS: u64 = 0;
const DIAL: u64 = 1;

/// What was started, and what is to become of it.
struct Supervisor<'a> {
    poll: Poll,
    signals: SignalFd,
    kids: Vec<Kid<'a>>,
    /// Since when, and until when, they are being stopped.
    stopping: Option<u64>,
    /// What keeps a child from running for good.
    hopeless: Option<Role>,
    /// Whether systemd knows that it has started.
    told_ready: bool,
}

impl<'a> Supervisor<'a> {
    fn new(setting: &'a Setting) -> anyhow::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in [
            Signal::SIGCHLD,
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
        ] {
            mask.add(signal);
        }
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let poll = Poll::new()?;
        poll.add(&signals, SIGNALS, READ)?;
        Ok(Self {
            poll,
            signals,
            kids: [Role::Keeper, Role::Server, Role::Engines]
                .into_iter()
                .filter(|role| *role != Role::Engines || setting.engines.account.is_some())
                .map(|role| Kid::new(role, setting))
                .collect(),
            stopping: None,
            hopeless: None,
            told_ready: false,
        })
    }

    fn run(mut self) -> anyhow::Result<()> {
        loop {
            let now = clock::monotonic_ms();
            if let Some(until) = self.stopping {
                if self.proceed_stopping(until <= now) {
                    break;
                }
            } else {
                self.start(now)?;
                if !std::mem::replace(&mut self.told_ready, true) {
                    notify::tell(notify::READY);
                }
            }
            let timeout = match self.stopping {
                Some(until) => Some(until.saturating_sub(now)),
                None => self.kids.iter().filter_map(|kid| kid.due_in(now)).min(),
            };
            let ready = self.poll.wait(timeout)?;
            if ready.iter().any(|(number, _)| *number == DIAL) {
                self.dial();
            }
            self.take_signals();
        }
        match self.hopeless {
            Some(role) => anyhow::bail!("the {role} cannot run; it has said why above"),
            None => Ok(()),
        }
    }

    fn start(&mut self, now: u64) -> anyhow::Result<()> {
        for kid in &mut self.kids {
            if kid.start_if_due(now)
                && let Some(dial) = &kid.dial
            {
                self.poll.add(dial, DIAL, READ)?;
            }
        }
        Ok(())
    }

    /// What a child asks for: the engines broker for a connection, the server for its certificate.
    /// One that asks for anything else, or hangs up, is not listened to any more.
    fn dial(&mut self) {
        for kid in &mut self.kids {
            if let Some(dial) = &kid.dial
                && !kid.answer(dial)
            {
                self.poll.remove(dial);
                kid.dial = None;
            }
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            if number != Signal::SIGCHLD as i32 && self.stopping.is_none() {
                log!("serve", "stopping; containers run on");
                notify::tell(notify::STOPPING);
                self.stopping = Some(clock::monotonic_ms() + STOP_MS);
            }
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            let Some(kid) = self.kids.iter_mut().find(|kid| kid.is(pid)) else {
                // A monitor that an earlier keeper left.
                continue;
            };
            if let Some(dial) = &kid.dial {
                self.poll.remove(dial);
            }
            kid.ended(status, self.stopping.is_some());
            if kid.role != Role::Engines
                && status.exit_status() == Some(i32::from(crate::CANNOT_RUN))
                && self.stopping.is_none()
            {
                self.hopeless = Some(kid.role);
                self.stopping = Some(clock::monotonic_ms() + STOP_MS);
            }
        }
    }

    /// First the server, which still may want to ask the others something. Answers whether all
    /// have ended.
    fn proceed_stopping(&mut self, late: bool) -> bool {
        let signal = if late { 9 } else { 15 };
        for role in [Role::Server, Role::Engines, Role::Keeper] {
            let mut running = self.kids.iter_mut().filter(|kid| kid.runs());
            if let Some(kid) = running.find(|kid| kid.role == role) {
                kid.stop(signal);
                return false;
            }
        }
        true
    }
}
