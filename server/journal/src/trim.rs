//! A journal's limit.
//!
//! What is dropped is the oldest content, by punching a hole: no byte's place changes, and the
//! file's size stays the next byte's sequence number. That it happened is written into the index
//! as [`Mark::Dropped`], before it happens; where content begins is asked of the file system
//! (SEEK_DATA), which a kill in between cannot make a liar.
//!
//! The index has a limit of its own, so that a program that writes a byte every hundredth of a
//! second for a month is bounded too. Content whose records go, goes with them.

use std::fs::File;
use std::io;

use porthole_protocol::id::Seq;
use porthole_protocol::journal::{Mark, Record};
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use crate::index::{Cursor, Writer};

/// How much of a journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Bytes of output.
    pub content: u64,
    /// Bytes of the index.
    pub index: u64,
}

impl Default for Limit {
    fn default() -> Self {
        Self::of_content(256 * 1024 * 1024)
    }
}

impl Limit {
    /// This much output, and an eighth of it for the index.
    pub const fn of_content(content: u64) -> Self {
        Self {
            content,
            index: content / 8,
        }
    }
}

/// The place of the oldest byte that the file holds.
pub(crate) fn kept_from(file: &File, end: u64) -> io::Result<u64> {
    match seek(file, SeekFrom::Data(0)) {
        Ok(at) => Ok(at.min(end)),
        // No data at all.
        Err(Errno::NXIO) => Ok(end),
        Err(errno) => Err(errno.into()),
    }
}

/// From where on content is to be kept, where a limit is crossed. An eighth more than necessary
/// goes, so that this happens seldom.
pub(crate) fn due(
    limit: Limit,
    kept_from: u64,
    end: u64,
    index: &Writer,
) -> io::Result<Option<u64>> {
    let mut target = kept_from;
    if end - kept_from > limit.content {
        target = end - (limit.content - limit.content / 8);
    }
    let records = limit.index / Record::LEN as u64;
    if index.kept() > records
        && let Some(record) = index.read().get(index.count - records / 2)?
    {
        target = target.max(record.seq.0);
    }
    // Rounded up: of a record's bytes that are cut in two none stays.
    let target = target.next_multiple_of(Mark::DROP_UNIT).min(end);
    let target = target - target % Mark::DROP_UNIT;
    Ok((target > kept_from).then_some(target))
}

/// Drops the content before `kept_from`, and the records that are about no other.
pub(crate) fn drop_before(
    kept_from: u64,
    end: u64,
    now_us: u64,
    journal: &File,
    index: &mut Writer,
) -> io::Result<()> {
    let units = u32::try_from(kept_from / Mark::DROP_UNIT).unwrap_or(u32::MAX);
    index.append(Record {
        time_us: now_us,
        seq: Seq(end),
        mark: Mark::Dropped(units),
    })?;
    punch(journal, kept_from)?;
    drop_records(Seq(kept_from), index)
}

/// Drops the records before `seq`, but says first, in the last two of them, which size and stream
/// held there.
fn drop_records(seq: Seq, index: &mut Writer) -> io::Result<()> {
    let first = index.read().partition(|record| record.seq < seq)?;
    if first < index.first + 2 {
        return Ok(());
    }
    let (mut size, mut output) = (None, None);
    let mut cursor = Cursor::at(index.first);
    while cursor.number < first
        && let Some(record) = index.read().next(&mut cursor)?
    {
        match record.mark {
            Mark::Resize(_) => size = Some(record),
            Mark::Output(_) => output = Some(record),
            Mark::Start | Mark::End(_) | Mark::Dropped(_) => {}
        }
    }
    // Where only one of the two was ever said, the other place becomes that one again.
    let (Some(a), Some(b)) = (size.or(output), output.or(size)) else {
        return Ok(());
    };
    index.write(first - 2, Record { seq, ..a })?;
    index.write(first - 1, Record { seq, ..b })?;
    index.first = first - 2;
    punch(&index.file, index.first * Record::LEN as u64)
}

fn punch(file: &File, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(fallocate(file, mode, 0, length)?)
}
