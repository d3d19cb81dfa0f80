//! Draws a session's screen, off the output's path.
//!
//! Nothing is drawn while nobody asks, but in quiet moments. A job reads the journal from where the
//! last one stopped up to its end and feeds it to the screen, on a thread for blocking work, by
//! [turns](crate::turns) with the other sessions.

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use porthole_journal::Reader;
use porthole_protocol::frame::ServerFrame;
use porthole_protocol::id::Seq;
use porthole_protocol::session::Size;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::drawing::{Kept, Source};
use crate::limits::{CHECKPOINT_BEHIND, CHECKPOINT_STEP, TRICKLE, TURN};
use crate::screen::Screen;
use crate::turns::{Purpose, Turns};

static TURNS: Turns = Turns::new();

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

/// What a job leaves, and up to where the screen is on the disk.
type Drawn = io::Result<(Kept, Seq, Option<Picture>)>;

struct Job {
    task: JoinHandle<Drawn>,
    purpose: Purpose,
    /// Up to where it draws.
    end: Seq,
    /// Ends it at its next look, where it is: the next one goes on from there.
    stop: watch::Sender<bool>,
}

/// A session's screen, or what is kept of it.
pub(crate) struct Painter {
    kept: Kept,
    /// Up to where the screen is on the disk, as far as this painter wrote it.
    stored: Seq,
    job: Option<Job>,
    tty: bool,
    size: Size,
    file: Option<PathBuf>,
}

impl Painter {
    pub(crate) fn new(tty: bool, size: Size, file: Option<PathBuf>) -> Self {
        Self {
            kept: Kept::Nothing,
            stored: Seq(0),
            job: None,
            tty,
            size,
            file,
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
        let purpose = if picture {
            Purpose::Waiting
        } else {
            Purpose::Ahead
        };
        let source = Source {
            reader,
            file: self.file.clone(),
            tty: self.tty,
            size: self.size,
        };
        let (stop, stopped) = watch::channel(false);
        let kept = std::mem::replace(&mut self.kept, Kept::Nothing);
        let work = Work {
            source,
            kept,
            stored: self.stored,
            end,
            purpose,
            stopped,
        };
        self.job = Some(Job {
            task: tokio::spawn(work.run()),
            purpose,
            end,
            stop,
        });
    }

    /// There is output: what is only brought up for later leaves it the processor where that is
    /// more than a little. A flood comes several times as fast as it is drawn.
    pub(crate) fn output(&self, end: Seq) {
        if let Some(job) = &self.job
            && end.0.saturating_sub(job.end.0) > TRICKLE
        {
            self.stop_ahead();
        }
    }

    /// Ends what is drawn for later, where it is.
    pub(crate) fn stop_ahead(&self) {
        if let Some(job) = &self.job
            && job.purpose == Purpose::Ahead
        {
            job.stop.send_replace(true);
        }
    }

    /// Waits for the drawing to be done; for ever where nothing is drawn. Safe to cancel.
    pub(crate) async fn done(&mut self) -> io::Result<Option<Picture>> {
        let Some(job) = &mut self.job else {
            return std::future::pending().await;
        };
        let drawn = (&mut job.task).await;
        self.job = None;
        let (kept, stored, picture) = drawn.map_err(io::Error::other)??;
        (self.kept, self.stored) = (kept, stored);
        Ok(picture)
    }

    /// Frees the screen. Where drawing it again would be much work, a checkpoint stays.
    pub(crate) fn shrink(&mut self) {
        if let Kept::Screen(drawing) = &self.kept {
            self.kept = if drawing.screen.seq().0 > CHECKPOINT_BEHIND {
                Kept::Checkpoint(drawing.placed())
            } else {
                Kept::Nothing
            };
        }
    }
}

impl Drop for Painter {
    fn drop(&mut self) {
        if let Some(job) = &self.job {
            job.stop.send_replace(true);
        }
    }
}

/// What one job does.
struct Work {
    source: Source,
    kept: Kept,
    stored: Seq,
    end: Seq,
    purpose: Purpose,
    stopped: watch::Receiver<bool>,
}

impl Work {
    async fn run(mut self) -> Drawn {
        let mut stopped = self.stopped.clone();
        let mut turn = tokio::select! {
            biased;
            // Nobody is there to be told where the painter is gone.
            _ = stopped.wait_for(|stopped| *stopped) => return self.left(None),
            turn = TURNS.take(self.purpose) => turn,
        };
        loop {
            let (work, turned) = tokio::task::spawn_blocking(move || {
                let turned = self.turn();
                (self, turned)
            })
            .await
            .map_err(io::Error::other)?;
            self = work;
            match turned? {
                Turned::Done(picture) => return self.left(picture),
                Turned::More => {}
            }
            turn = tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return self.left(None),
                turn = turn.again(self.purpose) => turn,
            };
        }
    }

    fn left(self, picture: Option<Picture>) -> Drawn {
        Ok((self.kept, self.stored, picture))
    }

    /// One turn, on a thread where that may take long.
    fn turn(&mut self) -> io::Result<Turned> {
        let until = Instant::now() + TURN;
        let kept = std::mem::replace(&mut self.kept, Kept::Nothing);
        let mut drawing = self.source.begin(kept, &mut self.stored)?;
        let stopped = || *self.stopped.borrow() || Instant::now() >= until;
        let done = self.source.follow(&mut drawing, self.end, &stopped)?;
        let turned = if done && self.purpose == Purpose::Waiting {
            // Whoever waits for it does not wait for the disk too.
            Turned::Done(Some(take(&drawing.screen)))
        } else {
            let (step, turned) = if done {
                (CHECKPOINT_BEHIND, Turned::Done(None))
            } else {
                (CHECKPOINT_STEP, Turned::More)
            };
            self.source.store(&drawing, step, &mut self.stored);
            turned
        };
        self.kept = Kept::Screen(drawing);
        Ok(turned)
    }
}

enum Turned {
    Done(Option<Picture>),
    More,
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
