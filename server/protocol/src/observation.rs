//! What the observer saw: processes and namespaces of the host.
//!
//! Over SOCK_STREAM: each message is its length in bytes (u32, little-endian) and that much JSON,
//! one [`Update`]. The first has `full` set and may be followed by others that go on with it.

use serde::{Deserialize, Serialize};

use crate::container::{IdRange, Timestamp};
use crate::engine::Engine;
use crate::id::{ContainerId, HostPid, NamespaceInode, SessionId};
use crate::namespace::{NamespaceSet, NamespaceType};

/// The longest message in bytes.
pub const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;

/// What has changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Update {
    /// Everything that was told before is void.
    pub full: bool,
    /// Processes that are new or have changed.
    pub processes: Vec<Process>,
    /// Processes that are gone.
    pub processes_gone: Vec<HostPid>,
    /// Namespaces that are new or have changed.
    pub namespaces: Vec<Namespace>,
    /// Namespaces that are gone.
    pub namespaces_gone: Vec<NamespaceInode>,
    /// Containers that are new or have changed. Porthole's own are not among them.
    pub containers: Vec<Sighting>,
    /// Containers that are gone.
    pub containers_gone: Vec<ContainerId>,
    /// Interfaces of network namespaces, their addresses or the wires between them may have changed.
    #[serde(default)]
    pub wires: bool,
    /// How it learns of changes as of this update, where that is not at once; a sentence for
    /// people. `None` takes back an earlier one.
    pub notice: Option<String>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// On the host.
    pub host_pid: HostPid,
    /// In every PID namespace from the host's to its own, outermost first.
    pub pids: Vec<i32>,
    /// The process that started or adopted it.
    pub parent: Option<HostPid>,
    /// User on the host.
    pub uid: u32,
    /// User inside its user namespace; `None` where that has no number for it.
    pub uid_inside: Option<u32>,
    /// Group on the host.
    pub gid: u32,
    /// Group inside its user namespace.
    pub gid_inside: Option<u32>,
    /// Its name, at most 15 bytes, control characters and invalid UTF-8 replaced.
    pub command: String,
    /// Its command line, shortened to 4 KiB in all. Empty for kernel threads.
    pub args: Vec<String>,
    /// Its controlling terminal, `pts/0`.
    pub tty: Option<String>,
    /// One letter, as ps(1) shows it.
    pub state: char,
    /// When it was started.
    pub started_at: Timestamp,
    /// The same in clock ticks since boot: with the PID its identity.
    pub start_ticks: u64,
    /// How many threads it has.
    pub threads: u32,
    /// Resident memory in bytes.
    pub rss: u64,
    /// The namespaces that it is in.
    pub namespaces: NamespaceSet,
    /// The innermost container that it is in, whoever made it.
    pub container: Option<ContainerId>,
    /// The session whose group it is in.
    pub session: Option<SessionId>,
    /// Its group in the cgroup2 tree or, where that says nothing, in the v1 hierarchy that does;
    /// a path from the hierarchy's root, at most 512 bytes. `None` for kernel threads and the root.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// What confines it; `None` for kernel threads and where it may not be read.
    #[serde(default)]
    pub security: Option<Security>,
}

/// What confines a process, from proc_pid_status(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Security {
    /// `CapEff`, a bit for each capability as capabilities(7) numbers them.
    pub effective: u64,
    /// `CapBnd`.
    pub bounding: u64,
    /// `NoNewPrivs`.
    pub no_new_privs: bool,
    /// `Seccomp`: 0 off, 1 strict, 2 filter.
    pub seccomp: u8,
}

/// A container that Porthole did not make, recognised without asking anybody: by the cgroup and
/// the namespaces of its processes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    /// Its engine's identifier; for a bare set of namespaces `none-<PID>-<start ticks>` of its init.
    pub id: ContainerId,
    /// Who made it, as its group is named.
    pub engine: Engine,
    /// Its name, where its group or its init's supervisor tells it without being asked.
    pub name: Option<String>,
    /// Its first process.
    pub init: HostPid,
    /// When that was started, in clock ticks since boot: with the PID its identity.
    pub start_ticks: u64,
    /// The same as a moment.
    pub started_at: Timestamp,
    /// The namespaces that its first process is in.
    pub namespaces: NamespaceSet,
    /// The user ids of its user namespace.
    pub uid_map: Vec<IdRange>,
    /// Its group ids.
    pub gid_map: Vec<IdRange>,
    /// Its group, as [`Process::cgroup`] has it.
    pub cgroup: Option<String>,
    /// The container that it runs in, own or foreign.
    pub within: Option<ContainerId>,
    /// The pod whose group it is in: Kubernetes' by its uid, Podman's by its identifier.
    pub pod: Option<String>,
    /// Its group is frozen.
    pub paused: bool,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: NamespaceType,
    /// Its inode.
    pub inode: NamespaceInode,
    /// Whether it is the one that the observer's host began with.
    pub initial: bool,
    /// The user namespace that owns it.
    pub owner: Option<NamespaceInode>,
    /// Its parent, for the two types that nest.
    pub parent: Option<NamespaceInode>,
    /// How many processes are in it.
    pub processes: u32,
    /// The one with the lowest PID.
    pub leader: Option<HostPid>,
    /// The user id on the host that made it (`NS_GET_OWNER_UID`, ioctl_nsfs(2)); user namespaces only.
    #[serde(default)]
    pub owner_uid: Option<u32>,
    /// What the observer's network namespace calls it (`NETNSA_NSID`, rtnetlink(7)); network
    /// namespaces only. `None` where that has no number for it.
    #[serde(default)]
    pub netnsid: Option<i32>,
    /// What keeps it alive beside its processes and the namespaces that hang from it; at most
    /// [`HOLDERS`].
    #[serde(default)]
    pub holders: Vec<Holder>,
    /// How many more there are.
    #[serde(default)]
    pub more_holders: u32,
    /// How many namespaces have it as owner or parent, which keeps it alive too.
    #[serde(default)]
    pub children: u32,
}

/// So many holders of a namespace are told, the others only counted.
pub const HOLDERS: usize = 16;

/// What keeps a namespace alive without being in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// A process has it open.
    Descriptor {
        /// Which.
        pid: HostPid,
        /// Under this number.
        fd: i32,
    },
    /// A thread of a process is in it and the process is not: it has called unshare(2) or setns(2)
    /// for itself alone.
    Thread {
        /// The process.
        pid: HostPid,
        /// The thread's number on the host.
        tid: i32,
    },
    /// The children of a process will be in it and the process is not, as after
    /// `unshare --pid --fork` or `unshare --time`.
    Children {
        /// Which.
        pid: HostPid,
    },
    /// It is mounted on a file, as `ip netns` and `unshare --net=FILE` do.
    Mount {
        /// A process that sees the mount.
        pid: HostPid,
        /// Where that process sees it.
        path: String,
    },
}

impl Holder {
    /// The process that holds it, or sees the mount.
    pub const fn pid(&self) -> HostPid {
        match self {
            Self::Descriptor { pid, .. }
            | Self::Thread { pid, .. }
            | Self::Children { pid }
            | Self::Mount { pid, .. } => *pid,
        }
    }

    /// The link below `/proc` that leads to a namespace of this type; `None` for a mount.
    pub fn link(&self, kind: NamespaceType) -> Option<String> {
        match self {
            Self::Descriptor { pid, fd } => Some(format!("{pid}/fd/{fd}")),
            Self::Thread { pid, tid } => Some(format!("{pid}/task/{tid}/ns/{kind}")),
            Self::Children { pid } => Some(format!("{pid}/ns/{kind}_for_children")),
            Self::Mount { .. } => None,
        }
    }
}
