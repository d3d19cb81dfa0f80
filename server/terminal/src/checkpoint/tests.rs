use std::os::unix::fs::FileExt;

use porthole_journal::{Files, create};
use proptest::prelude::*;

use super::*;

const SIZE: Size = Size { cols: 80, rows: 24 };

/// A journal of so many bytes, and a checkpoint's path beside it.
struct Beside {
    directory: tempfile::TempDir,
    files: Files,
}

impl Beside {
    fn new(length: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let files = create(directory.path()).expect("a journal");
        let bytes: Vec<u8> = (0..length).map(|at| b'a' + (at % 23) as u8).collect();
        files.journal.write_all_at(&bytes, 0).expect("writing");
        Self { directory, files }
    }

    fn reader(&self) -> Reader {
        let files = self.files.try_clone().expect("more descriptors");
        Reader::new(files.journal, files.index)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("screen")
    }

    fn read(&self) -> Option<Placed> {
        read(&self.path(), &self.reader())
    }

    fn write(&self, placed: &Placed) {
        write(&self.path(), placed, &self.reader()).expect("writing");
    }
}

fn placed(seq: u64, dump: &[u8]) -> Placed {
    Placed {
        screen: Checkpoint {
            seq: Seq(seq),
            size: SIZE,
            dump: dump.to_vec(),
        },
        next: 7,
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        seq: u64, next: u64, cols in 1u16..=1000, rows in 1u16..=1000, tail: u64, dump: Vec<u8>
    ) {
        let size = Size { cols, rows };
        let screen = Checkpoint { seq: Seq(seq), size, dump };
        let placed = Placed { screen, next };
        prop_assert_eq!(decode(&encode(&placed, tail)), Some((placed, tail)));
    }

    #[test]
    fn one_wrong_byte_or_a_part_is_nothing(
        dump: Vec<u8>, at in any::<proptest::sample::Index>(), with in 1u8..
    ) {
        let whole = encode(&placed(3, &dump), 5);
        let mut wrong = whole.clone();
        wrong[at.index(whole.len())] ^= with;
        prop_assert_eq!(decode(&wrong), None);
        prop_assert_eq!(decode(&whole[..at.index(whole.len())]), None);
    }

    #[test]
    fn any_bytes_can_be_read(bytes: Vec<u8>) {
        prop_assert_eq!(decode(&bytes), None);
    }
}

#[test]
fn a_checkpoint_is_found_again_and_replaced() {
    let beside = Beside::new(10_000);
    assert_eq!(beside.read(), None, "none is there");
    beside.write(&placed(5000, b"one"));
    beside.write(&placed(10_000, b"two"));
    assert_eq!(beside.read(), Some(placed(10_000, b"two")));
    let names = std::fs::read_dir(beside.directory.path()).expect("the directory");
    assert_eq!(names.count(), 3, "journal, index and screen alone");
}

#[test]
fn one_of_another_version_is_nothing() {
    let beside = Beside::new(10);
    let mut bytes = encode(&placed(0, b"x"), sum(b""));
    std::fs::write(beside.path(), &bytes).expect("writing");
    assert!(beside.read().is_some(), "the control");
    bytes[MAGIC.len() - 1] += 1;
    let body = bytes.len() - SUM;
    let right = sum(&bytes[..body]).to_be_bytes();
    bytes[body..].copy_from_slice(&right);
    std::fs::write(beside.path(), &bytes).expect("writing");
    assert_eq!(beside.read(), None);
}

#[test]
fn one_beyond_the_journals_end_is_nothing() {
    let beside = Beside::new(10_000);
    beside.write(&placed(10_000, b"x"));
    assert!(beside.read().is_some(), "the control");
    beside.files.journal.set_len(9999).expect("truncating");
    assert_eq!(beside.read(), None);
}

#[test]
fn one_of_another_journal_is_nothing() {
    let beside = Beside::new(10_000);
    beside.write(&placed(9000, b"x"));
    assert!(beside.read().is_some(), "the control");
    let wrote = beside.files.journal.write_all_at(b"!", 8999);
    wrote.expect("writing");
    assert_eq!(beside.read(), None);
}

/// What it shows may be older than what is kept: then whoever looks would be shown what others are
/// not shown any more.
#[test]
fn one_before_what_is_kept_is_nothing() {
    const LENGTH: usize = 4 * 1024 * 1024;
    let beside = Beside::new(LENGTH);
    beside.write(&placed(1_500_000, b"x"));
    assert!(beside.read().is_some(), "the control");
    rustix::fs::fallocate(
        &beside.files.journal,
        rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE,
        0,
        2 * 1024 * 1024,
    )
    .expect("punching");
    assert_eq!(beside.reader().kept_from().expect("a place"), Seq(2 << 20));
    assert_eq!(beside.read(), None);
}

#[test]
fn one_that_is_too_large_is_neither_written_nor_read() {
    let beside = Beside::new(10);
    beside.write(&placed(0, &vec![b'x'; CHECKPOINT_BYTES]));
    assert!(beside.read().is_some(), "the control");
    std::fs::remove_file(beside.path()).expect("removing");
    let large = placed(0, &vec![b'x'; CHECKPOINT_BYTES + 1]);
    beside.write(&large);
    assert!(!beside.path().exists());
    std::fs::write(beside.path(), encode(&large, sum(b""))).expect("writing");
    assert_eq!(beside.read(), None);
}
