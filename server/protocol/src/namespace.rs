//! The eight kinds of namespace: the one table that code, pages and style sheet follow.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::NamespaceInode;

/// A kind of namespace, see namespaces(7). The order is the one in which they are always shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceType {
    /// Mount points, mount_namespaces(7).
    Mnt,
    /// Host name and NIS domain name, uts_namespaces(7).
    Uts,
    /// System V IPC and POSIX message queues, ipc_namespaces(7).
    Ipc,
    /// Process ids, pid_namespaces(7).
    Pid,
    /// Network devices, addresses, ports, routes, network_namespaces(7).
    Net,
    /// User and group ids and capabilities, user_namespaces(7).
    User,
    /// The root that `/proc/PID/cgroup` is seen from, cgroup_namespaces(7).
    Cgroup,
    /// The monotonic and boot-time clocks, time_namespaces(7).
    Time,
}

impl NamespaceType {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Mnt,
        Self::Uts,
        Self::Ipc,
        Self::Pid,
        Self::Net,
        Self::User,
        Self::Cgroup,
        Self::Time,
    ];

    /// The name of its file in `/proc/PID/ns`, which is also its CSS class and its word on screen.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mnt => "mnt",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Pid => "pid",
            Self::Net => "net",
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// The flag that clone(2), unshare(2) and setns(2) know it by (`linux/sched.h`).
    pub const fn clone_flag(self) -> u64 {
        match self {
            Self::Mnt => 0x0002_0000,
            Self::Uts => 0x0400_0000,
            Self::Ipc => 0x0800_0000,
            Self::Pid => 0x2000_0000,
            Self::Net => 0x4000_0000,
            Self::User => 0x1000_0000,
            Self::Cgroup => 0x0200_0000,
            Self::Time => 0x0000_0080,
        }
    }

    /// The name of that flag.
    pub const fn clone_flag_name(self) -> &'static str {
        match self {
            Self::Mnt => "CLONE_NEWNS",
            Self::Uts => "CLONE_NEWUTS",
            Self::Ipc => "CLONE_NEWIPC",
            Self::Pid => "CLONE_NEWPID",
            Self::Net => "CLONE_NEWNET",
            Self::User => "CLONE_NEWUSER",
            Self::Cgroup => "CLONE_NEWCGROUP",
            Self::Time => "CLONE_NEWTIME",
        }
    }

    /// What it isolates, in a few words for people.
    pub const fn isolates(self) -> &'static str {
        match self {
            Self::Mnt => "mount points: the files it sees",
            Self::Uts => "host name and domain name",
            Self::Ipc => "message queues, semaphores, shared memory",
            Self::Pid => "process numbers: the processes it sees",
            Self::Net => "interfaces, addresses, routes, ports",
            Self::User => "user and group ids, capabilities",
            Self::Cgroup => "the root of its control groups",
            Self::Time => "the clocks that count since boot",
        }
    }
}

impl fmt::Display for NamespaceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names none of the eight.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no type of namespace has this name; they are mnt uts ipc pid net user cgroup time")]
pub struct UnknownNamespaceType;

impl FromStr for NamespaceType {
    type Err = UnknownNamespaceType;

    fn from_str(text: &str) -> Result<Self, UnknownNamespaceType> {
        Self::ALL
            .into_iter()
            .find(|t| t.name() == text)
            .ok_or(UnknownNamespaceType)
    }
}

/// One value for each of the eight, written in JSON as an object with the eight names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerNamespace<T> {
    #[allow(missing_docs)]
    pub mnt: T,
    #[allow(missing_docs)]
    pub uts: T,
    #[allow(missing_docs)]
    pub ipc: T,
    #[allow(missing_docs)]
    pub pid: T,
    #[allow(missing_docs)]
    pub net: T,
    #[allow(missing_docs)]
    pub user: T,
    #[allow(missing_docs)]
    pub cgroup: T,
    #[allow(missing_docs)]
    pub time: T,
}

impl<T> PerNamespace<T> {
    /// Asks for each of the eight in turn.
    pub fn build(mut value: impl FnMut(NamespaceType) -> T) -> Self {
        Self {
            mnt: value(NamespaceType::Mnt),
            uts: value(NamespaceType::Uts),
            ipc: value(NamespaceType::Ipc),
            pid: value(NamespaceType::Pid),
            net: value(NamespaceType::Net),
            user: value(NamespaceType::User),
            cgroup: value(NamespaceType::Cgroup),
            time: value(NamespaceType::Time),
        }
    }

    /// The value for one of the eight.
    pub const fn get(&self, kind: NamespaceType) -> &T {
        match kind {
            NamespaceType::Mnt => &self.mnt,
            NamespaceType::Uts => &self.uts,
            NamespaceType::Ipc => &self.ipc,
            NamespaceType::Pid => &self.pid,
            NamespaceType::Net => &self.net,
            NamespaceType::User => &self.user,
            NamespaceType::Cgroup => &self.cgroup,
            NamespaceType::Time => &self.time,
        }
    }

    /// The value for one of the eight, to be changed.
    pub const fn get_mut(&mut self, kind: NamespaceType) -> &mut T {
        match kind {
            NamespaceType::Mnt => &mut self.mnt,
            NamespaceType::Uts => &mut self.uts,
            NamespaceType::Ipc => &mut self.ipc,
            NamespaceType::Pid => &mut self.pid,
            NamespaceType::Net => &mut self.net,
            NamespaceType::User => &mut self.user,
            NamespaceType::Cgroup => &mut self.cgroup,
            NamespaceType::Time => &mut self.time,
        }
    }

    /// The eight with their values, in the order in which they are shown.
    pub fn iter(&self) -> impl Iterator<Item = (NamespaceType, &T)> {
        NamespaceType::ALL
            .into_iter()
            .map(|kind| (kind, self.get(kind)))
    }
}

/// Whose a container's namespace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// No other container is in it and it is not the host's.
    Own,
    /// The host's: nothing of this kind is isolated.
    Host,
    /// Another container is in it too.
    Shared,
}

impl Isolation {
    /// Its word, which is also its CSS class.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Host => "host",
            Self::Shared => "shared",
        }
    }
}

/// The inodes of the eight namespaces that a process is in; `None` where it may not be read.
pub type NamespaceSet = PerNamespace<Option<NamespaceInode>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_keep_their_order() {
        for kind in NamespaceType::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!("mount".parse::<NamespaceType>(), Err(UnknownNamespaceType));
        let all = PerNamespace::build(|kind| kind);
        assert!(all.iter().all(|(kind, value)| kind == *value));
    }
}
