//! A journal read back: for viewers, screens and logs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use porthole_protocol::id::Seq;
use porthole_protocol::journal::{Mark, Record, Stream};
use porthole_protocol::session::Size;

use crate::index::{Cursor, Records};
use crate::trim;

/// How many records [`Reader::size_at`] looks at before it gives up.
const SIZE_SEARCH: u64 = 64 * 1024;

/// Bytes of one stream that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first byte's place.
    pub from: Seq,
    /// The place behind the last byte.
    pub to: Seq,
    /// Whose they are.
    pub stream: Stream,
    /// When they came, to about 10 ms; microseconds since 1970. Never less than of the run before.
    pub time_us: u64,
}

/// Reads a journal, also while another appends to it. It keeps nothing in memory.
#[derive(Debug)]
pub struct Reader {
    journal: File,
    index: File,
}

impl Reader {
    /// A reader of these two files. File offsets are not used, so descriptors may be shared.
    pub fn new(journal: impl Into<File>, index: impl Into<File>) -> Self {
        Self {
            journal: journal.into(),
            index: index.into(),
        }
    }

    /// The same under new descriptors, for another thread.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            journal: self.journal.try_clone()?,
            index: self.index.try_clone()?,
        })
    }

    /// The place of the next byte.
    pub fn end(&self) -> io::Result<Seq> {
        Ok(Seq(self.journal.metadata()?.len()))
    }

    /// The place of the oldest byte that is kept.
    pub fn kept_from(&self) -> io::Result<Seq> {
        let end = self.end()?;
        trim::kept_from(&self.journal, end.0).map(Seq)
    }

    /// Reads bytes from this place on, as many as there are and fit; 0 at the end. What was
    /// dropped reads as zeros: compare with [`Reader::kept_from`].
    pub fn read_at(&self, seq: Seq, buffer: &mut [u8]) -> io::Result<usize> {
        // pread(2) refuses places that no file has; what comes from outside may name one.
        if i64::MAX as u64 - (buffer.len() as u64) < seq.0 {
            return Ok(0);
        }
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .journal
                .read_at(&mut buffer[filled..], seq.0 + filled as u64)
            {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// A cursor before the first record that is about `seq` or what follows it.
    pub fn cursor(&self, seq: Seq) -> io::Result<Cursor> {
        let records = Records(&self.index);
        records.partition(|record| record.seq < seq).map(Cursor::at)
    }

    /// The next record, and the cursor moved behind it; `None` at the end, where more may come.
    pub fn next(&self, cursor: &mut Cursor) -> io::Result<Option<Record>> {
        Records(&self.index).next(cursor)
    }

    /// The place of the first byte that came at this time or later; microseconds since 1970. Where
    /// the clock was set back meanwhile, so are bytes that came after this time by the clock of before.
    pub fn since(&self, time_us: u64) -> io::Result<Seq> {
        let records = Records(&self.index);
        let number = records.partition(|record| record.time_us < time_us)?;
        match records.get(number)? {
            Some(record) => Ok(record.seq),
            None => self.end(),
        }
    }

    /// The size that the terminal had at this place; `None` where none was said before it, or
    /// only very long before it.
    pub fn size_at(&self, seq: Seq) -> io::Result<Option<Size>> {
        let records = Records(&self.index);
        let number = records.partition(|record| record.seq <= seq)?;
        for number in (number.saturating_sub(SIZE_SEARCH)..number).rev() {
            if let Some(Record {
                mark: Mark::Resize(size),
                ..
            }) = records.get(number)?
            {
                return Ok(Some(size));
            }
        }
        Ok(None)
    }

    /// The run that holds `seq`, cut off at `limit`; `None` where there is nothing in between, or
    /// no record of it.
    ///
    /// Runs end where the next record of output stands, so each has its time.
    pub fn run(&self, seq: Seq, limit: Seq) -> io::Result<Option<Run>> {
        if seq >= limit {
            return Ok(None);
        }
        let records = Records(&self.index);
        let after = records.partition(|record| record.seq <= seq)?;
        let mut run = None;
        for number in (after.saturating_sub(SIZE_SEARCH)..after).rev() {
            if let Some(record) = records.get(number)?
                && let Mark::Output(stream) = record.mark
            {
                run = Some(Run {
                    from: seq,
                    to: limit,
                    stream,
                    time_us: record.time_us,
                });
                break;
            }
        }
        let Some(mut run) = run else {
            return Ok(None);
        };
        let mut cursor = Cursor::at(after);
        while let Some(record) = records.next(&mut cursor)? {
            if matches!(record.mark, Mark::Output(_)) {
                run.to = run.to.min(record.seq);
                break;
            }
        }
        Ok((run.to > run.from).then_some(run))
    }
}
