//! Mount namespaces.

use serde::{Deserialize, Serialize};

use crate::id::{HostPid, NamespaceInode};

use super::Bounded;

/// The mounts that a process sees, from `/proc/PID/mountinfo`, proc_pid_mountinfo(5). The target's
/// files are at `/proc/PID/root`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mounts {
    /// The process that they were read from; paths are seen from its root.
    pub process: HostPid,
    /// Its mount namespace.
    pub namespace: NamespaceInode,
    /// As a tree, depth first: each before those that are on it, siblings in the kernel's order.
    pub mounts: Bounded<Mount>,
    /// The peer groups that these mounts are in or receive from, each once, by number.
    pub groups: Bounded<PeerGroup>,
    /// How many mount namespaces were looked at for members of these groups, and how many more
    /// there are.
    pub searched: u32,
    #[allow(missing_docs)]
    pub not_searched: u32,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Its number, unique while it is mounted.
    pub id: u64,
    /// The number of the mount that it is mounted on. That of the topmost is not in the list.
    pub parent: u64,
    /// How many mounts lie between it and the topmost: 0 for that.
    pub depth: u32,
    /// `major:minor` of the device, as stat(2) says of its files.
    pub device: String,
    /// The directory or file of the file system that is its root.
    pub root: String,
    /// Where it is mounted, seen from the process's root.
    pub path: String,
    /// `path` as mountinfo has it, with its octal escapes, where characters had to be replaced.
    pub path_raw: Option<String>,
    /// `ext4`, `fuse.lxcfs`.
    pub fstype: String,
    /// What is mounted; `none` and the like where that has no name.
    pub source: String,
    /// Options of this mount: `ro`, `nosuid`.
    pub options: Vec<String>,
    /// Options of the whole file system.
    pub super_options: Vec<String>,
    /// How mounts below it spread, mount_namespaces(7).
    pub propagation: Propagation,
    /// The number of the mount that hides it: one later on the same place or above it.
    pub hidden_by: Option<u64>,
}

/// Whether mounts below a mount spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propagation {
    /// In a word.
    pub kind: PropagationKind,
    /// The peer group that it shares with (`shared:N`).
    pub group: Option<u64>,
    /// The peer group that it receives from (`master:N`).
    pub master: Option<u64>,
    /// The nearest group that is visible below this root which it receives from
    /// (`propagate_from:N`).
    pub from: Option<u64>,
}

/// The four kinds, and the fifth that is two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PropagationKind {
    /// Neither sends nor receives.
    Private,
    /// Sends to its peers and receives from them.
    Shared,
    /// Receives only.
    Slave,
    /// Receives from its master, shares with peers of its own.
    SharedSlave,
    /// Private, and may not be bind mounted.
    Unbindable,
}

/// A peer group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerGroup {
    /// Its number.
    pub id: u64,
    /// Mounts of other mount namespaces in it or that receive from it.
    pub members: Bounded<PeerMount>,
}

/// A mount of another mount namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerMount {
    /// That mount namespace.
    pub namespace: NamespaceInode,
    /// A process in it.
    pub process: HostPid,
    /// Where that process sees the mount.
    pub path: String,
    /// It only receives.
    pub receives: bool,
}
