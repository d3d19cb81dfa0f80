//! The joiner: a process that enters a container, becomes as confined as its init is, starts the
//! command and is gone.

mod foreign;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};

use porthole_protocol::container::ContainerSpec;
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::session::Tried;
use porthole_sys::packet::Packet;
use porthole_sys::process::{Forked, Words, exit, spawn_leader};
use porthole_sys::signals;
use porthole_sys::terminal::{Program, Terminal};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::Visit;
use crate::account::{self, Account};
use crate::cgroup::Entrance;
use crate::console::{self, Far};
use crate::environment::Environment;
use crate::program::{self, c_word};
use crate::recorder::Recorder;
use crate::step::{Step, StepError};
use crate::wire::{self, Report};
use crate::{Console, confinement, passage};

/// Shells to look for after the user's own.
const SHELLS: [&str; 3] = ["bash", "ash", "sh"];

pub(super) use foreign::Abroad;

/// What it is sent for.
pub(super) struct Errand<'a> {
    pub(super) visit: &'a Visit<'a>,
    pub(super) entrance: &'a Entrance,
    /// The container's init.
    pub(super) target: &'a OwnedFd,
    /// The namespaces to enter.
    pub(super) kinds: Vec<NamespaceType>,
}

/// Whose container it goes to.
pub(super) enum Whose<'a> {
    /// Porthole's own.
    Own(&'a ContainerSpec),
    /// Another engine's.
    Foreign(&'a Abroad),
}

/// What was started.
struct Started {
    pid: i32,
    path: String,
    command: Vec<String>,
    tried: Vec<Tried>,
}

/// Joins, starts the command, reports and exits.
pub(super) fn run(
    errand: &Errand<'_>,
    forked: &Forked,
    channel: &Packet,
    mut trace: Recorder,
) -> Infallible {
    let report = match start(errand, forked, channel, &mut trace) {
        Ok(started) => Report::Spawned {
            pid: started.pid,
            path: started.path,
            command: started.command,
            tried: started.tried,
            steps: trace.take(),
        },
        Err(failure) => Report::Failed {
            failure,
            steps: trace.take(),
        },
    };
    // Without it the monitor sees the end of the channel.
    let _ = wire::send(channel, &report, &[]);
    exit(0)
}

fn start(
    errand: &Errand<'_>,
    forked: &Forked,
    channel: &Packet,
    trace: &mut Recorder,
) -> Result<Started, Failure> {
    signals::reset();
    match &errand.visit.whose {
        Whose::Own(container) => at_home(errand, container, forked, channel, trace),
        Whose::Foreign(abroad) => foreign::start(errand, abroad, forked, channel, trace),
    }
}

/// In a container of Porthole's own.
fn at_home(
    errand: &Errand<'_>,
    container: &ContainerSpec,
    forked: &Forked,
    channel: &Packet,
    trace: &mut Recorder,
) -> Result<Started, Failure> {
    let spec = errand.visit.place.spec;
    let kept = [channel.as_fd(), errand.target.as_fd()];
    passage::leave_the_machine(errand.entrance, &kept, forked, trace)?;
    passage::clear_groups(trace)?;
    enter(errand.target, &errand.kinds, trace)?;
    let root = open_root(trace)?;
    // What the container says of itself holds where its files are.
    let has_files = errand.visit.place.has_files();
    let of_container = Some(container).filter(|_| has_files);
    let user = of_container.and_then(|container| container.user.as_ref());
    let account = account::look_up(&root, spec.user.as_ref().or(user))?;
    let output = open_output(errand, &account, channel, trace)?;
    let nothing = BTreeMap::new();
    let variables = of_container.map_or(&nothing, |container| &container.env);
    let environment = Environment::new(&account, spec.tty, &[variables, &spec.env]);
    confinement::confine(&account, trace)?;
    let workdir = of_container.and_then(|container| container.workdir.as_ref());
    let workdir = spec.workdir.as_ref().or(workdir);
    passage::enter_workdir(&root, workdir.map(|path| path.as_str()), trace)?;
    let choice = choose(errand, &account, &environment)?;
    launch(output, choice, &account, &environment, forked, trace)
}

fn open_root(trace: &mut Recorder) -> Result<OwnedFd, StepError> {
    trace.step(Step::OpenRoot, "open(\"/\", O_PATH|O_DIRECTORY)", || {
        open(
            "/",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    })
}

/// What the command reads and writes; the near ends go to the monitor.
fn open_output(
    errand: &Errand<'_>,
    account: &Account,
    channel: &Packet,
    trace: &mut Recorder,
) -> Result<Output, Failure> {
    if errand.visit.place.spec.tty {
        return Ok(Output::Tty(open_terminal(errand, account, channel, trace)?));
    }
    let both = console::pipes(account, trace)?;
    wire::hand_over(channel, &both.near, None)?;
    Ok(Output::Pipes(both.far))
}

fn launch(
    output: Output,
    choice: Choice,
    account: &Account,
    environment: &Environment,
    forked: &Forked,
    trace: &mut Recorder,
) -> Result<Started, Failure> {
    let pid = match output {
        Output::Tty(terminal) => {
            start_on_terminal(terminal, &choice, account, environment, forked, trace)?
        }
        Output::Pipes(far) => start_on_pipes(&far, &choice, environment, trace)?,
    };
    Ok(Started {
        pid,
        path: choice.path,
        command: choice.command,
        tried: choice.tried,
    })
}

enum Output {
    Tty(Terminal),
    Pipes(Far),
}

fn enter(target: &OwnedFd, kinds: &[NamespaceType], trace: &mut Recorder) -> Result<(), StepError> {
    if kinds.is_empty() {
        return Ok(());
    }
    let flags = u32::try_from(crate::plan::flags(kinds)).unwrap_or(0);
    trace.step(
        Step::SetNamespaces,
        format!("setns(pidfd, {})", crate::plan::flag_names(kinds)),
        || {
            move_into_thread_name_spaces(
                target.as_fd(),
                ThreadNameSpaceType::from_bits_retain(flags),
            )
        },
    )?;
    trace.entered(kinds.iter().copied());
    if kinds.contains(&NamespaceType::User) {
        passage::not_dumpable(trace)?;
        // Before a terminal is opened, or it would belong to an id that has no name here.
        passage::become_root(trace)?;
    }
    Ok(())
}

/// A terminal of the container's own: checked, the user's, its master handed to the monitor.
fn open_terminal(
    errand: &Errand<'_>,
    account: &Account,
    channel: &Packet,
    trace: &mut Recorder,
) -> Result<Terminal, Failure> {
    let size = errand.visit.place.spec.size;
    wire::send(channel, &Report::Opening, &[])?;
    let terminal = trace.step(
        (Step::OpenTerminal, "/dev/ptmx"),
        format!("openpty({}×{})", size.cols, size.rows),
        || Terminal::open(size.cols, size.rows),
    )?;
    let own = matches!(errand.visit.whose, Whose::Own(_)) && errand.visit.place.has_files();
    let slave = if own {
        console::check_master(&terminal.master)?;
        console::peer(&terminal.master, trace)?
    } else {
        let slave = console::peer(&terminal.master, trace)?;
        console::check_pair(&terminal.master, &slave)?;
        slave
    };
    console::own(&slave, account, trace)?;
    let master = terminal
        .master
        .try_clone()
        .map_err(|error| StepError::new(Step::HandOver, error))?;
    console::not_waiting(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())
        .map_err(|errno| StepError::new(Step::OpenTerminal, errno))?;
    wire::hand_over(
        channel,
        &Console::Tty { master },
        Some(name.to_string_lossy().into_owned()),
    )?;
    Ok(terminal)
}

/// What to run.
struct Choice {
    path: String,
    command: Vec<String>,
    tried: Vec<Tried>,
}

/// The command that was asked for, or the first shell that there is.
fn choose(
    errand: &Errand<'_>,
    account: &Account,
    environment: &Environment,
) -> Result<Choice, Failure> {
    let command: Vec<String> = errand
        .visit
        .place
        .spec
        .command
        .iter()
        .map(|word| word.as_str().to_owned())
        .collect();
    let search = environment.search_path();
    if let Some(first) = command.first() {
        let path = program::find(first, search)?;
        return Ok(Choice {
            path,
            command,
            tried: Vec::new(),
        });
    }
    let mut tried = Vec::new();
    let own = account
        .shell
        .as_deref()
        .filter(|shell| !refuses_login(shell));
    for shell in own.into_iter().chain(SHELLS) {
        match program::find(shell, search) {
            Ok(path) => {
                return Ok(Choice {
                    command: vec![path.clone()],
                    path,
                    tried,
                });
            }
            Err(error) => tried.push(Tried {
                path: shell.to_owned(),
                why: error.reason(),
            }),
        }
    }
    let names: Vec<&str> = tried.iter().map(|one| one.path.as_str()).collect();
    let mut failure = Failure::new(
        FailureCode::CommandNotFound,
        format!(
            "the container has no shell: tried {}; name a command instead",
            names.join(", ")
        ),
    )
    .field("command")
    .stage(Stage::Exec)
    .errno(Errno::NOENT.raw_os_error());
    failure.tried = tried.into();
    Err(failure)
}

/// Shells of accounts that nobody signs in as; who opens a session has been let in already.
fn refuses_login(shell: &str) -> bool {
    matches!(shell.rsplit('/').next(), Some("nologin" | "false"))
}

fn start_on_terminal(
    terminal: Terminal,
    choice: &Choice,
    account: &Account,
    environment: &Environment,
    forked: &Forked,
    trace: &mut Recorder,
) -> Result<i32, Failure> {
    // portable-pty asks libc for another where this one is not executable.
    let shell = account
        .shell
        .clone()
        .filter(|shell| program::find(shell, "").is_ok())
        .unwrap_or_else(|| choice.path.clone());
    let mut command: Vec<std::ffi::OsString> = choice.command.iter().map(Into::into).collect();
    if let Some(first) = command.first_mut()
        && choice.path.contains('/')
    {
        *first = absolute(&choice.path).into();
    }
    let program = Program {
        command,
        environment: environment
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        shell: shell.into(),
        directory: ".".into(),
    };
    let pid = trace.step(
        (Step::Execute, &choice.path),
        format!(
            "fork(), setsid(), ioctl(0, TIOCSCTTY), execve({:?})",
            choice.path
        ),
        || terminal.start(forked, &program),
    )?;
    Ok(pid)
}

/// portable-pty looks for a relative path in `PATH` unless it begins with a dot.
fn absolute(path: &str) -> String {
    if path.starts_with(['/', '.']) {
        path.to_owned()
    } else {
        format!("./{path}")
    }
}

fn start_on_pipes(
    far: &Far,
    choice: &Choice,
    environment: &Environment,
    trace: &mut Recorder,
) -> Result<i32, Failure> {
    far.redirect(trace)?;
    let words = Words {
        arguments: choice.command.iter().map(|word| c_word(word)).collect(),
        environment: environment.words(),
    };
    let mut refusal = None;
    let started = trace.step(
        (Step::Execute, &choice.path),
        format!("vfork(), setsid(), execve({:?})", choice.path),
        || {
            spawn_leader(&c_word(&choice.path), &words).inspect_err(|error| {
                // Too many processes are no fault of the program's.
                if error.raw_os_error() != Some(Errno::AGAIN.raw_os_error()) {
                    refusal = Some(crate::init::refused(&choice.path, error));
                }
            })
        },
    );
    started.map_err(|error| refusal.unwrap_or_else(|| error.into()))
}
