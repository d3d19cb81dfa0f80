//! Making the process that becomes init.
//!
//! Usually the monitor clones it. Where it is to be in namespaces of another container, or to have
//! clocks of its own, a starter in between enters or makes those first, so that the monitor stays
//! where it is, and then clones it as the monitor's child (CLONE_PARENT).

use std::convert::Infallible;
use std::os::fd::AsFd;

use porthole_protocol::id::HostPid;
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::trace::Actor;
use porthole_sys::namespace::unshare;
use porthole_sys::packet::Packet;
use porthole_sys::process::{Child, Clone, Forked, SingleThreaded, clone, exit};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::child::{self, Birth};
use crate::plan::{flag_names, flags};
use crate::recorder::Recorder;
use crate::step::{Step, StepError};
use crate::wire::{self, Report};

/// Makes the process that becomes init; it reports on `channel`.
pub(super) fn start(
    alone: SingleThreaded,
    birth: &Birth<'_>,
    channel: &Packet,
    trace: &mut Recorder,
) -> Result<Child, Failure> {
    if birth.plan.needs_starter() {
        return by_starter(alone, birth, channel, trace);
    }
    Ok(make(alone, birth, channel, false, trace)?)
}

fn make(
    alone: SingleThreaded,
    birth: &Birth<'_>,
    channel: &Packet,
    sibling: bool,
    trace: &mut Recorder,
) -> Result<Child, StepError> {
    let kinds = birth.plan.born_into();
    let how = Clone {
        namespaces: flags(&kinds),
        cgroup: Some(birth.entrance.unified.as_fd()),
        sibling,
    };
    let parent = if sibling { "|CLONE_PARENT" } else { "" };
    let call = format!(
        "clone3({}|CLONE_PIDFD|CLONE_INTO_CGROUP{parent})",
        flag_names(&kinds)
    );
    let helper = trace.forked(Actor::Init, None);
    let child = trace.step(Step::Clone, call, || {
        clone(alone, &how, |forked| {
            child::run(birth, &forked, channel, helper)
        })
    })?;
    trace.entered(kinds);
    if birth.plan.clocks.is_some() {
        trace.entered([NamespaceType::Time]);
    }
    Ok(child)
}

fn by_starter(
    alone: SingleThreaded,
    birth: &Birth<'_>,
    channel: &Packet,
    trace: &mut Recorder,
) -> Result<Child, Failure> {
    let (ours, theirs) =
        Packet::pair(false).map_err(|error| StepError::new(Step::MakeChannel, error))?;
    let helper = trace.forked(Actor::Monitor, None);
    let starter = trace.step(Step::Clone, "clone3(CLONE_PIDFD)", || {
        clone(alone, &Clone::default(), |forked| {
            run(birth, &forked, channel, &theirs, helper)
        })
    })?;
    drop(theirs);
    let answer = wire::receive(&ours);
    let _ = rustix::io::retry_on_intr(|| {
        waitid(WaitId::PidFd(starter.pidfd.as_fd()), WaitIdOptions::EXITED)
    });
    match answer? {
        Some((Report::Spawned { pid, steps, .. }, _)) => {
            trace.extend(steps, Some(HostPid(starter.pid)));
            // Our own child, not waited for: its number is not given to another.
            let pidfd = Pid::from_raw(pid)
                .ok_or(rustix::io::Errno::SRCH)
                .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
                .map_err(|errno| StepError::new(Step::OpenProcess, errno))?;
            Ok(Child { pid, pidfd })
        }
        Some((Report::Failed { failure, steps }, _)) => {
            trace.extend(steps, Some(HostPid(starter.pid)));
            Err(failure)
        }
        _ => Err(Failure::new(
            FailureCode::Internal,
            "the process that enters other containers' namespaces ended without a word",
        )
        .stage(Stage::Clone)),
    }
}

fn run(
    birth: &Birth<'_>,
    forked: &Forked,
    channel: &Packet,
    answers: &Packet,
    mut trace: Recorder,
) -> Infallible {
    let made = enter(birth, forked, &mut trace)
        .and_then(|()| make(forked.single_threaded(), birth, channel, true, &mut trace));
    let report = match made {
        Ok(child) => Report::Spawned {
            pid: child.pid,
            path: String::new(),
            command: Vec::new(),
            tried: Vec::new(),
            steps: trace.take(),
        },
        Err(error) => Report::Failed {
            failure: error.into(),
            steps: trace.take(),
        },
    };
    // Without an answer the monitor sees the end of the channel.
    let _ = wire::send(answers, &report, &[]);
    exit(0)
}

fn enter(birth: &Birth<'_>, forked: &Forked, trace: &mut Recorder) -> Result<(), StepError> {
    // The machine's own clocks are set by the superuser of the time namespace's owner, which we
    // are no more after entering another user namespace.
    if let Some(clocks) = birth.plan.clocks {
        let kind = NamespaceType::Time;
        trace.step(Step::UnshareTime, "unshare(CLONE_NEWTIME)", || {
            unshare(forked.single_threaded(), kind.clone_flag())
        })?;
        let text = format!(
            "monotonic {} 0\nboottime {} 0\n",
            clocks.monotonic, clocks.boottime
        );
        trace.step(
            Step::SetClocks,
            format!("write(\"/proc/self/timens_offsets\", {text:?})"),
            || std::fs::write("/proc/self/timens_offsets", &text),
        )?;
    }
    for kind in birth.plan.entered() {
        let Some(pidfd) = birth.launch.shared.get(kind) else {
            return Err(StepError::new(
                (Step::EnterShared, kind),
                rustix::io::Errno::BADF,
            ));
        };
        let flag = u32::try_from(kind.clone_flag()).unwrap_or(0);
        trace.step(
            (Step::EnterShared, kind),
            format!("setns(pidfd, {})", kind.clone_flag_name()),
            || {
                move_into_thread_name_spaces(
                    pidfd.as_fd(),
                    ThreadNameSpaceType::from_bits_retain(flag),
                )
            },
        )?;
        trace.entered([kind]);
    }
    Ok(())
}
