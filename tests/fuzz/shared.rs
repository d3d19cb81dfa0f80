//! What the crates' fuzz targets share; each includes this file.
#![allow(dead_code, reason = "not every crate needs all of it")]

use std::fmt::Debug;

/// A target: its name, which its corpus has too, and what it does with any bytes. It panics where
/// something is wrong.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Arbitrary bytes, taken piece by piece. Where none are left, numbers are 0 and pieces are empty.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from(self.u32()) << 32 | u64::from(self.u32())
    }

    /// So many bytes, or all that are left.
    pub(crate) fn take(&mut self, length: usize) -> &'a [u8] {
        let (piece, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        piece
    }

    /// What stands before the next byte 0, which is taken away, or all that is left.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|b| *b == 0);
        let piece = self.take(end.unwrap_or(self.0.len()));
        self.take(1);
        piece
    }

    /// As [`Input::piece`], as text.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.piece()).into_owned()
    }
}

/// What was read, was written, and was read again is the same.
pub(crate) fn same<T: PartialEq + Debug>(what: &str, first: &T, again: &T) {
    assert!(
        first == again,
        "{what} becomes another on its way:\n{first:?}\n{again:?}"
    );
}

/// Gives each target what lies in its corpus. The last file named is the one that failed.
#[cfg(test)]
pub(crate) fn replay(targets: &[Target]) {
    let corpora = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/corpus");
    for (name, target) in targets {
        let corpus = std::path::Path::new(corpora).join(name);
        let files = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut count = 0;
        for file in files {
            let path = file.expect("a file of the corpus").path();
            println!("{}", path.display());
            target(&std::fs::read(&path).expect("bytes"));
            count += 1;
        }
        assert!(count > 0, "{name} has nothing to try");
    }
}
