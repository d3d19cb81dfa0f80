//! What every request passes before its route: is it for us, who sends it, did a page elsewhere
//! cause it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use porthole_protocol::container::{Owner, Timestamp};

use super::identity::{Account, Authenticated, Identity, Role, Via};
use super::origin::{self, Address};
use super::{cookie, secret};
use crate::{AppState, Refusal};

/// Who is at the other end of the connection. Put into every request by the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Somebody on the network.
    Network(SocketAddr),
    /// A proxy that the settings name: it says for whom it sends.
    Proxy(SocketAddr),
    /// A local user who could open the unix socket.
    Local {
        /// Their user id.
        uid: u32,
    },
}

/// Where a request comes from.
#[derive(Debug, Clone, Default)]
pub struct Whence {
    /// The address. `None` for the unix socket.
    pub address: Option<IpAddr>,
    /// What the program that sent it calls itself, as far as it is worth keeping.
    pub agent: String,
}

/// The most characters of a program's name for itself that are kept.
const AGENT: usize = 200;

impl Whence {
    fn of(address: Option<IpAddr>, headers: &HeaderMap) -> Self {
        let agent = headers.get(header::USER_AGENT);
        let agent = agent.and_then(|value| value.to_str().ok());
        Self {
            address,
            agent: agent.unwrap_or_default().chars().take(AGENT).collect(),
        }
    }
}

/// The layer around all routes.
pub async fn gate(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    match admit(&state, &mut request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn admit(state: &AppState, request: &mut Request) -> Result<(), Refusal> {
    let peer = request.extensions().get::<Peer>().copied();
    let client = match peer {
        Some(Peer::Proxy(peer)) => Some(forwarded(peer.ip(), request.headers())),
        Some(Peer::Network(peer)) => {
            tell_of_a_proxy(state, peer.ip(), request.headers());
            Some(peer.ip())
        }
        Some(Peer::Local { .. }) | None => None,
    };
    let (address, mut identity) = match peer {
        Some(Peer::Local { uid }) => (
            local_address(),
            token(state, request.headers())?.or_else(|| local(uid)),
        ),
        Some(Peer::Network(_) | Peer::Proxy(_)) | None => {
            let address = state
                .access
                .names
                .address(request.uri(), request.headers())?;
            let identity = who(state, &address, request.headers())?;
            (address, identity)
        }
    };
    if origin::changes(request.method(), request.headers()) {
        let by_cookie = matches!(&identity, Some(i) if matches!(i.via, Via::Login(_)));
        origin::check(&address, request.headers(), by_cookie)?;
    }
    if let Some(identity) = &mut identity {
        identity.from = client;
    }
    let whence = Whence::of(client, request.headers());
    let extensions = request.extensions_mut();
    extensions.insert(whence);
    extensions.insert(address);
    extensions.insert(Authenticated(identity.map(Arc::new)));
    Ok(())
}

fn who(
    state: &AppState,
    address: &Address,
    headers: &HeaderMap,
) -> Result<Option<Identity>, Refusal> {
    if bearer(headers).is_some() {
        return token(state, headers);
    }
    let Some(cookie) = cookie::read(address, headers) else {
        return Ok(None);
    };
    let hash = secret::hash(cookie);
    Ok(state.store.login(&hash)?.map(|account| Identity {
        account,
        via: Via::Login(hash),
        from: None,
    }))
}

/// The secret of a token. What a proxy asks for itself (`Basic`) is none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(secret.trim())
}

fn token(state: &AppState, headers: &HeaderMap) -> Result<Option<Identity>, Refusal> {
    let Some(secret) = bearer(headers) else {
        return Ok(None);
    };
    let hash = secret::hash(secret);
    Ok(state.store.token(&hash)?.map(|account| Identity {
        account,
        via: Via::Token(hash),
        from: None,
    }))
}

/// Who could open the unix socket is root or was put into the group `porthole` by root: an
/// administrator, as the group `docker` is Docker's.
fn local(uid: u32) -> Option<Identity> {
    let name = if uid == 0 {
        "root@local".to_owned()
    } else {
        format!("{uid}@local")
    };
    Some(Identity {
        account: Account::new(
            0,
            Owner::try_from(name).ok()?,
            Role::Admin,
            Timestamp::default(),
        ),
        via: Via::Local,
        from: None,
    })
}

fn local_address() -> Address {
    Address {
        scheme: "http",
        host: "localhost".to_owned(),
        authority: "localhost".to_owned(),
    }
}

/// Where a proxy says for whom it sends.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address that a proxy names last: what stands before it has been said by who sent it.
fn forwarded(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    headers
        .get_all(FORWARDED_FOR)
        .iter()
        .next_back()
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.rsplit(',').next())
        .and_then(|last| last.trim().parse().ok())
        .unwrap_or(peer)
}

/// Says once that somebody names other addresses who is not believed: where people come through a
/// proxy all of them are counted as one then.
fn tell_of_a_proxy(state: &AppState, peer: IpAddr, headers: &HeaderMap) {
    static TOLD: Once = Once::new();
    if state.settings.public_url.is_some() && headers.contains_key(FORWARDED_FOR) {
        TOLD.call_once(|| {
            tracing::warn!(
                %peer,
                "X-Forwarded-For is not believed: PORTHOLE_TRUSTED_PROXY does not name who sent it, so that everybody who comes through a proxy is counted as one address"
            );
        });
    }
}

macro_rules! put_by_the_gate {
    ($name:ident) => {
        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = Refusal;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
                parts.extensions.get::<Self>().cloned().ok_or_else(|| {
                    tracing::error!("a request came past the gate");
                    Refusal::internal()
                })
            }
        }
    };
}
put_by_the_gate!(Address);
put_by_the_gate!(Whence);
