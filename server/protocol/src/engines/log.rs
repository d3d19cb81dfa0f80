//! A container's log on its way from the broker.

use crate::container::Timestamp;

/// Who wrote a part of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// A terminal, which has both.
    Terminal,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A part of a log. On the wire, after the length as of every message:
///
/// | Bytes | |
/// |---|---|
/// | 1 | 0 terminal, 1 standard output, 2 standard error, 255 the end |
/// | 8 | when it was written, in milliseconds since 1970, little-endian; all ones: not known |
/// | the rest | what was written; after the end, why in words, empty where it simply was over |
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogRecord {
    /// Something was written. One line, or part of a long one.
    Output {
        /// By whom.
        stream: LogStream,
        /// When.
        at: Option<Timestamp>,
        /// What.
        bytes: Vec<u8>,
    },
    /// There is no more.
    End {
        /// Why, where it is not simply over.
        trouble: Option<String>,
    },
}

/// The bytes before the text of a [`LogRecord`].
const LOG_HEAD: usize = 9;

/// The longest record's text in bytes; longer output comes in several.
pub const LOG_LIMIT: usize = 64 * 1024;

impl LogRecord {
    /// The message, without its length.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, at, text): (u8, _, &[u8]) = match self {
            Self::Output { stream, at, bytes } => {
                let kind = match stream {
                    LogStream::Terminal => 0,
                    LogStream::Stdout => 1,
                    LogStream::Stderr => 2,
                };
                (kind, *at, bytes)
            }
            Self::End { trouble } => (255, None, trouble.as_deref().unwrap_or("").as_bytes()),
        };
        let mut message = Vec::with_capacity(LOG_HEAD + text.len());
        message.push(kind);
        message.extend_from_slice(&at.map_or(u64::MAX, |at| at.0).to_le_bytes());
        message.extend_from_slice(text);
        message
    }

    /// The record that this message is; `None` where it is none.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let (head, text) = message.split_at_checked(LOG_HEAD)?;
        let at = u64::from_le_bytes(head[1..].try_into().ok()?);
        let stream = match head[0] {
            0 => LogStream::Terminal,
            1 => LogStream::Stdout,
            2 => LogStream::Stderr,
            255 => {
                let text = String::from_utf8_lossy(text).into_owned();
                let trouble = Some(text).filter(|text| !text.is_empty());
                return Some(Self::End { trouble });
            }
            _ => return None,
        };
        Some(Self::Output {
            stream,
            at: (at != u64::MAX).then_some(Timestamp(at)),
            bytes: text.to_vec(),
        })
    }
}
