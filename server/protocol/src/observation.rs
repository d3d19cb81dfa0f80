//! What the observer saw: processes and namespaces of the host.
//!
//! Over SOCK_STREAM: each message is its length in bytes (u32, little-endian) and that much JSON,
//! one [`Update`]. The first has `full` set and may be followed by others that go on with it.

use serde::{Deserialize, Serialize};

use crate::container::Timestamp;
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
    /// The container whose group of the cgroup2 tree it is in.
    pub container: Option<ContainerId>,
    /// The session whose group it is in.
    pub session: Option<SessionId>,
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
}
