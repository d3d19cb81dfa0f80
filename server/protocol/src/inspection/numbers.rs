//! Users, groups, clocks and numbers of processes.

use serde::{Deserialize, Serialize};

use crate::id::{HostPid, NamespaceInode};

use super::Clocks;

/// A user namespace, user_namespaces(7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Which.
    pub namespace: NamespaceInode,
    /// How many user namespaces it lies below: 0 for the initial one.
    pub level: u32,
    /// These, from its parent to the initial one, as far as they may be seen.
    pub ancestors: Vec<NamespaceInode>,
    /// The user who made it.
    pub owner_uid: Option<u32>,
    /// Empty while it is not written: everybody is 65534 then.
    pub uid_map: Vec<MappedRange>,
    #[allow(missing_docs)]
    pub gid_map: Vec<MappedRange>,
    /// Whether setgroups(2) is allowed in it.
    pub setgroups: Option<bool>,
}

/// Ids that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedRange {
    /// The first inside.
    pub inside: u32,
    /// The same in the namespace that it is mapped to, its parent; `None` where the parent's map
    /// cannot be read.
    pub parent: Option<u32>,
    /// The same on the host: what the kernel checks.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The control groups of a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Its cgroup namespace.
    pub namespace: NamespaceInode,
    /// One for each hierarchy.
    pub groups: Vec<GroupMembership>,
    /// `None` where no hierarchy limits memory, or its files cannot be read.
    pub memory: Option<MemoryUse>,
    #[allow(missing_docs)]
    pub cpu: Option<CpuUse>,
    #[allow(missing_docs)]
    pub pids: Option<PidsUse>,
    /// Whether it is frozen, which is what pausing a container is.
    pub frozen: Option<bool>,
}

/// A process's place in one hierarchy, cgroups(7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMembership {
    /// 1 or 2.
    pub version: u8,
    /// The controllers of a v1 hierarchy; those that the group has for v2. `name=systemd` for one
    /// that only groups.
    pub controllers: Vec<String>,
    /// The group from the hierarchy's root.
    pub path: String,
    /// The group's directory on the host; `None` where the hierarchy is not mounted.
    pub directory: Option<String>,
}

/// Memory of a group and all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// In use now.
    pub current: u64,
    /// The most that was in use; `None` before Linux 5.19 on v2.
    pub peak: Option<u64>,
    /// The limit; `None` without one.
    pub max: Option<u64>,
    /// Swap in use, and its limit.
    pub swap: Option<u64>,
    #[allow(missing_docs)]
    pub swap_max: Option<u64>,
}

/// Processors of a group and all below it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CpuUse {
    /// Processor time in microseconds since the group was made.
    pub usage_us: u64,
    /// How many processors it may use at most, a fraction; `None` without a limit.
    pub cpus: Option<f64>,
    /// How often it was held back, and for how long.
    pub throttled: u64,
    #[allow(missing_docs)]
    pub throttled_us: u64,
}

/// Processes and threads of a group and all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidsUse {
    /// Now.
    pub current: u64,
    /// The limit; `None` without one.
    pub max: Option<u64>,
}

/// A time namespace, time_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Which.
    pub namespace: NamespaceInode,
    /// What is added to the host's monotonic clock, in nanoseconds.
    pub monotonic_offset: i64,
    /// What is added to its boot-time clock, in nanoseconds.
    pub boottime_offset: i64,
    /// The clocks as they are read inside.
    pub inside: Clocks,
    /// The host's, at the same moment.
    pub outside: Clocks,
}

/// A PID namespace, pid_namespaces(7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pid {
    /// Which.
    pub namespace: NamespaceInode,
    /// How many PID namespaces it lies below: 0 for the initial one.
    pub level: u32,
    /// These, from its parent to the initial one, as far as they may be seen.
    pub ancestors: Vec<NamespaceInode>,
    /// Its first process.
    pub init: Option<HostPid>,
    /// How many processes are in it, those in namespaces below it left out.
    pub processes: u32,
    /// Numbers stay below this (`kernel.pid_max`, of each namespace its own since Linux 6.14).
    pub pid_max: Option<u32>,
    /// The number that was given last: elsewhere than on the host to the process that read this.
    pub last_pid: Option<i32>,
    /// What could not be read, a sentence each.
    pub notes: Vec<String>,
}
