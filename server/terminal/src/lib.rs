//! One session's hub.
//!
//! A task owns everything of a session: its relay into the journal, its viewers, its screen.
//! Nothing else touches them, so that subscribing, a snapshot and the live stream cannot get in
//! each other's way. The rest of the server holds a [`HubHandle`]; a viewer's socket holds a
//! [`Subscription`].
//!
//! ```text
//!  pty/pipes -> Relay -> journal ----pread----> viewer's channel -> its socket
//!                          |                      (cursor: sent, acknowledged)
//!                          +--> Screen, off the path, when a snapshot is needed
//!  pty/stdin <- queue <- viewer's ring of input <- hub <- its socket
//! ```
//!
//! There is no web framework here, and no policy: who may look and type is said to the hub.
#![forbid(unsafe_code)]

mod attached;
mod checkpoint;
mod clock;
mod drawing;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod handle;
mod hub;
mod input;
mod limits;
mod marks;
mod painter;
mod screen;
mod turns;
mod viewer;
mod writers;

pub use clock::{Clock, SystemClock};
pub use handle::{
    AttachError, Close, Descriptors, Gone, HubHandle, Incoming, Info, Message, Opening, Outgoing,
    Permission, SubscribeError, Subscription, Viewer, ViewerInfo, notice,
};
pub use hub::Hub;
