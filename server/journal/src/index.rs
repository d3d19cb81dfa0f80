//! The index file: appended by one, searched by any.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use porthole_protocol::id::Seq;
use porthole_protocol::journal::{Mark, Record, Stream};

use crate::trim;

const LEN: u64 = Record::LEN as u64;

/// Records that one system call reads where many are wanted: about a page.
const BLOCK: usize = 170;

/// Appends records.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) file: File,
    /// Whole records in it. What follows is half a record of somebody who was killed, and is
    /// written over.
    pub(crate) count: u64,
    /// The number of the oldest that is kept.
    pub(crate) first: u64,
    /// The last record of output that this writer wrote, and its number.
    last: Option<(u64, Record)>,
    /// The latest time that a record has. Records are searched by their times, so that none has an
    /// earlier one than the record before it: where the clock is set back, time stands still here
    /// until the clock has caught up.
    latest_us: u64,
}

impl Writer {
    pub(crate) fn open(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let first = trim::kept_from(&file, length)? / LEN;
        let count = length / LEN;
        let latest = Records(&file).last(first, count)?;
        Ok(Self {
            first,
            file,
            count,
            last: None,
            latest_us: latest.map_or(0, |record| record.time_us),
        })
    }

    pub(crate) const fn read(&self) -> Records<'_> {
        Records(&self.file)
    }

    /// How many records are kept.
    pub(crate) const fn kept(&self) -> u64 {
        self.count - self.first
    }

    /// Adds a record, with its time or the latest that was written.
    pub(crate) fn append(&mut self, record: Record) -> io::Result<()> {
        let time_us = record.time_us.max(self.latest_us);
        self.write(self.count, Record { time_us, ..record })?;
        self.latest_us = time_us;
        self.count += 1;
        Ok(())
    }

    pub(crate) fn write(&mut self, number: u64, record: Record) -> io::Result<()> {
        self.file.write_all_at(&record.encode(), number * LEN)
    }

    /// Says that bytes of `stream` follow at `seq`, where that is not said already by a record of
    /// the last `step_us`.
    pub(crate) fn intend(
        &mut self,
        stream: Stream,
        seq: Seq,
        now_us: u64,
        step_us: u64,
    ) -> io::Result<()> {
        let record = Record {
            time_us: now_us.max(self.latest_us),
            seq,
            mark: Mark::Output(stream),
        };
        if let Some((number, last)) = self.last
            && last.mark == record.mark
        {
            if record.time_us - last.time_us < step_us {
                return Ok(());
            }
            // Nothing came since: only the time has become another. Whoever is killed half way
            // through this leaves a time that is half of each, about no byte.
            if last.seq == seq && number + 1 == self.count {
                self.write(number, record)?;
                self.latest_us = record.time_us;
                self.last = Some((number, record));
                return Ok(());
            }
        }
        self.append(record)?;
        self.last = Some((self.count - 1, record));
        Ok(())
    }
}

/// A place in the index from which records are read one after the other. It holds a block of
/// them, so that a system call is not made for each.
#[derive(Debug, Default)]
pub struct Cursor {
    /// The number of the record that comes next.
    pub(crate) number: u64,
    /// Records that were read, and the first one's number.
    block: Vec<u8>,
    block_at: u64,
}

impl Cursor {
    /// A cursor before the record with this number. A record keeps its number for ever. The number
    /// may come out of a file and be any: beyond the last place that a file can have there is nothing.
    pub fn at(number: u64) -> Self {
        Self {
            // With room for a block behind it, which pread(2) asks for too.
            number: number.min(i64::MAX as u64 / LEN - BLOCK as u64),
            ..Self::default()
        }
    }

    /// The number of the record that comes next.
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// Reads records. All of it works while another process appends.
#[derive(Debug)]
pub(crate) struct Records<'a>(pub(crate) &'a File);

impl Records<'_> {
    pub(crate) fn count(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len() / LEN)
    }

    /// The record with this number; `None` where it was dropped or says nothing.
    pub(crate) fn get(&self, number: u64) -> io::Result<Option<Record>> {
        let mut bytes = [0; Record::LEN];
        match self.0.read_exact_at(&mut bytes, number * LEN) {
            Ok(()) => Ok(decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The last record of those with numbers from `first` up to `count` that says anything.
    fn last(&self, first: u64, count: u64) -> io::Result<Option<Record>> {
        for number in (first..count).rev() {
            if let Some(record) = self.get(number)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// How many records, from the first, satisfy `before`, which holds for all up to some place
    /// and for none after it. Records that say nothing count as satisfying it.
    pub(crate) fn partition(&self, before: impl Fn(&Record) -> bool) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.count()?);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle)?.as_ref().is_none_or(&before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The next record and the cursor moved behind it; `None` at the end, where more may come.
    pub(crate) fn next(&self, cursor: &mut Cursor) -> io::Result<Option<Record>> {
        loop {
            let offset = cursor.number.wrapping_sub(cursor.block_at) as usize;
            let offset = offset.saturating_mul(Record::LEN);
            let bytes = cursor
                .block
                .get(offset..)
                .and_then(<[u8]>::first_chunk::<{ Record::LEN }>);
            if let Some(bytes) = bytes {
                cursor.number += 1;
                if let Some(record) = decode(bytes) {
                    return Ok(Some(record));
                }
                continue;
            }
            if !self.fill(cursor)? {
                return Ok(None);
            }
        }
    }

    /// Reads the block at the cursor; `false` where there is not one whole record.
    fn fill(&self, cursor: &mut Cursor) -> io::Result<bool> {
        cursor.block.resize(BLOCK * Record::LEN, 0);
        cursor.block_at = cursor.number;
        let mut length = 0;
        while length < cursor.block.len() {
            let at = cursor.number * LEN + length as u64;
            match self.0.read_at(&mut cursor.block[length..], at) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        cursor.block.truncate(length);
        if length < Record::LEN {
            // Nothing stays behind that a later call could take for records.
            cursor.block = Vec::new();
            return Ok(false);
        }
        Ok(true)
    }
}

fn decode(bytes: &[u8; Record::LEN]) -> Option<Record> {
    // A dropped record reads as zeros, which would be output at the epoch.
    Record::decode(bytes).filter(|record| record.time_us != 0)
}
