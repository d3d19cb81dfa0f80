//! The way out: one message at a time, as fast as the receiver reads.

use porthole_protocol::observation::Update;
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

/// What is on its way to the receiver.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Whether nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Puts a message in; there is room for one.
    pub(crate) fn put(&mut self, update: &Update) {
        debug_assert!(self.is_empty());
        self.sent = 0;
        self.bytes.clear();
        self.bytes.extend([0; 4]);
        // A struct of numbers and strings always has a form in JSON.
        if serde_json::to_writer(&mut self.bytes, update).is_err() {
            self.bytes.clear();
            return;
        }
        let length = (self.bytes.len() - 4) as u32;
        self.bytes[..4].copy_from_slice(&length.to_le_bytes());
    }

    /// Sends what the receiver takes without waiting.
    pub(crate) fn send(&mut self, stream: impl AsFd) -> Result<(), Errno> {
        while !self.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match send(&stream, &self.bytes[self.sent..], flags) {
                Ok(length) => self.sent += length,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}
