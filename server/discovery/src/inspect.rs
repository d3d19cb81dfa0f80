//! What has to be read inside a process's namespaces, once and on request.
//!
//! [`run`] is a process of its own, forked by the keeper for one request: it may wait for what a
//! container controls, and is killed where it waits too long. It gives up what it does not need
//! before it reads anything, checks before and after that it reads the process or namespace that was
//! meant, and writes one document.
//!
//! ```text
//!   target    which process, which namespace: identity, descriptors
//!      |
//!   confine   capabilities and system calls that no reader needs are given up
//!      |
//!   mounts, network, names, ipc, users, cgroup, clocks, numbers, process, isolation
//!      |                                                    |          |
//!      |                              visitor: a fork that has entered all namespaces and has
//!      |                              nothing of the host any more reads what only shows there
//!   document  bounded, into the pipe
//! ```

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::inspection::{DOCUMENT_LIMIT, Document, Inspected, Subject, What};
use porthole_protocol::keeper::{Failure, FailureCode};
use porthole_protocol::namespace::NamespaceType;
use porthole_sys::process::{Forked, SingleThreaded};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

mod budget;
mod cgroup;
mod clocks;
mod confine;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod inside;
mod interfaces;
mod ipc;
mod isolation;
mod mountinfo;
mod mounts;
mod names;
pub(crate) mod netlink;
mod network;
mod numbers;
mod process;
mod scan;
mod sockets;
mod target;
mod users;
mod visitor;

pub use process::Variables;
use target::Target;

/// What a reader was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading what the kernel says of a process.
    ReadProcess,
    /// Opening a namespace.
    OpenNamespace,
    /// Entering a namespace.
    EnterNamespace,
    /// Giving up rights.
    Confine,
    /// Reading inside a namespace.
    Read,
    /// Starting the process that reads inside.
    Visit,
}

impl Step {
    const fn words(self) -> &'static str {
        match self {
            Self::ReadProcess => "read what the kernel says of the process",
            Self::OpenNamespace => "open the namespace",
            Self::EnterNamespace => "enter the namespace",
            Self::Confine => "give up rights",
            Self::Read => "read inside",
            Self::Visit => "start what reads inside",
        }
    }
}

/// Why nothing could be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no such process, or not any more.
    #[error("process {0} is gone, or its number is another process's by now")]
    ProcessGone(HostPid),
    /// There is no such namespace, or not any more.
    #[error("there is no {0} namespace {1} there, or not any more")]
    NamespaceGone(NamespaceType, NamespaceInode),
    /// This cannot be read of that.
    #[error("{0}")]
    Unfit(&'static str),
    /// The kernel refused.
    #[error("cannot {}{}: {errno}", step.words(), .path.as_ref().map(|path| format!(" ({path})")).unwrap_or_default())]
    Refused {
        /// What was being done.
        step: Step,
        /// With what.
        path: Option<String>,
        /// What the kernel answered.
        errno: Errno,
    },
    /// What read inside could not.
    #[error("inside: {0}")]
    Inside(String),
    /// What was read does not answer.
    #[error(
        "what was read inside did not answer in time: a file system there hangs, such as one of FUSE whose daemon does not answer"
    )]
    Late,
}

impl Trouble {
    fn at(step: Step, path: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        let path = path.into();
        move |errno| Self::Refused {
            step,
            path: Some(path),
            errno,
        }
    }

    fn of(step: Step) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Refused {
            step,
            path: None,
            errno,
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let code = match &trouble {
            Trouble::ProcessGone(_) => FailureCode::ProcessNotFound,
            Trouble::NamespaceGone(..) => FailureCode::NamespaceNotFound,
            Trouble::Unfit(_) => FailureCode::Invalid,
            Trouble::Refused { .. } | Trouble::Inside(_) => FailureCode::Unsupported,
            Trouble::Late => FailureCode::Late,
        };
        let failure = Self::new(code, trouble.to_string());
        match trouble {
            Trouble::Refused { errno, .. } => failure.errno(errno.raw_os_error()),
            _ => failure,
        }
    }
}

/// Reads, writes the document to `pipe` and answers whether that was possible. Of an environment that
/// may not be read nothing is told, whoever asks.
///
/// For a process of its own with a single thread and no other descriptors, with root's
/// capabilities, which it gives up.
pub fn run(
    forked: &Forked,
    (subject, what): (&Subject, What),
    variables: &Variables,
    pipe: &OwnedFd,
) -> bool {
    let document = match read(forked.single_threaded(), (subject, what), variables) {
        Ok(inspected) => Document::Inspected(Box::new(inspected)),
        Err(trouble) => Document::Failed(trouble.into()),
    };
    let Ok(mut bytes) = serde_json::to_vec(&document) else {
        return false;
    };
    if bytes.len() > DOCUMENT_LIMIT {
        let failure = Failure::new(
            FailureCode::Exhausted,
            "what was read is longer than can be told",
        );
        bytes = serde_json::to_vec(&Document::Failed(failure)).unwrap_or_default();
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        match rustix::io::write(pipe.as_fd(), rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

fn read(
    alone: SingleThreaded,
    (subject, what): (&Subject, What),
    variables: &Variables,
) -> Result<Inspected, Trouble> {
    confine::reader(what)?;
    let target = Target::open(subject)?;
    let inspected = match what {
        What::Mounts => Inspected::Mounts(mounts::read(target.process()?)?),
        What::Network => Inspected::Network(network::read(&target)?),
        What::Wiring => Inspected::Wiring(network::wiring()?),
        What::Uts => Inspected::Uts(names::read(&target)?),
        What::Ipc => Inspected::Ipc(ipc::read(&target)?),
        What::User => Inspected::User(users::read(&target, alone)?),
        What::Cgroup => Inspected::Cgroup(cgroup::read(target.process()?)?),
        What::Time => Inspected::Time(clocks::read(&target)?),
        What::Pid => Inspected::Pid(numbers::read(&target, alone)?),
        What::Process { environment } => {
            let process = target.process()?;
            let environment = environment && variables.may_be_read(process);
            Inspected::Process(Box::new(process::read(process, environment)?))
        }
        What::Isolation => {
            Inspected::Isolation(Box::new(isolation::read(target.process()?, alone)?))
        }
    };
    // What was read by a number was read of the process that had it all the while.
    target.verify()?;
    Ok(inspected)
}
