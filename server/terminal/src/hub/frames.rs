//! What viewers' sockets say, and input on its way into the terminal.

use bytes::Bytes;
use porthole_protocol::frame::ClientFrame;
use porthole_protocol::session::Size;
use tokio::time::Instant;

use super::Hub;
use crate::attached::Written;
use crate::handle::{Close, Permission, notice};
use crate::input::Piece;
use crate::limits::{ACCEPT_STEP, INPUT_CHUNK, INPUT_RETRY};
use crate::viewer::Viewer;

/// Why a viewer's input goes nowhere.
const ENDED: &str = "The session has ended: what was typed went nowhere.";
const CLOSED: &str = "The program reads no input any more: what was typed went nowhere.";
const WATCHES: &str = "You watch this session: what you type does not reach it.";

impl Hub {
    pub(super) fn on_frame(&mut self, number: u64, bytes: Bytes) {
        let Some(index) = self
            .viewers
            .iter()
            .position(|viewer| viewer.number == number)
        else {
            // It was closed while this was on its way.
            return;
        };
        let now = Instant::now();
        let wrong = match ClientFrame::decode(&bytes) {
            Err(error) => Err(error.to_string()),
            Ok(ClientFrame::Input { seq, bytes: new }) => {
                let new = bytes.slice_ref(new);
                self.on_input(index, seq, &new)
            }
            Ok(ClientFrame::Acknowledge(seq)) => {
                let acknowledged = self.viewers[index].acknowledge(seq, now);
                acknowledged.map_err(|error| error.to_string())
            }
            Ok(ClientFrame::Heartbeat(value)) => {
                self.viewers[index].due.heartbeat = Some(value);
                Ok(())
            }
            Ok(ClientFrame::Resize { cols, rows }) => {
                self.on_resize(index, cols, rows, now);
                Ok(())
            }
            Ok(ClientFrame::Drive(take)) => {
                self.on_drive(index, take);
                Ok(())
            }
            Ok(ClientFrame::EndOfInput) => {
                self.on_end_of_input(index);
                Ok(())
            }
        };
        if let Err(why) = wrong {
            let close = Close::new(Close::PROTOCOL, why);
            self.cut_where(&close, |viewer| viewer.number == number);
        }
    }

    fn on_input(&mut self, index: usize, seq: u64, bytes: &Bytes) -> Result<(), String> {
        let viewer = &mut self.viewers[index];
        let number = viewer.writer;
        let Some(writer) = self.writers.get_mut(number) else {
            return Ok(());
        };
        let new = writer
            .place
            .receive(seq, bytes)
            .map_err(|error| error.to_string())?;
        let refused = if viewer.permission < Permission::Write {
            Some(WATCHES)
        } else if self.exit.is_some() || self.ending.is_some() {
            Some(ENDED)
        } else if self.input_ended {
            Some(CLOSED)
        } else {
            None
        };
        if let Some(why) = refused {
            // Nothing of this writer waits in the queue: it was emptied when this came to be.
            writer.place.accepted = writer.place.received;
            viewer.due.accepted = true;
            if !new.is_empty() {
                viewer.due.notice(notice::REFUSED, why);
            }
            return Ok(());
        }
        if new.is_empty() {
            // It may have missed how far it is.
            viewer.due.accepted = true;
            return Ok(());
        }
        self.queue.push(Piece::Bytes(number, new));
        self.write_input();
        Ok(())
    }

    /// Writes of the queue what there is room for, up to one chunk.
    pub(super) fn write_input(&mut self) {
        self.alarms.input = None;
        let Some(attached) = &mut self.attached else {
            return;
        };
        let (number, bytes) = match self.queue.front() {
            None => return,
            Some(Piece::End) => {
                self.queue.pop();
                attached.end_input();
                return self.input_has_ended();
            }
            Some(Piece::Bytes(number, bytes)) => (*number, bytes),
        };
        match attached.write(&bytes[..bytes.len().min(INPUT_CHUNK)]) {
            Written::Some(count) => {
                self.queue.advance(count);
                self.accepted(number, count as u64);
            }
            Written::Full => self.alarms.input = Some(Instant::now() + INPUT_RETRY),
            Written::Closed if self.tty => {
                // No process has the terminal open; one that opens it later finds it empty.
                self.refuse_input();
            }
            Written::Closed => self.input_has_ended(),
        }
    }

    fn accepted(&mut self, number: u64, count: u64) {
        let Some(writer) = self.writers.get_mut(number) else {
            return;
        };
        let before = writer.place.accepted / ACCEPT_STEP;
        writer.place.accepted += count;
        if before != writer.place.accepted / ACCEPT_STEP || !self.queue.holds(number) {
            let mut viewers = self.viewers.iter_mut();
            if let Some(viewer) = viewers.find(|viewer| viewer.writer == number) {
                viewer.due.accepted = true;
            }
        }
    }

    fn input_has_ended(&mut self) {
        self.input_ended = true;
        self.refuse_input();
        self.publish();
    }

    /// What waits goes nowhere, and everybody whose it is gets to know.
    pub(super) fn refuse_input(&mut self) {
        for viewer in &mut self.viewers {
            if self.queue.holds(viewer.writer) {
                viewer.due.accepted = true;
                viewer.due.notice(notice::REFUSED, CLOSED);
            }
        }
        self.queue.clear();
        self.writers.refuse_all();
    }

    fn on_resize(&mut self, index: usize, cols: u16, rows: u16, now: Instant) {
        let viewer = &mut self.viewers[index];
        let size = match Size::new(cols, rows) {
            Ok(size) => size,
            Err(error) => return viewer.due.notice(notice::UNFIT, &error.to_string()),
        };
        if let Some(writer) = self.writers.get_mut(viewer.writer) {
            writer.window = Some(size);
        }
        if self.driver == Some(viewer.number) && self.tty {
            self.wanted_size = Some(size);
            self.apply_size(now);
        }
    }

    fn on_drive(&mut self, index: usize, take: bool) {
        let viewer = &mut self.viewers[index];
        let (number, writer) = (viewer.number, viewer.writer);
        if take && viewer.permission < Permission::Write {
            return viewer.due.notice(notice::REFUSED, WATCHES);
        }
        let before = self.driver;
        if take {
            self.driver = Some(number);
            self.home = Some(writer);
        } else if self.driver == Some(number) {
            // To the next that may, where there is one.
            let may = |viewer: &&Viewer| {
                viewer.number != number && viewer.permission == Permission::Write
            };
            let next = self.viewers.iter().find(may);
            self.driver = next.map_or(Some(number), |next| Some(next.number));
            self.home = next.map(|next| next.writer);
        }
        if self.driver == before {
            return;
        }
        for viewer in &mut self.viewers {
            if [before, self.driver].contains(&Some(viewer.number)) {
                viewer.due.hello = true;
            }
        }
        self.viewers_changed();
    }

    fn on_end_of_input(&mut self, index: usize) {
        let viewer = &mut self.viewers[index];
        if viewer.permission < Permission::Write {
            viewer.due.notice(notice::REFUSED, WATCHES);
        } else if self.tty {
            let text = "This session has a terminal: its input ends by Ctrl+D.";
            viewer.due.notice(notice::UNFIT, text);
        } else if !self.input_ended && self.exit.is_none() {
            self.queue.push(Piece::End);
            self.write_input();
        }
    }
}
