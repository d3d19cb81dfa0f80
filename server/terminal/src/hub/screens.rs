//! When the session's screen is drawn, and who gets it.

use std::io;
use std::sync::Arc;

use tokio::time::Instant;

use super::Hub;
use crate::handle::Close;
use crate::limits::{CHECKPOINT_BEHIND, CHECKPOINT_KEPT, CHECKPOINT_QUIET, TRICKLE};
use crate::painter::Picture;
use crate::viewer::Viewer;

impl Hub {
    /// In a quiet moment the screen is brought up, so that it is never far to draw.
    pub(super) fn on_quiet(&mut self, now: Instant) {
        let came = self.end.0 - std::mem::replace(&mut self.quiet_from, self.end).0;
        if came > TRICKLE {
            self.alarms.quiet = Some(now + CHECKPOINT_QUIET);
        } else if !self.painter.is_drawing() {
            self.draw(false);
        }
    }

    pub(super) fn on_shrink(&mut self, now: Instant) {
        match self.drawn_at.map(|at| at + CHECKPOINT_KEPT) {
            Some(at) if now < at => self.alarms.shrink = Some(at),
            _ => self.painter.shrink(),
        }
    }

    pub(super) fn draw(&mut self, picture: bool) {
        match self.reader.try_clone() {
            Ok(reader) => self.painter.draw(reader, self.end, picture),
            Err(error) => self.on_drawn(Err(error)),
        }
    }

    pub(super) fn on_drawn(&mut self, drawn: io::Result<Option<Picture>>) {
        let now = Instant::now();
        match drawn {
            Ok(Some(picture)) => {
                for screen in self.screens.drain(..) {
                    // Who asked may have gone.
                    let _ = screen.send(Ok(picture.text.clone()));
                }
                let picture = Arc::new(picture);
                for viewer in &mut self.viewers {
                    viewer.offer(&picture, self.end);
                }
                if self.end.0 <= CHECKPOINT_BEHIND {
                    // So little is drawn again sooner than its memory is worth.
                    return self.painter.shrink();
                }
                self.drawn_at = Some(now);
                self.alarms.shrink = Some(now + CHECKPOINT_KEPT);
            }
            // Brought up in a quiet moment, or stopped on the way; somebody may wait for it now.
            Ok(None) if self.is_waited_for() => {}
            Ok(None) => {
                self.painter.shrink();
                self.watch_for_quiet();
            }
            Err(error) => {
                tracing::error!(%error, "a session's screen could not be drawn");
                for screen in self.screens.drain(..) {
                    let _ = screen.send(Err(io::Error::new(error.kind(), error.to_string())));
                }
                let close = Close::new(Close::INTERNAL, "the session's journal cannot be read");
                self.cut_where(&close, Viewer::wants_snapshot);
            }
        }
    }

    /// Whether the screen is far enough behind to be brought up in the next quiet moment.
    pub(super) fn watch_for_quiet(&mut self) {
        if self.tty
            && self.alarms.quiet.is_none()
            && !self.painter.is_drawing()
            && self.painter.behind(self.end) > CHECKPOINT_BEHIND
        {
            self.quiet_from = self.end;
            self.alarms.quiet = Some(Instant::now() + CHECKPOINT_QUIET);
        }
    }

    /// Whether somebody waits for a picture.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.screens.is_empty() || self.viewers.iter().any(Viewer::wants_snapshot)
    }
}
