//! The output of a monitor's process, while no server reads it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use porthole_journal::{Pumped, Relay, Sources};
use porthole_protocol::journal::{Mark, Record, Stream};
use porthole_runtime::Console;
use rustix::pipe::{PipeFlags, pipe_with};

/// What a process writes, where it goes, and the pipe between.
///
/// The descriptors are kept for as long as the monitor lives; whoever reads gets copies.
#[derive(Debug)]
pub(crate) struct Output {
    console: Console,
    /// Whether standard input was closed by who reads; there is a pipe that nobody reads then.
    input_ended: bool,
    pipe: (OwnedFd, OwnedFd),
    journal: OwnedFd,
    index: OwnedFd,
    relay: Option<Relay>,
}

/// The streams of a console.
pub(crate) fn streams(console: &Console) -> &'static [Stream] {
    match console {
        Console::Tty { .. } => &[Stream::Tty],
        Console::Pipes { .. } => &[Stream::Stdout, Stream::Stderr],
    }
}

impl Output {
    pub(crate) fn new(console: Console, journal: OwnedFd, index: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            console,
            input_ended: false,
            pipe: pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?,
            journal,
            index,
            relay: None,
        })
    }

    pub(crate) fn has_tty(&self) -> bool {
        matches!(self.console, Console::Tty { .. })
    }

    pub(crate) fn streams(&self) -> &'static [Stream] {
        streams(&self.console)
    }

    /// What a stream is read from.
    pub(crate) fn source(&self, stream: Stream) -> Option<BorrowedFd<'_>> {
        match (&self.console, stream) {
            (Console::Tty { master }, Stream::Tty) => Some(master.as_fd()),
            (Console::Pipes { stdout, .. }, Stream::Stdout) => Some(stdout.as_fd()),
            (Console::Pipes { stderr, .. }, Stream::Stderr) => Some(stderr.as_fd()),
            _ => None,
        }
    }

    /// What a reader is given, in the order of the protocol.
    pub(crate) fn for_reader(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = match &self.console {
            Console::Tty { master } => vec![master.as_fd()],
            Console::Pipes {
                stdin,
                stdout,
                stderr,
            } => vec![stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
        };
        all.extend([
            self.pipe.0.as_fd(),
            self.pipe.1.as_fd(),
            self.journal.as_fd(),
            self.index.as_fd(),
        ]);
        all
    }

    /// Becomes the reader, where it is not. What an earlier one left in the pipe comes first.
    pub(crate) fn take_over(&mut self, now_us: u64) -> io::Result<&mut Relay> {
        let relay = match self.relay.take() {
            Some(relay) => relay,
            None => Relay::take_over(
                self.sources()?,
                (self.pipe.0.try_clone()?, self.pipe.1.try_clone()?),
                self.journal.try_clone()?,
                self.index.try_clone()?,
                now_us,
            )?,
        };
        Ok(self.relay.insert(relay))
    }

    fn sources(&self) -> io::Result<Sources> {
        Ok(match &self.console {
            Console::Tty { master } => Sources::Tty(master.try_clone()?),
            Console::Pipes { stdout, stderr, .. } => Sources::Pipes {
                stdout: stdout.try_clone()?,
                stderr: stderr.try_clone()?,
            },
        })
    }

    /// Somebody else reads from now on.
    pub(crate) fn hand_over(&mut self) {
        self.relay = None;
    }

    /// Moves one chunk.
    pub(crate) fn pump(&mut self, stream: Stream, now_us: u64) -> io::Result<Pumped> {
        self.take_over(now_us)?.pump(stream, now_us)
    }

    /// Writes a mark.
    pub(crate) fn mark(&mut self, mark: Mark, now_us: u64) -> io::Result<()> {
        self.take_over(now_us)?.mark(mark, now_us)
    }

    /// Standard input ends: our copy of it is closed.
    pub(crate) fn end_input(&mut self) -> io::Result<()> {
        if let Console::Pipes { stdin, .. } = &mut self.console
            && !self.input_ended
        {
            // Writing into it answers EPIPE, since its read end is closed right here.
            let (_read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            *stdin = write;
            self.input_ended = true;
        }
        Ok(())
    }

    /// Whether the journal says that the process has ended, with nothing behind it and nothing
    /// left in the pipe.
    pub(crate) fn is_complete(&self) -> io::Result<bool> {
        if rustix::io::ioctl_fionread(&self.pipe.0)? > 0 {
            return Ok(false);
        }
        let index = File::from(self.index.try_clone()?);
        let length = Record::LEN as u64;
        let records = index.metadata()?.len() / length;
        let Some(last) = records.checked_sub(1) else {
            return Ok(false);
        };
        let mut bytes = [0; Record::LEN];
        index.read_exact_at(&mut bytes, last * length)?;
        Ok(matches!(
            Record::decode(&bytes),
            Some(Record {
                mark: Mark::End(_),
                ..
            })
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use porthole_journal::Reader;

    fn journal() -> (OwnedFd, OwnedFd, tempfile::TempDir) {
        let directory = tempfile::tempdir().expect("directory");
        let files = porthole_journal::create(&directory.path().join("j")).expect("journal");
        (files.journal.into(), files.index.into(), directory)
    }

    fn pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("pipe")
    }

    #[test]
    fn the_journal_is_complete_when_its_end_is_marked() {
        let (journal, index, _directory) = journal();
        let reader = Reader::new(
            journal.try_clone().expect("dup"),
            index.try_clone().expect("dup"),
        );
        let ((in_read, stdin), (stdout, out_write), (stderr, err_write)) = (pipe(), pipe(), pipe());
        let console = Console::Pipes {
            stdin,
            stdout,
            stderr,
        };
        let mut output = Output::new(console, journal, index).expect("output");
        assert!(!output.is_complete().expect("complete"));
        output.mark(Mark::Start, 1).expect("mark");
        rustix::io::write(&out_write, b"out").expect("write");
        rustix::io::write(&err_write, b"err").expect("write");
        assert_eq!(
            output.pump(Stream::Stdout, 2).expect("pump"),
            Pumped::Moved(3)
        );
        assert_eq!(
            output.pump(Stream::Stderr, 3).expect("pump"),
            Pumped::Moved(3)
        );
        drop((out_write, err_write));
        for stream in [Stream::Stdout, Stream::Stderr] {
            assert_eq!(output.pump(stream, 4).expect("pump"), Pumped::EndOfFile);
        }
        assert!(!output.is_complete().expect("complete"));
        output.mark(Mark::End(0), 5).expect("mark");
        assert!(output.is_complete().expect("complete"));
        let mut bytes = [0; 16];
        let count = reader
            .read_at(porthole_protocol::id::Seq(0), &mut bytes)
            .expect("read");
        assert_eq!(&bytes[..count], b"outerr");
        // Standard input.
        output.end_input().expect("end");
        assert_eq!(
            rustix::io::read(&in_read, &mut bytes).expect("read"),
            0,
            "end of input"
        );
        let given = output.for_reader();
        assert_eq!(given.len(), 7);
        assert_eq!(
            rustix::io::write(given[0], b"x"),
            Err(rustix::io::Errno::PIPE)
        );
    }
}
