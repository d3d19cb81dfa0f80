//! A session's descriptors while the hub is its reader.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, Waker, ready};

use porthole_journal::{Pumped, Relay, Sources};
use porthole_protocol::id::Seq;
use porthole_protocol::journal::{Mark, Stream};
use porthole_protocol::session::Size;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use crate::handle::{AttachError, Descriptors};

/// Descriptors that come after a session's own: pipe, pipe, journal, index.
const COMMON: usize = 4;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// So many bytes are in.
    Some(usize),
    /// There is no room now.
    Full,
    /// Nobody will read them.
    Closed,
}

/// The hub as a session's reader. Each descriptor is registered once, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Attached {
    relay: Relay,
    /// Waits on the relay's sources: the terminal, or standard output and error.
    sources: Vec<(Stream, AsyncFd<OwnedFd>)>,
    /// Of the pipes, which is asked first; so that neither starves the other.
    turn: usize,
    /// Standard input, where that is a pipe.
    stdin: Option<AsyncFd<OwnedFd>>,
    tty: bool,
}

impl Attached {
    pub(crate) fn new(descriptors: Descriptors, now_us: u64) -> Result<Self, AttachError> {
        let Descriptors { tty, fds } = descriptors;
        let found = fds.len();
        let wrong = |expected| AttachError::Descriptors {
            tty,
            expected,
            found,
        };
        let (sources, stdin, rest) = if tty {
            let [master, rest @ ..]: [OwnedFd; 1 + COMMON] =
                fds.try_into().map_err(|_| wrong(1 + COMMON))?;
            (Sources::Tty(master), None, rest)
        } else {
            let [stdin, stdout, stderr, rest @ ..]: [OwnedFd; 3 + COMMON] =
                fds.try_into().map_err(|_| wrong(3 + COMMON))?;
            let stdin = register(stdin)?;
            (Sources::Pipes { stdout, stderr }, Some(stdin), rest)
        };
        let [read, write, journal, index] = rest;
        let relay = Relay::take_over(sources, (read, write), journal, index, now_us)?;
        let mut sources = Vec::new();
        for stream in [Stream::Tty, Stream::Stdout, Stream::Stderr] {
            if let Some(source) = relay.source(stream) {
                // A descriptor of its own, since the relay owns the other. It is the same file.
                sources.push((stream, register(source.try_clone_to_owned()?)?));
            }
        }
        Ok(Self {
            relay,
            sources,
            turn: 0,
            stdin,
            tty,
        })
    }

    pub(crate) fn relay(&mut self) -> &mut Relay {
        &mut self.relay
    }

    pub(crate) fn seq(&self) -> Seq {
        self.relay.seq()
    }

    /// Whether no stream can bring anything more.
    pub(crate) fn is_over(&self) -> bool {
        self.sources.is_empty()
    }

    /// Waits until a stream may have something.
    pub(crate) fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let count = self.sources.len();
        for offset in 0..count {
            let index = (self.turn + offset) % count;
            let (stream, source) = &self.sources[index];
            if let Poll::Ready(guard) = source.poll_read_ready(context) {
                drop(guard?);
                self.turn = index + 1;
                return Poll::Ready(Ok(*stream));
            }
        }
        Poll::Pending
    }

    /// Moves one chunk of a stream into the journal; where `gathers` it may only be on its way there,
    /// which is `None`.
    pub(crate) fn pump(
        &mut self,
        stream: Stream,
        gathers: bool,
        now_us: u64,
    ) -> io::Result<Option<Pumped>> {
        let source = self.sources.iter().find(|(of, _)| *of == stream);
        // Taken before reading: what arrives in between is then not cleared away.
        let guard = source.map(|(_, source)| source.poll_read_ready(&mut unawaited()));
        let pumped = if gathers {
            self.relay.gather(stream, now_us)?
        } else {
            Some(self.relay.pump(stream, now_us)?)
        };
        match pumped {
            None | Some(Pumped::Moved(_)) => {}
            Some(Pumped::WouldBlock) => {
                if let Some(Poll::Ready(Ok(mut guard))) = guard {
                    guard.clear_ready();
                }
            }
            Some(Pumped::EndOfFile) => {
                if !self.tty {
                    self.sources.retain(|(of, _)| *of != stream);
                }
            }
        }
        Ok(pumped)
    }

    /// Where input goes.
    fn input(&self) -> Option<&AsyncFd<OwnedFd>> {
        if self.tty {
            self.sources.first().map(|(_, source)| source)
        } else {
            self.stdin.as_ref()
        }
    }

    /// Waits until there may be room for input.
    pub(crate) fn poll_room(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.input() {
            Some(input) => {
                drop(ready!(input.poll_write_ready(context))?);
                Poll::Ready(Ok(()))
            }
            // To be told that it is closed.
            None => Poll::Ready(Ok(())),
        }
    }

    /// Writes what there is room for.
    pub(crate) fn write(&self, bytes: &[u8]) -> Written {
        let Some(input) = self.input() else {
            return Written::Closed;
        };
        let guard = input.poll_write_ready(&mut unawaited());
        match rustix::io::retry_on_intr(|| rustix::io::write(input, bytes)) {
            Ok(count) if count > 0 => Written::Some(count),
            Ok(_) | Err(Errno::AGAIN) => {
                if let Poll::Ready(Ok(mut guard)) = guard {
                    guard.clear_ready();
                }
                Written::Full
            }
            // EPIPE; EIO, where no process has the terminal open.
            Err(_) => Written::Closed,
        }
    }

    /// Closes standard input, where that is a pipe.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Sets the terminal's size and writes into the index that it holds from here on.
    pub(crate) fn resize(&mut self, size: Size, now_us: u64) -> io::Result<()> {
        if !self.tty {
            return Ok(());
        }
        // First the record: output that the new size causes is behind it.
        self.relay.mark(Mark::Resize(size), now_us)?;
        let Some(master) = self.relay.source(Stream::Tty) else {
            return Ok(());
        };
        rustix::termios::tcsetwinsize(
            master.as_fd(),
            rustix::termios::Winsize {
                ws_col: size.cols,
                ws_row: size.rows,
                ws_xpixel: 0,
                ws_ypixel: 0,
            },
        )?;
        Ok(())
    }

    /// The size that the terminal has.
    pub(crate) fn size(&self) -> Option<Size> {
        let master = self.relay.source(Stream::Tty)?;
        let now = rustix::termios::tcgetwinsize(master).ok()?;
        Size::new(now.ws_col, now.ws_row).ok()
    }
}

/// To ask whether something is ready without waiting for it. The task asks again before it waits.
fn unawaited() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for what may close its descriptor while it is registered, \
              which an OwnedFd does not"
)]
fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}
