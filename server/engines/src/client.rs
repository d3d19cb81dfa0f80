//! Calls to one engine, each with a deadline, a bound on its answer and a connection of its own.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error as BollardError;
use bollard::query_parameters::{
    EventsOptions, KillContainerOptions, LogsOptions, RemoveContainerOptions,
    RestartContainerOptions, StopContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use porthole_protocol::engine::Engine;
use porthole_protocol::engines::{
    Endpoint, EndpointId, EngineContainer, Failure, FailureCode, Verb,
};
use porthole_protocol::id::ContainerId;
use serde::de::DeserializeOwned;

use crate::dial::Dialler;
use crate::inspect::{InPod, Inspected, Listed};
use crate::line::{Allowance, Line};

/// How long an engine may take for an answer that takes it no time. A busy one needs seconds for
/// a list of thousands.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take to say that it is there.
pub(crate) const PULSE_PATIENCE: Duration = Duration::from_secs(5);

/// The most bytes of an answer: a list of 2,000 containers has some 6 MB.
const ANSWER: usize = 64 * 1024 * 1024;

/// The most bytes of a stream between two things in it that are understood: a line of a terminal
/// may be long, but not without end.
pub(crate) const STREAM: usize = 4 * 1024 * 1024;

/// The longest part of an engine's own words that is told, in characters.
const WORDS: usize = 1024;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// What connecting, sending or receiving said.
    #[error("{0}")]
    Io(#[source] io::Error),
    #[error("it did not answer within {} s", .0.as_secs())]
    Late(Duration),
    #[error("{message}")]
    Answer { status: u16, message: String },
    #[error("what it answers is not Docker's interface: {0}")]
    Garbage(String),
    #[error("it hung up")]
    HungUp,
    #[error("its answer has no end")]
    TooMuch,
}

impl CallError {
    /// The engine answers that there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Answer { status: 404, .. })
    }
}

impl From<hyper::Error> for CallError {
    fn from(error: hyper::Error) -> Self {
        let mut cause = error.source();
        while let Some(at) = cause {
            if let Some(io) = at.downcast_ref::<io::Error>() {
                return Self::from(io::Error::from(io.kind()));
            }
            cause = at.source();
        }
        if error.is_parse() {
            Self::Garbage(error.to_string())
        } else {
            Self::HungUp
        }
    }
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, FileTooLarge, UnexpectedEof};
        match error.kind() {
            FileTooLarge => Self::TooMuch,
            BrokenPipe | ConnectionReset | UnexpectedEof => Self::HungUp,
            _ => Self::Io(error),
        }
    }
}

impl From<BollardError> for CallError {
    fn from(error: BollardError) -> Self {
        match error {
            BollardError::DockerResponseServerError {
                status_code,
                message,
            } => Self::Answer {
                status: status_code,
                message: words(&message),
            },
            BollardError::RequestTimeoutError => Self::Late(PATIENCE),
            BollardError::IOError { err } => err.into(),
            BollardError::HyperResponseError { err } => err.into(),
            other => Self::Garbage(words(&other.to_string())),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let code = match &error {
            CallError::Io(_) => FailureCode::Unreachable,
            CallError::Late(_) => FailureCode::Late,
            CallError::Answer { status, .. } => match status {
                404 => FailureCode::NotFound,
                409 => FailureCode::WrongState,
                400..500 => FailureCode::Refused,
                _ => FailureCode::Engine,
            },
            CallError::Garbage(_) | CallError::HungUp | CallError::TooMuch => FailureCode::Engine,
        };
        let message = match &error {
            // The engine's own words say enough.
            CallError::Answer { message, .. } => message.clone(),
            other => format!("The engine failed: {other}."),
        };
        Self::new(code, message)
    }
}

/// An engine's words, short and on one line.
pub(crate) fn words(text: &str) -> String {
    let text = text.trim();
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = text.chars().map(plain).take(WORDS).collect();
    if text.chars().nth(WORDS).is_some() {
        shown.push('…');
    }
    shown
}

/// A stream of something, and what keeps it going.
pub(crate) struct Stream<S> {
    pub(crate) items: Pin<Box<S>>,
    pub(crate) allowance: Allowance,
    _docker: Docker,
}

/// One engine. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    dialler: Dialler,
    pub(crate) id: EndpointId,
    pub(crate) endpoint: Arc<Endpoint>,
}

impl Client {
    pub(crate) fn new(dialler: Dialler, id: EndpointId, endpoint: Endpoint) -> Self {
        Self {
            dialler,
            id,
            endpoint: Arc::new(endpoint),
        }
    }

    fn line(&self, allowance: Allowance) -> Line {
        Line {
            dialler: self.dialler.clone(),
            endpoint: self.id,
            allowance,
            tasks: Arc::default(),
        }
    }

    /// Its connections last as long as it does.
    fn docker(&self, allowance: Allowance, patience: Duration) -> Result<Docker, CallError> {
        let line = self.line(allowance);
        let transport = move |request: BollardRequest| {
            let line = line.clone();
            async move { line.send(request).await }
        };
        Ok(Docker::connect_with_custom_transport(
            transport,
            Some("http://engine"),
            patience.as_secs(),
            API_DEFAULT_VERSION,
        )?)
    }

    async fn call<T>(
        &self,
        patience: Duration,
        work: impl AsyncFnOnce(&Docker) -> Result<T, BollardError>,
    ) -> Result<T, CallError> {
        // bollard's own limit is on the beginning of an answer only: this one is on all of it.
        let docker = self.docker(Allowance::new(ANSWER), patience + PATIENCE)?;
        match tokio::time::timeout(patience, work(&docker)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(CallError::Late(patience)),
        }
    }

    /// What bollard has no lenient form for: its types know Docker's words only, and a state that
    /// Podman alone has ("stopped") would cost the whole list.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let line = self.line(Allowance::new(ANSWER));
        let work = async {
            let request = Request::get(path)
                .body(Empty::<Bytes>::new())
                .map_err(BollardError::from)?;
            let response = line.send(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            if status.is_success() {
                return serde_json::from_slice(&body)
                    .map_err(|error| CallError::Garbage(words(&error.to_string())));
            }
            let message = serde_json::from_slice::<serde_json::Value>(&body)
                .ok()
                .and_then(|answer| Some(answer.get("message")?.as_str()?.to_owned()))
                .unwrap_or_else(|| format!("{status}"));
            Err(CallError::Answer {
                status: status.as_u16(),
                message: words(&message),
            })
        };
        tokio::time::timeout(PATIENCE, work)
            .await
            .map_err(|_| CallError::Late(PATIENCE))?
    }

    /// The engine's version, once both know which of the interface they speak.
    pub(crate) async fn version(&self) -> Result<String, CallError> {
        let version = self
            .call(PULSE_PATIENCE, async |docker| {
                docker.clone().negotiate_version().await?.version().await
            })
            .await?;
        version
            .version
            .map(|version| words(&version))
            .ok_or_else(|| CallError::Garbage("it does not say its version".to_owned()))
    }

    /// Whether it answers.
    pub(crate) async fn ping(&self) -> Result<(), CallError> {
        self.call(PULSE_PATIENCE, async |docker| docker.ping().await)
            .await
            .map(drop)
    }

    /// All containers, those that do not run among them.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, CallError> {
        self.get("/containers/json?all=true").await
    }

    /// Everything of a container.
    pub(crate) async fn read(&self, id: &ContainerId) -> Result<EngineContainer, CallError> {
        let path = format!("/containers/{id}/json");
        let inspected: Inspected = self.get(&path).await?;
        let pod = match self.endpoint.engine {
            Engine::Podman => self.pod(id).await,
            _ => None,
        };
        Ok(inspected.read(self.id, self.endpoint.engine, id.clone(), pod))
    }

    /// The name of its pod, which only Podman's own interface tells; there is none where that
    /// cannot be asked. An identifier needs no escaping, its quotes and brackets do.
    async fn pod(&self, id: &ContainerId) -> Option<String> {
        let filter = format!("%7B%22id%22%3A%5B%22{id}%22%5D%7D");
        let path = format!("/v4.0.0/libpod/containers/json?all=true&filters={filter}");
        let listed: Vec<InPod> = self.get(&path).await.ok()?;
        listed.into_iter().next()?.pod_name
    }

    /// What happens to containers and networks, since a moment in seconds since 1970.
    pub(crate) fn events(
        &self,
        since: u64,
    ) -> Result<
        Stream<
            impl futures_util::Stream<Item = Result<bollard::models::EventMessage, BollardError>>
            + use<>,
        >,
        CallError,
    > {
        let allowance = Allowance::new(STREAM);
        let docker = self.docker(allowance.clone(), PATIENCE)?;
        let kinds = ["container", "network"].map(str::to_owned).to_vec();
        let options = EventsOptions {
            since: Some(since.to_string()),
            filters: Some([("type".to_owned(), kinds)].into()),
            ..EventsOptions::default()
        };
        Ok(Stream {
            items: Box::pin(docker.events(Some(options))),
            allowance,
            _docker: docker,
        })
    }

    /// A container's log.
    pub(crate) fn logs(
        &self,
        id: &ContainerId,
        options: LogsOptions,
    ) -> Result<
        Stream<
            impl futures_util::Stream<Item = Result<bollard::container::LogOutput, BollardError>>
            + use<>,
        >,
        CallError,
    > {
        let allowance = Allowance::new(STREAM);
        let docker = self.docker(allowance.clone(), PATIENCE)?;
        Ok(Stream {
            items: Box::pin(docker.logs(id.as_str(), Some(options))),
            allowance,
            _docker: docker,
        })
    }

    /// Does something to a container.
    pub(crate) async fn act(&self, id: &ContainerId, verb: Verb) -> Result<(), CallError> {
        let id = id.as_str();
        let given = match verb {
            Verb::Stop { timeout } | Verb::Restart { timeout } => timeout.get(),
            _ => 0,
        };
        let patience = Duration::from_secs(u64::from(given)) + 2 * PATIENCE;
        let seconds = i32::try_from(given).ok();
        self.call(patience, async |docker| match verb {
            Verb::Start => docker.start_container(id, None).await,
            Verb::Stop { .. } => {
                let options = StopContainerOptions {
                    t: seconds,
                    ..StopContainerOptions::default()
                };
                docker.stop_container(id, Some(options)).await
            }
            Verb::Restart { .. } => {
                let options = RestartContainerOptions {
                    t: seconds,
                    ..RestartContainerOptions::default()
                };
                docker.restart_container(id, Some(options)).await
            }
            Verb::Kill { signal } => {
                let options = KillContainerOptions {
                    signal: signal.get().to_string(),
                };
                docker.kill_container(id, Some(options)).await
            }
            Verb::Pause => docker.pause_container(id).await,
            Verb::Unpause => docker.unpause_container(id).await,
            Verb::Remove { force } => {
                let options = RemoveContainerOptions {
                    force,
                    ..RemoveContainerOptions::default()
                };
                docker.remove_container(id, Some(options)).await
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_short_and_on_one_line() {
        assert_eq!(words(" no\nsuch\u{85}one\n"), "no such one");
        let exact = "é".repeat(WORDS);
        assert_eq!(words(&exact), exact);
        assert_eq!(words(&format!("{exact}x")), format!("{exact}…"));
    }
}
