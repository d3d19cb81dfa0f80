//! The host as it is: its processes, its namespaces, and whose container a process is in.
//!
//! [`observe`] is the observer: a process of its own, forked by the keeper, that only reads. What
//! it sees it writes to a stream as [`porthole_protocol::observation`] has it.
//!
//! ```text
//!   events    the proc connector's messages: which process was born, changed or ended
//!      |
//!   observer  gathers them, at most 50 ms; a slow scan corrects what no event tells
//!      |
//!   host      what reads: procfs (processes), arguments (a helper that may hang),
//!      |      holders (descriptors, mounts), freezer  <-- parse, printable: bytes to values
//!      |
//!   model     what the host looks like, and what of it the receiver does not know yet
//!      |      <-- recognise (a group's path), containers (who is in which)
//!   outbox    one message at a time, as fast as the receiver reads
//! ```
//!
//! Nothing here trusts what it reads: a process chooses its name and its arguments freely, and
//! may be gone between two reads.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use rustix::fd::OwnedFd;

mod arguments;
mod containers;
mod events;
mod freezer;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod glance;
mod groups;
mod holders;
mod host;
pub mod inspect;
mod links;
mod model;
mod networks;
mod observer;
mod outbox;
mod parse;
mod printable;
mod procfs;
pub mod recognise;

/// How the observer is to observe.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The path of Porthole's own group in the cgroup2 tree, from that tree's root, as
    /// `/proc/PID/cgroup` shows it: `/system.slice/porthole.service/porthole-0a1b2c3d`. Below it
    /// each container has the group `<container id>`, and in that each session the group
    /// `<session id>`. `None` where nothing of Porthole's runs.
    pub cgroup_base: Option<String>,
    /// Where the keeper writes its sessions down: in `<session id>/group.json` the path of the group
    /// that it has made in another engine's container. Without, no process there is a session's.
    pub sessions: Option<PathBuf>,
    /// How often everything is read again to correct what no event tells (a process that moves
    /// itself to another group, say).
    pub correction: Duration,
    /// How often everything is read where the kernel sends no events.
    pub polling: Duration,
}

impl Settings {
    /// The usual pace for this group.
    pub fn new(cgroup_base: Option<String>) -> Self {
        Self {
            cgroup_base,
            sessions: None,
            correction: Duration::from_secs(10),
            polling: Duration::from_secs(1),
        }
    }
}

/// What the observer was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Opening `/proc`.
    OpenProc,
    /// Listing `/proc`.
    ListProc,
    /// Waiting for events.
    Wait,
    /// Writing to the stream.
    WriteStream,
}

impl Step {
    const fn words(self) -> &'static str {
        match self {
            Self::OpenProc => "open /proc",
            Self::ListProc => "list /proc",
            Self::Wait => "wait for events",
            Self::WriteStream => "write to the stream to the server",
        }
    }
}

/// Why the observer cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("cannot {}: {errno}", step.words())]
pub struct Failure {
    /// What it was doing.
    pub step: Step,
    /// What the kernel answered.
    pub errno: rustix::io::Errno,
}

/// Observes the host and tells it over `stream` (SOCK_STREAM, connected) until the other side
/// closes that, which is `Ok`.
///
/// For a process of its own with a single thread: it blocks for as long as it is wanted. To see
/// every process it needs root; without, what it may not read is `None`.
pub fn observe(stream: OwnedFd, settings: &Settings) -> Result<(), Failure> {
    observer::Observer::new(stream, settings)?.run()
}

/// A host that was read once.
#[derive(Debug)]
pub struct Scan(host::Host);

impl Scan {
    /// How many processes there were.
    pub fn processes(&self) -> usize {
        self.0.model.pids().count()
    }
}

/// Reads the whole host once, as an observer does when it begins. For measuring: what it costs to
/// forget all of it comes when the answer is dropped.
pub fn scan_once(settings: &Settings) -> Result<Scan, Failure> {
    let mut host = host::Host::open(settings)?;
    host.scan()?;
    host.wait_for_arguments()?;
    host.model.settle();
    Ok(Scan(host))
}
