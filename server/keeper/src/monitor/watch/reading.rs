//! Who reads the output: a server, or this monitor while there is none.

use std::os::fd::OwnedFd;

use porthole_journal::Pumped;
use porthole_protocol::journal::{Mark, Stream};
use porthole_protocol::monitor::{FromReader, ToReader};
use porthole_sys::packet::Packet;

use super::{
    DRAIN_MS, Drain, MESSAGE_LIMIT, QUIET_MS, READER, READER_MS, RETRY_MS, STREAMS, Watch, send,
};
use crate::clock;
use crate::log::log;
use crate::poll::READ;

impl Watch<'_> {
    /// Waits for every stream that has not ended.
    pub(super) fn await_streams(&mut self) {
        if self.reader.is_some() || self.drain == Drain::Done {
            return;
        }
        for stream in self.watched.output.streams() {
            if self.awaited.contains(stream) {
                continue;
            }
            if let Some(source) = self.watched.output.source(*stream)
                && self
                    .poll
                    .add(source, STREAMS + *stream as u64, READ)
                    .is_ok()
            {
                self.awaited.push(*stream);
            }
        }
    }

    pub(super) fn ignore_stream(&mut self, stream: Stream) {
        self.awaited.retain(|awaited| *awaited != stream);
        if let Some(source) = self.watched.output.source(stream) {
            self.poll.remove(source);
        }
    }

    pub(super) fn pump(&mut self, stream: Stream) {
        if !self.awaited.contains(&stream) {
            return;
        }
        match self.watched.output.pump(stream, clock::wall_us()) {
            Ok(Pumped::Moved(_)) => {
                self.trouble = None;
                if let Drain::Going { over, .. } = self.drain {
                    self.drain = Drain::Going {
                        quiet: clock::monotonic_ms() + QUIET_MS,
                        over,
                    };
                }
            }
            Ok(Pumped::WouldBlock) => {}
            Ok(Pumped::EndOfFile) => {
                self.ignore_stream(stream);
                // A terminal may be opened again by who has it as controlling terminal.
                if stream == Stream::Tty && self.exit.is_none() {
                    self.retry_at = Some(clock::monotonic_ms() + RETRY_MS);
                }
            }
            Err(error) => {
                // The program waits meanwhile: better than to lose what it says.
                let trouble = Some(error.to_string());
                if self.trouble != trouble {
                    log!("monitor", "{:?}: journal: {error}", self.watched.target);
                    self.trouble = trouble;
                }
                self.ignore_stream(stream);
                self.retry_at = Some(clock::monotonic_ms() + RETRY_MS);
            }
        }
    }

    pub(super) fn finish_draining(&mut self) {
        let code = self.exit.as_ref().map_or(0, |exit| exit.code);
        for stream in self.awaited.clone() {
            self.ignore_stream(stream);
        }
        self.retry_at = None;
        if let Err(error) = self.watched.output.mark(Mark::End(code), clock::wall_us()) {
            log!("monitor", "{:?}: journal: {error}", self.watched.target);
        }
        self.watched.output.hand_over();
        self.drain = Drain::Done;
    }

    pub(super) fn attach(&mut self, reader: OwnedFd) {
        self.lose_reader();
        let attached = Packet::from_fd(reader).and_then(|reader| {
            reader.set_nonblocking(true)?;
            let descriptors = self.watched.output.for_reader();
            let hello = ToReader::Reader {
                tty: self.watched.output.has_tty(),
            };
            reader.send(&serde_json::to_vec(&hello)?, &descriptors)?;
            self.poll.add(&reader, READER, READ)?;
            Ok(reader)
        });
        match attached {
            Ok(reader) => {
                for stream in self.awaited.clone() {
                    self.ignore_stream(stream);
                }
                self.retry_at = None;
                self.watched.output.hand_over();
                if let Some(exit) = &self.exit {
                    send(&reader, &ToReader::Exited(exit.clone()));
                }
                self.reader = Some(reader);
                self.arm_cut();
            }
            Err(error) => log!("monitor", "{:?}: reader: {error}", self.watched.target),
        }
    }

    pub(super) fn hear_reader(&mut self) {
        loop {
            let Some(reader) = &self.reader else { return };
            match reader.receive(MESSAGE_LIMIT) {
                Ok(Some((bytes, _))) => match serde_json::from_slice(&bytes) {
                    Ok(FromReader::EndOfInput) => {
                        if let Err(error) = self.watched.output.end_input() {
                            log!("monitor", "{:?}: input: {error}", self.watched.target);
                        }
                    }
                    Err(_) => return self.lose_reader(),
                },
                Err(error) if error.is_would_block() => return,
                Ok(None) | Err(_) => return self.lose_reader(),
            }
        }
    }

    /// There is no reader any more: its connection is closed, and we read.
    pub(super) fn lose_reader(&mut self) {
        let Some(reader) = self.reader.take() else {
            return;
        };
        self.poll.remove(&reader);
        // For whoever holds a copy of it too.
        let _ = reader.shutdown();
        self.cut_at = None;
        if let Drain::Going { over, .. } = &mut self.drain {
            let now = clock::monotonic_ms();
            if self.watched.output.is_complete().unwrap_or(false) {
                self.drain = Drain::Done;
                return;
            }
            // It has had its time; this is ours.
            *over = now + DRAIN_MS;
            if let Drain::Going { quiet, .. } = &mut self.drain {
                *quiet = now + QUIET_MS;
            }
        }
        if let Err(error) = self.watched.output.take_over(clock::wall_us()) {
            log!("monitor", "{:?}: journal: {error}", self.watched.target);
            self.retry_at = Some(clock::monotonic_ms() + RETRY_MS);
            return;
        }
        self.await_streams();
    }

    pub(super) fn arm_cut(&mut self) {
        if self.released && self.reader.is_some() {
            self.cut_at = Some(clock::monotonic_ms() + READER_MS);
        }
    }
}
