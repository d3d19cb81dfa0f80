//! Connections of the server.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use porthole_protocol::engines::{
    Ask, ContainerRef, EngineContainer, EngineState, Failure, FailureCode, FromBroker, Hello, Open,
    REQUEST_LIMIT, VERSION,
};
use porthole_protocol::id::HostPid;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

use crate::board::Known;
use crate::{Broker, logs, wire};

/// Connections at once; others wait in the kernel's queue. One follows, the others are logs.
const CONNECTIONS: usize = 128;

/// Things that are being done at once for one connection.
const DOING: usize = 64;

/// How long the first message may take.
const OPENING: Duration = Duration::from_secs(5);

/// Takes connections for as long as there is a listener.
pub(crate) async fn accept(broker: &Arc<Broker>, listener: UnixListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let broker = broker.clone();
                tokio::spawn(async move {
                    match serve(&broker, stream).await {
                        Err(error) if !is_hang_up(&error) => {
                            tracing::warn!(%error, "a connection of the server");
                        }
                        _ => {}
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Whoever reads a log leaves when it pleases, and a server may be killed at any moment.
fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

async fn serve(broker: &Arc<Broker>, mut stream: UnixStream) -> io::Result<()> {
    // The socket's mode says the same. A local user of the server's group is not the server.
    let who = stream.peer_cred()?.uid();
    if who != broker.setting.server && who != 0 {
        return Err(io::Error::other(format!("user {who} is not the server")));
    }
    let opened = tokio::time::timeout(OPENING, wire::receive(&mut stream, REQUEST_LIMIT))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let Some(message) = opened else {
        return Ok(());
    };
    match serde_json::from_slice(&message)? {
        Open::Follow { version: VERSION } => follow(broker, stream).await,
        Open::Follow { version } => Err(io::Error::other(format!(
            "the server is of version {version}, this broker of version {VERSION}"
        ))),
        Open::Logs { container, part } => logs::serve(broker, stream, &container, part).await,
    }
}

async fn follow(broker: &Arc<Broker>, stream: UnixStream) -> io::Result<()> {
    let (read, write) = stream.into_split();
    let (replies, done) = mpsc::channel(DOING);
    // Whichever ends first takes the other with it. Neither is cut off within a message, unless
    // the connection is over.
    tokio::select! {
        ended = take(broker, read, replies) => ended,
        ended = tell(broker, write, done) => ended,
    }
}

/// Takes what is asked, until the server hangs up.
async fn take(
    broker: &Arc<Broker>,
    mut read: OwnedReadHalf,
    replies: mpsc::Sender<FromBroker>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(DOING));
    while let Some(message) = wire::receive(&mut read, REQUEST_LIMIT).await? {
        let ask: Ask = serde_json::from_slice(&message)?;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let failure = Failure::new(
                FailureCode::Busy,
                "Too much is being asked of the engines at once. Try again in a moment.",
            );
            let _ = replies.send(reply(ask.id, Some(failure))).await;
            continue;
        };
        let (broker, replies) = (broker.clone(), replies.clone());
        // By itself, so that it is done whole although the server may be restarted meanwhile.
        tokio::spawn(async move {
            let failure = act(&broker, &ask).await.err();
            let _ = replies.send(reply(ask.id, failure)).await;
            drop(place);
        });
    }
    Ok(())
}

fn reply(id: u64, failure: Option<Failure>) -> FromBroker {
    FromBroker::Reply { id, failure }
}

async fn act(broker: &Broker, ask: &Ask) -> Result<(), Failure> {
    let Ask {
        container, verb, ..
    } = ask;
    if !broker.setting.manage {
        return Err(Failure::new(
            FailureCode::Forbidden,
            "Root's policy lets Porthole look at the containers of other engines, not change them: \"manage = true\" in the table [engines] of the policy does.",
        ));
    }
    let client = broker.client(container)?;
    let outcome = client.act(&container.id, *verb).await;
    tracing::info!(
        engine = %client.endpoint.engine,
        container = %container.id,
        verb = verb.name(),
        failed = outcome.as_ref().err().map(tracing::field::display),
        "asked of an engine"
    );
    outcome?;
    // Whoever is answered finds the container as it has become.
    match client.read(&container.id).await {
        Ok(now) => broker.board.put(now),
        Err(why) if why.is_not_found() => broker.board.remove(client.id, &container.id),
        // Its event says so again.
        Err(_) => {}
    }
    Ok(())
}

/// What a connection has been told, to be compared with what is known. Sharing makes that cheap.
#[derive(Default)]
struct Told {
    engines: Vec<Arc<EngineState>>,
    containers: HashMap<ContainerRef, Arc<EngineContainer>>,
}

impl Told {
    /// What there is to tell.
    fn news(&mut self, known: &Known) -> Vec<FromBroker> {
        let mut news = Vec::new();
        for (key, container) in &known.containers {
            let told = self.containers.get(key);
            if !told.is_some_and(|told| Arc::ptr_eq(told, container)) {
                news.push(FromBroker::Container(Box::new(EngineContainer::clone(
                    container,
                ))));
                self.containers.insert(key.clone(), container.clone());
            }
        }
        self.containers.retain(|key, _| {
            let stays = known.containers.contains_key(key);
            if !stays {
                news.push(FromBroker::ContainerGone(key.clone()));
            }
            stays
        });
        // Last: an engine that answers is one whose containers have been told.
        for engine in &known.engines {
            if !self.engines.iter().any(|told| Arc::ptr_eq(told, engine)) {
                news.push(FromBroker::Engine(Box::new(EngineState::clone(engine))));
            }
        }
        self.engines.clone_from(&known.engines);
        news
    }
}

/// Tells everything, then every change, and passes replies on, each behind what it has changed.
async fn tell(
    broker: &Broker,
    mut write: OwnedWriteHalf,
    mut replies: mpsc::Receiver<FromBroker>,
) -> io::Result<()> {
    let mut changed = broker.board.subscribe();
    let mut told = Told::default();
    let hello = FromBroker::Hello(Hello {
        version: VERSION,
        pid: HostPid(i32::try_from(std::process::id()).unwrap_or(0)),
        manage: broker.setting.manage,
    });
    send(&mut write, &hello).await?;
    for message in told.news(&broker.board.known()) {
        send(&mut write, &message).await?;
    }
    send(&mut write, &FromBroker::Synced).await?;
    loop {
        tokio::select! {
            _ = changed.changed() => {
                for message in told.news(&broker.board.known()) {
                    send(&mut write, &message).await?;
                }
            }
            Some(reply) = replies.recv() => {
                for message in told.news(&broker.board.known()) {
                    send(&mut write, &message).await?;
                }
                send(&mut write, &reply).await?;
            }
        }
    }
}

async fn send(write: &mut OwnedWriteHalf, message: &FromBroker) -> io::Result<()> {
    let message = serde_json::to_vec(message).map_err(io::Error::other)?;
    wire::send(write, &message).await
}
