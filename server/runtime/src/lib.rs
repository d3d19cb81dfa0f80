//! Porthole's own containers: a spec becomes an ordered plan, a plan becomes processes.
//!
//! What may come in is a valid [`ContainerSpec`](porthole_protocol::container::ContainerSpec) or
//! [`SessionSpec`](porthole_protocol::session::SessionSpec) and descriptors; what goes out is a
//! process with its terminal or pipes, or a [`Failure`](porthole_protocol::keeper::Failure) that
//! names the stage, the errno and the path, after everything made on the way is gone again.
//! Everything here runs in a process with one thread, as root.
#![forbid(unsafe_code)]

mod account;
pub mod cgroup;
mod confinement;
mod console;
mod deletion;
mod ending;
mod environment;
mod filesystem;
mod foreign;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod identity;
pub mod image;
pub mod init;
pub mod join;
pub mod launch;
mod layers;
pub mod network;
mod observe;
mod passage;
mod plan;
mod program;
pub mod recorder;
pub mod root;
pub mod step;
pub mod unpack;
mod wire;

use std::os::fd::OwnedFd;

pub use cgroup::{Cgroups, ForeignGroup, Freezing, Swept};
pub use confinement::confine_server;
pub use deletion::delete_tree;
pub use ending::{LastWord, Status};
pub use foreign::toolbox::{is_there as has_toolbox, remove as remove_toolbox};
pub use identity::allocate_ids;
pub use image::Images;
pub use init::init_main;
pub use join::{Join, JoinForeign, Joined, join, join_foreign};
pub use launch::{Launch, Launched, launch};
pub use network::{Attached, Attaching, Attachment, Bridge};
pub use recorder::Recorder;
pub use root::{create_root, remove_root};

/// The near ends of what a process reads and writes: ours, O_NONBLOCK and O_CLOEXEC.
#[derive(Debug)]
pub enum Console {
    /// A terminal.
    Tty {
        /// The master; whoever holds it can open the slave too.
        master: OwnedFd,
    },
    /// Three pipes.
    Pipes {
        /// Written by us; closing it is end of input.
        stdin: OwnedFd,
        /// Read by us.
        stdout: OwnedFd,
        /// Read by us.
        stderr: OwnedFd,
    },
}
