//! A viewer of a session, speaking `porthole.v1`.
//!
//! Each output frame must go on exactly where the one before ended: a gap or an overlap fails the
//! test wherever it happens.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use porthole_protocol::frame::{ClientFrame, Flags, SUBPROTOCOL, ServerFrame};
use porthole_protocol::id::Seq;
use porthole_protocol::journal::Stream;
use porthole_protocol::session::{ExitKind, Size};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::PATIENCE;
use crate::client::Client;

/// Output is acknowledged each time this many bytes have come, as a browser does.
const ACKNOWLEDGE_EVERY: u64 = 32 * 1024;

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// As a shell gives it.
    pub code: i32,
    /// How.
    pub kind: ExitKind,
    /// In words.
    pub reason: String,
}

/// Why a connection is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The close frame's code; `None` where the connection just broke.
    pub code: Option<u16>,
}

/// How to attach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attach {
    /// From where on; a snapshot where it is not given.
    pub resume: Option<u64>,
    /// The id that an earlier connection was told.
    pub viewer: Option<String>,
    /// Only to watch.
    pub watch: bool,
}

/// A connected viewer, with everything that it was told so far.
#[derive(Debug)]
pub struct Terminal {
    socket: WebSocket<TcpStream>,
    /// The place after the last byte of output.
    pub seq: u64,
    /// Everything that was output since this viewer attached, over all streams.
    pub output: Vec<u8>,
    /// Of that, what came on standard error.
    pub stderr: Vec<u8>,
    /// Snapshots that came.
    pub snapshots: Vec<Vec<u8>>,
    /// What the last hello said.
    pub flags: Flags,
    /// The size.
    pub size: Size,
    /// Its id.
    pub viewer: String,
    /// Input that the server has accepted.
    pub accepted: u64,
    /// Input that was sent.
    pub sent: u64,
    /// Who is here, as JSON.
    pub viewers: Option<String>,
    /// Notices, with their codes.
    pub notices: Vec<(u16, String)>,
    /// Heartbeats that were answered.
    pub heartbeats: Vec<u64>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// Whether what was output is acknowledged.
    pub acknowledges: bool,
    acknowledged: u64,
    read: usize,
}

impl Terminal {
    /// Attaches from the session's first byte on.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn attach(client: &Client, session: &str) -> Self {
        let from = Attach {
            resume: Some(0),
            ..Attach::default()
        };
        Self::try_attach(client, session, &from).unwrap_or_else(|status| {
            panic!("attaching to session {session} was answered by {status}")
        })
    }

    /// Attaches, and returns once hello has come. Otherwise the HTTP status, or 0 where there was
    /// no answer; a refusal after the upgrade gives its close code.
    pub fn try_attach(client: &Client, session: &str, how: &Attach) -> Result<Self, u16> {
        let mut query = vec![format!(
            "mode={}",
            if how.watch { "watch" } else { "write" }
        )];
        if let Some(resume) = how.resume {
            query.push(format!("resume={resume}"));
        }
        if let Some(viewer) = &how.viewer {
            query.push(format!("viewer={viewer}"));
        }
        let path = format!("/api/v1/sessions/{session}/attach?{}", query.join("&"));
        let socket = upgrade(client, &path)?;
        let mut terminal = Self {
            socket,
            seq: 0,
            output: Vec::new(),
            stderr: Vec::new(),
            snapshots: Vec::new(),
            flags: Flags::default(),
            size: Size::DEFAULT,
            viewer: String::new(),
            accepted: 0,
            sent: 0,
            viewers: None,
            notices: Vec::new(),
            heartbeats: Vec::new(),
            exit: None,
            acknowledges: true,
            acknowledged: 0,
            read: 0,
        };
        let end = Instant::now() + PATIENCE;
        while terminal.viewer.is_empty() {
            match terminal.receive(end.saturating_duration_since(Instant::now())) {
                Ok(true) => {}
                Ok(false) => return Err(0),
                Err(closed) => return Err(closed.code.unwrap_or(0)),
            }
        }
        terminal.sent = terminal.accepted;
        Ok(terminal)
    }

    /// Takes one frame; `false` where none came in time.
    ///
    /// # Errors
    /// When the connection is no more.
    pub fn receive(&mut self, limit: Duration) -> Result<bool, Closed> {
        let limit = limit.max(Duration::from_millis(1));
        self.socket
            .get_ref()
            .set_read_timeout(Some(limit))
            .map_err(|_| Closed { code: None })?;
        match self.socket.read() {
            Ok(Message::Binary(bytes)) => {
                self.take(&bytes);
                Ok(true)
            }
            Ok(Message::Close(frame)) => Err(Closed {
                code: frame.map(|CloseFrame { code, .. }| code.into()),
            }),
            Ok(_) => Ok(true),
            Err(Error::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                Ok(false)
            }
            Err(_) => Err(Closed { code: None }),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let frame = ServerFrame::decode(bytes).expect("a frame of porthole.v1");
        match frame {
            ServerFrame::Hello {
                seq,
                size,
                flags,
                accepted,
                viewer,
            } => {
                if self.viewer.is_empty() {
                    self.seq = seq.0;
                    self.acknowledged = seq.0;
                }
                self.size = size;
                self.flags = flags;
                self.accepted = accepted;
                viewer.clone_into(&mut self.viewer);
            }
            ServerFrame::Output { seq, stream, bytes } => {
                assert_eq!(seq.0, self.seq, "output goes on where it ended");
                self.seq += bytes.len() as u64;
                self.output.extend_from_slice(bytes);
                if stream == Stream::Stderr {
                    self.stderr.extend_from_slice(bytes);
                }
                if self.acknowledges && self.seq - self.acknowledged >= ACKNOWLEDGE_EVERY {
                    self.acknowledge();
                }
            }
            ServerFrame::Snapshot { seq, size, bytes } => {
                self.seq = seq.0;
                self.acknowledged = seq.0;
                self.size = size;
                self.snapshots.push(bytes.to_vec());
            }
            ServerFrame::Size(size) => self.size = size,
            ServerFrame::Exit { code, kind, reason } => {
                self.exit = Some(Exit {
                    code,
                    kind,
                    reason: reason.to_owned(),
                });
            }
            ServerFrame::Viewers(json) => self.viewers = Some(json.to_owned()),
            ServerFrame::Accepted(accepted) => self.accepted = accepted,
            ServerFrame::Notice { code, text } => self.notices.push((code, text.to_owned())),
            ServerFrame::Heartbeat(value) => self.heartbeats.push(value),
        }
    }

    /// Says that all output so far was parsed. A connection that broke shows at the next read.
    pub fn acknowledge(&mut self) {
        self.acknowledged = self.seq;
        self.send(&ClientFrame::Acknowledge(Seq(self.seq)));
    }

    /// Sends a frame. A connection that broke shows at the next read.
    pub fn send(&mut self, frame: &ClientFrame<'_>) {
        self.send_bytes(frame.encode());
    }

    /// Sends a binary message that need not be a frame.
    pub fn send_bytes(&mut self, bytes: Vec<u8>) {
        let _ = self.socket.send(Message::Binary(bytes.into()));
    }

    /// Types, within the credit that the server gives.
    #[track_caller]
    pub fn input(&mut self, text: &[u8]) {
        for chunk in text.chunks(16 * 1024) {
            let after = self.sent + chunk.len() as u64;
            let window = porthole_protocol::frame::INPUT_WINDOW;
            self.wait("credit for input", |t| {
                (t.accepted + window >= after).then_some(())
            });
            let seq = self.sent;
            self.send(&ClientFrame::Input { seq, bytes: chunk });
            self.sent = after;
        }
    }

    /// Types a line.
    #[track_caller]
    pub fn line(&mut self, text: &str) {
        self.input(format!("{text}\n").as_bytes());
    }

    /// Receives until there is an answer.
    ///
    /// # Panics
    /// When there is none in time, or the connection ends first.
    #[track_caller]
    pub fn wait<T>(&mut self, what: &str, ask: impl FnMut(&mut Self) -> Option<T>) -> T {
        self.wait_within(what, PATIENCE, ask)
    }

    /// As [`Terminal::wait`], with another time.
    #[track_caller]
    pub fn wait_within<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut ask: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let end = Instant::now() + limit;
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            let left = end.saturating_duration_since(Instant::now());
            let received = self.receive(left);
            assert!(
                received == Ok(true),
                "{what}: {received:?} at {}, exit {:?}, {} snapshots, notices {:?}; the output ends with {:?}",
                self.seq,
                self.exit,
                self.snapshots.len(),
                self.notices,
                self.tail()
            );
        }
    }

    /// Receives until the output that nobody has read yet holds this text, and returns that output
    /// up to and with it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let mut searched = self.read;
        self.wait(&format!("{text:?} in the output"), |terminal| {
            // What was searched before is not searched again: a flood would take the square of it.
            let from = searched.saturating_sub(text.len()).max(terminal.read);
            let found = terminal.output[from..]
                .windows(text.len())
                .position(|window| window == text.as_bytes());
            searched = terminal.output.len();
            let end = from + found? + text.len();
            let upto = String::from_utf8_lossy(&terminal.output[terminal.read..end]).into_owned();
            terminal.read = end;
            Some(upto)
        })
    }

    /// Receives until the session has ended.
    #[track_caller]
    pub fn end(&mut self) -> Exit {
        self.wait("the end", |terminal| terminal.exit.clone())
    }

    /// Receives until the connection is closed, and returns the code.
    ///
    /// # Panics
    /// When it is not closed in time.
    #[track_caller]
    pub fn closed_within(&mut self, limit: Duration) -> Option<u16> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "still connected after {limit:?}");
            if let Err(closed) = self.receive(left) {
                return closed.code;
            }
        }
    }

    /// The last 500 bytes of output as text.
    pub fn tail(&self) -> String {
        let from = self.output.len().saturating_sub(500);
        String::from_utf8_lossy(&self.output[from..]).into_owned()
    }

    /// All output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

/// Upgrades to `porthole.v1`; otherwise the HTTP status, or 0 where there was no answer.
pub fn upgrade(client: &Client, path: &str) -> Result<WebSocket<TcpStream>, u16> {
    let mut request = format!("ws://{}{path}", client.address())
        .into_client_request()
        .expect("an address");
    let headers = request.headers_mut();
    headers.insert(
        "sec-websocket-protocol",
        HeaderValue::from_static(SUBPROTOCOL),
    );
    for (name, value) in client.headers_for(true) {
        let name: HeaderName = name.parse().expect("a header's name");
        headers.insert(name, value.parse().expect("a header's value"));
    }
    let stream = TcpStream::connect(client.address()).map_err(|_| 0u16)?;
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(PATIENCE));
    match tungstenite::client(request, stream) {
        Ok((socket, answer)) => {
            let chosen = answer.headers().get("sec-websocket-protocol");
            assert_eq!(
                chosen.and_then(|v| v.to_str().ok()),
                Some(SUBPROTOCOL),
                "the server chooses the subprotocol"
            );
            Ok(socket)
        }
        Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
        Err(_) => Err(0),
    }
}
