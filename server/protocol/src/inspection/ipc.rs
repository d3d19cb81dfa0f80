//! Names, System V IPC and POSIX message queues.

use serde::{Deserialize, Serialize};

use crate::id::{HostPid, NamespaceInode};

use super::Bounded;

/// Names of the machine, uname(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uts {
    /// Which.
    pub namespace: NamespaceInode,
    /// The host name.
    pub nodename: String,
    /// The NIS domain name; `(none)` where none is set.
    pub domainname: String,
    /// `Linux`; this and what follows is not isolated.
    pub sysname: String,
    #[allow(missing_docs)]
    pub release: String,
    #[allow(missing_docs)]
    pub version: String,
    #[allow(missing_docs)]
    pub machine: String,
}

/// An IPC namespace, from `/proc/sysvipc` and an mqueue file system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ipc {
    /// Which.
    pub namespace: NamespaceInode,
    #[allow(missing_docs)]
    pub queues: Bounded<MessageQueue>,
    #[allow(missing_docs)]
    pub semaphores: Bounded<SemaphoreSet>,
    #[allow(missing_docs)]
    pub segments: Bounded<SharedMemory>,
    #[allow(missing_docs)]
    pub posix_queues: Bounded<PosixQueue>,
    /// What is set for this namespace, by the name of its sysctl: `kernel.shmmax`.
    pub limits: Vec<Setting>,
    /// What could not be read, a sentence each.
    pub notes: Vec<String>,
}

/// What every object of System V IPC has, svipc(7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpcObject {
    /// What programs find it by; 0 is `IPC_PRIVATE`.
    pub key: u32,
    /// Its number.
    pub id: i32,
    /// The nine bits of chmod(2).
    pub permissions: u16,
    /// Its owner and who made it.
    pub uid: u32,
    #[allow(missing_docs)]
    pub gid: u32,
    #[allow(missing_docs)]
    pub creator_uid: u32,
    #[allow(missing_docs)]
    pub creator_gid: u32,
    /// When it was changed, in seconds since 1970.
    pub changed_at: u64,
}

/// A message queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageQueue {
    #[allow(missing_docs)]
    #[serde(flatten)]
    pub object: IpcObject,
    /// Bytes in it.
    pub bytes: u64,
    /// Messages in it.
    pub messages: u64,
    /// Who sent and received last.
    pub last_sender: Option<HostPid>,
    #[allow(missing_docs)]
    pub last_receiver: Option<HostPid>,
}

/// A set of semaphores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SemaphoreSet {
    #[allow(missing_docs)]
    #[serde(flatten)]
    pub object: IpcObject,
    /// How many there are in it.
    pub semaphores: u64,
    /// When one was last operated on, in seconds since 1970; 0 never.
    pub operated_at: u64,
}

/// A segment of shared memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedMemory {
    #[allow(missing_docs)]
    #[serde(flatten)]
    pub object: IpcObject,
    /// Its size in bytes.
    pub size: u64,
    /// How many have attached it.
    pub attached: u64,
    /// Who made it, and who attached or detached last.
    pub creator: Option<HostPid>,
    #[allow(missing_docs)]
    pub last: Option<HostPid>,
    /// Bytes of it that are in memory, and in swap.
    pub resident: u64,
    #[allow(missing_docs)]
    pub swapped: u64,
    /// It goes when the last has detached.
    pub removed: bool,
}

/// A POSIX message queue, mq_overview(7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PosixQueue {
    /// Its name, with the `/` that mq_open(3) wants.
    pub name: String,
    #[allow(missing_docs)]
    pub uid: u32,
    #[allow(missing_docs)]
    pub gid: u32,
    /// The nine bits of chmod(2).
    pub permissions: u16,
    /// Bytes in it.
    pub bytes: u64,
    /// How many messages are in it; `None` where that may not be asked.
    pub messages: Option<u64>,
    /// How many fit, and how long one may be.
    pub most_messages: Option<u64>,
    #[allow(missing_docs)]
    pub longest: Option<u64>,
    /// Who is told when a message comes.
    pub notifies: Option<HostPid>,
}

/// A value that is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    #[allow(missing_docs)]
    pub name: String,
    /// As the kernel writes it, words separated by single spaces.
    pub value: String,
}
