//! The process that becomes a container's init, from its first breath to exec.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use porthole_protocol::container::Argument;
use porthole_protocol::keeper::Failure;
use porthole_protocol::namespace::NamespaceType;
use porthole_sys::namespace::unshare;
use porthole_sys::packet::Packet;
use porthole_sys::process::{Forked, Words, execute, execute_path, exit};
use porthole_sys::signals;
use rustix::fs::{Mode, OFlags, open};

use super::Launch;
use crate::account;
use crate::cgroup::Entrance;
use crate::environment::Environment;
use crate::filesystem::{self, Root};
use crate::layers::Overlays;
use crate::plan::{Plan, Source};
use crate::program::{self, c_word};
use crate::recorder::Recorder;
use crate::step::{Step, StepError};
use crate::wire::{self, Report};
use crate::{confinement, console, ending, init, network, passage, root};

/// What it needs to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Birth<'a> {
    pub(super) launch: &'a Launch<'a>,
    pub(super) plan: &'a Plan,
    pub(super) entrance: &'a Entrance,
    /// A directory that the image wants to be there.
    pub(super) workdir: Option<&'a str>,
}

/// Becomes the container's init, or reports why not.
pub(super) fn run(
    birth: &Birth<'_>,
    forked: &Forked,
    channel: &Packet,
    mut trace: Recorder,
) -> Infallible {
    let failure = match live(birth, forked, channel, &mut trace) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let steps = trace.take();
    // Without it the monitor sees the end of the channel.
    let _ = wire::send(channel, &Report::Failed { failure, steps }, &[]);
    exit(125)
}

fn live(
    birth: &Birth<'_>,
    forked: &Forked,
    channel: &Packet,
    trace: &mut Recorder,
) -> Result<Infallible, Failure> {
    let Birth {
        launch,
        plan,
        entrance,
        workdir,
    } = *birth;
    signals::reset();
    let kept = [channel.as_fd(), launch.program];
    passage::leave_the_machine(entrance, &kept, forked, trace)?;
    let alone = forked.single_threaded();
    if plan.own(NamespaceType::Cgroup) {
        let kind = NamespaceType::Cgroup;
        trace.step(Step::UnshareCgroup, "unshare(CLONE_NEWCGROUP)", || {
            unshare(alone, kind.clone_flag())
        })?;
        trace.entered([kind]);
    }
    if plan.own(NamespaceType::Uts) {
        let hostname = root::hostname(launch.id, launch.name, launch.spec);
        trace.step(
            Step::SetHostname,
            format!("sethostname({hostname:?})"),
            || rustix::system::sethostname(hostname.as_bytes()),
        )?;
    }
    if plan.own(NamespaceType::Net) {
        network::raise_loopback(trace)?;
    }
    wire::send(channel, &Report::Waiting, &[])?;
    let Some(mut handed) = wire::wait_to_go(channel)? else {
        // The monitor is gone, and nobody is to be told.
        exit(125);
    };
    let covers = match launch.network {
        Some(_) => network::COVERS.min(handed.len()),
        None => 0,
    };
    let overlays = handed.split_off(covers);
    passage::clear_groups(trace)?;
    if *plan.sources.get(NamespaceType::User) != Source::Host {
        passage::become_root(trace)?;
    }
    if let Some(attaching) = &launch.network {
        attaching.configure_inside(trace)?;
    }
    let root = enter_root(plan, overlays, trace)?;
    if plan.own(NamespaceType::Mnt) {
        network::attach_covers(handed, &root.root, trace);
    }
    if let Some(path) = workdir {
        passage::make_workdir(&root.root, path, trace)?;
    }
    settle(launch, root, channel, trace)
}

/// The container's root directory: its own, or the one that it shares.
fn enter_root(
    plan: &Plan,
    overlays: Vec<OwnedFd>,
    trace: &mut Recorder,
) -> Result<Root, StepError> {
    let mut overlays = overlays.into_iter();
    if let Some(root) = overlays.next() {
        let usr = overlays.next();
        return filesystem::enter(plan, Overlays { root, usr }, trace);
    }
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let of = |path: &'static str| {
        open(path, directory, Mode::empty())
            .map_err(|errno| StepError::new((Step::OpenRoot, path), errno))
    };
    Ok(Root {
        root: of("/")?,
        terminals: of("/dev/pts")?,
    })
}

/// From a whole root directory to exec.
fn settle(
    launch: &Launch<'_>,
    root: Root,
    channel: &Packet,
    trace: &mut Recorder,
) -> Result<Infallible, Failure> {
    let spec = launch.spec;
    let account = account::look_up(&root.root, spec.user.as_ref())?;
    let console = if spec.tty {
        console::terminal(&root.terminals, launch.size, &account, trace)?
    } else {
        console::pipes(&account, trace)?
    };
    wire::hand_over(channel, &console.near, console.tty_name.clone())?;
    drop(console.near);
    let environment = Environment::new(&account, spec.tty, &[&spec.env]);
    confinement::confine(&account, trace)?;
    passage::enter_workdir(
        &root.root,
        spec.workdir.as_ref().map(|path| path.as_str()),
        trace,
    )?;
    let command = command(launch);
    let first = command.first().cloned().unwrap_or_default();
    let path = program::find(&first, environment.search_path())?;
    console.far.redirect(trace)?;
    let words = Words {
        arguments: command.iter().map(|word| c_word(word)).collect(),
        environment: environment.words(),
    };
    if spec.init {
        execute_init(launch, &path, words, channel, trace)
    } else {
        execute_command(&path, &words, spec.tty, channel, trace)
    }
}

/// What runs: the entry point with the command as its arguments, or the image's command.
fn command(launch: &Launch<'_>) -> Vec<String> {
    let spec = launch.spec;
    let asked = spec.entrypoint.iter().chain(&spec.command);
    let mut words: Vec<String> = asked.map(|word| word.as_str().to_owned()).collect();
    if words.is_empty() {
        let image = launch.images.get(&spec.image);
        words.extend(
            image
                .iter()
                .flat_map(|image| image.command.iter().map(Argument::as_str))
                .map(str::to_owned),
        );
    }
    words
}

fn execute_init(
    launch: &Launch<'_>,
    path: &str,
    command: Words,
    channel: &Packet,
    trace: &mut Recorder,
) -> Result<Infallible, Failure> {
    let (hears, says) =
        ending::last_word().map_err(|error| StepError::new(Step::MakeChannel, error))?;
    // Init tells on the channel whether the command could be executed.
    for left_open in [channel, &says] {
        rustix::io::fcntl_setfd(left_open, rustix::io::FdFlags::empty())
            .map_err(|errno| StepError::new(Step::MakeChannel, errno))?;
    }
    let numbers = [channel, &says].map(|socket| socket.as_fd().as_raw_fd());
    let mut arguments: Vec<CString> = init::words(numbers[0], numbers[1], path)
        .iter()
        .map(|word| c_word(word))
        .collect();
    arguments.extend(command.arguments);
    let words = Words {
        arguments,
        environment: command.environment,
    };
    announce(
        format!("execveat(memfd, \"\", [\"porthole-init\", …, {path:?}], AT_EMPTY_PATH)"),
        &[hears.as_fd()],
        channel,
        trace,
    )?;
    Err(StepError::new((Step::Execute, "init"), execute(launch.program, &words)).into())
}

fn execute_command(
    path: &str,
    words: &Words,
    tty: bool,
    channel: &Packet,
    trace: &mut Recorder,
) -> Result<Infallible, Failure> {
    trace.step(Step::NewSession, "setsid()", || {
        rustix::process::setsid().map(|pid| pid.as_raw_nonzero().get())
    })?;
    if tty {
        trace.step(Step::ControlTerminal, "ioctl(0, TIOCSCTTY)", || {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())
        })?;
    }
    announce(format!("execve({path:?})"), &[], channel, trace)?;
    let error = execute_path(&c_word(path), words);
    Err(init::refused(path, &error))
}

fn announce(
    call: String,
    handed: &[BorrowedFd<'_>],
    channel: &Packet,
    trace: &mut Recorder,
) -> Result<(), StepError> {
    let steps = trace.take();
    wire::send(channel, &Report::Executing { call, steps }, handed)
}
