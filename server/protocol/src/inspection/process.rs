//! A process.

use serde::{Deserialize, Serialize};

use crate::id::NamespaceInode;
use crate::namespace::NamespaceType;

use super::{Bounded, ProcessIdentity};

/// What a process is and may.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Which.
    pub process: ProcessIdentity,
    /// Its five sets, capabilities(7).
    pub capabilities: Capabilities,
    /// 0 off, 1 strict, 2 filter.
    pub seccomp: Option<u8>,
    /// How many filters.
    pub seccomp_filters: Option<u32>,
    #[allow(missing_docs)]
    pub no_new_privs: Option<bool>,
    /// Its supplementary groups.
    pub groups: Bounded<Group>,
    /// The bits that new files do not get.
    pub umask: Option<u16>,
    /// Its limits, getrlimit(2).
    pub limits: Vec<ResourceLimit>,
    /// How likely it is killed when memory runs out, and what is added to that.
    pub oom_score: Option<i32>,
    #[allow(missing_docs)]
    pub oom_score_adj: Option<i32>,
    /// Its working directory, program and root, as the kernel shows them to the host: paths in its
    /// own mount namespace.
    pub cwd: Option<String>,
    #[allow(missing_docs)]
    pub exe: Option<String>,
    #[allow(missing_docs)]
    pub root: Option<String>,
    /// `NAME=value` as it was started with; `None` where it was not asked for or may not be read.
    pub environment: Option<Bounded<String>>,
    /// What the security module calls it, AppArmor's profile or SELinux's context.
    pub label: Option<String>,
    /// How many files it has open.
    pub open_files: Option<u32>,
    /// Its namespaces, in the order in which they are always shown, and the two that its children
    /// get.
    pub namespaces: Vec<NamespaceFile>,
}

/// The five sets of capabilities by name: `CAP_CHOWN`. One without a name here is `CAP_41`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Capabilities {
    pub inheritable: Vec<String>,
    pub permitted: Vec<String>,
    pub effective: Vec<String>,
    pub bounding: Vec<String>,
    pub ambient: Vec<String>,
}

/// A group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// On the host.
    pub outside: u32,
    /// In the process's user namespace; `None` where that has no number for it.
    pub inside: Option<u32>,
}

/// A limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimit {
    /// `Max open files`.
    pub name: String,
    /// In force; `None` is unlimited.
    pub soft: Option<u64>,
    /// As high as it may be raised.
    pub hard: Option<u64>,
    /// `files`, `bytes`; empty for a bare number.
    pub unit: String,
}

/// A file of `/proc/PID/ns`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceFile {
    /// Its name: `pid`, `pid_for_children`.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub kind: NamespaceType,
    /// `None` where it may not be read, or there is none yet.
    pub inode: Option<NamespaceInode>,
    /// `/proc/PID/ns/pid`, for nsenter(1).
    pub path: String,
}
