//! From the terminal into the journal, up to the end.

use std::io;

use porthole_journal::{Pumped, Reader};
use porthole_protocol::id::Seq;
use porthole_protocol::journal::{Mark, Stream};
use porthole_protocol::session::{Exit, ExitKind};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Ending, Hub};
use crate::attached::Attached;
use crate::handle::{AttachError, Descriptors, notice};
use crate::limits::{DISK_RETRY, DRAIN, FLOOD, HANG_UP_RETRY, MONITOR_RETRY, QUIET, RESIZE_STEP};
use crate::marks::{Recent, State};
use crate::viewer;

impl Hub {
    pub(super) fn attach(&mut self, descriptors: Descriptors) -> Result<(), AttachError> {
        if descriptors.tty != self.tty {
            let found = descriptors.fds.len();
            let expected = if self.tty { 5 } else { 7 };
            return Err(AttachError::Descriptors {
                tty: self.tty,
                expected,
                found,
            });
        }
        self.detach();
        let mut attached = Attached::new(descriptors, self.clock.now_us())?;
        attached.relay().set_limit(self.limit);
        let size = attached.size().unwrap_or(self.recent.last().size);
        // Another may have moved bytes since we last did: what of is looked up where it is needed.
        self.end = attached.seq();
        self.kept_from = attached.relay().kept_from();
        let stream = self.recent.last().stream;
        self.recent = Recent::new(self.end, State { stream, size });
        self.attached = Some(attached);
        self.exit = None;
        self.input_ended = false;
        self.output_at = Instant::now();
        self.watch_for_quiet();
        self.publish();
        Ok(())
    }

    pub(super) fn detach(&mut self) {
        self.attached = None;
        self.alarms.hung_up = None;
        self.alarms.disk = None;
        self.alarms.input = None;
        self.publish();
    }

    pub(super) fn pump(&mut self, stream: Stream) {
        self.pump_or_gather(stream, false);
    }

    /// Takes a chunk, which may then wait for a next one that is there already.
    pub(super) fn gather(&mut self, stream: Stream) {
        self.pump_or_gather(stream, self.ending.is_none());
    }

    fn pump_or_gather(&mut self, stream: Stream, gathers: bool) {
        self.gathered = None;
        self.floods = false;
        let now_us = self.clock.now_us();
        let Some(attached) = &mut self.attached else {
            return;
        };
        match attached.pump(stream, gathers, now_us) {
            Ok(Some(Pumped::Moved(count))) => {
                self.floods = count >= FLOOD;
                self.moved(stream);
            }
            Ok(None) => {
                self.floods = true;
                self.gathered = Some(stream);
            }
            Ok(Some(Pumped::WouldBlock)) => {}
            Ok(Some(Pumped::EndOfFile)) if self.tty => {
                if self.ending.is_some() {
                    self.finish();
                } else {
                    self.alarms.hung_up = Some(Instant::now() + HANG_UP_RETRY);
                }
            }
            Ok(Some(Pumped::EndOfFile)) => {
                if attached.is_over() && self.ending.is_some() {
                    self.finish();
                }
            }
            Err(error) => self.on_disk_error(&error),
        }
    }

    /// Moves what was gathered into the journal.
    pub(super) fn settle(&mut self) {
        let (Some(stream), Some(attached)) = (self.gathered.take(), &mut self.attached) else {
            return;
        };
        match attached.relay().settle(self.clock.now_us()) {
            Ok(()) => self.moved(stream),
            Err(error) => self.on_disk_error(&error),
        }
    }

    /// What was taken is in the journal.
    fn moved(&mut self, stream: Stream) {
        let Some(attached) = &mut self.attached else {
            return;
        };
        let from = self.end;
        self.end = attached.seq();
        let kept_from = attached.relay().kept_from();
        let state = State {
            stream,
            ..self.recent.last()
        };
        self.recent.change(from, state);
        self.told_full = false;
        self.painter.output(self.end);
        self.output_at = Instant::now();
        if let Some(ending) = &mut self.ending {
            ending.quiet_at = self.output_at + QUIET;
        }
        if kept_from != self.kept_from {
            self.kept_from = kept_from;
            self.tell_dropped();
        }
        if self.viewers.iter().any(|viewer| viewer.is_at(from)) {
            let length = self.end.0 - from.0;
            // Where it cannot be read now, each viewer fails by itself.
            self.chunk = viewer::output(&self.reader, from, state, length)
                .ok()
                .map(|frame| (from, frame));
        }
        self.publish_places();
        self.watch_for_quiet();
    }

    fn tell_dropped(&mut self) {
        if std::mem::replace(&mut self.told_dropped, true) {
            return;
        }
        let text = format!(
            "This session has written more than the {} MiB that are kept: its oldest output is no \
             longer in its journal.",
            self.limit.content >> 20
        );
        self.tell_all(notice::DROPPED, &text);
    }

    pub(super) fn on_disk_error(&mut self, error: &io::Error) {
        self.alarms.disk = Some(Instant::now() + DISK_RETRY);
        if std::mem::replace(&mut self.told_full, true) {
            return;
        }
        tracing::error!(%error, "a session's output cannot be written to its journal");
        let text = format!(
            "This session's output cannot be written down ({error}). The program waits until it \
             can: make room on the server's disk."
        );
        self.tell_all(notice::FULL, &text);
    }

    pub(super) fn tell_all(&mut self, code: u16, text: &str) {
        for viewer in &mut self.viewers {
            viewer.due.notice(code, text);
        }
    }

    /// The process has ended: its output ends once nothing more comes.
    pub(super) fn on_exited(&mut self, exit: Exit, answer: oneshot::Sender<()>) {
        let now = Instant::now();
        let ending = self.ending.get_or_insert_with(|| Ending {
            exit,
            answers: Vec::new(),
            quiet_at: now + QUIET,
            deadline: now + DRAIN,
        });
        ending.answers.push(answer);
        self.queue.clear();
        self.writers.refuse_all();
        match &self.attached {
            None => self.follow_monitor(now),
            Some(attached) if attached.is_over() => self.finish(),
            // It had been found closed: what is there now decides.
            Some(_) if self.alarms.hung_up.take().is_some() => self.pump(Stream::Tty),
            Some(_) => {}
        }
    }

    /// The process has ended and its monitor is the reader: it moves what is left and then marks
    /// the end. Until it has, or has had its time, this looks again.
    pub(super) fn follow_monitor(&mut self, now: Instant) {
        let Some(ending) = &mut self.ending else {
            return;
        };
        let over = ending.exit.kind == ExitKind::Lost || now >= ending.deadline;
        ending.quiet_at = now + MONITOR_RETRY;
        let looked = self.look_again();
        if let Err(error) = &looked {
            tracing::warn!(%error, "a session's journal could not be looked at");
        }
        if over || looked.unwrap_or(true) {
            self.finish();
        }
    }

    /// Takes note of what another has moved into the journal; whether the end is marked there.
    fn look_again(&mut self) -> io::Result<bool> {
        let ended = has_end(&self.reader)?;
        self.end = self.reader.end()?;
        self.kept_from = self.reader.kept_from()?;
        self.recent = Recent::new(self.end, self.recent.last());
        self.publish();
        Ok(ended)
    }

    /// Ends the session where its process has ended and nothing came for long enough.
    pub(super) fn end_if_quiet(&mut self, now: Instant) {
        let over = |ending: &Ending| now >= ending.quiet_at || now >= ending.deadline;
        if !self.ending.as_ref().is_some_and(over) {
            return;
        }
        if self.attached.is_none() {
            return self.follow_monitor(now);
        }
        // This task may have been the one that was late: only what is asked now counts.
        let streams: &[Stream] = if self.tty {
            &[Stream::Tty]
        } else {
            &[Stream::Stdout, Stream::Stderr]
        };
        for &stream in streams {
            self.pump(stream);
        }
        if self.ending.as_ref().is_some_and(over) {
            self.finish();
        }
    }

    /// All output is in the journal.
    pub(super) fn finish(&mut self) {
        let Some(Ending { exit, answers, .. }) = self.ending.take() else {
            return;
        };
        if let Some(attached) = &mut self.attached
            && let Err(error) = attached.relay().finish(exit.code, self.clock.now_us())
        {
            // The monitor finds the end missing and writes it.
            tracing::warn!(%error, "a session's end was not written into its index");
        }
        self.exit = Some(exit);
        self.detach();
        for answer in answers {
            // Who asked may have gone.
            let _ = answer.send(());
        }
    }

    /// Sets the size that the driver wants, where the last one is long enough ago.
    pub(super) fn apply_size(&mut self, now: Instant) {
        if self.resized_at.is_some_and(|at| now < at + RESIZE_STEP) {
            return;
        }
        let Some(size) = self.wanted_size.take() else {
            return;
        };
        let state = self.recent.last();
        let Some(attached) = &mut self.attached else {
            return;
        };
        if state.size == size {
            return;
        }
        self.resized_at = Some(now);
        match attached.resize(size, self.clock.now_us()) {
            Ok(()) => {
                self.recent.change(self.end, State { size, ..state });
                self.publish();
            }
            Err(error) => tracing::warn!(%error, "a terminal's size was not set"),
        }
    }

    /// The size that the driver's window has, so far as it was said before.
    pub(super) fn size_of_driver(&mut self) {
        let driver = self
            .viewers
            .iter()
            .find(|viewer| self.driver == Some(viewer.number));
        let window = driver
            .and_then(|viewer| self.writers.get(viewer.writer))
            .and_then(|writer| writer.window);
        if let Some(window) = window {
            self.wanted_size = Some(window);
            self.apply_size(Instant::now());
        }
    }

    /// Where output goes on.
    pub(super) fn place(&self) -> (Seq, Seq) {
        (self.kept_from, self.end)
    }
}

/// Whether the last thing that a journal's index says is the end.
pub(super) fn has_end(reader: &Reader) -> io::Result<bool> {
    let mut cursor = reader.cursor(reader.end()?)?;
    let mut ended = false;
    while let Some(record) = reader.next(&mut cursor)? {
        ended = matches!(record.mark, Mark::End(_));
    }
    Ok(ended)
}
