//! A screen on its way through the journal, and what is left of it in between.

use std::io;
use std::path::PathBuf;

use porthole_journal::{Cursor, Reader};
use porthole_protocol::id::Seq;
use porthole_protocol::journal::Mark;
use porthole_protocol::session::Size;

use crate::checkpoint::{self, Placed};
use crate::limits::SLICE;
use crate::screen::Screen;

/// What is kept of a session's screen.
pub(crate) enum Kept {
    Nothing,
    Checkpoint(Placed),
    Screen(Drawing),
}

impl Kept {
    pub(crate) fn seq(&self) -> Seq {
        match self {
            Self::Nothing => Seq(0),
            Self::Checkpoint(placed) => placed.screen.seq,
            Self::Screen(drawing) => drawing.screen.seq(),
        }
    }
}

/// A screen and its place in the journal's two files.
///
/// The place in the index is kept as a record's number: where several sizes were set at one place
/// of the output, a screen that went through some of them goes on with the others.
pub(crate) struct Drawing {
    pub(crate) screen: Box<Screen>,
    /// The number of the first record that it does not know.
    next: u64,
}

impl Drawing {
    pub(crate) fn placed(&self) -> Placed {
        Placed {
            screen: self.screen.checkpoint(),
            next: self.next,
        }
    }

    fn restore(placed: &Placed) -> Self {
        Self {
            screen: Box::new(Screen::restore(&placed.screen)),
            next: placed.next,
        }
    }
}

/// What is needed to draw a session's screen.
pub(crate) struct Source {
    pub(crate) reader: Reader,
    /// Where its checkpoints are kept.
    pub(crate) file: Option<PathBuf>,
    pub(crate) tty: bool,
    /// Where the index says nothing of the size.
    pub(crate) size: Size,
}

impl Source {
    /// The screen to go on with: the one there is, else the one on the disk, else a new one.
    /// `stored` is up to where the one on the disk has the output, as far as that is known.
    pub(crate) fn begin(&self, kept: Kept, stored: &mut Seq) -> io::Result<Drawing> {
        let kept_from = self.reader.kept_from()?;
        match kept {
            Kept::Screen(drawing) if drawing.screen.seq() >= kept_from => return Ok(drawing),
            Kept::Checkpoint(placed) if placed.screen.seq >= kept_from => {
                return Ok(Drawing::restore(&placed));
            }
            // There is none, or what came after it is gone.
            _ => {}
        }
        let file = self.file.as_deref();
        if let Some(placed) = file.and_then(|file| checkpoint::read(file, &self.reader)) {
            *stored = placed.screen.seq;
            return Ok(Drawing::restore(&placed));
        }
        let size = self.reader.size_at(kept_from)?.unwrap_or(self.size);
        Ok(Drawing {
            screen: Box::new(Screen::new(size, self.tty, kept_from)),
            next: self.reader.cursor(Seq(kept_from.0 + 1))?.number(),
        })
    }

    /// Draws towards `end`, the sizes that were set there included, until `stopped`; whether it is
    /// there.
    pub(crate) fn follow(
        &self,
        drawing: &mut Drawing,
        end: Seq,
        stopped: &impl Fn() -> bool,
    ) -> io::Result<bool> {
        let mut cursor = Cursor::at(drawing.next);
        loop {
            let resize = loop {
                let number = cursor.number();
                match self.reader.next(&mut cursor)? {
                    Some(record) if record.seq <= end => {
                        if let Mark::Resize(size) = record.mark {
                            break Some((record.seq, size));
                        }
                    }
                    // It is about what follows.
                    Some(_) => cursor = Cursor::at(number),
                    None => {}
                }
                if cursor.number() == number {
                    break None;
                }
                drawing.next = cursor.number();
            };
            let to = resize.map_or(end, |(seq, _)| seq);
            if !self.feed(&mut drawing.screen, to, stopped)? {
                return Ok(false);
            }
            let Some((_, size)) = resize else {
                return Ok(true);
            };
            drawing.screen.resize(size);
            drawing.next = cursor.number();
        }
    }

    fn feed(&self, screen: &mut Screen, end: Seq, stopped: &impl Fn() -> bool) -> io::Result<bool> {
        let left = |screen: &Screen| usize::try_from(end.0.saturating_sub(screen.seq().0));
        let mut buffer = vec![0; left(screen).map_or(SLICE, |left| left.min(SLICE))];
        while screen.seq() < end {
            if stopped() {
                return Ok(false);
            }
            let length = left(screen).map_or(buffer.len(), |left| left.min(buffer.len()));
            let count = self.reader.read_at(screen.seq(), &mut buffer[..length])?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            screen.feed(&buffer[..count]);
        }
        Ok(true)
    }

    /// Keeps the screen on the disk, where it is a `step` ahead of the one that lies there: `stored`.
    pub(crate) fn store(&self, drawing: &Drawing, step: u64, stored: &mut Seq) {
        let seq = drawing.screen.seq();
        let Some(file) = self.file.as_deref() else {
            return;
        };
        if seq.0.saturating_sub(stored.0) < step {
            return;
        }
        *stored = seq;
        if let Err(error) = checkpoint::write(file, &drawing.placed(), &self.reader) {
            tracing::warn!(%error, "a session's screen was not written down");
        }
    }
}

#[cfg(test)]
mod tests;
