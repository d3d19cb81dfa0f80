//! The index beside a journal.
//!
//! A journal is two files. One holds a session's output, byte for byte; the index holds records of
//! [`Record::LEN`] bytes that say when, by which stream and at which size. The server appends to
//! both while it reads, the monitor while no server does; never both.
//!
//! A record is written *before* the bytes that it speaks of are moved: whoever takes over after a
//! kill knows of which stream the bytes are that are still in the pipe. A record without bytes is
//! followed by another at the same place, and means nothing.

use crate::id::Seq;
use crate::session::Size;

/// Which of a session's streams bytes came from. The numbers are those of `porthole.v1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stream {
    /// The terminal.
    Tty = 0,
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

impl Stream {
    /// The stream with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Tty),
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// From this place on bytes are of this stream.
    Output(Stream),
    /// From this place on the terminal has this size.
    Resize(Size),
    /// A process was started: a container's journal goes on over its runs.
    Start,
    /// The process has ended with this code; nothing follows but another `Start`.
    End(i32),
    /// The journal outgrew its limit: of its content, everything before this many times
    /// [`Mark::DROP_UNIT`] bytes is no longer kept.
    Dropped(u32),
}

impl Mark {
    /// Content is dropped in multiples of this many bytes, a whole number of any file system's
    /// blocks.
    pub const DROP_UNIT: u64 = 64 * 1024;
}

/// One record of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Microseconds since 1970; never less than of the record before, though the clock be set back.
    pub time_us: u64,
    /// The place in the journal.
    pub seq: Seq,
    /// What it says.
    pub mark: Mark,
}

impl Record {
    /// Bytes that a record has: time u64, seq u64, kind u8, three bytes 0, value u32, little-endian.
    pub const LEN: usize = 24;

    /// The record's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let (kind, value) = match self.mark {
            Mark::Output(stream) => (0, stream as u32),
            Mark::Resize(size) => (1, u32::from(size.cols) << 16 | u32::from(size.rows)),
            Mark::Start => (2, 0),
            Mark::End(code) => (3, code.cast_unsigned()),
            Mark::Dropped(units) => (4, units),
        };
        let mut bytes = [0; Self::LEN];
        bytes[0..8].copy_from_slice(&self.time_us.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.seq.0.to_le_bytes());
        bytes[16] = kind;
        bytes[20..24].copy_from_slice(&value.to_le_bytes());
        bytes
    }

    /// What these bytes say; `None` where no version of Porthole wrote them so.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let [t @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *bytes;
        let [_, _, _, _, _, _, _, _, s @ .., _, _, _, _, _, _, _, _] = *bytes;
        let [.., v0, v1, v2, v3] = *bytes;
        let value = u32::from_le_bytes([v0, v1, v2, v3]);
        let mark = match bytes[16] {
            0 => Mark::Output(Stream::from_number(u8::try_from(value).ok()?)?),
            1 => Mark::Resize(Size::new((value >> 16) as u16, (value & 0xffff) as u16).ok()?),
            2 => Mark::Start,
            3 => Mark::End(value.cast_signed()),
            4 => Mark::Dropped(value),
            _ => return None,
        };
        Some(Self {
            time_us: u64::from_le_bytes(t),
            seq: Seq(u64::from_le_bytes(s)),
            mark,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark() -> impl Strategy<Value = Mark> {
        prop_oneof![
            (0u8..3)
                .prop_filter_map("stream", Stream::from_number)
                .prop_map(Mark::Output),
            (1u16..=1000, 1u16..=1000).prop_map(|(cols, rows)| Mark::Resize(Size { cols, rows })),
            Just(Mark::Start),
            any::<i32>().prop_map(Mark::End),
            any::<u32>().prop_map(Mark::Dropped),
        ]
    }

    proptest! {
        #[test]
        fn a_record_reads_back(time_us: u64, seq: u64, mark in mark()) {
            let record = Record { time_us, seq: Seq(seq), mark };
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }

        #[test]
        fn any_bytes_are_a_record_or_none(bytes: [u8; Record::LEN]) {
            if let Some(record) = Record::decode(&bytes) {
                prop_assert_eq!(Record::decode(&record.encode()), Some(record));
            }
        }
    }
}
