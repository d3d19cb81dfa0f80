//! From a pty or pipe into the journal, by splice alone.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use porthole_protocol::id::Seq;
use porthole_protocol::journal::{Mark, Record, Stream};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use crate::index::Writer;
use crate::trim::{self, Limit};

/// The most that one [`Relay::pump`] moves from a terminal: what the kernel gives at once.
const TTY_CHUNK: usize = 4 * 1024;

/// The most that [`Relay::gather`] leaves in the pipe: four times what the kernel gives at once.
/// Less costs more system calls; more lets the other sessions wait longer for their turn.
const GATHERED: usize = 4 * TTY_CHUNK;

/// A terminal that gave at least this much has more. The kernel keeps a byte or so to itself.
const WHOLE_CHUNK: usize = TTY_CHUNK - 64;

/// The most that one [`Relay::pump`] moves from a pipe.
const PIPE_CHUNK: usize = 16 * 1024;

/// How far two records of the same stream are apart in time, at least, in microseconds.
const TIME_STEP_US: u64 = 10_000;

/// Where a session's output comes from. All are O_NONBLOCK.
#[derive(Debug)]
pub enum Sources {
    /// A pty's master.
    Tty(OwnedFd),
    /// The read ends of two pipes.
    Pipes {
        /// Standard output's.
        stdout: OwnedFd,
        /// Standard error's.
        stderr: OwnedFd,
    },
}

/// What a call of [`Relay::pump`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pumped {
    /// So many bytes are in the journal now.
    Moved(usize),
    /// There is nothing now.
    WouldBlock,
    /// There is nothing any more: no process has the other end open. For a terminal (EIO) that
    /// may change while a process lives that has it as its controlling terminal.
    EndOfFile,
}

#[derive(Debug)]
struct HoldingPipe {
    read: OwnedFd,
    write: OwnedFd,
    /// Bytes in it, which are in no other place.
    held: usize,
}

/// The one that reads a session's output and writes its journal. There is one at a time.
#[derive(Debug)]
pub struct Relay {
    tty: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    pipe: HoldingPipe,
    journal: File,
    index: Writer,
    /// The journal's size, which is the next byte's sequence number.
    end: u64,
    kept_from: u64,
    limit: Limit,
}

impl Relay {
    /// Becomes the reader. What an earlier one left in the pipe is moved into the journal first.
    ///
    /// `pipe` is the holding pipe's read and write end, `now_us` microseconds since 1970.
    /// Fails where a file cannot be read or written; nothing is lost by that.
    pub fn take_over(
        sources: Sources,
        pipe: (OwnedFd, OwnedFd),
        journal: OwnedFd,
        index: OwnedFd,
        now_us: u64,
    ) -> io::Result<Self> {
        let (tty, stdout, stderr) = match sources {
            Sources::Tty(master) => (Some(master), None, None),
            Sources::Pipes { stdout, stderr } => (None, Some(stdout), Some(stderr)),
        };
        let journal = File::from(journal);
        let end = journal.metadata()?.len();
        let held = rustix::io::ioctl_fionread(&pipe.0)?;
        let mut relay = Self {
            tty,
            stdout,
            stderr,
            pipe: HoldingPipe {
                read: pipe.0,
                write: pipe.1,
                held: usize::try_from(held).unwrap_or(usize::MAX),
            },
            kept_from: trim::kept_from(&journal, end)?,
            journal,
            index: Writer::open(File::from(index))?,
            end,
            limit: Limit::default(),
        };
        relay.settle(now_us)?;
        Ok(relay)
    }

    /// How much is kept from now on.
    pub fn set_limit(&mut self, limit: Limit) {
        self.limit = limit;
    }

    /// Moves one chunk of this stream into the journal.
    ///
    /// On an error (a full disk) the chunk may be in the pipe: it is then the next call's first
    /// work, and the program waits meanwhile.
    pub fn pump(&mut self, stream: Stream, now_us: u64) -> io::Result<Pumped> {
        let before = self.end;
        self.settle(now_us)?;
        let drawn = self.draw(stream, now_us)?;
        self.settle(now_us)?;
        Ok(self.since(before, drawn))
    }

    /// Moves one chunk of this stream nearer to the journal. A terminal in flood has its chunks
    /// joined: they go from the pipe into the journal together. `None` says that it is in the pipe,
    /// and to be followed at once by another, or, where none is there, by [`Relay::settle`].
    ///
    /// Errors are as in [`Relay::pump`].
    pub fn gather(&mut self, stream: Stream, now_us: u64) -> io::Result<Option<Pumped>> {
        if !self.has_room() {
            self.settle(now_us)?;
        }
        let before = self.end;
        let drawn = self.draw(stream, now_us)?;
        let whole = matches!(drawn, Pumped::Moved(count) if count >= WHOLE_CHUNK);
        if whole && stream == Stream::Tty && self.has_room() {
            return Ok(None);
        }
        self.settle(now_us)?;
        Ok(Some(self.since(before, drawn)))
    }

    /// What is to be said of a call: that something has come, before that nothing more does, which
    /// the next call says.
    fn since(&self, before: u64, drawn: Pumped) -> Pumped {
        match self.end - before {
            0 => drawn,
            moved => Pumped::Moved(usize::try_from(moved).unwrap_or(usize::MAX)),
        }
    }

    /// Whether the pipe may be given another chunk of a terminal.
    const fn has_room(&self) -> bool {
        self.pipe.held + TTY_CHUNK <= GATHERED
    }

    /// Takes one chunk of this stream into the pipe, behind what is there.
    fn draw(&mut self, stream: Stream, now_us: u64) -> io::Result<Pumped> {
        if self.source(stream).is_none() {
            return Ok(Pumped::EndOfFile);
        }
        // Before the bytes: whoever finds them in the pipe then knows whose they are.
        let place = Seq(self.end + self.pipe.held as u64);
        self.index.intend(stream, place, now_us, TIME_STEP_US)?;
        let taken = loop {
            match self.take(stream) {
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        match taken {
            Ok(0) => {
                self.forget(stream);
                Ok(Pumped::EndOfFile)
            }
            Ok(count) => {
                self.pipe.held += count;
                Ok(Pumped::Moved(count))
            }
            Err(Errno::AGAIN) => Ok(Pumped::WouldBlock),
            // The last process that had the terminal open has closed it.
            Err(Errno::IO) if stream == Stream::Tty => Ok(Pumped::EndOfFile),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes into the index that here something happened that is no output.
    pub fn mark(&mut self, mark: Mark, now_us: u64) -> io::Result<()> {
        self.settle(now_us)?;
        self.index.append(Record {
            time_us: now_us,
            seq: Seq(self.end),
            mark,
        })
    }

    /// Writes into the index that the process has ended and all its output is here. Does nothing
    /// where that is the last thing said: server and monitor may both come to the end.
    pub fn finish(&mut self, code: i32, now_us: u64) -> io::Result<()> {
        for number in (0..self.index.count).rev() {
            match self.index.read().get(number)? {
                // An intent that no byte followed.
                Some(Record {
                    mark: Mark::Output(_),
                    seq,
                    ..
                }) if seq == self.seq() => {}
                Some(record) if record.mark == Mark::End(code) => return Ok(()),
                _ => break,
            }
        }
        self.mark(Mark::End(code), now_us)
    }

    /// The place of the next byte.
    pub fn seq(&self) -> Seq {
        Seq(self.end)
    }

    /// The place of the oldest byte that is kept.
    pub fn kept_from(&self) -> Seq {
        Seq(self.kept_from)
    }

    /// Where a stream is read from, to wait on; `None` once it has ended or where there is none.
    pub fn source(&self, stream: Stream) -> Option<BorrowedFd<'_>> {
        self.slot(stream).as_ref().map(AsFd::as_fd)
    }

    const fn slot(&self, stream: Stream) -> &Option<OwnedFd> {
        match stream {
            Stream::Tty => &self.tty,
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    fn forget(&mut self, stream: Stream) {
        match stream {
            Stream::Tty => self.tty = None,
            Stream::Stdout => self.stdout = None,
            Stream::Stderr => self.stderr = None,
        }
    }

    fn take(&self, stream: Stream) -> Result<usize, Errno> {
        let chunk = match stream {
            Stream::Tty => TTY_CHUNK,
            Stream::Stdout | Stream::Stderr => PIPE_CHUNK,
        };
        let Some(source) = self.slot(stream) else {
            return Ok(0);
        };
        splice(
            source,
            None,
            &self.pipe.write,
            None,
            chunk,
            SpliceFlags::MOVE | SpliceFlags::NONBLOCK,
        )
    }

    /// Moves what the pipe holds to the journal's end, and keeps the journal within its limit.
    pub fn settle(&mut self, now_us: u64) -> io::Result<()> {
        while self.pipe.held > 0 {
            let mut offset = self.end;
            match splice(
                &self.pipe.read,
                None,
                &self.journal,
                Some(&mut offset),
                self.pipe.held,
                SpliceFlags::MOVE | SpliceFlags::NONBLOCK,
            ) {
                // Less was in it than was said.
                Ok(0) | Err(Errno::AGAIN) => self.pipe.held = 0,
                Ok(moved) => {
                    self.end += moved as u64;
                    self.pipe.held = self.pipe.held.saturating_sub(moved);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if let Some(kept_from) = trim::due(self.limit, self.kept_from, self.end, &self.index)? {
            trim::drop_before(kept_from, self.end, now_us, &self.journal, &mut self.index)?;
            self.kept_from = kept_from;
        }
        Ok(())
    }
}
