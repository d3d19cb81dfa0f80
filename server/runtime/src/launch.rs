//! A container's birth: from a spec to a running init.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use porthole_protocol::container::{ContainerName, ContainerSpec, IdRange};
use porthole_protocol::id::{ContainerId, HostPid};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::namespace::{NamespaceSet, PerNamespace};
use porthole_protocol::session::Size;

use crate::{Cgroups, Console, Images, Recorder};

/// What is needed to start a container.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Which container; its groups were made by [`Cgroups::create`].
    pub id: &'a ContainerId,
    /// Its name: the host name where the spec has none.
    pub name: &'a ContainerName,
    /// What it is to be.
    pub spec: &'a ContainerSpec,
    /// Its block of ids: 0, the first id outside, 65,536.
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
}

/// Starts a container. Called in the container's monitor, which has one thread and is root; the
/// mounts are made in a namespace that is gone when this returns.
pub fn launch(_launch: &Launch<'_>, _trace: &mut Recorder) -> Result<Launched, Failure> {
    Err(Failure::new(FailureCode::Internal, "not built yet").stage(Stage::Clone))
}
