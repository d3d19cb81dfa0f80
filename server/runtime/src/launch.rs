//! A container's birth: from a spec to a running init.
//!
//! ```text
//! monitor            opens the groups, clones ─┐
//!   maps its ids,                              ├─ init-to-be: joins its groups, makes its control
//!   builds its overlays ─── go ──────────────> │  group namespace, host name and loopback
//!                                              │  … waits; then mounts, console, confinement
//!   <────────────────── terminal or pipes ──── │
//!   <────────────────────────── executing ──── └─ exec
//! ```

mod child;
mod starter;

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use porthole_protocol::container::{AbsolutePath, ContainerName, ContainerSpec, IdRange};
use porthole_protocol::id::{ContainerId, HostPid};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::namespace::{NamespaceSet, NamespaceType, PerNamespace};
use porthole_protocol::session::Size;
use porthole_protocol::trace::Actor;
use porthole_sys::packet::Packet;
use porthole_sys::process::{Child, SingleThreaded};
use porthole_sys::signals;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::image::Layers;
use crate::network::{Attached, Attaching, Pending};
use crate::plan::{Plan, Source};
use crate::step::{Step, StepError};
use crate::wire::{self, Report};
use crate::{Cgroups, Console, Images, LastWord, Recorder, layers, observe};

/// What is needed to start a container.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Which container; its groups were made by [`Cgroups::create`].
    pub id: &'a ContainerId,
    /// Its name: the host name where the spec has none.
    pub name: &'a ContainerName,
    /// What it is to be.
    pub spec: &'a ContainerSpec,
    /// Its block of ids: 0, the first id outside, 65,536. Where its user namespace is another
    /// container's, that one's block.
    pub ids: IdRange,
    /// `ROOT/keeper/containers/<id>`, filled by [`crate::create_root`].
    pub directory: &'a Path,
    /// The images.
    pub images: &'a Images,
    /// The instance's groups.
    pub cgroups: &'a Cgroups,
    /// For each namespace that is another container's: a pidfd of that container's init.
    pub shared: PerNamespace<Option<OwnedFd>>,
    /// Sealed memfd of the program whose role `init` becomes PID 1.
    pub program: BorrowedFd<'a>,
    /// The terminal's first size.
    pub size: Size,
    /// Where its network is the bridge: as what it is attached.
    pub network: Option<Attaching<'a>>,
}

/// A container that runs. Its init is the caller's child: the caller reaps it.
#[derive(Debug)]
pub struct Launched {
    /// Its init.
    pub pidfd: OwnedFd,
    /// The same on the host.
    pub host_pid: HostPid,
    /// Clock ticks between boot and its start.
    pub start_ticks: u64,
    /// The namespaces that it is in.
    pub namespaces: NamespaceSet,
    /// What its command reads and writes.
    pub console: Console,
    /// Its terminal's name inside.
    pub tty_name: Option<String>,
    /// Where its init is ours: how the monitor learns what ended the command.
    pub last_word: Option<LastWord>,
    /// Its place on the bridge, which it has as long as this lives.
    pub attached: Option<Attached>,
}

/// Starts a container. Called in the container's monitor, which has one thread and is root; the
/// mounts are made in a namespace that is gone when this returns.
pub fn launch(launch: &Launch<'_>, trace: &mut Recorder) -> Result<Launched, Failure> {
    let alone = trace.step(Step::CountThreads, "stat(\"/proc/self/task\")", || {
        SingleThreaded::verify().map(Alone)
    })?;
    crate::confinement::prepare();
    let plan = Plan::of(launch.spec);
    let layers = match plan.own(NamespaceType::Mnt) {
        true => Some(launch.images.layers(launch.directory)?),
        false => None,
    };
    let entrance = launch.cgroups.entrance(launch.id, None)?;
    let network = launch.network.as_ref();
    let pending = network
        .map(|one| one.bridge.begin(&one.attachment, trace))
        .transpose()?;
    // Before layers are attached over the container's directory.
    let covers = match network {
        Some(one) => one.name_files(launch.directory)?.into(),
        None => Vec::new(),
    };
    let (ours, theirs) =
        Packet::pair(false).map_err(|error| StepError::new(Step::MakeChannel, error))?;
    let birth = child::Birth {
        launch,
        plan: &plan,
        entrance: &entrance,
        workdir: layers
            .as_ref()
            .and_then(|layers| layers.workdir.as_ref())
            .map(AbsolutePath::as_str),
    };
    let child = starter::start(alone.0, &birth, &theirs, trace)?;
    drop(theirs);
    let birth = Awaited {
        layers: layers.as_ref(),
        child: &child,
        channel: &ours,
        pending,
        covers: &covers,
    };
    let answer = raise(alone.0, launch, &plan, birth, trace);
    match answer {
        Ok(raised) => Ok(Launched {
            host_pid: HostPid(child.pid),
            pidfd: child.pidfd,
            start_ticks: raised.start_ticks,
            namespaces: raised.namespaces,
            console: raised.executed.console,
            tty_name: raised.executed.tty_name,
            last_word: raised.executed.last_word,
            attached: raised.attached,
        }),
        Err(mut failure) => {
            if end(&child) == Some(SIGKILL) && failure == vanished() {
                failure = killed();
            }
            // Whatever it has started is in its group.
            let _ = launch.cgroups.kill(launch.id);
            Err(failure)
        }
    }
}

/// [`SingleThreaded`], as the recorder takes it.
struct Alone(SingleThreaded);

impl crate::recorder::Outcome for Alone {
    fn number(&self) -> i64 {
        0
    }
}

const SIGKILL: i32 = 9;

/// Kills and reaps a child that came to nothing; the signal that had ended it before.
pub(crate) fn end(child: &Child) -> Option<i32> {
    let reap =
        |options| rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(child.pidfd.as_fd()), options));
    if let Ok(Some(status)) = reap(WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
        return status.terminating_signal();
    }
    // It may be ending by itself; either way it is a zombie until it is waited for.
    let _ = signals::send(&child.pidfd, SIGKILL);
    let _ = reap(WaitIdOptions::EXITED);
    None
}

struct Raised {
    start_ticks: u64,
    namespaces: NamespaceSet,
    executed: Executed,
    attached: Option<Attached>,
}

/// What the monitor has while the init-to-be is on its way.
struct Awaited<'a> {
    layers: Option<&'a Layers>,
    child: &'a Child,
    channel: &'a Packet,
    pending: Option<Pending>,
    /// Files of ours for its `/etc`.
    covers: &'a [OwnedFd],
}

/// What the helper has handed over by the time that the program runs.
struct Executed {
    console: Console,
    tty_name: Option<String>,
    last_word: Option<LastWord>,
}

/// The monitor's side of the birth.
fn raise(
    alone: SingleThreaded,
    launch: &Launch<'_>,
    plan: &Plan,
    awaited: Awaited<'_>,
    trace: &mut Recorder,
) -> Result<Raised, Failure> {
    let Awaited {
        layers,
        child,
        channel,
        pending,
        covers,
    } = awaited;
    let pid = HostPid(child.pid);
    if plan.own(NamespaceType::User) {
        map_ids(pid, launch.ids, trace)?;
    }
    let overlays = match layers {
        Some(layers) => {
            let users = open_users(pid, plan, trace)?;
            let users = users.as_ref().map(AsFd::as_fd);
            Some(layers::overlays(
                alone,
                launch.directory,
                layers,
                users,
                trace,
            )?)
        }
        None => None,
    };
    await_waiting(channel, pid, trace)?;
    let namespaces = observe::namespaces(pid)?;
    let start_ticks = observe::start_ticks(pid)?;
    let attached = pending
        .map(|pending| pending.finish(child.pid, trace))
        .transpose()?;
    let mut handed: Vec<BorrowedFd<'_>> = covers.iter().map(AsFd::as_fd).collect();
    if let Some((overlays, _)) = &overlays {
        handed.push(overlays.root.as_fd());
        handed.extend(overlays.usr.as_ref().map(AsFd::as_fd));
    }
    wire::go(channel, &handed)?;
    drop(overlays);
    Ok(Raised {
        start_ticks,
        namespaces,
        executed: await_execution(channel, pid, trace)?,
        attached,
    })
}

pub(crate) fn map_ids(pid: HostPid, ids: IdRange, trace: &mut Recorder) -> Result<(), StepError> {
    let line = format!("{} {} {}", ids.0, ids.1, ids.2);
    for (file, step) in [("uid_map", Step::MapUsers), ("gid_map", Step::MapGroups)] {
        let path = format!("/proc/{pid}/{file}");
        trace.step((step, &path), format!("write({path:?}, {line:?})"), || {
            fs::write(&path, &line)
        })?;
    }
    Ok(())
}

/// The container's user namespace, for its layers' ids; `None` where that is the machine's.
fn open_users(
    pid: HostPid,
    plan: &Plan,
    trace: &mut Recorder,
) -> Result<Option<OwnedFd>, StepError> {
    if *plan.sources.get(NamespaceType::User) == Source::Host {
        return Ok(None);
    }
    let path = format!("/proc/{pid}/ns/user");
    trace
        .step(
            (Step::OpenUserNamespace, &path),
            format!("open({path:?})"),
            || {
                open(
                    path.as_str(),
                    OFlags::RDONLY | OFlags::CLOEXEC,
                    Mode::empty(),
                )
            },
        )
        .map(Some)
}

fn vanished() -> Failure {
    Failure::new(
        FailureCode::Internal,
        "the process that was to become the container's init ended without a word",
    )
    .stage(Stage::Clone)
}

/// Nobody but the kernel kills it before it runs.
fn killed() -> Failure {
    Failure::new(
        FailureCode::Exhausted,
        "the container's memory was all in use before its command ran: give it more (limits.memory)",
    )
    .field("limits.memory")
    .stage(Stage::Clone)
}

fn out_of_turn() -> Failure {
    Failure::new(
        FailureCode::Internal,
        "a helper process answered out of turn",
    )
    .stage(Stage::Monitor)
}

fn await_waiting(channel: &Packet, pid: HostPid, trace: &mut Recorder) -> Result<(), Failure> {
    match wire::receive(channel)? {
        Some((Report::Waiting, _)) => Ok(()),
        Some((Report::Failed { failure, steps }, _)) => {
            trace.extend(steps, Some(pid));
            Err(failure)
        }
        Some(_) => Err(out_of_turn()),
        None => Err(vanished()),
    }
}

/// Waits until the program runs: until the helper's end has been closed by exec.
fn await_execution(
    channel: &Packet,
    pid: HostPid,
    trace: &mut Recorder,
) -> Result<Executed, Failure> {
    let mut console = None;
    let mut executing = None;
    loop {
        match wire::receive(channel)? {
            Some((Report::Handed { tty_name }, descriptors)) => {
                let handed = wire::console(descriptors).ok_or_else(out_of_turn)?;
                console = Some((handed, tty_name));
            }
            Some((Report::Executing { call, steps }, descriptors)) => {
                trace.extend(steps, Some(pid));
                let last_word = match descriptors.into_iter().next() {
                    Some(fd) => Some(LastWord::from_fd(fd).map_err(|_| out_of_turn())?),
                    None => None,
                };
                executing = Some((call, last_word));
            }
            Some((Report::Failed { failure, steps }, _)) => {
                trace.extend(steps, Some(pid));
                return Err(failure);
            }
            Some(_) => return Err(out_of_turn()),
            None => break,
        }
    }
    match (console, executing) {
        (Some((console, tty_name)), Some((call, last_word))) => {
            trace.seen(Actor::Init, Some(pid), call, 0);
            Ok(Executed {
                console,
                tty_name,
                last_word,
            })
        }
        _ => Err(vanished()),
    }
}
