//! What confines the init of a container that Porthole did not make, and how a session there is to
//! be confined alike.
//!
//! ```text
//! facts     what /proc says of init             ─┐
//! filters   its filters of system calls          ├─> manner    what the session gets
//! danger    whether it is held back at all       │   fidelity  how that compares, line by line
//! disks     whether the machine's can be opened  │
//! toolbox   a root directory of tools           ─┘
//! ```
//! All of it is read in the session's monitor, on the machine's side and from the machine's procfs,
//! between two looks at whether init is still the process that was meant.

pub(crate) mod danger;
pub(crate) mod disks;
pub(crate) mod facts;
pub(crate) mod fidelity;
pub(crate) mod filters;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod limits;
pub(crate) mod manner;
pub(crate) mod toolbox;
