//! The task that holds the connection.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use porthole_protocol::engines::{
    Ask, ContainerRef, FromBroker, Hello, MESSAGE_LIMIT, Open, VERSION,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::{Answer, Availability, EngineError, Engines, Job, Jobs, Snapshot};
use crate::AppState;
use crate::reconnect::{GREETING, Tries};

/// Messages that may be read before they are taken note of.
const READ_AHEAD: usize = 64;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("nobody listens: {0}")]
    Connect(io::Error),
    #[error("sending: {0}")]
    Send(io::Error),
    #[error("receiving: {0}")]
    Receive(io::Error),
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

/// Holds the connection for as long as the server runs, where root's policy enables engines.
pub async fn run(state: AppState, mut jobs: Jobs) {
    let engines = &state.engines;
    state
        .world
        .engines_are(engines.snapshot().availability.clone());
    if engines.possible().is_err() {
        return;
    }
    let world = state.clone();
    tokio::spawn(async move { world.world.settle_doubts().await });
    let mut tries = Tries::new();
    loop {
        match connect(&engines.socket).await {
            Ok((connection, hello)) => {
                tracing::info!(pid = %hello.pid, "the engines broker is there");
                tries = Tries::new();
                let lost = connection.serve(&state, hello, &mut jobs).await;
                change(engines, |now| now.availability = Availability::Away);
                state.world.engines_are(Availability::Away);
                tracing::warn!(why = %lost, "the engines broker is away");
            }
            Err(why) => {
                if tries.failed() {
                    tracing::warn!(%why, "the engines broker cannot be reached; trying on");
                }
            }
        }
        let refuse = |job: Job| {
            let _ = job.answer.send(Err(EngineError::Away));
        };
        tries.pause(&mut jobs.0, refuse).await;
    }
}

fn change(engines: &Engines, how: impl FnOnce(&mut Snapshot)) {
    // Copied only where somebody still looks at the one before.
    engines.snapshot.send_modify(|now| how(Arc::make_mut(now)));
}

/// The next message; `None` where the other end has hung up between two.
pub(super) async fn receive(read: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let length = match read.read_u32_le().await {
        Ok(length) => length as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > MESSAGE_LIMIT {
        return Err(io::Error::other("a message is too long"));
    }
    let mut bytes = vec![0; length];
    read.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}

/// Sends a message.
pub(super) async fn send(write: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    let bytes = [&length.to_le_bytes(), message].concat();
    write.write_all(&bytes).await
}

struct Connection {
    messages: mpsc::Receiver<Result<FromBroker, Lost>>,
    reader: tokio::task::JoinHandle<()>,
    write: OwnedWriteHalf,
    open: HashMap<u64, oneshot::Sender<Answer>>,
    last: u64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn connect(socket: &Path) -> Result<(Connection, Hello), Lost> {
    let stream = UnixStream::connect(socket).await.map_err(Lost::Connect)?;
    let (read, mut write) = stream.into_split();
    let open = serde_json::to_vec(&Open::Follow { version: VERSION })?;
    send(&mut write, &open).await.map_err(Lost::Send)?;
    let (sender, messages) = mpsc::channel(READ_AHEAD);
    let mut connection = Connection {
        messages,
        // By itself: reading is in two steps, and what is selected over must not be cut off in one.
        reader: tokio::spawn(read_on(read, sender)),
        write,
        open: HashMap::new(),
        last: 0,
    };
    let first = tokio::time::timeout(GREETING, connection.next())
        .await
        .map_err(|_| Lost::Greeting)??;
    match first {
        FromBroker::Hello(hello) if hello.version == VERSION => Ok((connection, hello)),
        FromBroker::Hello(hello) => Err(Lost::Version(hello.version)),
        _ => Err(Lost::Greeting),
    }
}

async fn read_on(read: OwnedReadHalf, sender: mpsc::Sender<Result<FromBroker, Lost>>) {
    let mut read = BufReader::new(read);
    loop {
        let message = match receive(&mut read).await {
            Ok(Some(bytes)) => serde_json::from_slice(&bytes).map_err(Lost::from),
            Ok(None) => Err(Lost::HungUp),
            Err(error) => Err(Lost::Receive(error)),
        };
        let over = message.is_err();
        if sender.send(message).await.is_err() || over {
            return;
        }
    }
}

impl Connection {
    async fn next(&mut self) -> Result<FromBroker, Lost> {
        self.messages.recv().await.unwrap_or(Err(Lost::HungUp))
    }

    /// Passes on what the broker tells, to whoever asks [`Engines`] and to the world, and what it
    /// is asked, until the connection is lost.
    async fn serve(mut self, state: &AppState, hello: Hello, jobs: &mut Jobs) -> Lost {
        let (engines, world) = (&state.engines, &state.world);
        world.engines(FromBroker::Hello(hello));
        // Gathered until it is whole: meanwhile what was known before is shown.
        let mut gathered = Some(Snapshot {
            availability: Availability::There,
            manage: hello.manage,
            ..Snapshot::default()
        });
        let lost = loop {
            tokio::select! {
                message = self.next() => match message {
                    Ok(FromBroker::Synced) => if let Some(whole) = gathered.take() {
                        change(engines, |now| *now = whole);
                        world.engines(FromBroker::Synced);
                        world.engines_are(Availability::There);
                    },
                    Ok(FromBroker::Reply { id, failure }) => {
                        if let Some(answer) = self.open.remove(&id) {
                            let _ = answer.send(failure.map_or(Ok(()), |why| Err(why.into())));
                        }
                    }
                    Ok(message) => {
                        // The world first: who waits for a snapshot finds it there, too.
                        world.engines(message.clone());
                        match &mut gathered {
                            Some(gathered) => apply(gathered, message),
                            None => change(engines, |now| apply(now, message)),
                        }
                    }
                    Err(lost) => break lost,
                },
                Some(job) = jobs.0.recv() => if let Err(lost) = self.ask(job).await {
                    break lost;
                },
            }
        };
        for (_, answer) in self.open.drain() {
            let _ = answer.send(Err(EngineError::Away));
        }
        lost
    }

    async fn ask(&mut self, job: Job) -> Result<(), Lost> {
        self.open.retain(|_, answer| !answer.is_closed());
        if job.answer.is_closed() {
            return Ok(());
        }
        self.last += 1;
        let ask = Ask {
            id: self.last,
            container: job.container,
            verb: job.verb,
        };
        self.open.insert(self.last, job.answer);
        send(&mut self.write, &serde_json::to_vec(&ask)?)
            .await
            .map_err(Lost::Send)
    }
}

/// Takes note of what the broker tells.
fn apply(snapshot: &mut Snapshot, message: FromBroker) {
    match message {
        FromBroker::Engine(engine) => {
            let engine = Arc::new(*engine);
            let known = snapshot.engines.iter_mut();
            match { known }.find(|known| known.endpoint == engine.endpoint) {
                Some(known) => *known = engine,
                None => {
                    snapshot.engines.push(engine);
                    snapshot.engines.sort_by_key(|engine| engine.endpoint);
                }
            }
        }
        FromBroker::Container(container) => {
            let key = ContainerRef {
                endpoint: container.endpoint,
                id: container.id.clone(),
            };
            snapshot.containers.insert(key, Arc::new(*container));
        }
        FromBroker::ContainerGone(key) => {
            snapshot.containers.remove(&key);
        }
        FromBroker::Hello(_) | FromBroker::Synced | FromBroker::Reply { .. } => {}
    }
}
