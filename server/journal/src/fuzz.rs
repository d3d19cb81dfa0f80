//! Fuzz targets, see `porthole_protocol`'s: each takes any bytes and panics where what it tries
//! does not hold.
#![allow(
    clippy::expect_used,
    reason = "a panic is how a target says what it has found"
)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use porthole_protocol::id::Seq;
use porthole_protocol::journal::Record;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::{Cursor, Reader};

#[path = "../../../tests/fuzz/shared.rs"]
mod shared;
use shared::{Input, Target};

/// The targets of this crate.
pub const TARGETS: &[Target] = &[("index", index)];

/// Any index beside any output: places and times to ask for, the output's length, the index.
fn index(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (seq, limit, time) = (Seq(input.u64()), Seq(input.u64()), input.u64());
    let length = u64::from(input.u16());
    let (number, records) = (input.u64(), input.0);
    let reader = Reader::new(file(&[], length), file(records, records.len() as u64));
    let kept_from = reader.kept_from().expect("where it begins");
    assert!(kept_from <= Seq(length));

    let whole = records.len() / Record::LEN;
    let mut cursor = reader.cursor(seq).expect("a cursor");
    assert!(cursor.number() <= whole as u64);
    let mut met = 0;
    while let Some(record) = reader.next(&mut cursor).expect("a record") {
        let at = usize::try_from(cursor.number()).expect("a number") - 1;
        let bytes = records[at * Record::LEN..].first_chunk().expect("whole");
        assert_eq!(Record::decode(bytes), Some(record));
        met += 1;
    }
    assert!(met <= whole);
    // A cursor may have been kept from long ago, or come out of a file.
    let mut far = Cursor::at(number);
    while reader.next(&mut far).expect("a record").is_some() {}

    let _ = reader.since(time).expect("a place");
    let _ = reader.size_at(seq).expect("a size");
    if let Some(run) = reader.run(seq, limit).expect("a run") {
        assert!(run.from == seq && run.from < run.to && run.to <= limit);
    }
    // Runs follow one another up to the end, and each goes on.
    let (mut at, end) = (Seq(0), reader.end().expect("the end"));
    let mut runs = 0;
    while let Some(run) = reader.run(at, end).expect("a run") {
        assert!(run.from == at && run.to > at && run.to <= end);
        at = run.to;
        runs += 1;
        assert!(runs <= whole + 1, "more runs than records");
    }
    let mut buffer = [1; 64];
    let count = reader.read_at(seq, &mut buffer).expect("bytes");
    assert!(buffer[..count].iter().all(|byte| *byte == 0));
}

/// A file in memory.
fn file(content: &[u8], length: u64) -> File {
    let file = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("memory"));
    file.write_all_at(content, 0).expect("writing");
    file.set_len(length).expect("its length");
    file
}

#[cfg(test)]
#[test]
fn corpora() {
    shared::replay(TARGETS);
}
