//! What the rest of the server holds of a session.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use porthole_journal::{Files, Limit};
use porthole_protocol::id::Seq;
use porthole_protocol::session::{Exit, Size};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::clock::Clock;

/// The hub has ended: its session is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session is gone")]
pub struct Gone;

/// Why the hub did not become a session's reader.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The hub has ended.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// Other descriptors came than the session has.
    #[error("a session {} a terminal comes with {expected} descriptors, not {found}", if *tty { "with" } else { "without" })]
    Descriptors {
        /// Whether the session has a terminal.
        tty: bool,
        /// How many it has.
        expected: usize,
        /// How many came.
        found: usize,
    },
    /// They cannot be read.
    #[error("the session's output cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Why somebody did not become a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The hub has ended.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// As many look at it as can.
    #[error("{0} viewers look at this session, which is the limit: close one of them")]
    Full(usize),
}

/// What a hub begins with.
pub struct Opening {
    /// The journal, under descriptors that the hub keeps. It is read also while no reader is
    /// attached, and after the end.
    pub files: Files,
    /// Where the screen is kept for the hub that comes after this one: a file beside the journal.
    /// Without it the whole journal is drawn again after a restart.
    pub screen: Option<PathBuf>,
    /// Whether the session has a terminal.
    pub tty: bool,
    /// The terminal's first size.
    pub size: Size,
    /// Whether it is recorded, which viewers are told.
    pub recorded: bool,
    /// How it ended, where it has.
    pub exit: Option<Exit>,
    /// How much of the output is kept.
    pub limit: Limit,
    /// What stamps records.
    pub clock: Arc<dyn Clock>,
}

/// A monitor's descriptors, as `monitor::ToReader::Reader` brings them.
#[derive(Debug)]
pub struct Descriptors {
    /// Whether it has a terminal.
    pub tty: bool,
    /// With a terminal `[master]`, else `[stdin, stdout, stderr]`; then
    /// `[pipe read end, pipe write end, journal, index]`.
    pub fds: Vec<OwnedFd>,
}

/// What somebody may do in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Look.
    Watch,
    /// Look and type.
    Write,
}

/// Somebody who wants to look at a session.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// The account. A viewer's id is worth nothing to another account.
    pub user: String,
    /// The id that an earlier `Hello` gave it.
    pub id: Option<String>,
    /// Up to where it has parsed the output.
    pub resume: Option<Seq>,
    /// What it may do and has asked to do: `Watch` also for a writer that attaches to watch.
    pub permission: Permission,
}

/// What goes to a viewer's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A binary message.
    Frame(Bytes),
    /// Close the socket with this; nothing follows.
    Close(Close),
}

/// The codes of notices (0x87) that a hub sends; others are the server's. They are those of HTTP
/// that come nearest.
pub mod notice {
    /// The oldest output is no longer kept.
    pub const DROPPED: u16 = 206;
    /// What was typed was not let through.
    pub const REFUSED: u16 = 403;
    /// What was asked for makes no sense here.
    pub const UNFIT: u16 = 422;
    /// The journal cannot be written: the program waits.
    pub const FULL: u16 = 507;
}

/// Why a socket is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The WebSocket close code.
    pub code: u16,
    /// For the person, or for the log: at most 123 bytes.
    pub reason: String,
}

impl Close {
    /// The session has ended, and all has been said.
    pub const NORMAL: u16 = 1000;
    /// The server goes away.
    pub const GOING_AWAY: u16 = 1001;
    /// What the client sent is no `porthole.v1`.
    pub const PROTOCOL: u16 = 1002;
    /// The server failed to read what it keeps.
    pub const INTERNAL: u16 = 1011;
    /// 4000 + 403: the account may not look at this any more.
    pub const FORBIDDEN: u16 = 4403;
    /// 4000 + 409: the same viewer has attached again.
    pub const REPLACED: u16 = 4409;

    /// A close with these.
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}

/// A viewer's two directions. Dropping `outgoing` is leaving.
#[derive(Debug)]
pub struct Subscription {
    /// The viewer's id, as `Hello` says it too.
    pub id: String,
    /// To its socket.
    pub outgoing: Outgoing,
    /// From its socket.
    pub incoming: Incoming,
}

/// What a viewer and the hub tell each other beside their channels.
#[derive(Debug)]
pub(crate) struct Line {
    /// The hub waits for room in the channel.
    pub(crate) starved: AtomicBool,
    /// The viewer has left.
    pub(crate) left: AtomicBool,
    /// What comes after the last frame.
    pub(crate) last: OnceLock<Close>,
    /// What comes before any frame that still waits.
    pub(crate) urgent: watch::Sender<Option<Close>>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            starved: AtomicBool::new(false),
            left: AtomicBool::new(false),
            last: OnceLock::new(),
            urgent: watch::Sender::new(None),
        }
    }
}

/// Messages for a viewer's socket, in order.
#[derive(Debug)]
pub struct Outgoing {
    channel: mpsc::Receiver<Message>,
    line: Arc<Line>,
    urgent: watch::Receiver<Option<Close>>,
    hub: Arc<Notify>,
    closed: bool,
}

impl Outgoing {
    pub(crate) fn new(channel: mpsc::Receiver<Message>, line: Arc<Line>, hub: Arc<Notify>) -> Self {
        Self {
            channel,
            urgent: line.urgent.subscribe(),
            line,
            hub,
            closed: false,
        }
    }

    /// The next message; `None` after a [`Message::Close`], or where the hub is gone. Safe to
    /// cancel.
    pub async fn next(&mut self) -> Option<Message> {
        if self.closed {
            return None;
        }
        let message = tokio::select! {
            biased;
            Ok(close) = self.urgent.wait_for(Option::is_some) => {
                close.clone().map(Message::Close)
            }
            message = self.channel.recv() => {
                message.or_else(|| self.line.last.get().cloned().map(Message::Close))
            }
        };
        self.took(message.as_ref());
        message
    }

    /// The next frame, where there is one already: to write several before a flush.
    pub fn try_next(&mut self) -> Option<Message> {
        if self.closed || self.urgent.borrow().is_some() {
            return None;
        }
        let message = self.channel.try_recv().ok()?;
        self.took(Some(&message));
        Some(message)
    }

    /// Completes when the hub closes this viewer at once, whatever still waits: select on it
    /// while writing to a socket that may be stuck, then call [`Outgoing::next`].
    pub fn revoked(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut urgent = self.urgent.clone();
        async move {
            if urgent.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn took(&mut self, message: Option<&Message>) {
        self.closed = !matches!(message, Some(Message::Frame(_)));
        if self.line.starved.swap(false, Ordering::AcqRel) {
            self.hub.notify_one();
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.line.left.store(true, Ordering::Release);
        self.hub.notify_one();
    }
}

/// Frames from a viewer's socket.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub(crate) channel: mpsc::Sender<(u64, Bytes)>,
    pub(crate) number: u64,
}

impl Incoming {
    /// Hands over a binary message, once there is room. What is wrong with it is answered by a
    /// [`Message::Close`]. Safe to cancel: it was then not handed over.
    pub async fn send(&self, frame: Bytes) -> Result<(), Gone> {
        let sent = self.channel.send((self.number, frame)).await;
        sent.map_err(|_| Gone)
    }
}

/// A session as its hub sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The place of the next byte.
    pub seq: Seq,
    /// The place of the oldest byte that is kept.
    pub kept_from: Seq,
    /// The terminal's size.
    pub size: Size,
    /// Whether the hub reads the session.
    pub attached: bool,
    /// Whether standard input has ended: where it is a pipe, the monitor is to be told.
    pub input_ended: bool,
    /// How it ended, once all output is in the journal.
    pub exit: Option<Exit>,
    /// Who is here.
    pub viewers: Vec<ViewerInfo>,
}

/// One who is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewerInfo {
    /// The viewer's id.
    pub id: String,
    /// The account.
    pub user: String,
    /// What it may do.
    pub permission: Permission,
    /// Whether its window sets the size.
    pub drives: bool,
}

pub(crate) enum Command {
    Attach(Descriptors, oneshot::Sender<Result<(), AttachError>>),
    Detach,
    Exited(Exit, oneshot::Sender<()>),
    Subscribe(
        Viewer,
        oneshot::Sender<Result<Subscription, SubscribeError>>,
    ),
    Permit(String, Option<Permission>),
    Notice(u16, String),
    Screen(oneshot::Sender<io::Result<String>>),
    Close(Close),
}

/// A session's hub, to be told and asked. Cheap to clone; the hub ends by [`HubHandle::close`] or
/// when the last handle and the last viewer are gone.
#[derive(Debug, Clone)]
pub struct HubHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) info: watch::Receiver<Info>,
    pub(crate) places: Arc<Places>,
}

/// Places that change with every chunk.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) end: AtomicU64,
    pub(crate) kept_from: AtomicU64,
}

impl HubHandle {
    /// Becomes the session's reader by a monitor's descriptors. What an earlier reader left in
    /// the pipe is in the journal when this returns. A container's hub is attached anew for each
    /// of its runs.
    pub async fn attach(&self, descriptors: Descriptors) -> Result<(), AttachError> {
        self.ask(|reply| Command::Attach(descriptors, reply))
            .await?
    }

    /// The connection to the monitor is gone: the hub lets go of the descriptors. Input waits
    /// until it is attached again.
    pub async fn detach(&self) -> Result<(), Gone> {
        self.tell(Command::Detach).await
    }

    /// The process has ended. Returns once everything that it left in its terminal or pipes is in
    /// the journal: then the connection to the monitor may be closed.
    pub async fn exited(&self, exit: Exit) -> Result<(), Gone> {
        self.ask(|reply| Command::Exited(exit, reply)).await
    }

    /// Lets somebody look. Messages begin with a `Hello`.
    pub async fn subscribe(&self, viewer: Viewer) -> Result<Subscription, SubscribeError> {
        self.ask(|reply| Command::Subscribe(viewer, reply)).await?
    }

    /// What an account may do from now on; `None` closes its viewers.
    pub async fn permit(&self, user: &str, permission: Option<Permission>) -> Result<(), Gone> {
        self.tell(Command::Permit(user.to_owned(), permission))
            .await
    }

    /// Tells all viewers something.
    pub async fn notice(&self, code: u16, text: &str) -> Result<(), Gone> {
        self.tell(Command::Notice(code, text.to_owned())).await
    }

    /// What the screen shows, as lines of text.
    pub async fn screen(&self) -> io::Result<String> {
        self.ask(Command::Screen)
            .await
            .map_err(|gone| io::Error::other(gone.to_string()))?
    }

    /// Closes all viewers and ends the hub. The session lives on.
    pub async fn close(&self, close: Close) -> Result<(), Gone> {
        self.tell(Command::Close(close)).await
    }

    /// How the session is now. To wait for a change use [`HubHandle::watch`].
    pub fn info(&self) -> Info {
        Info {
            seq: Seq(self.places.end.load(Ordering::Relaxed)),
            kept_from: Seq(self.places.kept_from.load(Ordering::Relaxed)),
            ..self.info.borrow().clone()
        }
    }

    /// How the session is, from now on. Of output nothing is reported: `seq` and `kept_from` are
    /// those of the last other change.
    pub fn watch(&self) -> watch::Receiver<Info> {
        self.info.clone()
    }

    async fn tell(&self, command: Command) -> Result<(), Gone> {
        self.commands.send(command).await.map_err(|_| Gone)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply)).await?;
        answer.await.map_err(|_| Gone)
    }
}
