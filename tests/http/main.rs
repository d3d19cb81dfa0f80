//! The HTTP API of a real Porthole, asked from outside.
#![forbid(unsafe_code)]

mod access;
mod audit;
mod bad_input;
mod events;
mod foreign;
mod imports;
mod people;
mod proxies;
mod quotas;
mod rights;
mod setup;
mod tls;
mod trouble;
