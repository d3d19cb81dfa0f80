//! What crosses a process boundary in Porthole, and nothing else.
//!
//! Every other crate speaks in these types: identifiers that cannot be mistaken for one another,
//! the specification of a container, what the server asks of the keeper and the keeper of a
//! monitor, what the observer saw, the frames of a browser's terminal and the records of a
//! journal's index. There is no I/O here and no policy. Whatever arrives from outside is checked
//! while it is parsed, so a value of one of these types is a valid one.
#![forbid(unsafe_code)]

pub mod capability;
pub mod certificate;
pub mod container;
pub mod engine;
pub mod engines;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod id;
pub mod image;
pub mod inspection;
pub mod journal;
pub mod keeper;
pub mod monitor;
pub mod namespace;
pub mod observation;
pub mod session;
pub mod trace;
