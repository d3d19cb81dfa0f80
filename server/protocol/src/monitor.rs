//! What a monitor says: to the keeper that forked or adopted it, and to the server that reads
//! its process's output.
//!
//! A monitor listens on `RUN/m/<first 32 digits of its id>` (SOCK_SEQPACKET, root only), so that
//! a restarted keeper finds it. JSON, one message a datagram, as in [`crate::keeper`].
//!
//! ```text
//! keeper                         monitor                              server
//!   | Hello ---------------------> |                                    |
//!   | <--------------------- Hello | (what runs, or how it ended)       |
//!   | Attach + 1 descriptor -----> | Reader + descriptors ------------> |  reads from now on
//!   |                              | <--------------------- EndOfInput  |  where there is no terminal
//!   |                              |              (it hangs up: the monitor reads again)
//!   | <-------------------- Exited | Exited --------------------------> |
//!   | Release -------------------> |                                    |
//! ```
//!
//! Descriptors are dup'ed by SCM_RIGHTS and so share file status flags: all are O_NONBLOCK,
//! except journal and index.

use serde::{Deserialize, Serialize};

use crate::id::{ContainerPid, HostPid};
use crate::keeper::Failure;
use crate::namespace::NamespaceSet;
use crate::session::{Exit, Session, Target};

/// The version of this protocol. A keeper adopts monitors of this version only; monitors of
/// another go on until their process ends, and their session's record says why nobody can attach.
pub const VERSION: u16 = 1;

/// From the keeper to a monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum ToMonitor {
    /// Who speaks. Answer: `Hello`.
    Hello {
        /// [`VERSION`].
        version: u16,
    },
    /// With one descriptor: the monitor's end of a socketpair whose other end the server gets.
    Attach,
    /// Send the watched process a signal.
    Signal {
        /// 1 to 64.
        signal: u8,
    },
    /// Someone ends the session: kill every process in its group of the cgroup2 tree.
    End,
    /// Its exit has been taken note of. It may go once all output is in the journal.
    Release,
}

/// From a monitor to the keeper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromMonitor {
    /// Answer to `Hello`.
    Hello {
        /// [`VERSION`].
        version: u16,
        /// Whom it watches.
        target: Target,
        /// What it started; `None` while it is still starting it.
        started: Option<Started>,
        /// How that ended.
        exit: Option<Exit>,
    },
    /// The program runs.
    Started(Started),
    /// It could not be started.
    Failed(Failure),
    /// It has ended.
    Exited(Exit),
}

/// What a monitor started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The first process.
    pub host_pid: HostPid,
    /// The same inside.
    pub container_pid: ContainerPid,
    /// Clock ticks between boot and its start (field 22 of `/proc/PID/stat`).
    pub start_ticks: u64,
    /// The terminal's name inside.
    pub tty_name: Option<String>,
    /// The namespaces that it was in when its program began.
    pub namespaces: NamespaceSet,
    /// For a session: its record.
    pub session: Option<Box<Session>>,
}

/// From a monitor to the server that reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToReader {
    /// First message: the server is the reader from now on. Descriptors, in this order: with a
    /// terminal `[master]`, without `[stdin, stdout, stderr]`; then in both cases
    /// `[pipe read end, pipe write end, journal, index]`.
    Reader {
        /// Whether it has a terminal.
        tty: bool,
    },
    /// The process has ended: take what is left, then close the connection.
    Exited(Exit),
}

/// From the server that reads to the monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum FromReader {
    /// Standard input has ended: the server has closed its copy, the monitor is to close its own.
    /// Whoever reads later is handed a pipe that nobody reads in its place (writing answers EPIPE,
    /// as if the program had closed its input). Meaningless with a terminal.
    EndOfInput,
}
