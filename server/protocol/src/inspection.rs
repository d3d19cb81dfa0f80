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

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{HostPid, NamespaceInode};
use crate::namespace::NamespaceType;
use crate::observation::Holder;

mod isolation;

pub use isolation::{Attempt, Clocks, Fact, Isolation, NotIsolated, Seen, Verdict};

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

// ---- Mounts

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

// ---- Network

/// A network namespace from inside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Which.
    pub namespace: NamespaceInode,
    /// By index.
    pub interfaces: Bounded<Interface>,
    /// Of every table but `local`, IPv4 before IPv6.
    pub routes: Bounded<Route>,
    /// TCP sockets that listen and UDP sockets that are bound.
    pub sockets: Bounded<ListeningSocket>,
    /// Unix sockets that listen, on paths and on abstract names.
    pub unix_sockets: Bounded<UnixSocket>,
    /// TCP connections, in whatever state.
    pub connections: u64,
    /// What could not be read, a sentence each.
    pub notes: Vec<String>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `veth`, `bridge`, `tun`; `loopback` for lo; `None` for hardware.
    pub kind: Option<String>,
    /// It was set up (`IFF_UP`).
    pub up: bool,
    /// Its operational state (RFC 2863): `up`, `down`, `unknown`, `lowerlayerdown`.
    pub state: String,
    /// Bytes of a packet at most.
    pub mtu: u32,
    /// Its hardware address, `02:42:ac:11:00:02`.
    pub mac: Option<String>,
    /// The index of the interface that it is a port of, such as a bridge.
    pub master: Option<u32>,
    /// The indices of its ports.
    pub ports: Vec<u32>,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Where its other end is, for a veth or what is made on top of another interface.
    pub peer: Option<Peer>,
    /// Bytes received and sent.
    pub received: u64,
    #[allow(missing_docs)]
    pub sent: u64,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// How many of its bits the network has.
    pub prefix: u8,
    /// `global`, `site`, `link`, `host` or a number.
    pub scope: String,
}

/// The other end of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its number in its own namespace.
    pub index: u32,
    /// The network namespace that it is in; `None` where that could not be found.
    pub namespace: Option<NamespaceInode>,
    /// Its name there.
    pub name: Option<String>,
    /// The name of the interface that it is a port of there, a bridge mostly.
    pub master: Option<String>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// `10.0.0.0/24`, `default`.
    pub destination: String,
    /// Whether it is one of IPv6.
    pub v6: bool,
    /// The next router.
    pub gateway: Option<IpAddr>,
    /// The index of the interface that it leaves by. `None` where there are several or none.
    pub interface: Option<u32>,
    /// The source address that is preferred.
    pub source: Option<IpAddr>,
    /// The lowest wins.
    pub metric: Option<u32>,
    /// The number of its table: 254 is `main`.
    pub table: u32,
    /// Who made it: `kernel`, `boot`, `static`, `dhcp` or a number.
    pub protocol: String,
    /// `global`, `link`, `host` or a number.
    pub scope: String,
    /// `unicast`, `blackhole`, `unreachable` …
    pub kind: String,
}

/// Of which protocol a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum SocketProtocol {
    Tcp,
    Udp,
}

/// A socket that can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListeningSocket {
    /// Its protocol.
    pub protocol: SocketProtocol,
    /// The address that it is bound to; `::` mostly takes IPv4 too.
    pub address: IpAddr,
    /// The port that it is bound to.
    pub port: u16,
    /// Its inode: `socket:[INODE]` in `/proc/PID/fd`.
    pub inode: u64,
    /// The user who made it.
    pub uid: u32,
    /// Who has it open.
    pub holders: Vec<SocketHolder>,
}

/// A unix socket that listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixSocket {
    /// Its path; an abstract name begins with `@`.
    pub path: String,
    /// `stream`, `seqpacket`.
    pub kind: String,
    /// Its inode.
    pub inode: u64,
    /// Who has it open.
    pub holders: Vec<SocketHolder>,
}

/// A process with a socket open. At most eight of a socket's are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketHolder {
    /// The process.
    pub pid: HostPid,
    /// Under this number.
    pub fd: i32,
}

/// Every network namespace with its interfaces and how these are connected: what is needed to draw
/// the wires between containers and bridges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wiring {
    /// The host's own first, then by inode.
    pub namespaces: Bounded<WiredNamespace>,
    /// Namespaces that could not be entered.
    pub unread: Bounded<NamespaceInode>,
}

/// A network namespace with its interfaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WiredNamespace {
    /// Which.
    pub inode: NamespaceInode,
    /// Whether it is that of the host.
    pub host: bool,
    /// A process in it.
    pub process: Option<HostPid>,
    /// The file that it is mounted on, as `ip netns` does.
    pub mount: Option<String>,
    /// Its interfaces; addresses included, traffic not.
    pub interfaces: Bounded<Interface>,
}

// ---- Names, IPC

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

// ---- Users, groups, clocks, numbers

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

// ---- A process

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
