//! The engines broker: what Docker and Podman know of their containers, and the verbs they offer.
//!
//! ```text
//! server ──RUN/engines.sock──▶ connection ──▶ verbs, logs ──▶ client ──▶ dial ──▶ serve connects
//!                                  ▲                            ▲
//!                                board ◀── watch (an engine each) ┘
//! ```
//!
//! Its process is an account's of its own, without capabilities and without any group. It cannot
//! open an engine's socket itself: [`dial`] asks `serve`, which is root, for one connection after
//! the other, and `serve` connects to nothing but what root's policy names. The sockets' groups
//! would be less exact: Podman's belongs to root alone (mode 0600), so that no group opens it,
//! group 0 opens much else, and a group is fixed when a process starts, while a socket comes and
//! goes with its engine.
//!
//! What comes from the server is hostile: `porthole_protocol::engines` has the closed list of what
//! can be asked. What comes from an engine is bounded in size and time: every call has a deadline
//! and a connection of its own, so that one that hangs costs a sentence and holds up nothing.
#![forbid(unsafe_code)]

mod board;
mod client;
mod connection;
mod dial;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod inspect;
mod line;
mod logs;
mod watch;
mod wire;

use std::io;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::sync::Arc;

use porthole_protocol::engines::{ContainerRef, EndpointId, Failure, FailureCode, Setting};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

use board::Board;
use client::Client;

/// What `serve` gives the broker.
#[derive(Debug)]
pub struct Given {
    /// What root's policy enables.
    pub setting: Setting,
    /// Where the server connects.
    pub listener: StdListener,
    /// The way to ask `serve` for a connection to an engine: a SOCK_SEQPACKET socket.
    pub dial: StdStream,
}

/// What everything in here can reach.
struct Broker {
    setting: Setting,
    board: Board,
    clients: Vec<Client>,
}

impl Broker {
    /// The engine of this container. Only what an engine itself has named reaches it again.
    fn client(&self, container: &ContainerRef) -> Result<&Client, Failure> {
        self.clients
            .get(usize::from(container.endpoint.0))
            .filter(|_| self.board.has(container))
            .ok_or_else(|| Failure::new(FailureCode::NotFound, "The engine has no such container."))
    }
}

/// Runs until SIGTERM or SIGINT, or until `serve` is gone.
pub fn run(given: Given) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(given))
}

async fn serve(given: Given) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    given.dial.set_nonblocking(true)?;
    given.listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(given.listener)?;
    let (dialler, dialling) = dial::dialler(UnixStream::from_std(given.dial)?);
    let clients = (0..)
        .map(EndpointId)
        .zip(given.setting.engines.iter().cloned())
        .map(|(id, endpoint)| Client::new(dialler.clone(), id, endpoint))
        .collect::<Vec<_>>();
    let broker = Arc::new(Broker {
        board: Board::new(&given.setting.engines),
        setting: given.setting,
        clients,
    });
    for client in &broker.clients {
        tokio::spawn(watch::run(client.clone(), broker.clone()));
    }
    tracing::info!(
        engines = broker.clients.len(),
        manage = broker.setting.manage,
        "the engines broker is there"
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = connection::accept(&broker, listener) => {}
        error = dialling => {
            tracing::error!(%error, "serve gives no connections any more");
            return Err(error);
        }
    }
    Ok(())
}
