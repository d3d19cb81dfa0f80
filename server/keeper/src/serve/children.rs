//! Keeper, server and engines broker as processes: what each is given, and when it is started again.

use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::Context as _;
use caps::CapSet;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use porthole_protocol::engines::VARIABLE as ENGINES;
use porthole_sys::packet::Packet;
use porthole_sys::process::{Child, Clone, Forked, SingleThreaded, Words, execute};
use rustix::fs::Mode;
use rustix::process::{Signal, WaitStatus, set_parent_process_death_signal};

use super::certificate::Certificate;
use super::engines::Engines;
use super::listeners::Listeners;
use crate::accounts::Account;
use crate::clock;
use crate::log::log;

/// A child that lived this long is started again at once.
const STEADY_MS: u64 = 300;

/// The first delay of one that did not; it doubles up to the last.
const FIRST_DELAY_MS: u64 = 50;
const LAST_DELAY_MS: u64 = 5_000;

/// What children are made of.
pub(super) struct Setting {
    /// Sealed copy of this program.
    pub(super) program: OwnedFd,
    pub(super) server: Account,
    /// The server's program.
    pub(super) server_program: PathBuf,
    pub(super) listeners: Listeners,
    pub(super) engines: Engines,
    /// Where TLS is spoken.
    pub(super) certificate: Option<Certificate>,
}

/// Which child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Keeper,
    Server,
    Engines,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keeper => "keeper",
            Self::Server => "server",
            Self::Engines => "engines broker",
        })
    }
}

/// Where the server's program is: `PORTHOLE_SERVER_EXE`, which `porthole serve` sets.
pub(super) fn server_program() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PORTHOLE_SERVER_EXE")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .context("PORTHOLE_SERVER_EXE is not set; start Porthole with `porthole serve`")?;
    File::open(&path).with_context(|| {
        format!(
            "the server's program {} cannot be opened; install Porthole again",
            path.display()
        )
    })?;
    Ok(path)
}

/// A child that is to run at all times.
pub(super) struct Kid<'a> {
    pub(super) role: Role,
    setting: &'a Setting,
    process: Option<Child>,
    started_ms: u64,
    /// When it is to be started.
    due_ms: u64,
    delay_ms: u64,
    stopped_by: i32,
    /// Where it asks for what only root opens, until it hangs up.
    pub(super) dial: Option<Packet>,
}

impl<'a> Kid<'a> {
    pub(super) fn new(role: Role, setting: &'a Setting) -> Self {
        Self {
            role,
            setting,
            process: None,
            started_ms: 0,
            due_ms: 0,
            delay_ms: 0,
            stopped_by: 0,
            dial: None,
        }
    }

    /// Takes one request and answers it. Answers whether it may ask again.
    pub(super) fn answer(&self, dial: &Packet) -> bool {
        match (self.role, &self.setting.certificate) {
            (Role::Engines, _) => self.setting.engines.answer(dial),
            (Role::Server, Some(certificate)) => certificate.answer(dial),
            _ => false,
        }
    }

    pub(super) fn runs(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn is(&self, pid: i32) -> bool {
        self.process.as_ref().is_some_and(|child| child.pid == pid)
    }

    /// In how many milliseconds it is to be started; `None` while it runs.
    pub(super) fn due_in(&self, now: u64) -> Option<u64> {
        self.process
            .is_none()
            .then(|| self.due_ms.saturating_sub(now) + 1)
    }

    /// Answers whether it was started.
    pub(super) fn start_if_due(&mut self, now: u64) -> bool {
        if self.process.is_some() || now < self.due_ms {
            return false;
        }
        self.started_ms = now;
        match self.start() {
            Ok(child) => self.process = Some(child),
            Err(error) => {
                log!("serve", "the {} cannot be started: {error}", self.role);
                self.put_off(now);
            }
        }
        self.process.is_some()
    }

    fn put_off(&mut self, now: u64) {
        self.delay_ms = if now.saturating_sub(self.started_ms) >= STEADY_MS {
            0
        } else {
            (self.delay_ms * 2).clamp(FIRST_DELAY_MS, LAST_DELAY_MS)
        };
        self.due_ms = now + self.delay_ms;
    }

    /// It has ended; unless that was wanted, it is started again.
    pub(super) fn ended(&mut self, status: WaitStatus, wanted: bool) {
        self.process = None;
        self.dial = None;
        let now = clock::monotonic_ms();
        self.put_off(now);
        if !wanted {
            let how = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("exited with code {code}"),
                (_, Some(signal)) => format!("was ended by signal {signal}"),
                _ => "ended".to_owned(),
            };
            log!(
                "serve",
                "the {} {how}; it is started again in {} ms",
                self.role,
                self.delay_ms
            );
        }
    }

    /// Sends it a signal, once each.
    pub(super) fn stop(&mut self, signal: i32) {
        if self.stopped_by == signal {
            return;
        }
        self.stopped_by = signal;
        if let Some(child) = &self.process {
            let _ = porthole_sys::signals::send(&child.pidfd, signal);
        }
    }

    fn start(&mut self) -> io::Result<Child> {
        let setting = self.setting;
        match self.role {
            Role::Keeper => spawn(
                setting.program.as_fd(),
                &setting.listeners.for_keeper(),
                &keeper_words()?,
                || Ok(()),
            ),
            Role::Server => {
                let program = opened(setting)?;
                let [http, api] = setting.listeners.for_server();
                let mut passed = vec![http, api];
                let asking = match setting.certificate {
                    Some(_) => Some(asking()?),
                    None => None,
                };
                passed.extend(asking.iter().map(|(_, theirs)| theirs.as_fd()));
                let child = spawn(
                    program.as_fd(),
                    &passed,
                    &server_words(setting, passed.len())?,
                    || become_account(setting.server),
                )?;
                self.dial = asking.map(|(ours, _)| ours);
                Ok(child)
            }
            Role::Engines => {
                let missing = || io::Error::from(io::ErrorKind::NotFound);
                let account = setting.engines.account.ok_or_else(missing)?;
                let listener = setting.listeners.for_engines().ok_or_else(missing)?;
                let program = opened(setting)?;
                let (ours, theirs) = asking()?;
                let child = spawn(
                    program.as_fd(),
                    &[listener, theirs.as_fd()],
                    &engines_words(setting)?,
                    || become_account(account),
                )?;
                self.dial = Some(ours);
                Ok(child)
            }
        }
    }
}

/// Both ends of what a child asks by: ours, which never waits, and its own.
fn asking() -> io::Result<(Packet, Packet)> {
    let (ours, theirs) = Packet::pair(false)?;
    ours.set_nonblocking(true)?;
    Ok((ours, theirs))
}

/// The server's program, which the engines broker is too. By descriptor: the account need not be
/// able to reach the path. Opened anew each time, so that a newly installed one is taken.
fn opened(setting: &Setting) -> io::Result<File> {
    File::open(&setting.server_program)
}

/// Starts a program in a session of its own that ends with this process.
fn spawn(
    program: BorrowedFd<'_>,
    passed: &[BorrowedFd<'_>],
    words: &Words,
    prepare: impl FnOnce() -> io::Result<()>,
) -> io::Result<Child> {
    let parent = rustix::process::getpid();
    let alone = SingleThreaded::verify()?;
    porthole_sys::process::clone(alone, &Clone::default(), |forked| -> Infallible {
        let error = match ready(&forked, program, passed, parent, prepare) {
            Ok(program) => execute(program, words),
            Err(error) => error,
        };
        let name = words.arguments.last().map(|word| word.to_string_lossy());
        log!("serve", "{}: {error}", name.unwrap_or_default());
        porthole_sys::process::exit(127)
    })
}

fn ready(
    forked: &Forked,
    program: BorrowedFd<'_>,
    passed: &[BorrowedFd<'_>],
    parent: rustix::process::Pid,
    prepare: impl FnOnce() -> io::Result<()>,
) -> io::Result<OwnedFd> {
    porthole_sys::signals::reset();
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    rustix::process::umask(Mode::from_bits_retain(0o077));
    prepare()?;
    // After any change of user, which resets it. Whoever starts `serve` again finds the port and
    // the state free.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(parent) {
        return Err(io::Error::other("serve has ended"));
    }
    porthole_sys::passing::pass(forked, program, passed)
}

/// Gives up everything that root has: server and engines broker ask others, and have nothing
/// themselves.
fn become_account(account: Account) -> io::Result<()> {
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Bounding] {
        caps::clear(None, set).map_err(io::Error::other)?;
    }
    rustix::thread::set_no_new_privs(true)?;
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    // The kernel takes the effective and permitted capabilities away with it.
    setresuid(uid, uid, uid)?;
    // Anybody may make a user namespace, and be root in it: not these.
    porthole_runtime::confine_server()
}

fn keeper_words() -> io::Result<Words> {
    words(
        [OsStr::new("porthole-keeper"), OsStr::new("keeper")],
        &["PORTHOLE_ROOT", "PORTHOLE_RUN", "PORTHOLE_POLICY"],
        &[("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "keeper")],
    )
}

/// Checking a password takes 19 MiB for a moment, and a long list of containers as much. glibc keeps
/// what it once had unless it is told from which size on to give memory back.
const MEMORY: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.mmap_threshold=262144:glibc.malloc.arena_max=2",
);

/// What changes how a program of ours speaks, and nothing else.
const SPEECH: [&str; 5] = ["LANG", "TZ", "RUST_LOG", "RUST_BACKTRACE", "NO_COLOR"];

fn server_words(setting: &Setting, descriptors: usize) -> io::Result<Words> {
    let mut passed: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("PORTHOLE_") && name != ENGINES)
        .collect();
    passed.extend(SPEECH.map(str::to_owned));
    let passed: Vec<&str> = passed.iter().map(String::as_str).collect();
    words(
        [setting.server_program.as_os_str(), OsStr::new("server")],
        &passed,
        &[
            ("LISTEN_FDS", &descriptors.to_string()),
            // Without the last one where TLS is not spoken.
            ("LISTEN_FDNAMES", "http:api:tls"),
            (ENGINES, &setting.engines.told),
            MEMORY,
        ],
    )
}

fn engines_words(setting: &Setting) -> io::Result<Words> {
    words(
        [setting.server_program.as_os_str(), OsStr::new("engines")],
        &[&["PORTHOLE_RUN", "PORTHOLE_LOG"], &SPEECH[..]].concat(),
        &[
            ("LISTEN_FDS", "2"),
            ("LISTEN_FDNAMES", "engines:dial"),
            (ENGINES, &setting.engines.told),
            MEMORY,
        ],
    )
}

/// A command line, and an environment of nothing but these variables.
fn words(arguments: [&OsStr; 2], passed: &[&str], given: &[(&str, &str)]) -> io::Result<Words> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
    let mut environment =
        vec![c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
    for name in passed {
        if let Some(value) = std::env::var_os(name) {
            environment.push(text(&[name.as_bytes(), b"=", value.as_bytes()].concat())?);
        }
    }
    for (name, value) in given {
        environment.push(text(format!("{name}={value}").as_bytes())?);
    }
    Ok(Words {
        arguments: arguments
            .iter()
            .map(|word| text(word.as_bytes()))
            .collect::<io::Result<_>>()?,
        environment,
    })
}
