//! How the broker gets a connection to an engine from `serve`.
//!
//! Over a SOCK_SEQPACKET pair that `serve` makes for each broker: the broker sends one byte, the
//! engine's [`EndpointId`], and `serve` answers before anything else is asked, with a connected
//! SOCK_STREAM socket beside the message or with what connect(2) said.

use super::EndpointId;

/// The message that asks for a connection to this engine.
pub fn request(endpoint: EndpointId) -> [u8; 1] {
    [endpoint.0]
}

/// The engine that this message asks for.
pub fn endpoint(message: &[u8]) -> Option<EndpointId> {
    match message {
        [number] => Some(EndpointId(*number)),
        _ => None,
    }
}

/// What `serve` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With one descriptor.
    Connected,
    /// With none.
    Failed {
        /// Why.
        errno: i32,
    },
}

impl Answer {
    /// How long it is.
    pub const BYTES: usize = 4;

    /// The message.
    pub fn encode(self) -> [u8; Self::BYTES] {
        match self {
            Self::Connected => 0,
            Self::Failed { errno } => errno,
        }
        .to_le_bytes()
    }

    /// The answer that this message is.
    pub fn decode(message: &[u8]) -> Option<Self> {
        Some(match i32::from_le_bytes(message.try_into().ok()?) {
            0 => Self::Connected,
            errno => Self::Failed { errno },
        })
    }
}
