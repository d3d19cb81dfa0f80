//! Porthole's web server and command line.
//!
//! ```text
//! browser ─ http ─▶ routes (one permission each) ─▶ pages │ api ─▶ actions ─▶ keeper (client)
//!                                                      │              │
//!                                                      └──▶ world ◀───┘ fed by keeper and observer
//! ```
//!
//! [`world`] is what is so now, [`actions`] is what can be done, [`access`] is who may do it,
//! [`store`] is what outlives the process. Pages and API are two faces of the same things: neither
//! knows anything that the other could not.
#![forbid(unsafe_code)]

pub mod access;
pub mod actions;
pub mod api;
pub mod assets;
pub mod cli;
pub mod compare;
pub mod engines;
#[cfg(test)]
mod fixture;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod headers;
pub mod hubs;
pub mod keeper;
pub mod machine;
pub mod pages;
mod reconnect;
pub mod refusal;
pub mod routes;
pub mod server;
pub mod settings;
pub mod state;
pub mod store;
pub mod usage;
pub mod world;

pub use refusal::Refusal;
pub use state::AppState;
