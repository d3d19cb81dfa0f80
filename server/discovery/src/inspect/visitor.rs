//! Reading with a process's own eyes: a fork enters all its namespaces and has nothing of the host
//! any more.
//!
//! ```text
//!   inspection                       porter                          visitor
//!   descriptors of the target,
//!   table of its mounts
//!     | fork ---------------------->  |
//!     |                               not dumpable, a keyring of its own, no groups,
//!     |                               nothing open but the pipe and the target's root
//!     |                               setns(pidfd, all), becomes the target's root
//!     |                               | fork ---------------------->  | is in the PID namespace
//!     |                               waits                           | tries what it may
//!     |                                                               | gives up all capabilities
//!     |                                                               | and nearly all calls, reads
//!     | <----------------------------------- JSON through the pipe -- | ends
//!     kills the porter where that takes too long, and so the visitor
//! ```
//!
//! Whoever is root in the container can see the visitor there, and stop or even trace it: it finds
//! a process that is less than its own. What the visitor says is the container's word.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::time::{Duration, Instant};

use porthole_protocol::namespace::NamespaceType;
use porthole_sys::process::{Child, Forked, SingleThreaded, exit, fork, new_session_keyring};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Gid, Pid, PidfdFlags, Signal, Uid, WaitOptions, pidfd_open,
    set_dumpable_behavior, set_parent_process_death_signal, waitpid,
};
use rustix::thread::{
    CapabilitySet, ThreadNameSpaceType, move_into_thread_name_spaces, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::inside::Inside;
use super::process::Status;
use super::target::Process;
use super::{Step, Trouble, confine, mountinfo, scan};

/// How long a visit may take: less than the whole inspection, so that this is told.
const PATIENCE: Duration = Duration::from_secs(2);

/// What comes back is not read beyond this.
const ANSWER_LIMIT: usize = 256 * 1024;

/// What a process may do by its capabilities, to be tried before they are given up.
pub(super) struct Rights {
    pub(super) set_clock: io::Result<()>,
    pub(super) read_kernel_log: io::Result<()>,
}

/// Runs `body` inside and answers what it read.
pub(super) fn visit<T: Serialize + DeserializeOwned>(
    process: &Process,
    alone: SingleThreaded,
    body: impl FnOnce(&Inside<'_>) -> T,
) -> Result<T, Trouble> {
    visit_with_rights(process, alone, |inside, _| body(inside))
}

/// The same, after it was tried what the process's capabilities allow.
pub(super) fn visit_with_rights<T: Serialize + DeserializeOwned>(
    process: &Process,
    alone: SingleThreaded,
    body: impl FnOnce(&Inside<'_>, &Rights) -> T,
) -> Result<T, Trouble> {
    let errand = Errand::prepare(process)?;
    let (answers, answer) = pipe_with(PipeFlags::CLOEXEC).map_err(Trouble::of(Step::Visit))?;
    let porter = fork(alone, |forked| {
        let outcome = errand.run(&forked, &answer, body);
        if let Err(trouble) = outcome {
            send::<T>(&answer, &Err(trouble.to_string()));
        }
        exit(0)
    })
    .map_err(|error| Trouble::of(Step::Visit)(errno_of(&error)))?;
    drop(answer);
    let outcome = hear(&answers);
    end(&porter);
    outcome?.map_err(Trouble::Inside)
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn end(porter: &Child) {
    let _ = porthole_sys::signals::send(&porter.pidfd, 9);
    let _ = waitpid(Pid::from_raw(porter.pid), WaitOptions::NOHANG);
}

/// Reads until the pipe ends, or it is too late.
fn hear<T: DeserializeOwned>(answers: &OwnedFd) -> Result<Result<T, String>, Trouble> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    // However little comes at a time: whoever may stop or trace the visitor sets its pace.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Trouble::Late);
        }
        let left = Timespec::try_from(left).unwrap_or(NOW);
        let mut fds = [PollFd::new(answers, PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return Err(Trouble::Late),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Trouble::of(Step::Read)(errno)),
        }
        match rustix::io::read(answers, &mut chunk) {
            Ok(0) => break,
            Ok(count) if bytes.len() < ANSWER_LIMIT => bytes.extend_from_slice(&chunk[..count]),
            Ok(_) => return Err(Trouble::of(Step::Read)(Errno::FBIG)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Trouble::of(Step::Read)(errno)),
        }
    }
    serde_json::from_slice(&bytes)
        .map_err(|_| Trouble::Inside("what read there ended before it had answered".to_owned()))
}

fn send<T: Serialize>(answer: &OwnedFd, outcome: &Result<T, String>) {
    let bytes = serde_json::to_vec(outcome).unwrap_or_default();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        match rustix::io::write(answer, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// All that the two forks need, opened by who can.
struct Errand {
    pidfd: OwnedFd,
    root: OwnedFd,
    kinds: ThreadNameSpaceType,
    own_users: bool,
    capabilities: CapabilitySet,
    mounts: HashMap<u64, String>,
}

impl Errand {
    fn prepare(process: &Process) -> Result<Self, Trouble> {
        let gone = |_| Trouble::ProcessGone(process.identity.pid);
        let number = Pid::from_raw(process.identity.pid.0)
            .ok_or(Trouble::ProcessGone(process.identity.pid))?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).map_err(gone)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(&process.directory, "root", flags, Mode::empty())
            .map_err(Trouble::at(Step::ReadProcess, process.path("root")))?;
        let bytes = scan::whole(&process.directory, "mountinfo", 16 * 1024 * 1024)
            .map_err(Trouble::at(Step::ReadProcess, process.path("mountinfo")))?;
        let mounts = mountinfo::entries(&bytes)
            .map(|entry| (entry.id, crate::printable::line(&entry.fstype)))
            .collect();
        let status = Status(process.text("status")?);
        let capabilities = status.hexadecimal("CapEff").unwrap_or(0);

        let mut kinds = ThreadNameSpaceType::empty();
        for kind in NamespaceType::ALL {
            // One that is ours already need not be entered; the user namespace may not be.
            if process
                .inode(kind.name())
                .is_some_and(|inode| Some(inode) != scan::own(kind))
            {
                let flag = u32::try_from(kind.clone_flag()).unwrap_or(0);
                kinds |= ThreadNameSpaceType::from_bits_retain(flag);
            }
        }
        // After the number was used, so that the descriptor is of the process that still lives.
        process.verify()?;
        Ok(Self {
            pidfd,
            root,
            own_users: kinds.contains(ThreadNameSpaceType::USER),
            kinds,
            capabilities: CapabilitySet::from_bits_truncate(capabilities),
            mounts,
        })
    }

    /// The porter.
    fn run<T: Serialize>(
        &self,
        forked: &Forked,
        answer: &OwnedFd,
        body: impl FnOnce(&Inside<'_>, &Rights) -> T,
    ) -> Result<(), Trouble> {
        let failed = || Trouble::of(Step::Visit);
        // Nobody who sees it from now on may look into it (CVE-2016-9962).
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed())?;
        let _ = rustix::thread::set_name(c"porthole-visit");
        // A kernel without keys has none to inherit.
        let _ = new_session_keyring();
        forked
            .close_all_but(&[answer.as_fd(), self.root.as_fd(), self.pidfd.as_fd()])
            .map_err(|error| failed()(errno_of(&error)))?;
        set_thread_groups(&[]).map_err(failed())?;
        if !self.kinds.is_empty() {
            move_into_thread_name_spaces(self.pidfd.as_fd(), self.kinds)
                .map_err(Trouble::of(Step::EnterNamespace))?;
        }
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed())?;
        if self.own_users {
            // Where nobody is root there, it stays a user without a number.
            let _ = set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT);
            let _ = set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT);
        }
        // Changed ids take both away (commit_creds() in kernel/cred.c), as a new user namespace may.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed())?;
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed())?;
        let (lives, life) = pipe_with(PipeFlags::CLOEXEC).map_err(failed())?;
        let visitor = fork(forked.single_threaded(), |again| -> Infallible {
            let kept = [answer.as_fd(), self.root.as_fd(), lives.as_fd()];
            if again.close_all_but(&kept).is_ok() && outlived_by_porter(lives.as_fd()) {
                let outcome = self.read(body).map_err(|trouble| trouble.to_string());
                send(answer, &outcome);
            }
            exit(0)
        })
        .map_err(|error| failed()(errno_of(&error)))?;
        let _ = waitpid(Pid::from_raw(visitor.pid), WaitOptions::empty());
        drop(life);
        Ok(())
    }

    /// The visitor.
    fn read<T>(&self, body: impl FnOnce(&Inside<'_>, &Rights) -> T) -> Result<T, Trouble> {
        // No more than the process itself has, of what its root has here.
        let own = rustix::thread::capabilities(None).map_err(Trouble::of(Step::Confine))?;
        confine::set(self.capabilities & own.permitted).map_err(Trouble::of(Step::Confine))?;
        let rights = Rights {
            set_clock: porthole_sys::probe::set_clock(),
            read_kernel_log: porthole_sys::probe::read_kernel_log(),
        };
        confine::visitor()?;
        let inside = Inside::new(self.root.as_fd(), &self.mounts);
        Ok(body(&inside, &rights))
    }
}

/// Ends with its porter from now on; false where that has ended before.
fn outlived_by_porter(lives: BorrowedFd<'_>) -> bool {
    if set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        return false;
    }
    let mut fds = [PollFd::from_borrowed_fd(lives, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&NOW)), Ok(0))
}

/// Without waiting.
const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_a_byte_at_a_time_has_no_more_time_than_others() {
        let (answers, answer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let whole = std::thread::spawn(move || {
            // Eight seconds' worth, if it is listened to for so long.
            (0..80).all(|_| {
                std::thread::sleep(Duration::from_millis(100));
                rustix::io::write(&answer, b" ").is_ok()
            })
        });
        assert!(matches!(hear::<u32>(&answers), Err(Trouble::Late)));
        drop(answers);
        assert!(!whole.join().expect("no panic"), "it was cut off");
        let (answers, answer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        send::<u32>(&answer, &Ok(7));
        drop(answer);
        assert!(matches!(hear::<u32>(&answers), Ok(Ok(7))), "the control");
    }
}
