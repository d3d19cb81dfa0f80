use std::os::unix::fs::FileExt;

use porthole_journal::{Files, create};
use porthole_protocol::journal::Record;
use proptest::prelude::*;

use super::*;
use crate::screen::Checkpoint;
use crate::screen::looks::{above, looks};
use crate::screen::tests::output;

const SIZE: Size = Size { cols: 20, rows: 6 };

struct Session {
    directory: tempfile::TempDir,
    files: Files,
    records: u64,
    end: u64,
}

impl Session {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let files = create(directory.path()).expect("a journal");
        Self {
            directory,
            files,
            records: 0,
            end: 0,
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let written = self.files.journal.write_all_at(bytes, self.end);
        written.expect("writing");
        self.end += bytes.len() as u64;
    }

    fn resize(&mut self, size: Size) {
        let record = Record {
            time_us: 1,
            seq: Seq(self.end),
            mark: Mark::Resize(size),
        };
        let at = self.records * Record::LEN as u64;
        let written = self.files.index.write_all_at(&record.encode(), at);
        written.expect("writing");
        self.records += 1;
    }

    fn source(&self, keeps: bool) -> Source {
        let files = self.files.try_clone().expect("more descriptors");
        Source {
            reader: Reader::new(files.journal, files.index),
            file: keeps.then(|| self.directory.path().join("screen")),
            tty: true,
            size: SIZE,
        }
    }

    /// What a new server draws, and from where on.
    fn drawn(&self, source: &Source) -> (Placed, Seq) {
        let mut stored = Seq(0);
        let begun = source.begin(Kept::Nothing, &mut stored);
        let mut drawing = begun.expect("a screen");
        let there = source.follow(&mut drawing, Seq(self.end), &|| false);
        assert!(there.expect("drawing"));
        (drawing.placed(), stored)
    }

    /// Draws up to the end and keeps that on the disk, as a server that is killed then.
    fn keep(&self) {
        let source = self.source(true);
        let mut drawing = source.begin(Kept::Nothing, &mut Seq(0)).expect("a screen");
        let there = source.follow(&mut drawing, Seq(self.end), &|| false);
        assert!(there.expect("drawing"));
        let file = source.file.as_deref().expect("a file");
        checkpoint::write(file, &drawing.placed(), &source.reader).expect("writing");
    }
}

#[derive(Debug, Clone)]
enum Happens {
    Output(Vec<u8>),
    Resize(Size),
    /// The screen is kept, then everything is killed.
    Restart,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => output().prop_map(|text| Happens::Output(text.into_bytes())),
        // Cut anywhere, or no text at all.
        2 => (output(), any::<proptest::sample::Index>()).prop_map(|(text, cut)| {
            Happens::Output(text.as_bytes()[..cut.index(text.len() + 1)].to_vec())
        }),
        1 => proptest::collection::vec(any::<u8>(), 0..80).prop_map(Happens::Output),
        3 => Just(Happens::Restart),
    ]
}

fn resizes() -> impl Strategy<Value = Vec<Happens>> {
    let size = (2u16..40, 2u16..12).prop_map(|(cols, rows)| Size { cols, rows });
    let text = output().prop_map(|text| Happens::Output(text.into_bytes()));
    proptest::collection::vec(prop_oneof![size.prop_map(Happens::Resize), text], 0..6)
}

/// Everything that a viewer is shown by it.
fn shown(placed: &Placed) -> (Seq, Size, String, Vec<String>) {
    let Checkpoint { seq, size, .. } = placed.screen;
    let screen = Screen::restore(&placed.screen);
    (seq, size, looks(&screen), above(&screen))
}

impl Session {
    fn undergo(all: &[Happens]) -> Self {
        let mut session = Self::new();
        for what in all {
            match what {
                Happens::Output(bytes) => session.write(bytes),
                Happens::Resize(size) => session.resize(*size),
                Happens::Restart => session.keep(),
            }
        }
        session
    }
}

proptest! {
    /// Whatever was written, however it was cut, and however often the server was killed: the
    /// picture is the one that a replay of the whole journal gives.
    ///
    /// (Sizes change before the first restart only: where a line wrapped into one that was emptied
    /// since, a dump does not tell the two from separate lines, and another width would.)
    #[test]
    fn a_restart_changes_no_picture(
        first in resizes(), then in proptest::collection::vec(happens(), 0..8)
    ) {
        let all: Vec<_> = first.into_iter().chain([Happens::Restart]).chain(then).collect();
        let session = Session::undergo(&all);
        let (whole, from) = session.drawn(&session.source(false));
        prop_assert_eq!(from, Seq(0));
        let (restarted, from) = session.drawn(&session.source(true));
        prop_assert!(from <= Seq(session.end));
        prop_assert_eq!(shown(&restarted), shown(&whole));
        prop_assert_eq!(restarted.next, whole.next);
    }

    /// Wherever a turn ends, the next one goes on there.
    #[test]
    fn turns_change_no_picture(first in resizes(), second in resizes()) {
        let all: Vec<_> = first.into_iter().chain(second).collect();
        let session = Session::undergo(&all);
        let source = session.source(false);
        let (whole, _) = session.drawn(&source);
        let mut drawing = source.begin(Kept::Nothing, &mut Seq(0)).expect("a screen");
        for end in (0..=session.end).step_by(7).chain([session.end]) {
            // Stopped before it reads anything, and once more.
            let at_once = source.follow(&mut drawing, Seq(end), &|| true);
            let there = at_once.expect("drawing") || source.follow(&mut drawing, Seq(end), &|| false).expect("drawing");
            prop_assert!(there);
        }
        prop_assert_eq!(drawing.placed(), whole);
    }
}

/// Sizes that were set one after the other with no output in between, a restart among them.
#[test]
fn a_restart_between_two_sizes_knows_which_it_has_seen() {
    let mut session = Session::new();
    session.write(b"\x1b[?1049h0123456789abcdef");
    session.resize(Size { cols: 8, rows: 6 });
    session.resize(SIZE);
    session.keep();
    session.resize(Size { cols: 30, rows: 6 });
    session.resize(SIZE);
    session.write(b"!");
    let (whole, _) = session.drawn(&session.source(false));
    let (restarted, from) = session.drawn(&session.source(true));
    assert_eq!(
        from,
        Seq(24),
        "the control: it begins with what is on the disk"
    );
    assert_eq!(restarted, whole);
}
