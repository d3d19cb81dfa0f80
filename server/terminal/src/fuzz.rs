//! Fuzz targets, see `porthole_protocol`'s: each takes any bytes and panics where what it tries
//! does not hold.
#![allow(
    clippy::expect_used,
    reason = "a panic is how a target says what it has found"
)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use porthole_journal::Reader;
use porthole_protocol::id::Seq;
use porthole_protocol::session::Size;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::checkpoint;
use crate::drawing::{Kept, Source};
use crate::screen::looks::{above, looks};
use crate::screen::{Checkpoint, Screen};

#[path = "../../../tests/fuzz/shared.rs"]
mod shared;
use shared::{Input, Target, same};

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    ("screen", screen),
    ("resizes", resizes),
    ("checkpoint", file),
];

/// Any output on a screen of any small size, cut anywhere: its size, where it is cut, the output.
fn screen(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (cols, rows) = (input.u8() % 40 + 1, input.u8() % 12 + 1);
    let size = Size::new(cols.into(), rows.into()).expect("small");
    let cut = usize::from(input.u8()).min(input.0.len());
    let output = input.0;

    let mut whole = Screen::new(size, true, Seq(0));
    whole.feed(output);
    let kept = whole.checkpoint();
    assert!(kept.seq.0 <= output.len() as u64);
    let restored = Screen::restore(&kept);
    same("what shows", &looks(&whole), &looks(&restored));
    same("what is above", &above(&whole), &above(&restored));
    let _ = whole.text();

    // A snapshot of the first part, and what follows its place.
    let mut first = Screen::new(size, true, Seq(0));
    first.feed(&output[..cut]);
    let kept = first.checkpoint();
    let rest = usize::try_from(kept.seq.0).expect("a place");
    let mut gone_on = Screen::restore(&kept);
    gone_on.feed(&output[rest..]);
    same("what goes on", &looks(&whole), &looks(&gone_on));
    first.feed(&output[cut..]);
    same("what comes in two", &looks(&whole), &looks(&first));
}

/// Any output between any sizes, as viewers choose them: nothing is promised of how lines wrap
/// again, but that it can be drawn.
fn resizes(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut screen = Screen::new(Size::DEFAULT, true, Seq(0));
    while !input.is_empty() {
        let (cols, rows) = (input.u16() % 1000 + 1, input.u16() % 1000 + 1);
        // Many large screens would take their time without being anything else than small ones.
        let (cols, rows) = if input.u8() == 255 {
            (cols, rows)
        } else {
            (cols % 50 + 1, rows % 20 + 1)
        };
        screen.resize(Size::new(cols, rows).expect("within bounds"));
        screen.feed(input.piece());
        let Checkpoint { size, dump, .. } = screen.checkpoint();
        assert_eq!((size.cols, size.rows), (cols, rows));
        let restored = Screen::restore(&Checkpoint {
            seq: Seq(0),
            size,
            dump,
        });
        let _ = (restored.text(), screen.text());
    }
}

/// A file that is to hold a screen, beside an index that may say anything, and what is drawn of
/// them: the index's length, the index, the file without the sum at its end.
fn file(bytes: &[u8]) {
    let mut input = Input(bytes);
    let length = usize::from(input.u16());
    let (index, output) = (input.take(length), b"0123456789\r\n\x1b[1mabc");
    let mut file = input.0.to_vec();
    file.extend(checkpoint::sum(&file).to_be_bytes());
    let kept = match checkpoint::decode(&file) {
        None => Kept::Nothing,
        Some((placed, tail)) => {
            same("a file", &file, &checkpoint::encode(&placed, tail));
            Kept::Checkpoint(placed)
        }
    };
    let source = Source {
        reader: Reader::new(in_memory(output), in_memory(index)),
        file: None,
        tty: true,
        size: Size::DEFAULT,
    };
    let mut drawing = source.begin(kept, &mut Seq(0)).expect("a screen");
    let end = Seq(output.len() as u64);
    // Only what `checkpoint::read` lets through is drawn on.
    if drawing.placed().screen.seq <= end {
        let there = source.follow(&mut drawing, end, &|| false);
        assert!(there.expect("drawing"));
        assert_eq!(drawing.screen.seq(), end);
    }
}

fn in_memory(content: &[u8]) -> File {
    let file = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("memory"));
    file.write_all_at(content, 0).expect("writing");
    file
}

#[cfg(test)]
#[test]
fn corpora() {
    shared::replay(TARGETS);
}
