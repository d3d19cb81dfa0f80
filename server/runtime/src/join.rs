//! Joining a container: what `docker exec` does.
//!
//! ```text
//! monitor (subreaper)   finds the container's init again, makes the session's group, clones ─┐
//!                                                                          joiner ───────────┤
//!     born into the session's group, joins the v1 groups; setns; terminal or pipes           │
//!   <──────────────────────────────────────────────────────────── terminal or pipes          │
//!     confines itself as the container's init is, becomes the user, looks for the command,   │
//!     starts it, exits                                                                       │
//!   <──────────────────────────────────────────────────────────── spawned ───────────────────┘
//!   is the command's parent now
//! ```

mod foreign;
mod joiner;
mod place;

use std::os::fd::{AsFd, OwnedFd};

use porthole_protocol::container::{ContainerSpec, IdRange};
use porthole_protocol::id::{ContainerId, ContainerPid, HostPid, SessionId};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::namespace::{NamespaceSet, PerNamespace};
use porthole_protocol::session::{FidelityLine, JoinedNamespace, SessionSpec, Tried};
use porthole_protocol::trace::Actor;
use porthole_sys::packet::Packet;
use porthole_sys::process::{Clone, SingleThreaded, clone};
use porthole_sys::signals;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use crate::cgroup::Entrance;
use crate::foreign::fidelity::namespaces;
use crate::step::{Step, StepError};
use crate::wire::{self, Report};
use crate::{Cgroups, Console, Images, Recorder, observe};

pub use foreign::{JoinForeign, join_foreign};
use place::{Place, Visit, joined};

/// What is needed to run something in a container.
#[derive(Debug)]
pub struct Join<'a> {
    /// The session; its group exists or is made.
    pub session: &'a SessionId,
    /// What to run.
    pub spec: &'a SessionSpec,
    /// What the container was asked to be.
    pub container: &'a ContainerSpec,
    /// Which container.
    pub id: &'a ContainerId,
    /// Its block of ids.
    pub ids: IdRange,
    /// Its init.
    pub host_pid: HostPid,
    /// When that was started: with the PID its identity.
    pub start_ticks: u64,
    /// The namespaces that it must be found in.
    pub namespaces: &'a NamespaceSet,
    /// The instance's groups.
    pub cgroups: &'a Cgroups,
    /// The images.
    pub images: &'a Images,
}

/// What runs in the container now. It is the caller's child: the caller reaps it.
#[derive(Debug)]
pub struct Joined {
    /// The process.
    pub pidfd: OwnedFd,
    /// The same on the host.
    pub host_pid: HostPid,
    /// The same inside.
    pub container_pid: ContainerPid,
    /// Clock ticks between boot and its start.
    pub start_ticks: u64,
    /// What it reads and writes.
    pub console: Console,
    /// Its terminal's name inside.
    pub tty_name: Option<String>,
    /// What runs.
    pub command: Vec<String>,
    /// Shells that were looked for before.
    pub tried: Vec<Tried>,
    /// The namespaces that it is in.
    pub joined: PerNamespace<JoinedNamespace>,
    /// How it compares with the container's init, where Porthole did not make that or the session
    /// leaves namespaces out.
    pub fidelity: Vec<FidelityLine>,
    /// The container's init.
    pub target: OwnedFd,
}

/// What a container's init is known by.
#[derive(Debug, Clone, Copy)]
struct Identity<'a> {
    host_pid: HostPid,
    start_ticks: u64,
    /// The namespaces that it must be found in.
    namespaces: &'a NamespaceSet,
}

/// Runs a command in a container. Called in the session's monitor, which must be a subreaper with
/// one thread: a forked joiner does the work, and is gone when this returns.
pub fn join(join: &Join<'_>, trace: &mut Recorder) -> Result<Joined, Failure> {
    crate::confinement::prepare();
    let alone =
        SingleThreaded::verify().map_err(|error| StepError::new(Step::CountThreads, error))?;
    let identity = Identity {
        host_pid: join.host_pid,
        start_ticks: join.start_ticks,
        namespaces: join.namespaces,
    };
    let target = identify(identity, trace)?;
    let place = Place {
        spec: join.spec,
        namespaces: join.namespaces,
    };
    let visit = Visit {
        place,
        whose: joiner::Whose::Own(join.container),
    };
    let own = observe::namespaces(HostPid(std::process::id().cast_signed()))?;
    if join.spec.join.is_some() && visit.place.kinds(&own).is_empty() {
        return Err(joins_nothing());
    }
    let left_out = visit.place.left_out(&own);
    join.cgroups.create_session(join.id, join.session)?;
    let answer = join
        .cgroups
        .entrance(join.id, Some(join.session))
        .map_err(crate::cgroup::lost)
        .and_then(|entrance| start(&visit, &entrance, alone, target, trace))
        .map(|mut joined| {
            if !left_out.is_empty() {
                joined.fidelity.push(namespaces(&left_out, false));
            }
            joined
        });
    if answer.is_err() {
        // Nothing of it may stay; the failure that is told is the first one.
        let _ = join.cgroups.kill_session(join.id, join.session);
        let _ = join.cgroups.remove_session(join.id, join.session);
    }
    answer
}

/// Its init is no more.
fn gone(why: &str) -> Failure {
    Failure::new(
        FailureCode::WrongState,
        format!("the container does not run any more: {why}"),
    )
    .stage(Stage::Identity)
}

/// A session in none of a container's namespaces would be in no container.
fn joins_nothing() -> Failure {
    Failure::new(
        FailureCode::Invalid,
        "the container has none of these namespaces of its own: the session would be a shell of the machine's",
    )
    .field("join")
    .stage(Stage::Request)
}

/// Finds the container's init again: by number, then made sure of by what does not come back when
/// a number does.
fn identify(identity: Identity<'_>, trace: &mut Recorder) -> Result<OwnedFd, Failure> {
    let pid = identity.host_pid;
    let opened = trace.step(Step::OpenProcess, format!("pidfd_open({pid})"), || {
        Pid::from_raw(pid.0)
            .ok_or(Errno::SRCH)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
    });
    let target = match opened {
        Err(error) if error.is(Errno::SRCH) => return Err(gone("its init has ended")),
        answer => answer?,
    };
    if observe::start_ticks(pid).ok() != Some(identity.start_ticks) {
        return Err(gone("its init's number is another process's now"));
    }
    match observe::namespaces(pid) {
        Ok(found) if found == *identity.namespaces => {}
        Ok(_) => return Err(gone("its init is in other namespaces now")),
        Err(_) => return Err(gone("its init is ending")),
    }
    // What was read was this process's if it is still there after the reading.
    trace
        .step(Step::ProbeProcess, "pidfd_send_signal(pidfd, 0)", || {
            signals::send(&target, 0)
        })
        .map_err(|_| gone("its init has ended"))?;
    Ok(target)
}

fn start(
    visit: &Visit<'_>,
    entrance: &Entrance,
    alone: SingleThreaded,
    target: OwnedFd,
    trace: &mut Recorder,
) -> Result<Joined, Failure> {
    let own = observe::namespaces(HostPid(std::process::id().cast_signed()))?;
    let (ours, theirs) =
        Packet::pair(false).map_err(|error| StepError::new(Step::MakeChannel, error))?;
    let errand = joiner::Errand {
        visit,
        entrance,
        target: &target,
        kinds: visit.place.kinds(&own),
    };
    let helper = trace.forked(Actor::Joiner, None);
    let how = Clone {
        cgroup: Some(entrance.unified.as_fd()),
        ..Clone::default()
    };
    let joiner = trace.step(Step::Clone, "clone3(CLONE_PIDFD|CLONE_INTO_CGROUP)", || {
        clone(alone, &how, |forked| {
            joiner::run(&errand, &forked, &theirs, helper)
        })
    })?;
    drop(theirs);
    let answer = await_spawn(&ours, HostPid(joiner.pid), trace);
    if answer.is_err() {
        let _ = crate::launch::end(&joiner);
    } else {
        // It exits by itself once it has answered, and leaves the command to us.
        let _ = rustix::io::retry_on_intr(|| {
            waitid(WaitId::PidFd(joiner.pidfd.as_fd()), WaitIdOptions::EXITED)
        });
    }
    let spawned = answer?;
    let host_pid = HostPid(spawned.pid);
    let pidfd = adopt(spawned.pid)?;
    trace.seen(
        Actor::Shell,
        Some(host_pid),
        format!("execve({:?})", spawned.path),
        0,
    );
    Ok(Joined {
        pidfd,
        host_pid,
        container_pid: observe::container_pid(host_pid)?,
        start_ticks: observe::start_ticks(host_pid)?,
        console: spawned.console,
        tty_name: spawned.tty_name,
        command: spawned.command,
        tried: spawned.tried,
        joined: joined(visit, host_pid, &own),
        fidelity: Vec::new(),
        target,
    })
}

/// The command, which must be our own child: then its number is not given to another.
fn adopt(pid: i32) -> Result<OwnedFd, StepError> {
    let failed = |errno| StepError::new(Step::OpenProcess, errno);
    let number = Pid::from_raw(pid).ok_or(failed(Errno::SRCH))?;
    let pidfd = pidfd_open(number, PidfdFlags::empty()).map_err(failed)?;
    waitid(
        WaitId::PidFd(pidfd.as_fd()),
        WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT,
    )
    .map_err(|errno| StepError::new(Step::BeSubreaper, errno))?;
    Ok(pidfd)
}

struct Spawned {
    pid: i32,
    path: String,
    command: Vec<String>,
    tried: Vec<Tried>,
    console: Console,
    tty_name: Option<String>,
}

fn await_spawn(
    channel: &Packet,
    joiner: HostPid,
    trace: &mut Recorder,
) -> Result<Spawned, Failure> {
    let unexpected = |what: &str| {
        Failure::new(FailureCode::Internal, format!("the joiner {what}")).stage(Stage::Join)
    };
    let mut console = None;
    let mut opening = false;
    loop {
        let received = if opening {
            wire::receive_within(channel, wire::OPENING).map_err(not_opened)?
        } else {
            wire::receive(channel)?
        };
        opening = matches!(received, Some((Report::Opening, _)));
        match received {
            Some((Report::Opening, _)) => {}
            Some((Report::Handed { tty_name }, descriptors)) => {
                let handed = wire::console(descriptors)
                    .ok_or_else(|| unexpected("handed over something else"))?;
                console = Some((handed, tty_name));
            }
            Some((Report::Failed { failure, steps }, _)) => {
                trace.extend(steps, Some(joiner));
                return Err(failure);
            }
            Some((
                Report::Spawned {
                    pid,
                    path,
                    command,
                    tried,
                    steps,
                },
                _,
            )) => {
                trace.extend(steps, Some(joiner));
                let (console, tty_name) =
                    console.ok_or_else(|| unexpected("handed nothing over"))?;
                return Ok(Spawned {
                    pid,
                    path,
                    command,
                    tried,
                    console,
                    tty_name,
                });
            }
            Some(_) => return Err(unexpected("answered out of turn")),
            None => {
                return Err(Failure::new(
                    FailureCode::Exhausted,
                    "the joiner ended without a word: the container's memory may be all in use",
                )
                .stage(Stage::Join));
            }
        }
    }
}

/// What a joiner that said nothing more was waiting for.
fn not_opened(failure: Failure) -> Failure {
    if failure.errno == Some(Errno::TIMEDOUT.raw_os_error()) {
        StepError::new((Step::OpenTerminal, "/dev/ptmx"), Errno::TIMEDOUT).into()
    } else {
        failure
    }
}
