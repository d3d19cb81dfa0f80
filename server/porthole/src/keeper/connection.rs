//! The task that holds the connection.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};

use porthole_protocol::keeper::{
    Envelope, FromKeeper, Hello, MESSAGE_LIMIT, Reply, Request, VERSION,
};
use porthole_sys::packet::{Packet, PacketError};
use tokio::sync::oneshot;

use super::packet::PacketSocket;
use super::{Answer, Ask, Asks, KeeperError, observer};
use crate::AppState;
use crate::reconnect::{GREETING, Tries};

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("nobody listens: {0}")]
    Connect(std::io::Error),
    #[error("sending: {0}")]
    Send(std::io::Error),
    #[error("receiving: {0}")]
    Receive(#[from] PacketError),
    #[error("it hung up")]
    HungUp,
    #[error("it said something that is none of the protocol: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error(
        "it is of version {0}, this server of version {VERSION}: restart Porthole, so that both are of one build"
    )]
    Version(u16),
    #[error("it did not greet")]
    Greeting,
}

/// Holds the connection for as long as the server runs.
pub async fn run(state: AppState, mut asks: Asks) {
    let mut tries = Tries::new();
    loop {
        match connect(&state).await {
            Ok((connection, hello)) => {
                tracing::info!(pid = hello.pid, "the keeper is there");
                for sentence in &hello.lacking {
                    tracing::warn!(lacking = %sentence, "this machine");
                }
                state.world.keeper_came(hello);
                tries = Tries::new();
                let lost = connection.serve(&state, &mut asks).await;
                state.world.keeper_left();
                tracing::warn!(why = %lost, "the keeper is away");
            }
            Err(why) => {
                if tries.failed() {
                    tracing::warn!(%why, "the keeper cannot be reached; trying on");
                }
            }
        }
        let refuse = |ask: Ask| {
            let _ = ask.answer.send(Err(KeeperError::Away));
        };
        tries.pause(&mut asks.0, refuse).await;
    }
}

struct Connection {
    socket: PacketSocket,
    open: HashMap<u64, oneshot::Sender<Answer>>,
    last: u64,
}

async fn connect(state: &AppState) -> Result<(Connection, Hello), Lost> {
    let path = state.settings.keeper_socket();
    // A listener with a full queue would make this wait: not on the thread that serves.
    let packet = tokio::task::spawn_blocking(move || Packet::connect(&path))
        .await
        .map_err(|_| Lost::Greeting)?
        .map_err(Lost::Connect)?;
    let mut connection = Connection {
        socket: PacketSocket::new(packet).map_err(Lost::Connect)?,
        open: HashMap::new(),
        last: 0,
    };
    let hello = tokio::time::timeout(GREETING, connection.greet())
        .await
        .map_err(|_| Lost::Greeting)??;
    Ok((connection, hello))
}

impl Connection {
    async fn send(&mut self, request: Request, descriptors: &[OwnedFd]) -> Result<u64, Lost> {
        self.last += 1;
        let id = self.last;
        let bytes = serde_json::to_vec(&Envelope { id, request })?;
        let borrowed: Vec<_> = descriptors.iter().map(|fd| fd.as_fd()).collect();
        self.socket
            .send(&bytes, &borrowed)
            .await
            .map_err(Lost::Send)?;
        Ok(id)
    }

    async fn receive(&self) -> Result<(FromKeeper, Vec<OwnedFd>), Lost> {
        let (bytes, descriptors) = self
            .socket
            .receive(MESSAGE_LIMIT)
            .await?
            .ok_or(Lost::HungUp)?;
        Ok((serde_json::from_slice(&bytes)?, descriptors))
    }

    async fn greet(&mut self) -> Result<Hello, Lost> {
        self.send(Request::Hello { version: VERSION }, &[]).await?;
        match self.receive().await?.0 {
            FromKeeper::Reply { reply, .. } => match *reply {
                Reply::Hello(hello) if hello.version == VERSION => Ok(hello),
                Reply::Hello(hello) => Err(Lost::Version(hello.version)),
                _ => Err(Lost::Greeting),
            },
            FromKeeper::Event(_) => Err(Lost::Greeting),
        }
    }

    async fn serve(mut self, state: &AppState, asks: &mut Asks) -> Lost {
        if let Err(lost) = self.send(Request::Watch, &[]).await {
            return lost;
        }
        let mut observing = match self.send(Request::Observe, &[]).await {
            Ok(id) => id,
            Err(lost) => return lost,
        };
        let mut observer = None;
        let lost = loop {
            tokio::select! {
                received = self.receive() => match received {
                    Ok((FromKeeper::Event(event), _)) => state.world.apply(*event),
                    Ok((FromKeeper::Reply { id, reply }, mut descriptors)) if id == observing => {
                        if let (Reply::Observing, Some(fd)) = (*reply, descriptors.pop()) {
                            let task = tokio::spawn(observer::follow(state.clone(), fd));
                            observer = Some(AbortOnDrop(task));
                        } else {
                            tracing::warn!("the keeper has no observer");
                        }
                    }
                    Ok((FromKeeper::Reply { id, reply }, descriptors)) => {
                        self.answer(state, id, *reply, descriptors);
                    }
                    Err(lost) => break lost,
                },
                () = ended(&mut observer) => match self.send(Request::Observe, &[]).await {
                    Ok(id) => observing = id,
                    Err(lost) => break lost,
                },
                Some(ask) = asks.0.recv() => {
                    if let Err(lost) = self.ask(ask).await {
                        break lost;
                    }
                }
            }
        };
        drop(observer);
        for (_, answer) in self.open.drain() {
            let _ = answer.send(Err(KeeperError::Away));
        }
        lost
    }

    async fn ask(&mut self, ask: Ask) -> Result<(), Lost> {
        let Ask {
            request,
            descriptors,
            answer,
        } = ask;
        // Whoever gave up waiting needs no place here any more.
        self.open.retain(|_, answer| !answer.is_closed());
        if answer.is_closed() {
            return Ok(());
        }
        match self.send(request, &descriptors).await {
            Ok(id) => {
                self.open.insert(id, answer);
                Ok(())
            }
            Err(lost) => {
                let _ = answer.send(Err(KeeperError::Away));
                Err(lost)
            }
        }
    }

    fn answer(&mut self, state: &AppState, id: u64, reply: Reply, descriptors: Vec<OwnedFd>) {
        // What an answer says is true from here on for everybody, before its event comes.
        match &reply {
            Reply::Container(container) => state.world.learn_container(container),
            Reply::Session(session) => state.world.learn_session(session),
            _ => {}
        }
        if let Some(answer) = self.open.remove(&id) {
            let _ = answer.send(Ok((reply, descriptors)));
        }
    }
}

/// Waits until the observer that is followed has ended; for ever where none is.
async fn ended(observer: &mut Option<AbortOnDrop>) {
    match observer {
        Some(task) => {
            let _ = (&mut task.0).await;
            *observer = None;
        }
        None => std::future::pending().await,
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
