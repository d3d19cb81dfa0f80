//! Joining a container: what `docker exec` does.

use std::os::fd::OwnedFd;

use porthole_protocol::container::{ContainerSpec, IdRange};
use porthole_protocol::id::{ContainerId, ContainerPid, HostPid, SessionId};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::namespace::NamespaceSet;
use porthole_protocol::session::{SessionSpec, Tried};

use crate::{Cgroups, Console, Images, Recorder};

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
}

/// Runs a command in a container. Called in the session's monitor, which must be a subreaper with
/// one thread: a forked joiner does the work, and is gone when this returns.
pub fn join(_join: &Join<'_>, _trace: &mut Recorder) -> Result<Joined, Failure> {
    Err(Failure::new(FailureCode::Internal, "not built yet").stage(Stage::Join))
}
