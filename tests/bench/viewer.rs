//! A viewer of a session that only counts what comes: the browser's part at the least cost.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use porthole_protocol::frame::{ClientFrame, ServerFrame};
use porthole_protocol::id::Seq;
use porthole_tests::Client;
use porthole_tests::terminal::upgrade;
use tungstenite::{Message, WebSocket};

/// What has been parsed is acknowledged each time this much of it has come.
const ACKNOWLEDGE_EVERY: u64 = 32 * 1024;

/// A connected viewer.
pub(crate) struct Viewer {
    socket: WebSocket<TcpStream>,
    /// The place after the last byte of output.
    pub(crate) seq: u64,
    acknowledged: u64,
    sent: u64,
}

/// What a frame brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    /// Output of so many bytes, with the last of them.
    Output(usize, u8),
    /// The end.
    Exit(i32),
    /// Something else.
    Other,
}

impl Viewer {
    /// Attaches to a session from its first byte on.
    pub(crate) fn attach(client: &Client, session: &str) -> anyhow::Result<Self> {
        let path = format!("/api/v1/sessions/{session}/attach?resume=0&mode=write");
        match upgrade(client, &path) {
            Ok(socket) => {
                socket
                    .get_ref()
                    .set_read_timeout(Some(Duration::from_secs(60)))?;
                Ok(Self {
                    socket,
                    seq: 0,
                    acknowledged: 0,
                    sent: 0,
                })
            }
            Err(status) => bail!("attaching to {session} was answered by {status}"),
        }
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> anyhow::Result<Came> {
        let Message::Binary(bytes) = self.socket.read()? else {
            return Ok(Came::Other);
        };
        let came = match ServerFrame::decode(&bytes)? {
            ServerFrame::Output { seq, bytes, .. } => {
                ensure!(
                    seq.0 == self.seq,
                    "output has a gap: {} and not {}",
                    seq.0,
                    self.seq
                );
                self.seq += bytes.len() as u64;
                Came::Output(bytes.len(), bytes.last().copied().unwrap_or_default())
            }
            ServerFrame::Snapshot { seq, .. } => {
                self.seq = seq.0;
                Came::Other
            }
            ServerFrame::Exit { code, .. } => Came::Exit(code),
            _ => Came::Other,
        };
        if self.seq - self.acknowledged >= ACKNOWLEDGE_EVERY {
            self.acknowledged = self.seq;
            self.send(&ClientFrame::Acknowledge(Seq(self.seq)))?;
        }
        Ok(came)
    }

    fn send(&mut self, frame: &ClientFrame<'_>) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::Binary(frame.encode().into()))?)
    }

    /// Types.
    pub(crate) fn input(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let seq = self.sent;
        self.sent += bytes.len() as u64;
        self.send(&ClientFrame::Input { seq, bytes })
    }

    /// Waits for output; answers its last byte.
    pub(crate) fn output(&mut self) -> anyhow::Result<u8> {
        loop {
            match self.next()? {
                Came::Output(_, last) => return Ok(last),
                Came::Exit(code) => bail!("the session ended with {code}"),
                Came::Other => {}
            }
        }
    }

    /// Waits until a line has come to its end.
    pub(crate) fn line(&mut self) -> anyhow::Result<()> {
        while self.output()? != b'\n' {}
        Ok(())
    }

    /// Waits for the end.
    pub(crate) fn end(&mut self) -> anyhow::Result<i32> {
        loop {
            if let Came::Exit(code) = self.next()? {
                return Ok(code);
            }
        }
    }

    /// Types a byte and waits until it comes back.
    pub(crate) fn echo(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.input(b"x")?;
        self.output()?;
        Ok(begun.elapsed())
    }
}
