//! What viewers type, on its way into the terminal.
//!
//! Each viewer's bytes are numbered from 0, over all its connections:
//!
//! ```text
//!  0 ........ accepted ........ received ........
//!  written    | waits here      | on its way, or not typed yet
//!  or refused |  ≤ INPUT_WINDOW |
//! ```
//!
//! Pure: no descriptor and no clock is in here.

use std::collections::VecDeque;

use bytes::Bytes;
use porthole_protocol::frame::INPUT_WINDOW;

/// How far a viewer's input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// Everything before this is in the terminal, or was refused for good.
    pub(crate) accepted: u64,
    /// Everything before this has arrived.
    pub(crate) received: u64,
}

/// What a client may not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InputError {
    #[error("input from {seq} on came, but only what is before {received} is here")]
    Gap { seq: u64, received: u64 },
    #[error("more than {INPUT_WINDOW} bytes of input are unaccepted")]
    Window,
}

impl Place {
    /// Takes a frame's bytes; the answer is what is new of them.
    pub(crate) fn receive(&mut self, seq: u64, bytes: &Bytes) -> Result<Bytes, InputError> {
        if seq > self.received {
            let received = self.received;
            return Err(InputError::Gap { seq, received });
        }
        let known = usize::try_from(self.received - seq).unwrap_or(usize::MAX);
        if known >= bytes.len() {
            return Ok(Bytes::new());
        }
        let new = bytes.slice(known..);
        if self.received - self.accepted + new.len() as u64 > INPUT_WINDOW {
            return Err(InputError::Window);
        }
        self.received += new.len() as u64;
        Ok(new)
    }
}

/// Pieces of one writer are joined up to this length.
const JOINED: usize = 2048;

/// A piece of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes of a writer.
    Bytes(u64, Bytes),
    /// Standard input ends here.
    End,
}

/// What waits for the terminal, of all viewers, in the order in which it came.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pieces: VecDeque<Piece>,
}

impl Queue {
    pub(crate) fn push(&mut self, piece: Piece) {
        // It ends once, however often and by how many that is said while there is no room.
        if piece == Piece::End && self.pieces.back() == Some(&Piece::End) {
            return;
        }
        if let Piece::Bytes(writer, new) = &piece {
            if new.is_empty() {
                return;
            }
            // Single bytes must not cost a piece each while the terminal is full.
            if let Some(Piece::Bytes(of, bytes)) = self.pieces.back_mut()
                && of == writer
                && bytes.len() + new.len() <= JOINED
            {
                *bytes = [&bytes[..], &new[..]].concat().into();
                return;
            }
        }
        self.pieces.push_back(piece);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(crate) fn front(&self) -> Option<&Piece> {
        self.pieces.front()
    }

    /// So many bytes of the first piece are written.
    pub(crate) fn advance(&mut self, count: usize) {
        if let Some(Piece::Bytes(_, bytes)) = self.pieces.front_mut() {
            let _ = bytes.split_to(count.min(bytes.len()));
            if bytes.is_empty() {
                self.pieces.pop_front();
            }
        }
    }

    /// The first piece is done with.
    pub(crate) fn pop(&mut self) {
        self.pieces.pop_front();
    }

    /// Forgets what a writer typed.
    pub(crate) fn forget(&mut self, writer: u64) {
        self.pieces
            .retain(|piece| !matches!(piece, Piece::Bytes(of, _) if *of == writer));
    }

    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
    }

    /// Whether anything of this writer waits.
    pub(crate) fn holds(&self, writer: u64) -> bool {
        self.pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Bytes(of, _) if *of == writer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_gap_is_an_error_and_so_is_too_much() {
        let mut place = Place::default();
        let gap = InputError::Gap {
            seq: 1,
            received: 0,
        };
        assert_eq!(place.receive(1, &Bytes::from_static(b"x")), Err(gap));
        let window = Bytes::from(vec![b'x'; INPUT_WINDOW as usize]);
        assert!(place.receive(0, &window).is_ok());
        let more = place.receive(INPUT_WINDOW, &Bytes::from_static(b"x"));
        assert_eq!(more, Err(InputError::Window));
        assert_eq!(place.receive(u64::MAX, &window).ok(), None);
    }

    #[test]
    fn an_end_that_waits_is_not_said_again() {
        let mut queue = Queue::default();
        let bytes = |text: &'static str| Piece::Bytes(1, Bytes::from_static(text.as_bytes()));
        queue.push(bytes("x"));
        for _ in 0..1000 {
            queue.push(Piece::End);
        }
        assert_eq!(queue.pieces, [bytes("x"), Piece::End]);
    }

    proptest! {
        /// A client sends pieces, loses its connection at any moment and sends again from what
        /// was accepted: the terminal gets each byte once.
        #[test]
        fn resending_neither_loses_nor_doubles(
            steps in proptest::collection::vec((0u8..4, 1usize..3000), 1..200)
        ) {
            let text: Vec<u8> = (0..20_000_u32).map(|i| (i % 251) as u8).collect();
            let (mut place, mut queue) = (Place::default(), Queue::default());
            let (mut sent, mut written) = (0, Vec::new());
            for (what, length) in steps {
                match what {
                    0 | 1 => {
                        let end = text.len().min(sent + length);
                        if (end as u64).saturating_sub(place.accepted) > INPUT_WINDOW {
                            continue;
                        }
                        let bytes = Bytes::copy_from_slice(&text[sent..end]);
                        let new = place.receive(sent as u64, &bytes).expect("no gap");
                        queue.push(Piece::Bytes(7, new));
                        sent = end;
                    }
                    2 => {
                        if let Some(Piece::Bytes(7, bytes)) = queue.front() {
                            let count = length.min(bytes.len());
                            written.extend_from_slice(&bytes[..count]);
                            queue.advance(count);
                            place.accepted += count as u64;
                        }
                    }
                    _ => sent = usize::try_from(place.accepted).expect("a size"),
                }
            }
            while let Some(Piece::Bytes(_, bytes)) = queue.front() {
                written.extend_from_slice(bytes);
                let count = bytes.len();
                queue.advance(count);
            }
            let received = usize::try_from(place.received).expect("a size");
            prop_assert_eq!(&written[..], &text[..received]);
        }
    }
}
