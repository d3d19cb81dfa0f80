//! A screen on the disk, beside its journal: what a restarted server begins to draw from.
//!
//! Without it the first picture after a restart would parse all that is kept of the journal. There
//! is no shorter way that is sound: what shows at the end may come from any byte before it (modes,
//! margins, the other screen, a cell that was never written over), so a tail alone proves nothing.
//!
//! The file is a cache. Nothing is synced, and whatever is wrong with it (a torn write, another
//! version's form, another journal beside it) means only that it is ignored; so it is checked as if
//! a stranger had written it.
//!
//! ```text
//! magic 8 · seq u64 · next record u64 · cols u16 · rows u16 · dump's length u32
//!         · tail's sum u64 · dump · sum u64 of all before it        (big-endian)
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use porthole_journal::Reader;
use porthole_protocol::id::Seq;
use porthole_protocol::session::Size;

use crate::limits::CHECKPOINT_BYTES;
use crate::screen::Checkpoint;

/// What the file begins with; the last byte is the form's version. It changes too where the same
/// dump would be drawn in another way.
const MAGIC: [u8; 8] = *b"PHSCREE\x01";

const HEAD: usize = MAGIC.len() + 8 + 8 + 2 + 2 + 4 + 8;
const SUM: usize = 8;

/// How much of the journal before a checkpoint is compared, to know that it is the same journal.
const TAIL: u64 = 4096;

/// A screen and its place in the journal's two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) screen: Checkpoint,
    /// The number of the first record of the index that it does not know.
    pub(crate) next: u64,
}

/// The checkpoint in this file, where it is one of this journal. Everything else that may be there
/// counts as nothing.
pub(crate) fn read(path: &Path, reader: &Reader) -> Option<Placed> {
    let longest = HEAD + CHECKPOINT_BYTES + SUM;
    let file = open(OpenOptions::new().read(true), path).ok()?;
    let mut bytes = Vec::new();
    file.take(longest as u64 + 1).read_to_end(&mut bytes).ok()?;
    let (placed, tail) = decode(&bytes)?;
    let seq = placed.screen.seq;
    let (kept_from, end) = (reader.kept_from().ok()?, reader.end().ok()?);
    let fits = kept_from <= seq && seq <= end;
    (fits && sum_before(reader, seq).ok()? == tail).then_some(placed)
}

/// Writes it in place of the one before. What does not fit is not written.
pub(crate) fn write(path: &Path, placed: &Placed, reader: &Reader) -> io::Result<()> {
    if placed.screen.dump.len() > CHECKPOINT_BYTES {
        return Ok(());
    }
    let bytes = encode(placed, sum_before(reader, placed.screen.seq)?);
    let new = beside(path);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = open(&mut options, &new)
        .and_then(|mut file| file.write_all(&bytes))
        .and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        // Best effort: a disk that is full gets its bytes back, and the next write replaces it.
        let _ = std::fs::remove_file(&new);
    }
    written
}

/// Where it is written before it gets its name.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    options.custom_flags(flags).open(path)
}

pub(crate) fn encode(placed: &Placed, tail: u64) -> Vec<u8> {
    let Checkpoint { seq, size, dump } = &placed.screen;
    let mut bytes = Vec::with_capacity(HEAD + dump.len() + SUM);
    bytes.extend(MAGIC);
    bytes.extend(seq.0.to_be_bytes());
    bytes.extend(placed.next.to_be_bytes());
    bytes.extend(size.cols.to_be_bytes());
    bytes.extend(size.rows.to_be_bytes());
    let length = u32::try_from(dump.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(tail.to_be_bytes());
    bytes.extend(dump);
    bytes.extend(sum(&bytes).to_be_bytes());
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Option<(Placed, u64)> {
    let (body, told) = bytes.split_last_chunk::<SUM>()?;
    if u64::from_be_bytes(*told) != sum(body) {
        return None;
    }
    let mut rest = body.strip_prefix(&MAGIC)?;
    let seq = u64::from_be_bytes(take(&mut rest)?);
    let next = u64::from_be_bytes(take(&mut rest)?);
    let cols = u16::from_be_bytes(take(&mut rest)?);
    let rows = u16::from_be_bytes(take(&mut rest)?);
    let length = u32::from_be_bytes(take(&mut rest)?);
    let tail = u64::from_be_bytes(take(&mut rest)?);
    if rest.len() != usize::try_from(length).ok()? || rest.len() > CHECKPOINT_BYTES {
        return None;
    }
    let screen = Checkpoint {
        seq: Seq(seq),
        size: Size::new(cols, rows).ok()?,
        dump: rest.to_vec(),
    };
    Some((Placed { screen, next }, tail))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (field, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*field)
}

/// The sum of the journal's last bytes before this place.
fn sum_before(reader: &Reader, seq: Seq) -> io::Result<u64> {
    let from = Seq(seq.0.saturating_sub(TAIL));
    let mut bytes = vec![0; usize::try_from(seq.0 - from.0).unwrap_or(0)];
    let count = reader.read_at(from, &mut bytes)?;
    Ok(sum(&bytes[..count]))
}

/// FNV-1a with 64 bits: against accidents, not against people, who may not write here.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
