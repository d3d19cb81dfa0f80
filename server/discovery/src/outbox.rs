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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_message_that_the_socket_does_not_hold_is_sent_in_parts() {
        let (mut receiver, sender) = UnixStream::pair().expect("socketpair");
        let update = Update {
            notice: Some("x".repeat(2 << 20)),
            ..Update::default()
        };
        let mut outbox = Outbox::default();
        outbox.put(&update);
        outbox.send(&sender).expect("connected");
        assert!(!outbox.is_empty(), "a socket does not hold two megabytes");

        let mut received = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        while !outbox.is_empty() {
            let length = receiver.read(&mut buffer).expect("connected");
            received.extend_from_slice(&buffer[..length]);
            outbox.send(&sender).expect("connected");
        }
        drop(sender);
        receiver.read_to_end(&mut received).expect("ended");
        let (length, message) = received.split_first_chunk::<4>().expect("a header");
        assert_eq!(u32::from_le_bytes(*length) as usize, message.len());
        assert_eq!(serde_json::from_slice::<Update>(message).ok(), Some(update));

        drop(receiver);
        let (receiver, sender) = UnixStream::pair().expect("socketpair");
        drop(receiver);
        outbox.put(&Update::default());
        assert_eq!(outbox.send(&sender), Err(Errno::PIPE));
    }
}
