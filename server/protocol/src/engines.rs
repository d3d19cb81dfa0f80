//! What the server asks of the engines broker, and what the broker tells it.
//!
//! The broker (`porthole engines`) is the only process that talks to Docker and Podman, whose
//! sockets are root in all but name. It passes nothing on: each request is one of a closed list of
//! verbs with checked fields, and becomes one call that the broker makes itself.
//!
//! Over SOCK_STREAM at `RUN/engines.sock`, which only the server's account can connect to. A
//! message is its length in bytes (u32, little-endian) and that much JSON, at most
//! [`MESSAGE_LIMIT`] from the broker and [`REQUEST_LIMIT`] from the server. Whoever sends something
//! else is hung up on. A container's log is a connection of its own, so that a reader that is slow
//! holds up nothing else, and hanging up ends it.
//!
//! ```text
//! server                                       engines
//!   | Open::Follow --------------------------->  |
//!   | <------------------------------- Hello     |
//!   | <-- Engine… Container… Synced              |  then one message for each change
//!   | Ask { id, verb } ----------------------->  |
//!   | <-------------------- Reply { id, … }      |  replies may overtake one another
//!
//!   | Open::Logs ----------------------------->  |  another connection
//!   | <------------------ LogsAnswer             |
//!   | <-- LogRecord Output… End                  |  binary, see LogRecord
//! ```

mod container;
pub mod dial;
mod log;

use serde::{Deserialize, Serialize};

use crate::container::{Invalid, Signal, Timestamp};
use crate::engine::Engine;
use crate::id::{ContainerId, HostPid};

pub use container::{
    Compose, EngineContainer, Environment, Health, HostPort, LIST_LIMIT, Mount, Network, Port,
    RunState, TEXT_LIMIT,
};
pub use log::{LOG_LIMIT, LogRecord, LogStream};

/// The version of this protocol. Broker and server are one program.
pub const VERSION: u16 = 1;

/// The longest message of the broker in bytes.
pub const MESSAGE_LIMIT: usize = 1024 * 1024;

/// The longest message of the server in bytes.
pub const REQUEST_LIMIT: usize = 4 * 1024;

/// The variable in which `serve` tells broker and server what root's policy enables: a [`Setting`].
pub const VARIABLE: &str = "PORTHOLE_ENGINES";

/// How many engines root's policy can name.
pub const ENGINES: usize = 16;

/// What root's policy enables.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Whom the broker asks. Their order is their [`EndpointId`].
    pub engines: Vec<Endpoint>,
    /// Whether containers may also be changed, or only looked at.
    pub manage: bool,
    /// The account that the server runs as: nobody else is answered.
    pub server: u32,
    /// Why there is no broker although engines are enabled, and what to do.
    pub trouble: Option<String>,
}

/// An engine that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// What it is.
    pub engine: Engine,
    /// Where it listens.
    pub socket: String,
}

/// Which engine: its place in [`Setting::engines`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EndpointId(pub u8);

/// The first message of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Open {
    /// Tell everything there is, then every change, and take [`Ask`]s.
    Follow {
        /// [`VERSION`].
        version: u16,
    },
    /// Send a container's log.
    Logs {
        /// Whose.
        container: ContainerRef,
        /// Which part.
        part: LogPart,
    },
}

/// A container of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerRef {
    /// The engine.
    pub endpoint: EndpointId,
    /// As that calls it. The broker knows it from that engine, or does nothing.
    pub id: ContainerId,
}

/// Which part of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogPart {
    /// Go on with what is written from now on, until the container ends.
    pub follow: bool,
    /// Only what was written at this moment or later.
    pub since: Option<Timestamp>,
    /// Only so many lines from the end.
    pub tail: Option<u32>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Chosen by the server, unique among its open requests.
    pub id: u64,
    /// To which container.
    pub container: ContainerRef,
    /// What.
    pub verb: Verb,
}

/// What can be done to a container. There is no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Verb {
    /// Start it. One that runs is left as it is.
    Start,
    /// End it by its stop signal, and by SIGKILL after the timeout.
    Stop {
        /// How long the signal has.
        timeout: Timeout,
    },
    /// Stop it and start it.
    Restart {
        /// As for `Stop`.
        timeout: Timeout,
    },
    /// Send its init a signal.
    Kill {
        /// Which.
        signal: Signal,
    },
    /// Freeze its processes.
    Pause,
    /// Let them run again.
    Unpause,
    /// Remove it. Volumes stay.
    Remove {
        /// Kill it first where it runs.
        force: bool,
    },
}

impl Verb {
    /// Its word, for logs and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop { .. } => "stop",
            Self::Restart { .. } => "restart",
            Self::Kill { .. } => "kill",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Remove { .. } => "remove",
        }
    }
}

macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident($inner:ty), $range:expr, $why:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u32", into = "u32")]
        pub struct $name($inner);

        impl $name {
            /// The number.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl TryFrom<u32> for $name {
            type Error = Invalid;

            fn try_from(number: u32) -> Result<Self, Invalid> {
                match <$inner>::try_from(number) {
                    Ok(inner) if $range.contains(&number) => Ok(Self(inner)),
                    _ => Err(Invalid($why)),
                }
            }
        }

        impl From<$name> for u32 {
            fn from(value: $name) -> u32 {
                u32::from(value.0)
            }
        }
    };
}

bounded!(
    /// Seconds that a container has to end by itself, at most an hour.
    Timeout(u32),
    (0..=3600),
    "a timeout is at most 3600 seconds"
);

/// What the broker sends to who follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromBroker {
    /// Who it is. The first message.
    Hello(Hello),
    /// An engine is or has become this. Without trouble its containers have been told before.
    Engine(Box<EngineState>),
    /// A container is or has become this.
    Container(Box<EngineContainer>),
    /// A container is gone.
    ContainerGone(ContainerRef),
    /// Everything that was known when the connection was made has been told.
    Synced,
    /// The answer to an [`Ask`].
    Reply {
        /// The request's number.
        id: u64,
        /// Why it was not done, where it was not.
        failure: Option<Failure>,
    },
}

/// Who the broker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u16,
    /// Its process.
    pub pid: HostPid,
    /// Whether [`Ask`]s are done at all.
    pub manage: bool,
}

/// An engine, as it answers now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineState {
    /// Which.
    pub endpoint: EndpointId,
    /// What it is.
    pub engine: Engine,
    /// Where it listens.
    pub socket: String,
    /// Its version, from the first answer on.
    pub version: Option<String>,
    /// Why it is not known what its containers do now; a sentence for people. Its containers are
    /// then told as they last were. `None` while it answers, and until it was first asked.
    pub trouble: Option<String>,
}

/// What kind of failure it was. Each has one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// Root's policy does not allow it. 403
    Forbidden,
    /// The engine has no such container. 404
    NotFound,
    /// Not while the container is in this state, as the engine says. 409
    WrongState,
    /// The engine understood and refused. 422
    Refused,
    /// Too much is being asked at once. 429
    Busy,
    /// The engine failed, or answered nonsense. 502
    Engine,
    /// The engine cannot be reached. 503
    Unreachable,
    /// The engine did not answer in time. What was asked may still happen. 504
    Late,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind it was.
    pub code: FailureCode,
    /// What happened, with the engine's own words where it had any.
    pub message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// The answer to [`Open::Logs`]: why there is no log, or `None`, and records follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsAnswer {
    /// Why.
    pub failure: Option<Failure>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(verb: &str) -> Result<Ask, serde_json::Error> {
        serde_json::from_str(&format!(
            r#"{{"id":1,"container":{{"endpoint":0,"id":"ab"}},"verb":{verb}}}"#
        ))
    }

    #[test]
    fn there_is_no_verb_but_those() {
        for good in [
            "\"start\"",
            "\"pause\"",
            r#"{"stop":{"timeout":10}}"#,
            r#"{"kill":{"signal":64}}"#,
            r#"{"kill":{"signal":"SIGKILL"}}"#,
            r#"{"remove":{"force":false}}"#,
        ] {
            assert!(ask(good).is_ok(), "{good}");
        }
        for bad in [
            "\"exec\"",
            "\"create\"",
            "\"stop\"",
            r#"{"kill":{"signal":0}}"#,
            r#"{"kill":{"signal":65}}"#,
            r#"{"kill":{"signal":"SIGNOTHING"}}"#,
            r#"{"stop":{"timeout":3601}}"#,
            r#"{"stop":{"timeout":-1}}"#,
            r#"{"remove":{"force":true,"v":true}}"#,
        ] {
            assert!(ask(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_containers_id_is_no_path() {
        for bad in ["../x", "a/json?all=1", "a b", "", "a%2f"] {
            let text = format!(r#"{{"endpoint":0,"id":"{bad}"}}"#);
            assert!(
                serde_json::from_str::<ContainerRef>(&text).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn log_records_read_back_what_they_write() {
        let records = [
            LogRecord::Output {
                stream: LogStream::Stderr,
                at: Some(Timestamp(1_700_000_000_123)),
                bytes: b"a\xff\n".to_vec(),
            },
            LogRecord::Output {
                stream: LogStream::Terminal,
                at: None,
                bytes: Vec::new(),
            },
            LogRecord::End { trouble: None },
            LogRecord::End {
                trouble: Some("the engine hung up".to_owned()),
            },
        ];
        for record in records {
            assert_eq!(LogRecord::decode(&record.encode()), Some(record));
        }
        assert_eq!(LogRecord::decode(&[1; 8]), None, "too short");
        assert_eq!(LogRecord::decode(&[3; 12]), None, "no such stream");
    }

    #[test]
    fn variables_do_not_show_in_debugging_output() {
        let shown = format!("{:?}", Environment(vec!["TOKEN=hunter2".to_owned()]));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
