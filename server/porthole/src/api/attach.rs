//! A viewer's WebSocket: `porthole.v1` between a browser and a session's hub.
//!
//! What flows is the hub's matter; here are the socket, its bounds, and its end: when the session
//! has nothing more to say, when the viewer's rights end, when the server does, when nobody
//! answers any more.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use porthole_protocol::frame::{CLIENT_FRAME_LIMIT, SUBPROTOCOL, ServerFrame};
use porthole_protocol::id::Seq;
use porthole_protocol::session::{Session, Target};
use porthole_terminal::{
    Close, Incoming, Message as HubMessage, Outgoing, Permission, SubscribeError, Subscription,
    Viewer,
};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};

use super::body::Asked;
use crate::access::{Identity, TheSession};
use crate::actions::sessions;
use crate::actions::sessions::may_look;
use crate::server::ending;
use crate::server::listen::Place;
use crate::store::{Act, Actor, Note};
use crate::{AppState, Refusal};

/// The longest message from a client: several frames, whose tag and fields stand before
/// [`CLIENT_FRAME_LIMIT`] bytes at most.
const MESSAGE: usize = 256 * 1024;
/// What is gathered before it is written to the socket without being told to.
const GATHERED: usize = 32 * 1024;
/// The most that waits for a socket: one message beyond what is gathered. The longest is a snapshot
/// of the widest screen.
const WAITING: usize = 8 * 1024 * 1024;
/// Read at once.
const READ: usize = 4 * 1024;
/// Frames written between two flushes.
const BATCH: usize = 16;
/// How often a client is asked whether it is there, where nothing else is said.
const PING: Duration = Duration::from_secs(30);
/// A client that has said nothing for this long, not even an answer to a ping, is gone.
const SILENCE: Duration = Duration::from_secs(75);
/// How long a last word may take.
const LAST_WORD: Duration = Duration::from_millis(500);

/// How to attach.
#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Attach {
    resume: Option<u64>,
    mode: Mode,
    viewer: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Write,
    Watch,
}

/// An upgrade to `porthole.v1` that was asked for.
pub struct Upgrade(WebSocketUpgrade);

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let refused = |message: String| {
            Refusal::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message)
        };
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state)
            .await
            .map_err(|why| refused(format!("This address is for a WebSocket: {why}.")))?
            .protocols([SUBPROTOCOL])
            .read_buffer_size(READ)
            .write_buffer_size(GATHERED)
            .max_write_buffer_size(WAITING)
            .max_frame_size(CLIENT_FRAME_LIMIT)
            .max_message_size(MESSAGE);
        if upgrade.selected_protocol().is_none() {
            return Err(refused(format!(
                "The WebSocket must offer the subprotocol {SUBPROTOCOL}."
            )));
        }
        Ok(Self(upgrade))
    }
}

/// Refuses where the page must say why: upgrades, says it, closes with 4000 + the HTTP status. A
/// request that is no upgrade gets the refusal as it is.
pub async fn refuse(parts: &mut Parts, refusal: Refusal) -> Response {
    match Upgrade::from_request_parts(parts, &()).await {
        Ok(upgrade) => upgrade.refuse(refusal),
        Err(_) => refusal.into_response(),
    }
}

impl Upgrade {
    fn refuse(self, refusal: Refusal) -> Response {
        self.0.on_upgrade(async move |mut socket| {
            let code = 4000 + refusal.status.as_u16();
            last_word(&mut socket, code, &refusal.message).await;
        })
    }
}

/// A close frame's reason has at most 123 bytes.
fn reason(text: &str) -> &str {
    &text[..text.floor_char_boundary(123)]
}

async fn last_word<S>(socket: &mut S, code: u16, text: &str)
where
    S: futures_util::Sink<Message, Error = axum::Error> + Unpin,
{
    let notice = ServerFrame::Notice { code, text }.encode();
    let close = CloseFrame {
        code,
        reason: reason(text).into(),
    };
    let words = async {
        socket.send(Message::Binary(notice.into())).await?;
        socket.send(Message::Close(Some(close))).await
    };
    if let Ok(Err(error)) = tokio::time::timeout(LAST_WORD, words).await {
        tracing::debug!(%error, "a last word did not arrive");
    }
}

/// Attaches to a session.
pub async fn attach(
    State(state): State<AppState>,
    identity: Identity,
    TheSession(session): TheSession,
    place: Option<axum::Extension<Place>>,
    upgrade: Upgrade,
    Asked(attach): Asked<Attach>,
) -> Response {
    let subscription = match subscribe(&state, &identity, &session, attach).await {
        Ok(subscription) => subscription,
        Err(refusal) => return upgrade.refuse(refusal),
    };
    if identity.name() != &session.owner {
        note(&state, &identity, &session);
    }
    upgrade.0.on_upgrade(async move |socket| {
        let _place = place;
        run(&state, &identity, &session, subscription, socket).await;
    })
}

async fn subscribe(
    state: &AppState,
    identity: &Identity,
    session: &Session,
    attach: Attach,
) -> Result<Subscription, Refusal> {
    let target = Target::Session(session.id.clone());
    let hub = state.hubs.hub(state, &target).await?;
    let permission = match attach.mode {
        Mode::Write if sessions::may_write(state, identity, session) => Permission::Write,
        Mode::Write | Mode::Watch => Permission::Watch,
    };
    let viewer = Viewer {
        user: identity.name().to_string(),
        id: attach.viewer,
        resume: attach.resume.map(Seq),
        permission,
    };
    hub.subscribe(viewer).await.map_err(|error| match error {
        SubscribeError::Full(_) => {
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many", error.to_string())
        }
        SubscribeError::Gone(_) => Refusal::not_found("session_not_found", error.to_string()),
    })
}

/// Somebody looks at what is another's: that is written down, but not waited for.
fn note(state: &AppState, identity: &Identity, session: &Session) {
    let store = state.store.clone();
    let note = Note::done(
        &Actor::from(identity),
        Act::SessionAttach,
        session.id.as_str(),
    )
    .with(json!({"owner": session.owner}));
    tokio::spawn(async move {
        let noted = store.record(note);
        if let Err(error) = noted.await {
            tracing::error!(%error, "the audit trail");
        }
    });
}

/// When the client last said anything.
struct Heard {
    begun: Instant,
    after_ms: AtomicU64,
}

impl Heard {
    fn now() -> Self {
        Self {
            begun: Instant::now(),
            after_ms: AtomicU64::new(0),
        }
    }

    fn again(&self) {
        let after = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.after_ms.store(after, Ordering::Relaxed);
    }

    fn ago(&self) -> Duration {
        let after = Duration::from_millis(self.after_ms.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(after)
    }
}

/// How a socket came to its end.
enum End {
    /// The client closed it, is gone, or broke the protocol of WebSockets.
    Client,
    /// The hub closed it.
    Hub(Option<Close>),
    /// Rights were taken away.
    Lost,
    /// The server ends.
    Server,
}

async fn run(
    state: &AppState,
    identity: &Identity,
    session: &Session,
    subscription: Subscription,
    socket: WebSocket,
) {
    let Subscription {
        mut outgoing,
        incoming,
        ..
    } = subscription;
    let (mut sink, mut stream) = socket.split();
    let heard = Heard::now();
    let end = {
        let mut write = pin!(write(&mut outgoing, &mut sink, &heard));
        let mut read = pin!(read(&incoming, &mut stream, &heard));
        let mut lost = pin!(state.access.standing.lost(&state.store, identity));
        let mut ending = pin!(ending(state));
        tokio::select! {
            // Rights first: nothing flows any more once they are gone.
            biased;
            () = &mut lost => End::Lost,
            () = &mut ending => End::Server,
            end = &mut write => end,
            end = &mut read => end,
        }
    };
    match end {
        End::Client => {}
        End::Hub(close) => {
            let close = close.map(|close| CloseFrame {
                code: close.code,
                reason: reason(&close.reason).into(),
            });
            let closing = sink.send(Message::Close(close));
            let _ = tokio::time::timeout(LAST_WORD, closing).await;
        }
        End::Lost => {
            let (code, text) = why_lost(state, identity, session);
            last_word(&mut sink, code, text).await;
        }
        End::Server => {
            let text = "Porthole is restarting; the session goes on.";
            last_word(&mut sink, Close::GOING_AWAY, text).await;
        }
    }
}

/// What to tell somebody whose rights are not what they were.
fn why_lost(state: &AppState, identity: &Identity, session: &Session) -> (u16, &'static str) {
    match state.store.current(&identity.via) {
        Ok(Some(account)) => {
            let now = Identity {
                account,
                via: identity.via.clone(),
                from: identity.from,
            };
            if may_look(&state.world, &now, session) {
                // "Try again later" in RFC 6455's registry: the client attaches anew at once.
                (1013, "Your role has changed.")
            } else {
                (
                    Close::FORBIDDEN,
                    "Your role has changed: you may not look at this session any more.",
                )
            }
        }
        Ok(None) | Err(_) => (4401, "You are signed out."),
    }
}

async fn write(
    outgoing: &mut Outgoing,
    sink: &mut SplitSink<WebSocket, Message>,
    heard: &Heard,
) -> End {
    let mut ticks = tokio::time::interval(PING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            message = outgoing.next() => message,
            _ = ticks.tick() => {
                if heard.ago() > SILENCE {
                    return End::Client;
                }
                if sink.send(Message::Ping(Bytes::new())).await.is_err() {
                    return End::Client;
                }
                continue;
            }
        };
        let mut message = match message {
            Some(message) => message,
            None => return End::Hub(None),
        };
        // What has piled up goes out together.
        for left in (0..BATCH).rev() {
            match message {
                HubMessage::Frame(bytes) => {
                    if sink.feed(Message::Binary(bytes)).await.is_err() {
                        return End::Client;
                    }
                }
                HubMessage::Close(close) => return End::Hub(Some(close)),
            }
            match if left > 0 { outgoing.try_next() } else { None } {
                Some(next) => message = next,
                None => break,
            }
        }
        if sink.flush().await.is_err() {
            return End::Client;
        }
    }
}

async fn read(incoming: &Incoming, stream: &mut SplitStream<WebSocket>, heard: &Heard) -> End {
    while let Some(Ok(message)) = stream.next().await {
        heard.again();
        match message {
            Message::Binary(frame) => {
                if incoming.send(frame).await.is_err() {
                    // The hub's own last message says why.
                    std::future::pending::<()>().await;
                }
            }
            Message::Text(_) => {
                let close = Close::new(Close::PROTOCOL, "porthole.v1 has binary messages only");
                return End::Hub(Some(close));
            }
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => break,
        }
    }
    End::Client
}
