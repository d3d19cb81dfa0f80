//! The server's client of the engines broker.
//!
//! One task ([`run`]) holds the connection and keeps the latest [`Snapshot`] of what Docker and
//! Podman know of their containers. Who wants to know looks at [`Engines::snapshot`], or waits for
//! the next one with [`Engines::subscribe`]; who wants something done calls [`Engines::act`]; who
//! wants a log, [`Engines::logs`]. While the broker is away what was known stays, marked
//! ([`Availability::Away`]), and everything that is asked fails at once.
//!
//! An [`EngineContainer`] has the container's variables, which often hold passwords: only who may
//! open a session in it may see those.

mod connection;
mod logs;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use porthole_protocol::engines::{
    ContainerRef, EngineContainer, EngineState, Failure, FailureCode, LogPart, Setting, Verb,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::Refusal;

pub use connection::run;
pub use logs::Logs;

/// Requests that may wait to be sent. More wait in their tasks.
const WAITING: usize = 64;

/// How long an answer may take, beyond the time that the request itself asks for: longer than the
/// broker waits for its engine, which then says so.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether engines can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Availability {
    /// Root's policy enables none.
    #[default]
    Off,
    /// It enables some, and they cannot be asked: a sentence that says why and what to do.
    Impossible(String),
    /// The broker is not there now; what is known of containers may be old.
    Away,
    /// The broker is there. Each engine has a state of its own ([`EngineState::trouble`]).
    There,
}

/// What engines know, at one moment. Its parts are shared: two that are the same `Arc` are equal.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Whether it is so now.
    pub availability: Availability,
    /// Whether root's policy lets containers be changed ([`Engines::act`]), or only looked at.
    pub manage: bool,
    /// The engines that are asked, in the order of their endpoints.
    pub engines: Vec<Arc<EngineState>>,
    /// Their containers, those that do not run among them.
    pub containers: BTreeMap<ContainerRef, Arc<EngineContainer>>,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Root's policy enables no engine.
    #[error("root's policy enables no engine")]
    Off,
    /// The broker is not there, or went away before it answered. What was asked may still happen.
    #[error("the engines broker is away")]
    Away,
    /// It did not answer in time. What was asked may still happen.
    #[error("the engines broker did not answer in time")]
    Late,
    /// It was not done, and this is why.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let failure = match error {
            EngineError::Off => {
                return Self::forbidden(
                    "Root's policy does not let Porthole ask Docker or Podman: the table [engines] of /etc/porthole/policy.toml does.",
                );
            }
            EngineError::Away => {
                let mut refusal = Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "engines_away",
                    "The part of Porthole that talks to Docker and Podman is not there, or is being restarted. Try again in a moment.",
                );
                refusal.retry_after = Some(1);
                return refusal;
            }
            EngineError::Late => Failure::new(
                FailureCode::Late,
                "The engine did not answer in time. It may still do what was asked: look before you try again.",
            ),
            EngineError::Failed(failure) => failure,
        };
        let (status, code) = match failure.code {
            FailureCode::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            FailureCode::NotFound => (StatusCode::NOT_FOUND, "container_not_found"),
            FailureCode::WrongState => (StatusCode::CONFLICT, "wrong_state"),
            FailureCode::Refused => (StatusCode::UNPROCESSABLE_ENTITY, "engine_refused"),
            FailureCode::Busy => (StatusCode::TOO_MANY_REQUESTS, "too_many"),
            FailureCode::Engine => (StatusCode::BAD_GATEWAY, "engine_failed"),
            FailureCode::Unreachable => (StatusCode::SERVICE_UNAVAILABLE, "engine_unreachable"),
            FailureCode::Late => (StatusCode::GATEWAY_TIMEOUT, "engine_late"),
        };
        let mut refusal = Self::new(status, code, failure.message);
        if failure.code == FailureCode::Busy {
            refusal.retry_after = Some(1);
        }
        refusal
    }
}

type Answer = Result<(), EngineError>;

/// Something to do, and where the answer goes.
struct Job {
    container: ContainerRef,
    verb: Verb,
    answer: oneshot::Sender<Answer>,
}

/// What engines are asked through.
pub struct Engines {
    setting: Setting,
    socket: PathBuf,
    jobs: mpsc::Sender<Job>,
    snapshot: watch::Sender<Arc<Snapshot>>,
}

/// The other end of [`Engines`], for [`run`].
pub struct Jobs(mpsc::Receiver<Job>);

impl Engines {
    /// A way to ask, and the end that [`run`] takes. The broker listens at `socket`, if there is
    /// one by this setting.
    pub fn new(setting: Setting, socket: PathBuf) -> (Self, Jobs) {
        let (jobs, receiver) = mpsc::channel(WAITING);
        let availability = match &setting.trouble {
            Some(trouble) => Availability::Impossible(trouble.clone()),
            None if setting.engines.is_empty() => Availability::Off,
            None => Availability::Away,
        };
        let snapshot = Snapshot {
            availability,
            manage: setting.manage,
            ..Snapshot::default()
        };
        let engines = Self {
            setting,
            socket,
            jobs,
            snapshot: watch::Sender::new(Arc::new(snapshot)),
        };
        (engines, Jobs(receiver))
    }

    /// What is known now. A short lock.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }

    /// Tells whenever there is a newer snapshot; whoever is slow misses those in between.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }

    /// Does something to a container. When this answers, the snapshot has what became of it.
    ///
    /// Whoever gives up waiting does not take back what was asked.
    pub async fn act(&self, container: ContainerRef, verb: Verb) -> Answer {
        self.possible()?;
        let (answer, receiver) = oneshot::channel();
        let job = Job {
            container,
            verb,
            answer,
        };
        let given = match verb {
            Verb::Stop { timeout } | Verb::Restart { timeout } => timeout.get(),
            _ => 0,
        };
        let asked = async {
            self.jobs.send(job).await.map_err(|_| EngineError::Away)?;
            receiver.await.unwrap_or(Err(EngineError::Away))
        };
        let patience = Duration::from_secs(u64::from(given)) + PATIENCE;
        tokio::time::timeout(patience, asked)
            .await
            .unwrap_or(Err(EngineError::Late))
    }

    /// A container's log, on a connection of its own that ends when the answer is dropped.
    pub async fn logs(&self, container: ContainerRef, part: LogPart) -> Result<Logs, EngineError> {
        self.possible()?;
        tokio::time::timeout(PATIENCE, Logs::open(&self.socket, container, part))
            .await
            .unwrap_or(Err(EngineError::Late))
    }

    fn possible(&self) -> Result<(), EngineError> {
        match &self.setting.trouble {
            Some(trouble) => Err(Failure::new(FailureCode::Unreachable, trouble.clone()).into()),
            None if self.setting.engines.is_empty() => Err(EngineError::Off),
            None => Ok(()),
        }
    }
}
