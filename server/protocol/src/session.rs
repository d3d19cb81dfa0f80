//! A session: a shell or command running in a container, with or without viewers.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::container::{
    AbsolutePath, Argument, EnvName, ImageName, Invalid, Owner, Timestamp, UserSpec,
};
use crate::id::{ContainerId, ContainerPid, HostPid, NamespaceInode, SessionId};
use crate::namespace::{NamespaceSet, NamespaceType, PerNamespace};

/// A terminal's size in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Width.
    pub cols: u16,
    /// Height.
    pub rows: u16,
}

impl Size {
    /// The widest and highest that anybody may ask for.
    pub const MAX: u16 = 1000;

    /// The size that a terminal has before anybody says another.
    pub const DEFAULT: Self = Self { cols: 80, rows: 24 };

    /// A size, where both numbers lie between 1 and [`Size::MAX`].
    pub fn new(cols: u16, rows: u16) -> Result<Self, Invalid> {
        let range = 1..=Self::MAX;
        if range.contains(&cols) && range.contains(&rows) {
            Ok(Self { cols, rows })
        } else {
            Err(Invalid(
                "a terminal has between 1 and 1000 columns and between 1 and 1000 rows",
            ))
        }
    }
}

/// What to run in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSpec {
    /// In which container.
    pub container: ContainerId,
    /// What to run. Empty: the user's login shell, then bash, ash, sh, whichever is there first.
    #[serde(default)]
    pub command: Vec<Argument>,
    /// Whether it gets a terminal; pipes otherwise.
    pub tty: bool,
    /// The terminal's first size.
    pub size: Size,
    /// As whom; the container's user where it is not given.
    #[serde(default)]
    pub user: Option<UserSpec>,
    /// Where; the container's where it is not given.
    #[serde(default)]
    pub workdir: Option<AbsolutePath>,
    /// Added to the container's environment.
    #[serde(default)]
    pub env: BTreeMap<EnvName, Argument>,
    /// Which namespaces to join; all of the container's where it is not given.
    #[serde(default)]
    pub join: Option<Vec<NamespaceType>>,
    /// Where Porthole did not make the container: how it is found, and what its engine says of it.
    #[serde(default)]
    pub foreign: Option<Box<Foreign>>,
}

/// A container that Porthole did not make, to be joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Foreign {
    /// Its init, or another process whose namespaces are to be joined and which confines the session.
    pub pid: HostPid,
    /// When that was started, in clock ticks since boot: with the PID its identity.
    pub start_ticks: u64,
    /// The namespaces that it must be found in.
    pub namespaces: NamespaceSet,
    /// The environment of the engine's configuration; `None`: that which its init began with.
    #[serde(default)]
    pub env: Option<BTreeMap<EnvName, Argument>>,
    /// Differences that the person has seen and accepts.
    #[serde(default)]
    pub accept: Vec<Aspect>,
    /// For containers without a shell: tools of an image, and the container's files at `/target`.
    #[serde(default)]
    pub toolbox: Option<Toolbox>,
}

/// What the name of a session's control group begins with, below the group of another engine's
/// container; the session's id follows.
pub const FOREIGN_GROUP: &str = "porthole-session-";

/// Tools for a container that has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolbox {
    /// The image whose files are the session's root directory.
    pub image: ImageName,
}

/// Whose namespace a session is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whose {
    /// The host's, be it that the container has none of its own.
    Host,
    /// The container's.
    Container,
    /// The session's own, as a toolbox has it.
    Session,
}

/// One of the eight namespaces that a session is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JoinedNamespace {
    /// Its inode; `None` where this kernel has none of the type.
    pub inode: Option<NamespaceInode>,
    /// Whose it is.
    pub whose: Whose,
}

/// Something in which a session may differ from the init of its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Which namespaces it is in.
    Namespaces,
    /// Its control groups, and with them its share of memory, processors and devices.
    Cgroup,
    /// The bounding set, and what of it the session has.
    Capabilities,
    /// Whether set-user-ID programs give anything.
    NoNewPrivileges,
    /// The filters of system calls.
    Seccomp,
    /// The label of AppArmor, SELinux or another security module.
    Label,
    /// Limits of resources, getrlimit(2).
    Limits,
    /// How gladly the kernel kills it when memory is short.
    OomScore,
    /// User and groups.
    User,
    /// Which permissions new files lack.
    Umask,
    /// Its variables.
    Environment,
    /// The directory that it begins in.
    Workdir,
}

impl Aspect {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 12] = [
        Self::Namespaces,
        Self::Cgroup,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::Seccomp,
        Self::Label,
        Self::Limits,
        Self::OomScore,
        Self::User,
        Self::Umask,
        Self::Environment,
        Self::Workdir,
    ];

    /// Its word in JSON and on screen.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Cgroup => "cgroup",
            Self::Capabilities => "capabilities",
            Self::NoNewPrivileges => "no_new_privileges",
            Self::Seccomp => "seccomp",
            Self::Label => "label",
            Self::Limits => "limits",
            Self::OomScore => "oom_score",
            Self::User => "user",
            Self::Umask => "umask",
            Self::Environment => "environment",
            Self::Workdir => "workdir",
        }
    }

    /// Whether it keeps a process from something, so that less of it must be confirmed.
    pub const fn confines(self) -> bool {
        !matches!(
            self,
            Self::OomScore | Self::User | Self::Umask | Self::Environment | Self::Workdir
        )
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a session compares with what the container's engine would have started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As the engine's own exec.
    Equal,
    /// The session may do more.
    Weaker,
    /// The session may do less.
    Stronger,
    /// It cannot be told.
    Unknown,
}

/// A line of what equals the engine's own exec and what could not be reproduced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FidelityLine {
    /// What about.
    pub aspect: Aspect,
    /// How it compares.
    pub verdict: Verdict,
    /// What the container's init has, in its own terms: `00000000a80425fb`, `2 filters`.
    pub init: String,
    /// What the session has.
    pub session: String,
    /// The same for people, in a sentence.
    pub words: String,
}

impl FidelityLine {
    /// Whether the session is opened only after somebody has said that this may be so.
    pub const fn needs_consent(&self) -> bool {
        matches!(self.verdict, Verdict::Weaker | Verdict::Unknown) && self.aspect.confines()
    }
}

/// What came to an end, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum ExitKind {
    /// It exited by itself with this code.
    Exited = 0,
    /// A signal ended it; the code is 128 + its number.
    Signal = 1,
    /// Someone ended it through Porthole.
    Ended = 2,
    /// Its monitor was lost, and with it the code.
    Lost = 3,
}

/// How a process ended, as a shell would say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255; 128 + n for signal n.
    pub code: i32,
    /// How.
    pub kind: ExitKind,
    /// In words, for people.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// Whether the kernel has killed a process of the container, during this run of it, because
    /// its memory was all in use.
    #[serde(default)]
    pub oom_killed: bool,
}

/// A shell that was looked for, and what the kernel answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Its path inside the container.
    pub path: String,
    /// Why it could not run.
    pub why: String,
}

/// A session as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its identifier.
    pub id: SessionId,
    /// Where it runs.
    pub container: ContainerId,
    /// The account that opened it.
    pub owner: Owner,
    /// What runs.
    pub command: Vec<String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// The terminal's first size.
    pub size: Size,
    /// How it ended; `None` while it runs.
    pub exit: Option<Exit>,
    /// Its first process on the host.
    pub host_pid: Option<HostPid>,
    /// The same process inside the container.
    pub container_pid: Option<ContainerPid>,
    /// The terminal's name inside the container, `/dev/pts/0`.
    pub tty_name: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// Shells that were looked for before one was found.
    #[serde(default)]
    pub tried: Vec<Tried>,
    /// The eight namespaces that it is in; `None` in records of earlier versions.
    #[serde(default)]
    pub joined: Option<PerNamespace<JoinedNamespace>>,
    /// How it compares with the container's init. Empty where it is confined by the very same code,
    /// as in all namespaces of Porthole's own containers.
    #[serde(default)]
    pub fidelity: Vec<FidelityLine>,
}

/// Whose output and input a monitor holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// A container's first process.
    Init(ContainerId),
    /// A session.
    Session(SessionId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_bounds() {
        assert!(Size::new(1, 1000).is_ok());
        for (cols, rows) in [(0, 0), (0, 1), (1, 0), (1001, 1), (u16::MAX, 24)] {
            assert!(Size::new(cols, rows).is_err());
        }
    }

    #[test]
    fn the_word_in_json_is_the_name() {
        for aspect in Aspect::ALL {
            let json = serde_json::to_string(&aspect).expect("json");
            assert_eq!(json, format!("\"{aspect}\""));
        }
    }

    #[test]
    fn only_what_confines_less_is_asked_about() {
        let line = |aspect, verdict| FidelityLine {
            aspect,
            verdict,
            init: String::new(),
            session: String::new(),
            words: String::new(),
        };
        assert!(line(Aspect::Seccomp, Verdict::Weaker).needs_consent());
        assert!(line(Aspect::Seccomp, Verdict::Unknown).needs_consent());
        assert!(!line(Aspect::Seccomp, Verdict::Stronger).needs_consent());
        assert!(!line(Aspect::Seccomp, Verdict::Equal).needs_consent());
        assert!(!line(Aspect::Environment, Verdict::Unknown).needs_consent());
    }
}
