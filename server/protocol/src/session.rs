//! A session: a shell or command running in a container, with or without viewers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::{AbsolutePath, Argument, EnvName, Invalid, Owner, Timestamp, UserSpec};
use crate::id::{ContainerId, ContainerPid, HostPid, SessionId};
use crate::namespace::NamespaceType;

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
}
