//! What namespaces do not isolate.

use serde::{Deserialize, Serialize};

use super::{Bounded, ProcessIdentity};

/// What is not isolated, and beside it what is: each read inside and outside at the same moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Isolation {
    /// The process whose namespaces it was read in.
    pub process: ProcessIdentity,
    /// One for each [`NotIsolated`], in that order.
    pub facts: Vec<Fact>,
    /// The clocks inside.
    pub inside: Clocks,
    /// The clocks outside, at the same moment.
    pub outside: Clocks,
    /// Whether the process's root could set the machine's clock. Tried by `settimeofday(NULL, NULL)`
    /// with the capabilities of the process: the kernel checks the permission and sets nothing.
    pub set_clock: Attempt,
    /// Whether it could read the kernel's log. Tried by `syslog(SYSLOG_ACTION_SIZE_BUFFER)` with its
    /// capabilities, which is allowed to whoever may read it all, and reads nothing.
    pub read_kernel_log: Attempt,
    /// The same outside, as root.
    pub read_kernel_log_outside: Attempt,
    /// What lies over `/proc` or parts of it inside: lxcfs or another FUSE file system.
    pub covers: Bounded<String>,
}

/// The clocks of clock_gettime(2), in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clocks {
    /// Since 1970; the same everywhere.
    pub realtime: i64,
    /// Since boot without suspended time; a time namespace shifts it.
    pub monotonic: i64,
    /// Since boot; a time namespace shifts it.
    pub boottime: i64,
}

/// What became of a call that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The call, as strace(1) would write it.
    pub call: String,
    /// The kernel let it pass.
    pub allowed: bool,
    /// What it answered otherwise, in words.
    pub refusal: Option<String>,
}

/// One thing inside and outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is.
    pub name: NotIsolated,
    /// The file that it was read from.
    pub file: String,
    /// As it is read inside.
    pub inside: Seen,
    /// As it is read outside.
    pub outside: Seen,
    /// Whether the two are the same; what moves (load, uptime) is the same where what is read
    /// inside lies between what is read outside before and after.
    pub verdict: Verdict,
    /// The file system that the file inside is of where that is not procfs: `fuse.lxcfs`. The value
    /// is that one's then, and not the kernel's.
    pub through: Option<String>,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// This.
    Value(String),
    /// Nothing, for this reason in words.
    Not(String),
}

/// Whether inside and outside are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// They are.
    Same,
    /// They differ.
    Different,
    /// One of them could not be read.
    Unknown,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotIsolated {
    /// The kernel's release.
    KernelRelease,
    /// A random number of this boot.
    BootId,
    /// The load of the last 1, 5 and 15 minutes.
    Load,
    /// Bytes of memory in all.
    Memory,
    /// How many processors are seen.
    Cpus,
    /// Seconds since boot.
    Uptime,
    /// How many keys are seen in `/proc/keys`.
    Keys,
    /// How many users have keys in `/proc/key-users`.
    KeyUsers,
    /// How many kernel modules are loaded.
    Modules,
    /// Numbers of processes stay below this.
    PidMax,
    /// The host name, which is isolated: the contrast.
    Hostname,
}

impl NotIsolated {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 11] = [
        Self::KernelRelease,
        Self::BootId,
        Self::Load,
        Self::Memory,
        Self::Cpus,
        Self::Uptime,
        Self::Keys,
        Self::KeyUsers,
        Self::Modules,
        Self::PidMax,
        Self::Hostname,
    ];

    /// Its file below `/proc`.
    pub const fn file(self) -> &'static str {
        match self {
            Self::KernelRelease => "sys/kernel/osrelease",
            Self::BootId => "sys/kernel/random/boot_id",
            Self::Load => "loadavg",
            Self::Memory => "meminfo",
            Self::Cpus => "stat",
            Self::Uptime => "uptime",
            Self::Keys => "keys",
            Self::KeyUsers => "key-users",
            Self::Modules => "modules",
            Self::PidMax => "sys/kernel/pid_max",
            Self::Hostname => "sys/kernel/hostname",
        }
    }

    /// What it is called on screen.
    pub const fn words(self) -> &'static str {
        match self {
            Self::KernelRelease => "Kernel release",
            Self::BootId => "Boot id",
            Self::Load => "Load average",
            Self::Memory => "Memory in all",
            Self::Cpus => "Processors seen",
            Self::Uptime => "Uptime",
            Self::Keys => "Keys seen",
            Self::KeyUsers => "Users with keys",
            Self::Modules => "Kernel modules",
            Self::PidMax => "Highest PID",
            Self::Hostname => "Host name",
        }
    }

    /// Why it is the same or not, in a sentence.
    pub const fn why(self) -> &'static str {
        match self {
            Self::KernelRelease => {
                "There is one kernel for all: a uts namespace changes names, not the release."
            }
            Self::BootId => {
                "It is a number of the machine's boot; no namespace has one of its own."
            }
            Self::Load => {
                "The scheduler counts what runs and waits on the whole machine; only a file system such as lxcfs shows another number."
            }
            Self::Memory => {
                "meminfo tells of the machine; what a container may use is in its control group."
            }
            Self::Cpus => {
                "stat counts the machine's processors; what a container may use is in its control group."
            }
            Self::Uptime => {
                "It is the boot-time clock, which a time namespace shifts; without one of its own it is the host's."
            }
            Self::Keys => {
                "Keyrings belong to users and not to a namespace of their own; only keys of users that the user namespace has a number for are listed."
            }
            Self::KeyUsers => {
                "Quotas of keys are kept by user; only users that the user namespace has a number for are listed."
            }
            Self::Modules => "Modules are part of the one kernel.",
            Self::PidMax => {
                "Since Linux 6.14 every PID namespace has one of its own, which begins as its parent's; before, it is the machine's."
            }
            Self::Hostname => "A uts namespace has a host name of its own.",
        }
    }
}
