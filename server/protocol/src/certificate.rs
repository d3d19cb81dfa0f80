//! How the server gets certificate and key from `serve`, which is root and may read them.
//!
//! Over a SOCK_SEQPACKET pair that `serve` makes for each server: the server sends [`REQUEST`], and
//! `serve` answers before anything else is asked, with both files open beside a message without meaning,
//! certificate first, or with a sentence that says what could not be opened.

/// The message that asks for both.
pub const REQUEST: &[u8] = b"?";

/// How long a sentence may be.
pub const LONGEST: usize = 4096;
