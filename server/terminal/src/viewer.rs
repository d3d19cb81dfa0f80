//! One viewer: how far it is, and what goes to it next.
//!
//! ```text
//!  acked ............. sent .............. end
//!   | on its way       | in the journal
//!   | ≤ OUTPUT_WINDOW  | if more than SNAPSHOT_BEHIND: a snapshot instead
//! ```

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use porthole_journal::Reader;
use porthole_protocol::frame::{Flags, OUTPUT_HEADER, OUTPUT_WINDOW, ServerFrame, output_header};
use porthole_protocol::id::Seq;
use porthole_protocol::session::{Exit, Size};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::handle::{Close, Line, Message, Permission};
use crate::limits::{ANSWER, FRAME, NOTICES, SNAPSHOT_BEHIND};
use crate::marks::{Follower, Recent, State};
use crate::painter::Picture;
use crate::writers::Writers;

/// A session as its viewers are served from it.
pub(crate) struct View<'a> {
    pub(crate) reader: &'a Reader,
    pub(crate) recent: &'a Recent,
    pub(crate) writers: &'a Writers,
    pub(crate) end: Seq,
    pub(crate) kept_from: Seq,
    /// The last chunk as a frame, for all who are at its place.
    pub(crate) chunk: Option<&'a (Seq, Bytes)>,
    pub(crate) exit: Option<&'a Exit>,
    pub(crate) driver: Option<u64>,
    pub(crate) recorded: bool,
    pub(crate) tty: bool,
    /// Who is here, as JSON.
    pub(crate) roster: &'a str,
    pub(crate) now: Instant,
}

/// What became of a viewer when it was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// It has all that it can have now.
    Open,
    /// It has left.
    Left,
    /// It has everything, the end included.
    Finished,
}

#[derive(Debug)]
enum Snapshot {
    /// It is not needed.
    None,
    /// It is to be made.
    Wanted,
    /// It waits for room.
    Ready(Arc<Picture>),
}

/// Frames that are due: of each only the latest matters, so they are bounded.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub(crate) hello: bool,
    pub(crate) viewers: bool,
    pub(crate) accepted: bool,
    pub(crate) heartbeat: Option<u64>,
    notices: VecDeque<(u16, String)>,
}

impl Due {
    pub(crate) fn notice(&mut self, code: u16, text: &str) {
        if self.notices.len() == NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back((code, text.to_owned()));
    }
}

/// What a client did that it may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("output up to {0} was acknowledged, which was never sent")]
pub(crate) struct Unsent(Seq);

/// One viewer's connection.
#[derive(Debug)]
pub(crate) struct Viewer {
    pub(crate) number: u64,
    /// Who it is over all its connections.
    pub(crate) writer: u64,
    /// What it asked for, which it never gets more than.
    pub(crate) asked: Permission,
    pub(crate) permission: Permission,
    pub(crate) due: Due,
    channel: mpsc::Sender<Message>,
    line: Arc<Line>,
    sent: Seq,
    acked: Seq,
    /// When it last came nearer to what was sent, or was sent something after nothing.
    progress: Instant,
    /// The size that it was told.
    told: Size,
    /// It wants all output there is, however long it takes.
    from_beginning: bool,
    /// It has seen nothing yet.
    fresh: bool,
    snapshot: Snapshot,
    /// A snapshot went out up to here and was not acknowledged yet.
    unparsed: Option<Seq>,
    /// No snapshot would help before the output is this far.
    useless_before: Seq,
    follower: Option<Follower>,
    exit_sent: bool,
}

/// Where a viewer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With all there is.
    Beginning,
    /// With what follows this place.
    Tail(Seq),
    /// With a snapshot.
    Snapshot,
}

impl Begin {
    /// Where somebody begins who has parsed the output up to `resume`.
    pub(crate) fn of(resume: Option<Seq>, kept_from: Seq, end: Seq) -> Self {
        match resume {
            Some(seq) if seq < kept_from || seq > end => Self::Snapshot,
            Some(Seq(0)) => Self::Beginning,
            Some(seq) if end.0 - seq.0 <= SNAPSHOT_BEHIND => Self::Tail(seq),
            Some(_) | None => Self::Snapshot,
        }
    }
}

impl Viewer {
    #[expect(
        clippy::too_many_arguments,
        reason = "one call, each by its name there"
    )]
    pub(crate) fn new(
        number: u64,
        writer: u64,
        permission: Permission,
        begin: Begin,
        end: Seq,
        size: Size,
        channel: mpsc::Sender<Message>,
        line: Arc<Line>,
        now: Instant,
    ) -> Self {
        let sent = match begin {
            Begin::Beginning => Seq(0),
            Begin::Tail(seq) => seq,
            Begin::Snapshot => end,
        };
        let snapshot = begin == Begin::Snapshot;
        Self {
            number,
            writer,
            asked: permission,
            permission,
            due: Due {
                hello: true,
                ..Due::default()
            },
            channel,
            line,
            sent,
            acked: sent,
            progress: now,
            told: size,
            from_beginning: begin == Begin::Beginning,
            fresh: snapshot,
            snapshot: if snapshot {
                Snapshot::Wanted
            } else {
                Snapshot::None
            },
            unparsed: None,
            useless_before: Seq(0),
            follower: None,
            exit_sent: false,
        }
    }

    /// Where the chunk begins that would be its next.
    pub(crate) fn is_at(&self, seq: Seq) -> bool {
        self.sent == seq && matches!(self.snapshot, Snapshot::None)
    }

    /// All output before `seq` was parsed.
    pub(crate) fn acknowledge(&mut self, seq: Seq, now: Instant) -> Result<(), Unsent> {
        if seq > self.sent {
            return Err(Unsent(seq));
        }
        if self.unparsed.is_some_and(|unparsed| seq >= unparsed) {
            self.unparsed = None;
            self.progress = now;
        }
        if seq > self.acked {
            self.acked = seq;
            self.progress = now;
        }
        Ok(())
    }

    /// Until when the program has to wait for this viewer, where it has to.
    pub(crate) fn holds_until(&self, end: Seq, now: Instant) -> Option<Instant> {
        let behind = end.0.saturating_sub(self.acked.0) >= OUTPUT_WINDOW;
        let until = self.progress + ANSWER;
        let holds = self.permission == Permission::Write && !self.from_beginning && behind;
        (holds && now < until).then_some(until)
    }

    pub(crate) fn wants_snapshot(&self) -> bool {
        matches!(self.snapshot, Snapshot::Wanted)
    }

    /// Offers it a snapshot.
    pub(crate) fn offer(&mut self, picture: &Arc<Picture>, end: Seq) {
        if !self.wants_snapshot() {
            return;
        }
        if self.fresh || picture.seq > self.sent {
            self.snapshot = Snapshot::Ready(Arc::clone(picture));
        } else {
            // In the middle of a very long sequence: it has more than the snapshot would show.
            self.snapshot = Snapshot::None;
            self.useless_before = Seq(end.0 + SNAPSHOT_BEHIND);
        }
    }

    /// Closes its socket at once; what waits in the channel is not sent.
    pub(crate) fn cut(self, close: Close) {
        self.line.urgent.send_replace(Some(close));
    }

    /// Closes its socket behind what waits in the channel.
    pub(crate) fn finish(self, close: Close) {
        // It is the first: a viewer ends once.
        let _ = self.line.last.set(close);
    }

    /// Sends what can be sent now.
    pub(crate) fn serve(&mut self, view: &View<'_>) -> io::Result<Served> {
        loop {
            if self.line.left.load(Ordering::Acquire) {
                return Ok(Served::Left);
            }
            let permit = match self.channel.try_reserve() {
                Ok(permit) => permit,
                Err(TrySendError::Closed(())) => return Ok(Served::Left),
                Err(TrySendError::Full(())) => {
                    // It is told before it is asked again: whoever makes room in between sees it.
                    if self.line.starved.swap(true, Ordering::AcqRel) {
                        return Ok(Served::Open);
                    }
                    continue;
                }
            };
            // The permit borrows the channel; another one can be had for the frame.
            drop(permit);
            let Some(frame) = self.next_frame(view)? else {
                break;
            };
            if self.channel.try_send(Message::Frame(frame)).is_err() {
                return Ok(Served::Left);
            }
        }
        Ok(if self.exit_sent {
            Served::Finished
        } else {
            Served::Open
        })
    }

    fn next_frame(&mut self, view: &View<'_>) -> io::Result<Option<Bytes>> {
        if let Some(frame) = self.next_due(view)? {
            return Ok(Some(frame.into()));
        }
        match &self.snapshot {
            Snapshot::Wanted => return Ok(None),
            Snapshot::Ready(picture) => {
                let picture = Arc::clone(picture);
                return Ok(Some(self.take_snapshot(&picture, view.now)));
            }
            Snapshot::None => {}
        }
        self.next_output(view)
    }

    fn next_due(&mut self, view: &View<'_>) -> io::Result<Option<Vec<u8>>> {
        let writer = view.writers.get(self.writer);
        let accepted = writer.map_or(0, |writer| writer.place.accepted);
        let frame = if std::mem::take(&mut self.due.hello) {
            let (state, _) = self.state(view)?;
            self.told = state.size;
            self.due.accepted = false;
            ServerFrame::Hello {
                seq: self.sent,
                size: state.size,
                flags: Flags {
                    write: self.permission == Permission::Write,
                    drives: view.driver == Some(self.number),
                    recorded: view.recorded,
                    tty: view.tty,
                },
                accepted,
                viewer: writer.map_or("", |writer| &writer.id),
            }
            .encode()
        } else if let Some(value) = self.due.heartbeat.take() {
            ServerFrame::Heartbeat(value).encode()
        } else if std::mem::take(&mut self.due.accepted) {
            ServerFrame::Accepted(accepted).encode()
        } else if let Some((code, text)) = self.due.notices.pop_front() {
            ServerFrame::Notice { code, text: &text }.encode()
        } else if std::mem::take(&mut self.due.viewers) {
            ServerFrame::Viewers(view.roster).encode()
        } else {
            return Ok(None);
        };
        Ok(Some(frame))
    }

    fn take_snapshot(&mut self, picture: &Picture, now: Instant) -> Bytes {
        self.snapshot = Snapshot::None;
        self.sent = picture.seq;
        self.acked = picture.seq;
        self.progress = now;
        self.unparsed = Some(picture.seq);
        self.told = picture.size;
        self.fresh = false;
        self.from_beginning = false;
        self.follower = None;
        picture.frame.clone()
    }

    fn want_snapshot(&mut self, now: Instant) {
        self.snapshot = Snapshot::Wanted;
        self.progress = now;
    }

    fn next_output(&mut self, view: &View<'_>) -> io::Result<Option<Bytes>> {
        let behind = view.end.0.saturating_sub(self.sent.0);
        let room = OUTPUT_WINDOW.saturating_sub(self.sent.0 - self.acked.0);
        if self.sent < view.kept_from {
            self.want_snapshot(view.now);
            return Ok(None);
        }
        if behind == 0 {
            self.from_beginning = false;
        } else if behind > SNAPSHOT_BEHIND
            && room > 0
            && !self.from_beginning
            && self.unparsed.is_none()
            && view.end >= self.useless_before
        {
            self.want_snapshot(view.now);
            return Ok(None);
        }
        let (state, until) = self.state(view)?;
        if state.size != self.told {
            self.told = state.size;
            return Ok(Some(ServerFrame::Size(state.size).encode().into()));
        }
        if behind == 0 {
            return Ok(self.exit(view));
        }
        let until = until.unwrap_or(view.end).min(view.end).0 - self.sent.0;
        let length = until.min(room).min(FRAME as u64);
        let frame = match view.chunk {
            Some((at, frame)) if *at == self.sent && room >= payload(frame) => frame.clone(),
            _ if length == 0 => return Ok(None),
            _ => output(view.reader, self.sent, state, length)?,
        };
        if self.acked == self.sent {
            self.progress = view.now;
        }
        self.sent = Seq(self.sent.0 + payload(&frame));
        Ok(Some(frame))
    }

    fn exit(&mut self, view: &View<'_>) -> Option<Bytes> {
        let exit = view.exit.filter(|_| !self.exit_sent)?;
        self.exit_sent = true;
        let frame = ServerFrame::Exit {
            code: exit.code,
            kind: exit.kind,
            reason: &exit.reason,
        };
        Some(frame.encode().into())
    }

    /// What holds at its place, and up to where.
    fn state(&mut self, view: &View<'_>) -> io::Result<(State, Option<Seq>)> {
        if self.sent >= view.recent.from() {
            self.follower = None;
            return Ok(view.recent.at(self.sent));
        }
        let follower = match &mut self.follower {
            Some(follower) => follower,
            none => none.insert(Follower::new(view.reader, self.sent, view.recent.last())?),
        };
        let limit = Seq(self.sent.0 + FRAME as u64);
        follower.at(view.reader, self.sent, limit)
    }
}

fn payload(frame: &Bytes) -> u64 {
    (frame.len() - OUTPUT_HEADER) as u64
}

/// An output frame of what the journal has at this place.
pub(crate) fn output(reader: &Reader, seq: Seq, state: State, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).unwrap_or(FRAME);
    let mut frame = vec![0; OUTPUT_HEADER + length];
    frame[..OUTPUT_HEADER].copy_from_slice(&output_header(seq, state.stream));
    if reader.read_at(seq, &mut frame[OUTPUT_HEADER..])? != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(frame.into())
}
