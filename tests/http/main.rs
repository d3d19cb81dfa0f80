//! The HTTP API of a real Porthole, asked from outside.
#![forbid(unsafe_code)]

mod access;
mod bad_input;
mod events;
mod foreign;
mod rights;
mod setup;
mod trouble;
