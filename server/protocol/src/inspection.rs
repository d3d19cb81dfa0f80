//! Facts about one process, one namespace or the host's wiring that have to be read inside.
//!
//! The server asks the keeper ([`crate::keeper::Request::Inspect`]) and is answered with a pipe.
//! A child of the keeper's reads, writes one JSON document ([`Document`], at most
//! [`DOCUMENT_LIMIT`] bytes) into it and ends. One that has not ended after [`DEADLINE`] is killed:
//! then the pipe ends without a whole document.
//!
//! What is read is of one moment and not followed. Texts that a process chose (names, paths,
//! arguments) are one line without control characters. Process ids, users and groups are the
//! host's where nothing else is said. Sizes are bytes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{HostPid, NamespaceInode};
use crate::namespace::NamespaceType;
use crate::observation::Holder;

mod ipc;
mod isolation;
mod mounts;
mod network;
mod numbers;
mod process;

pub use ipc::{Ipc, IpcObject, MessageQueue, PosixQueue, SemaphoreSet, Setting, SharedMemory, Uts};
pub use isolation::{Attempt, Clocks, Fact, Isolation, NotIsolated, Seen, Verdict};
pub use mounts::{Mount, Mounts, PeerGroup, PeerMount, Propagation, PropagationKind};
pub use network::{
    Address, Interface, ListeningSocket, Network, Peer, Route, SocketHolder, SocketProtocol,
    UnixSocket, WiredNamespace, Wiring,
};
pub use numbers::{
    Cgroup, CpuUse, GroupMembership, MappedRange, MemoryUse, Pid, PidsUse, Time, User,
};
pub use process::{Capabilities, Group, NamespaceFile, Process, ResourceLimit};

/// The longest document in bytes.
pub const DOCUMENT_LIMIT: usize = 2 * 1024 * 1024;

/// How long an inspection may take.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// What is inspected. Its identity is checked before and after: a number that another process or
/// namespace has got meanwhile answers nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Subject {
    /// The host as a whole, for [`What::Wiring`].
    Host,
    /// A process, and where a namespace is asked about, the one that it is in.
    Process(ProcessIdentity),
    /// A namespace that no process need be in.
    Namespace {
        /// Its type.
        #[serde(rename = "type")]
        kind: NamespaceType,
        /// Its inode.
        inode: NamespaceInode,
        /// How it is reached: a descriptor or a mount.
        holder: Holder,
    },
}

/// A process for good: its number alone will be another's one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessIdentity {
    /// Its number on the host.
    pub pid: HostPid,
    /// When it was started, in clock ticks since boot.
    pub start_ticks: u64,
}

/// What is to be known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum What {
    /// The mounts that a process sees. Processes only.
    Mounts,
    /// Interfaces, routes, listening sockets.
    Network,
    /// The interfaces of every network namespace, and how they are connected. The host only.
    Wiring,
    /// Names of the machine.
    Uts,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Maps of users and groups.
    User,
    /// Control groups, their limits and use. Processes only.
    Cgroup,
    /// Offsets of the clocks.
    Time,
    /// Numbers of processes.
    Pid,
    /// What a process is and may. Processes only.
    Process {
        /// With its environment variables.
        environment: bool,
    },
    /// What namespaces do not isolate, inside and outside at the same moment. Processes only.
    Isolation,
}

impl What {
    /// What is to be known of a namespace of this type.
    pub const fn of_namespace(kind: NamespaceType) -> Self {
        match kind {
            NamespaceType::Mnt => Self::Mounts,
            NamespaceType::Uts => Self::Uts,
            NamespaceType::Ipc => Self::Ipc,
            NamespaceType::Pid => Self::Pid,
            NamespaceType::Net => Self::Network,
            NamespaceType::User => Self::User,
            NamespaceType::Cgroup => Self::Cgroup,
            NamespaceType::Time => Self::Time,
        }
    }

    /// The type of namespace that it is about.
    pub const fn namespace(self) -> Option<NamespaceType> {
        Some(match self {
            Self::Mounts => NamespaceType::Mnt,
            Self::Uts => NamespaceType::Uts,
            Self::Ipc => NamespaceType::Ipc,
            Self::Pid => NamespaceType::Pid,
            Self::Network => NamespaceType::Net,
            Self::User => NamespaceType::User,
            Self::Cgroup => NamespaceType::Cgroup,
            Self::Time => NamespaceType::Time,
            Self::Wiring | Self::Process { .. } | Self::Isolation => return None,
        })
    }
}

/// What comes through the pipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Document {
    /// It was read.
    Inspected(Box<Inspected>),
    /// It could not be.
    Failed(crate::keeper::Failure),
}

/// What was read. Written as the value of what was asked for, with its word in `what`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Inspected {
    Mounts(Mounts),
    Network(Network),
    Wiring(Wiring),
    Uts(Uts),
    Ipc(Ipc),
    User(User),
    Cgroup(Cgroup),
    Time(Time),
    Pid(Pid),
    Process(Box<Process>),
    Isolation(Box<Isolation>),
}

impl Inspected {
    /// Which namespace it was read in; `None` where it is about none in particular.
    pub const fn namespace(&self) -> Option<NamespaceInode> {
        match self {
            Self::Mounts(read) => Some(read.namespace),
            Self::Network(read) => Some(read.namespace),
            Self::Uts(read) => Some(read.namespace),
            Self::Ipc(read) => Some(read.namespace),
            Self::User(read) => Some(read.namespace),
            Self::Cgroup(read) => Some(read.namespace),
            Self::Time(read) => Some(read.namespace),
            Self::Pid(read) => Some(read.namespace),
            Self::Wiring(_) | Self::Process(_) | Self::Isolation(_) => None,
        }
    }
}

/// A list that was cut where it is longer than it may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounded<T> {
    /// As many as there is room for, in the kernel's order where nothing else is said.
    pub items: Vec<T>,
    /// How many more there are.
    pub left_out: u64,
}

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            left_out: 0,
        }
    }
}
