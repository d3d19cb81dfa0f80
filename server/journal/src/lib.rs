//! A session's output on disk.
//!
//! A journal is two files, described in [`porthole_protocol::journal`]: the output, byte for byte,
//! and an index that says when and by which stream. This crate moves bytes into them
//! ([`Relay`]), reads them back ([`Reader`]) and makes the files ([`create`]). The monitor uses
//! the first while no server stands, the server all of it; so there is no async runtime here and
//! nothing that builds C.
//!
//! ```text
//! pty or pipe --splice--> holding pipe --splice--> output file (at its end)
//!                         (monitor and              index file: "from here on it is
//!                          server hold it)           stderr, 12:31:07.415"
//! ```
//!
//! The reader may be killed between any two system calls, and within one, and no byte is lost or
//! doubled: at each moment a byte is in exactly one of the three, and all three outlive the
//! reader. The place of a byte in the file is its sequence number, for ever; so old content is
//! dropped by punching holes, which moves nothing.
#![forbid(unsafe_code)]

mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod index;
mod reader;
mod relay;
mod trim;

pub use files::{Files, create, open, open_beneath};
pub use index::Cursor;
pub use reader::{Reader, Run};
pub use relay::{Pumped, Relay, Sources};
pub use trim::Limit;
