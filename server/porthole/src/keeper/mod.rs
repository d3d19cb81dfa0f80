//! The connection to the keeper.
//!
//! One task holds it ([`run`]): it connects, says hello, watches, sends what is asked and hands
//! answers to whoever asked. While the keeper is away everything that is asked fails at once with
//! [`KeeperError::Away`], and the world keeps what was known, marked.

mod connection;
mod inspection;
mod observer;
pub(crate) mod packet;

use std::os::fd::OwnedFd;
use std::time::Duration;

use porthole_journal::Files;
use porthole_protocol::container::{Change, Container, ContainerSpec, Image, ImageName, Owner};
use porthole_protocol::id::{ContainerId, ImportId, SessionId};
use porthole_protocol::inspection::{Inspected, Subject, What};
use porthole_protocol::keeper::{Failure, Reply, Request};
use porthole_protocol::session::{Session, SessionSpec, Target};
use porthole_protocol::trace::Trace;
use tokio::sync::{mpsc, oneshot};

use crate::Refusal;
use crate::actions::images::Gone;

pub use connection::run;
pub use packet::PacketSocket;

/// Requests that may wait to be sent. More wait in their tasks.
const WAITING: usize = 64;

/// How long an answer may take, beyond the time that the request itself asks for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long importing an image may take: longer than the keeper lets it.
const IMPORT: Duration = Duration::from_secs(4000);

/// Why a request got no answer that it can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeeperError {
    /// It is not there, or went away before it answered.
    #[error("the keeper is away")]
    Away,
    /// It did not answer in time. What was asked may still happen.
    #[error("the keeper did not answer in time")]
    Late,
    /// It answered something else than what was asked for.
    #[error("the keeper's answer is none to what was asked")]
    Confused,
    /// It did not do it.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<KeeperError> for Refusal {
    fn from(error: KeeperError) -> Self {
        use axum::http::StatusCode;
        match error {
            KeeperError::Away => Self::keeper_away(),
            KeeperError::Late => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "keeper_late",
                "The keeper did not answer in time. It may still do what was asked: look before you try again.",
            ),
            KeeperError::Confused => {
                tracing::error!("the keeper's answer is none to what was asked");
                Self::internal()
            }
            KeeperError::Failed(failure) => failure.into(),
        }
    }
}

type Answer = Result<(Reply, Vec<OwnedFd>), KeeperError>;

/// Something to ask, and where the answer goes.
struct Ask {
    request: Request,
    descriptors: Vec<OwnedFd>,
    answer: oneshot::Sender<Answer>,
}

/// What the keeper is asked through. Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    asks: mpsc::Sender<Ask>,
}

/// The other end of [`Keeper`], for [`run`].
pub struct Asks(mpsc::Receiver<Ask>);

#[cfg(test)]
impl Asks {
    /// Plays the keeper: answers each request so.
    pub(crate) async fn play(mut self, mut answer: impl FnMut(Request) -> Reply) {
        while let Some(ask) = self.0.recv().await {
            let _ = ask.answer.send(Ok((answer(ask.request), Vec::new())));
        }
    }
}

impl Keeper {
    /// A way to ask, and the end that [`run`] takes.
    pub fn new() -> (Self, Asks) {
        let (asks, receiver) = mpsc::channel(WAITING);
        (Self { asks }, Asks(receiver))
    }

    async fn ask(&self, request: Request, descriptors: Vec<OwnedFd>, patience: Duration) -> Answer {
        let (answer, receiver) = oneshot::channel();
        let ask = Ask {
            request,
            descriptors,
            answer,
        };
        let asked = async {
            self.asks.send(ask).await.map_err(|_| KeeperError::Away)?;
            receiver.await.unwrap_or(Err(KeeperError::Away))
        };
        let (reply, descriptors) = tokio::time::timeout(patience, asked)
            .await
            .unwrap_or(Err(KeeperError::Late))?;
        match reply {
            Reply::Failed(failure) => Err(failure.into()),
            reply => Ok((reply, descriptors)),
        }
    }

    async fn container(
        &self,
        request: Request,
        descriptors: Vec<OwnedFd>,
        patience: Duration,
    ) -> Result<Container, KeeperError> {
        match self.ask(request, descriptors, patience).await? {
            (Reply::Container(container), _) => Ok(*container),
            _ => Err(KeeperError::Confused),
        }
    }

    async fn session(
        &self,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Session, KeeperError> {
        match self.ask(request, descriptors, PATIENCE).await? {
            (Reply::Session(session), _) => Ok(*session),
            _ => Err(KeeperError::Confused),
        }
    }

    async fn done(&self, request: Request) -> Result<(), KeeperError> {
        match self.ask(request, Vec::new(), PATIENCE).await? {
            (Reply::Done, _) => Ok(()),
            _ => Err(KeeperError::Confused),
        }
    }

    /// Makes a container, without starting it.
    pub async fn create(
        &self,
        spec: ContainerSpec,
        owner: Owner,
    ) -> Result<Container, KeeperError> {
        let spec = Box::new(spec);
        self.container(Request::Create { spec, owner }, Vec::new(), PATIENCE)
            .await
    }

    /// Starts a container, whose output goes into this journal.
    pub async fn start(
        &self,
        container: ContainerId,
        files: Files,
    ) -> Result<Container, KeeperError> {
        self.container(Request::Start { container }, both(files), PATIENCE)
            .await
    }

    /// Ends a container's init.
    pub async fn stop(
        &self,
        container: ContainerId,
        timeout: Duration,
    ) -> Result<Container, KeeperError> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let request = Request::Stop {
            container,
            timeout_ms,
        };
        self.container(request, Vec::new(), timeout.saturating_add(PATIENCE))
            .await
    }

    /// Ends a container's init where it runs, and starts it; its output goes into this journal.
    pub async fn restart(
        &self,
        container: ContainerId,
        timeout: Duration,
        files: Files,
    ) -> Result<Container, KeeperError> {
        let request = Request::Restart {
            container,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        };
        let patience = timeout.saturating_add(PATIENCE);
        self.container(request, both(files), patience).await
    }

    /// Freezes a container's processes.
    pub async fn pause(&self, container: ContainerId) -> Result<Container, KeeperError> {
        self.container(Request::Pause { container }, Vec::new(), PATIENCE)
            .await
    }

    /// Lets them go on.
    pub async fn unpause(&self, container: ContainerId) -> Result<Container, KeeperError> {
        self.container(Request::Unpause { container }, Vec::new(), PATIENCE)
            .await
    }

    /// Gives a container another name, other limits or another restart policy.
    pub async fn change(
        &self,
        container: ContainerId,
        change: Change,
    ) -> Result<Container, KeeperError> {
        self.container(Request::Change { container, change }, Vec::new(), PATIENCE)
            .await
    }

    /// Sends a container's init a signal.
    pub async fn kill(&self, container: ContainerId, signal: u8) -> Result<Container, KeeperError> {
        self.container(Request::Kill { container, signal }, Vec::new(), PATIENCE)
            .await
    }

    /// Removes a container.
    pub async fn remove(&self, container: ContainerId, force: bool) -> Result<(), KeeperError> {
        self.done(Request::Remove { container, force }).await
    }

    /// Makes an image of an archive.
    pub async fn import_image(
        &self,
        id: ImportId,
        name: Option<ImageName>,
        owner: Owner,
        archive: OwnedFd,
    ) -> Result<Image, KeeperError> {
        let request = Request::ImportImage { id, name, owner };
        self.image(request, vec![archive], IMPORT).await
    }

    /// Ends an import that the keeper is at.
    pub async fn cancel_import(&self, id: ImportId) -> Result<(), KeeperError> {
        self.done(Request::CancelImport { id }).await
    }

    /// Gives an image another name.
    pub async fn tag_image(&self, image: ImageName, name: ImageName) -> Result<Image, KeeperError> {
        let request = Request::TagImage { image, name };
        self.image(request, Vec::new(), PATIENCE).await
    }

    async fn image(
        &self,
        request: Request,
        descriptors: Vec<OwnedFd>,
        patience: Duration,
    ) -> Result<Image, KeeperError> {
        match self.ask(request, descriptors, patience).await? {
            (Reply::Image(image), _) => Ok(*image),
            _ => Err(KeeperError::Confused),
        }
    }

    /// Takes an image's name away, and the image with its last one.
    pub async fn remove_image(&self, image: ImageName) -> Result<Gone, KeeperError> {
        self.images_gone(Request::RemoveImage { image }).await
    }

    /// Removes images that no container is made of.
    pub async fn prune_images(&self, all: bool) -> Result<Gone, KeeperError> {
        self.images_gone(Request::PruneImages { all }).await
    }

    async fn images_gone(&self, request: Request) -> Result<Gone, KeeperError> {
        match self.ask(request, Vec::new(), PATIENCE).await? {
            (Reply::ImagesGone { names, freed }, _) => Ok(Gone {
                removed: names,
                freed,
            }),
            _ => Err(KeeperError::Confused),
        }
    }

    /// Runs something in a container; its output goes into this journal.
    pub async fn open_session(
        &self,
        session: SessionId,
        spec: SessionSpec,
        owner: Owner,
        files: Files,
    ) -> Result<Session, KeeperError> {
        let request = Request::OpenSession {
            session,
            spec: Box::new(spec),
            owner,
        };
        self.session(request, both(files)).await
    }

    /// Ends every process of a session.
    pub async fn end_session(&self, session: SessionId) -> Result<Session, KeeperError> {
        self.session(Request::EndSession { session }, Vec::new())
            .await
    }

    /// An ended session's record is no longer needed.
    pub async fn forget_session(&self, session: SessionId) -> Result<(), KeeperError> {
        self.done(Request::ForgetSession { session }).await
    }

    /// Becomes the reader of a target's output: the connection to its monitor.
    pub async fn attach(&self, target: Target) -> Result<OwnedFd, KeeperError> {
        match self
            .ask(Request::Attach { target }, Vec::new(), PATIENCE)
            .await?
        {
            (Reply::Attached, mut descriptors) if descriptors.len() == 1 => {
                descriptors.pop().ok_or(KeeperError::Confused)
            }
            _ => Err(KeeperError::Confused),
        }
    }

    /// What has to be read inside a process's namespaces.
    pub async fn inspect(&self, subject: Subject, what: What) -> Result<Inspected, KeeperError> {
        let request = Request::Inspect { subject, what };
        match self.ask(request, Vec::new(), PATIENCE).await? {
            (Reply::Inspecting, mut descriptors) if descriptors.len() == 1 => {
                inspection::read(descriptors.pop().ok_or(KeeperError::Confused)?).await
            }
            _ => Err(KeeperError::Confused),
        }
    }

    /// The calls that made a container or a session.
    pub async fn trace(&self, target: Target) -> Result<Trace, KeeperError> {
        match self
            .ask(Request::Trace { target }, Vec::new(), PATIENCE)
            .await?
        {
            (Reply::Trace(trace), _) => Ok(trace),
            _ => Err(KeeperError::Confused),
        }
    }
}

fn both(files: Files) -> Vec<OwnedFd> {
    vec![files.journal.into(), files.index.into()]
}
