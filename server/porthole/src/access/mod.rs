//! Who may do what: accounts, sign-in, the rules for requests from browsers.
//!
//! A request passes, from outside in: the name it was addressed to ([`origin`]), who sends it
//! ([`identity`]), whether a browser was tricked into sending it ([`origin`]), and the permission
//! of its route on the very object that it names ([`permission`]).

pub mod identity;
pub mod permission;

pub use identity::{Account, Identity, Role, Via};
pub use permission::{Permission, TheContainer, TheSession};
