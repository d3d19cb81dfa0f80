//! `porthole.v1`: the frames between a browser's terminal and the server.
//!
//! Each is one binary WebSocket message: a tag byte, then fields, integers big-endian. The same
//! codec is written in TypeScript (`web/src/protocol.ts`); `tests/vectors/frames.json` holds
//! frames that both read and write.

use crate::id::Seq;
use crate::journal::Stream;
use crate::session::{ExitKind, Size};

/// The WebSocket subprotocol's name.
pub const SUBPROTOCOL: &str = "porthole.v1";

/// The longest frame from a client in bytes.
pub const CLIENT_FRAME_LIMIT: usize = 64 * 1024;

/// The most output that the server sends beyond what a viewer has acknowledged, in bytes.
pub const OUTPUT_WINDOW: u64 = 256 * 1024;

/// The most input that a client keeps unaccepted, in bytes.
pub const INPUT_WINDOW: u64 = 64 * 1024;

/// What `Hello` says of a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// It may write.
    pub write: bool,
    /// Its window sets the size.
    pub drives: bool,
    /// The session is recorded.
    pub recorded: bool,
    /// The session has a terminal.
    pub tty: bool,
}

impl Flags {
    const fn bits(self) -> u8 {
        self.write as u8
            | (self.drives as u8) << 1
            | (self.recorded as u8) << 2
            | (self.tty as u8) << 3
    }

    const fn from_bits(bits: u8) -> Self {
        Self {
            write: bits & 1 != 0,
            drives: bits & 2 != 0,
            recorded: bits & 4 != 0,
            tty: bits & 8 != 0,
        }
    }
}

/// A frame from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// 0x01: input; `seq` counts this viewer's input bytes from 0.
    Input {
        /// Place of the first byte.
        seq: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// 0x02: the window has this size. The numbers are as they came; [`Size::new`] judges them.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// 0x03: all output before this place was parsed.
    Acknowledge(Seq),
    /// 0x04: take (`true`) or give up driving.
    Drive(bool),
    /// 0x05: end of input, for sessions without a terminal.
    EndOfInput,
    /// 0x06: heartbeat.
    Heartbeat(u64),
}

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    /// 0x80: hello; again whenever the flags change.
    Hello {
        /// Where output goes on.
        seq: Seq,
        /// The terminal's size.
        size: Size,
        /// What this viewer is and may do.
        flags: Flags,
        /// Input accepted so far.
        accepted: u64,
        /// The viewer's id, for its next connection.
        viewer: &'a str,
    },
    /// 0x81: output.
    Output {
        /// Place of the first byte in the session, counted over all streams.
        seq: Seq,
        /// Where it came from.
        stream: Stream,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// 0x82: reset the terminal, write these, go on from `seq`.
    Snapshot {
        /// Where output goes on.
        seq: Seq,
        /// The terminal's size.
        size: Size,
        /// What draws the screen.
        bytes: &'a [u8],
    },
    /// 0x83: the size is now this.
    Size(Size),
    /// 0x84: the end.
    Exit {
        /// As a shell gives it.
        code: i32,
        /// How.
        kind: ExitKind,
        /// In words.
        reason: &'a str,
    },
    /// 0x85: who is here, as JSON.
    Viewers(&'a str),
    /// 0x86: input accepted so far.
    Accepted(u64),
    /// 0x87: a notice for the person.
    Notice {
        /// Which.
        code: u16,
        /// In words.
        text: &'a str,
    },
    /// 0x88: the heartbeat's answer.
    Heartbeat(u64),
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// There is no tag.
    #[error("an empty message is no frame")]
    Empty,
    /// The tag is none of this side's.
    #[error("no frame has the tag {0:#04x}")]
    Tag(u8),
    /// Fields are missing, or something follows them.
    #[error("a frame with the tag {0:#04x} has another length")]
    Length(u8),
    /// A field has a value that it cannot have.
    #[error("a frame with the tag {0:#04x} has a field with an impossible value")]
    Value(u8),
}

struct Fields<'a> {
    tag: u8,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let (&tag, rest) = bytes.split_first().ok_or(FrameError::Empty)?;
        Ok(Self { tag, rest })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(FrameError::Length(self.tag))?;
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, FrameError> {
        self.take::<1>().map(|[b]| b)
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        self.take().map(u16::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        self.take().map(u64::from_be_bytes)
    }

    fn size(&mut self) -> Result<Size, FrameError> {
        Size::new(self.u16()?, self.u16()?).map_err(|_| FrameError::Value(self.tag))
    }

    fn text(self) -> Result<&'a str, FrameError> {
        std::str::from_utf8(self.rest).map_err(|_| FrameError::Value(self.tag))
    }

    fn end<T>(self, value: T) -> Result<T, FrameError> {
        if self.rest.is_empty() {
            Ok(value)
        } else {
            Err(FrameError::Length(self.tag))
        }
    }
}

impl<'a> ClientFrame<'a> {
    /// The frame that these bytes are.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let mut fields = Fields::of(bytes)?;
        match fields.tag {
            0x01 => Ok(Self::Input {
                seq: fields.u64()?,
                bytes: fields.rest,
            }),
            0x02 => {
                let (cols, rows) = (fields.u16()?, fields.u16()?);
                fields.end(Self::Resize { cols, rows })
            }
            0x03 => {
                let seq = Seq(fields.u64()?);
                fields.end(Self::Acknowledge(seq))
            }
            0x04 => {
                let take = match fields.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(FrameError::Value(0x04)),
                };
                fields.end(Self::Drive(take))
            }
            0x05 => fields.end(Self::EndOfInput),
            0x06 => {
                let value = fields.u64()?;
                fields.end(Self::Heartbeat(value))
            }
            tag => Err(FrameError::Tag(tag)),
        }
    }

    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match *self {
            Self::Input { seq, bytes } => {
                out.push(0x01);
                out.extend(seq.to_be_bytes());
                out.extend(bytes);
            }
            Self::Resize { cols, rows } => {
                out.push(0x02);
                out.extend(cols.to_be_bytes());
                out.extend(rows.to_be_bytes());
            }
            Self::Acknowledge(seq) => {
                out.push(0x03);
                out.extend(seq.0.to_be_bytes());
            }
            Self::Drive(take) => out.extend([0x04, u8::from(take)]),
            Self::EndOfInput => out.push(0x05),
            Self::Heartbeat(value) => {
                out.push(0x06);
                out.extend(value.to_be_bytes());
            }
        }
        out
    }
}

/// How many bytes of an `Output` frame stand before its payload.
pub const OUTPUT_HEADER: usize = 10;

/// The head of an `Output` frame, for a sender that reads the payload right behind it.
pub fn output_header(seq: Seq, stream: Stream) -> [u8; OUTPUT_HEADER] {
    let mut head = [0; OUTPUT_HEADER];
    head[0] = 0x81;
    head[1..9].copy_from_slice(&seq.0.to_be_bytes());
    head[9] = stream as u8;
    head
}

impl<'a> ServerFrame<'a> {
    /// The frame that these bytes are.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let mut fields = Fields::of(bytes)?;
        let tag = fields.tag;
        match tag {
            0x80 => Ok(Self::Hello {
                seq: Seq(fields.u64()?),
                size: fields.size()?,
                flags: Flags::from_bits(fields.u8()?),
                accepted: fields.u64()?,
                viewer: fields.text()?,
            }),
            0x81 => Ok(Self::Output {
                seq: Seq(fields.u64()?),
                stream: Stream::from_number(fields.u8()?).ok_or(FrameError::Value(tag))?,
                bytes: fields.rest,
            }),
            0x82 => Ok(Self::Snapshot {
                seq: Seq(fields.u64()?),
                size: fields.size()?,
                bytes: fields.rest,
            }),
            0x83 => {
                let size = fields.size()?;
                fields.end(Self::Size(size))
            }
            0x84 => {
                let code = fields.take().map(i32::from_be_bytes)?;
                let kind = match fields.u8()? {
                    0 => ExitKind::Exited,
                    1 => ExitKind::Signal,
                    2 => ExitKind::Ended,
                    3 => ExitKind::Lost,
                    _ => return Err(FrameError::Value(tag)),
                };
                Ok(Self::Exit {
                    code,
                    kind,
                    reason: fields.text()?,
                })
            }
            0x85 => Ok(Self::Viewers(fields.text()?)),
            0x86 => {
                let accepted = fields.u64()?;
                fields.end(Self::Accepted(accepted))
            }
            0x87 => Ok(Self::Notice {
                code: fields.u16()?,
                text: fields.text()?,
            }),
            0x88 => {
                let value = fields.u64()?;
                fields.end(Self::Heartbeat(value))
            }
            tag => Err(FrameError::Tag(tag)),
        }
    }

    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let size = |out: &mut Vec<u8>, size: Size| {
            out.extend(size.cols.to_be_bytes());
            out.extend(size.rows.to_be_bytes());
        };
        match self {
            Self::Hello {
                seq,
                size: s,
                flags,
                accepted,
                viewer,
            } => {
                out.push(0x80);
                out.extend(seq.0.to_be_bytes());
                size(&mut out, *s);
                out.push(flags.bits());
                out.extend(accepted.to_be_bytes());
                out.extend(viewer.as_bytes());
            }
            Self::Output { seq, stream, bytes } => {
                out.extend(output_header(*seq, *stream));
                out.extend(*bytes);
            }
            Self::Snapshot {
                seq,
                size: s,
                bytes,
            } => {
                out.push(0x82);
                out.extend(seq.0.to_be_bytes());
                size(&mut out, *s);
                out.extend(*bytes);
            }
            Self::Size(s) => {
                out.push(0x83);
                size(&mut out, *s);
            }
            Self::Exit { code, kind, reason } => {
                out.push(0x84);
                out.extend(code.to_be_bytes());
                out.push(*kind as u8);
                out.extend(reason.as_bytes());
            }
            Self::Viewers(json) => {
                out.push(0x85);
                out.extend(json.as_bytes());
            }
            Self::Accepted(accepted) => {
                out.push(0x86);
                out.extend(accepted.to_be_bytes());
            }
            Self::Notice { code, text } => {
                out.push(0x87);
                out.extend(code.to_be_bytes());
                out.extend(text.as_bytes());
            }
            Self::Heartbeat(value) => {
                out.push(0x88);
                out.extend(value.to_be_bytes());
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(frame) = ClientFrame::decode(&bytes) {
                prop_assert_eq!(frame.encode(), bytes.clone());
            }
            // The upper four bits of a hello's flags mean nothing yet and are not kept.
            if bytes.first() != Some(&0x80)
                && let Ok(frame) = ServerFrame::decode(&bytes)
            {
                prop_assert_eq!(frame.encode(), bytes);
            }
        }
    }

    #[test]
    fn a_frame_cut_short_is_refused() {
        let whole = ServerFrame::Hello {
            seq: Seq(7),
            size: Size::DEFAULT,
            flags: Flags {
                write: true,
                drives: true,
                recorded: false,
                tty: true,
            },
            accepted: 9,
            viewer: "v",
        }
        .encode();
        assert!(ServerFrame::decode(&whole).is_ok());
        for end in 0..whole.len() - 1 {
            assert!(ServerFrame::decode(&whole[..end]).is_err(), "{end} bytes");
        }
    }
}
