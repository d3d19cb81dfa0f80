//! Draws a session's screen, off the output's path.
//!
//! Nothing is drawn while nobody asks. A job reads the journal from where the last one stopped up
//! to its end and feeds it to the screen, on a thread for blocking work; one at a time in the
//! whole server, so that drawing never takes more than one processor from the sessions.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use porthole_journal::Reader;
use porthole_protocol::frame::ServerFrame;
use porthole_protocol::id::Seq;
use porthole_protocol::journal::Mark;
use porthole_protocol::session::Size;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::limits::{CHECKPOINT_BEHIND, SLICE};
use crate::screen::{Checkpoint, Screen};

static DRAWING: Semaphore = Semaphore::const_new(1);

/// A snapshot, ready to be sent to any number of viewers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Where output goes on after it.
    pub(crate) seq: Seq,
    pub(crate) size: Size,
    /// The whole frame.
    pub(crate) frame: Bytes,
    /// What it shows as text.
    pub(crate) text: String,
}

enum Kept {
    Nothing,
    Checkpoint(Checkpoint),
    Screen(Box<Screen>),
}

impl Kept {
    fn seq(&self) -> Seq {
        match self {
            Self::Nothing => Seq(0),
            Self::Checkpoint(checkpoint) => checkpoint.seq,
            Self::Screen(screen) => screen.seq(),
        }
    }
}

type Drawn = io::Result<(Box<Screen>, Option<Picture>)>;

/// A session's screen, or what is kept of it.
pub(crate) struct Painter {
    kept: Kept,
    job: Option<JoinHandle<Drawn>>,
    cancelled: Arc<AtomicBool>,
    /// Ends a job that nobody waits for, where it is: the next one goes on from there.
    paused: Arc<AtomicBool>,
    tty: bool,
    /// Where the index says nothing of the size.
    size: Size,
}

impl Painter {
    pub(crate) fn new(tty: bool, size: Size) -> Self {
        Self {
            kept: Kept::Nothing,
            job: None,
            cancelled: Arc::default(),
            paused: Arc::default(),
            tty,
            size,
        }
    }

    pub(crate) fn is_drawing(&self) -> bool {
        self.job.is_some()
    }

    /// How far behind what is kept is.
    pub(crate) fn behind(&self, end: Seq) -> u64 {
        end.0.saturating_sub(self.kept.seq().0)
    }

    /// Draws up to `end`, and a picture of it where one is asked for.
    pub(crate) fn draw(&mut self, reader: Reader, end: Seq, picture: bool) {
        let kept = std::mem::replace(&mut self.kept, Kept::Nothing);
        let (tty, size) = (self.tty, self.size);
        let cancelled = Arc::clone(&self.cancelled);
        self.paused = Arc::default();
        let paused = (!picture).then(|| Arc::clone(&self.paused));
        self.job = Some(tokio::spawn(async move {
            let _permit = DRAWING.acquire().await.map_err(io::Error::other)?;
            let draw = move || {
                let mut screen = begin(kept, &reader, tty, size)?;
                let stopped = || {
                    paused
                        .as_ref()
                        .is_some_and(|paused| paused.load(Ordering::Relaxed))
                };
                follow(&mut screen, &reader, end, &cancelled, &stopped)?;
                let picture = picture.then(|| take(&screen));
                Ok((screen, picture))
            };
            tokio::task::spawn_blocking(draw)
                .await
                .map_err(io::Error::other)?
        }));
    }

    /// There is output again: what is only brought up for later leaves it the processor. A flood
    /// comes several times as fast as it is drawn.
    pub(crate) fn pause(&self) {
        self.paused.store(true, Ordering::Relaxed);
    }

    /// Waits for the drawing to be done; for ever where nothing is drawn. Safe to cancel.
    pub(crate) async fn done(&mut self) -> io::Result<Option<Picture>> {
        let Some(job) = &mut self.job else {
            return std::future::pending().await;
        };
        let drawn = job.await;
        self.job = None;
        let (screen, picture) = drawn.map_err(io::Error::other)??;
        self.kept = Kept::Screen(screen);
        Ok(picture)
    }

    /// Frees the screen. Where drawing it again would be much work, a checkpoint stays.
    pub(crate) fn shrink(&mut self) {
        if let Kept::Screen(screen) = &self.kept {
            self.kept = if screen.seq().0 > CHECKPOINT_BEHIND {
                Kept::Checkpoint(screen.checkpoint())
            } else {
                Kept::Nothing
            };
        }
    }
}

impl Drop for Painter {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

fn begin(kept: Kept, reader: &Reader, tty: bool, size: Size) -> io::Result<Box<Screen>> {
    let kept_from = reader.kept_from()?;
    Ok(match kept {
        Kept::Screen(screen) if screen.seq() >= kept_from => screen,
        Kept::Checkpoint(checkpoint) if checkpoint.seq >= kept_from => {
            Box::new(Screen::restore(&checkpoint))
        }
        // What came in between is gone.
        _ => {
            let size = reader.size_at(kept_from)?.unwrap_or(size);
            Box::new(Screen::new(size, tty, kept_from))
        }
    })
}

fn follow(
    screen: &mut Screen,
    reader: &Reader,
    end: Seq,
    cancelled: &AtomicBool,
    stopped: &impl Fn() -> bool,
) -> io::Result<()> {
    // A size that was set where the last drawing stopped was not known to it.
    if let Some(size) = reader.size_at(screen.seq())? {
        screen.resize(size);
    }
    let mut cursor = reader.cursor(Seq(screen.seq().0 + 1))?;
    while screen.seq() < end {
        let resize = loop {
            match reader.next(&mut cursor)? {
                Some(record) if record.seq > end => break None,
                Some(record) => {
                    if let Mark::Resize(size) = record.mark {
                        break Some((record.seq, size));
                    }
                }
                None => break None,
            }
        };
        feed(
            screen,
            reader,
            resize.map_or(end, |(seq, _)| seq),
            cancelled,
            stopped,
        )?;
        if stopped() {
            return Ok(());
        }
        if let Some((_, size)) = resize {
            screen.resize(size);
        }
    }
    Ok(())
}

fn feed(
    screen: &mut Screen,
    reader: &Reader,
    end: Seq,
    cancelled: &AtomicBool,
    stopped: &impl Fn() -> bool,
) -> io::Result<()> {
    let left = usize::try_from(end.0 - screen.seq().0).unwrap_or(SLICE);
    let mut buffer = vec![0; SLICE.min(left)];
    while screen.seq() < end && !stopped() {
        if cancelled.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let left = usize::try_from(end.0 - screen.seq().0).unwrap_or(SLICE);
        let length = buffer.len().min(left);
        let count = reader.read_at(screen.seq(), &mut buffer[..length])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        screen.feed(&buffer[..count]);
    }
    Ok(())
}

fn take(screen: &Screen) -> Picture {
    let checkpoint = screen.checkpoint();
    let frame = ServerFrame::Snapshot {
        seq: checkpoint.seq,
        size: checkpoint.size,
        bytes: &checkpoint.dump,
    };
    Picture {
        seq: checkpoint.seq,
        size: checkpoint.size,
        frame: frame.encode().into(),
        text: screen.text(),
    }
}
