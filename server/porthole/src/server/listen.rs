//! Listeners and connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use listenfd::ListenFd;
use rustix::net::{AddressFamily, SocketType};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

use super::{ending, rest, tls};
use crate::AppState;
use crate::access::gate::Peer;
use crate::settings::Tls;

/// How long a client may take for a request's head.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Connections at once. More wait in the kernel's queue.
const CONNECTIONS: u32 = 4096;
/// The most bytes of a request's head.
const HEAD: usize = 64 * 1024;

/// Where requests come in.
pub struct Listeners {
    /// From the network.
    pub http: std::net::TcpListener,
    /// From local users.
    pub local: Option<std::os::unix::net::UnixListener>,
    /// Where certificate and key are asked for, where TLS is spoken on the network.
    pub tls: Option<OwnedFd>,
}

impl Listeners {
    /// Those that the supervisor has opened and passed on (sd_listen_fds(3)).
    pub fn inherited() -> anyhow::Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let place = |wanted: &str| names.split(':').position(|name| name == wanted);
        let mut passed = ListenFd::from_env();
        let http = match place("http") {
            Some(place) => passed.take_tcp_listener(place)?,
            None => None,
        };
        let local = match place("api") {
            Some(place) => passed.take_unix_listener(place)?,
            None => None,
        };
        let tls: Option<UnixStream> = match place("tls") {
            Some(place) => passed.take_custom(
                place,
                i32::from(AddressFamily::UNIX.as_raw()),
                SocketType::SEQPACKET.as_raw().cast_signed(),
                "SOCK_SEQPACKET socket",
            )?,
            None => None,
        };
        let tls = tls.map(OwnedFd::from);
        let http = http.context(
            "`porthole server` is started by `porthole serve`, which passes it the listeners",
        )?;
        Ok(Self { http, local, tls })
    }

    /// The port that the network reaches.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.http.local_addr()?.port())
    }
}

/// Serves until the state says that the server ends, and a little longer for what is open.
pub async fn serve(state: AppState, router: Router, listeners: Listeners, grace: Duration) {
    let places = Arc::new(Semaphore::new(CONNECTIONS as usize));
    let network = network(&state, &router, listeners.http, listeners.tls, &places);
    let local = local(&state, &router, listeners.local, &places);
    tokio::select! {
        () = ending(&state) => {}
        result = async { tokio::try_join!(network, local) } => {
            if let Err(error) = result {
                tracing::error!(%error, "a listener cannot be used");
            }
        }
    }
    // Whoever is still connected holds a place.
    let all = places.acquire_many(CONNECTIONS);
    if tokio::time::timeout(grace, all).await.is_err() {
        tracing::warn!("some requests were cut off");
    }
}

async fn network(
    state: &AppState,
    router: &Router,
    listener: std::net::TcpListener,
    serve: Option<OwnedFd>,
    places: &Arc<Semaphore>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let mut keys = match (&state.settings.tls, serve) {
        (Some(Tls { cert, key }), Some(serve)) => {
            let names = [cert, key].map(|path| path.display().to_string());
            Some(tls::follow(serve, names)?)
        }
        (None, _) => None,
        (Some(_), None) => {
            return Err(io::Error::other("serve has passed on no certificate"));
        }
    };
    if let Some(keys) = &mut keys {
        // Whoever connects before there is one waits in the kernel's queue.
        let first = keys.wait_for(Option::is_some).await;
        first.map_err(io::Error::other)?;
    }
    loop {
        let place = place(places).await?;
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Each key's echo is a small message: not to be held back for more.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY");
                }
                let keys = keys.as_ref().and_then(|keys| keys.borrow().clone());
                begin(state, router, stream, peer, place, keys);
            }
            Err(error) => pause(&error).await,
        }
    }
}

/// Begins a connection once it is known who is at its other end.
fn begin(
    state: &AppState,
    router: &Router,
    stream: TcpStream,
    address: SocketAddr,
    place: OwnedSemaphorePermit,
    keys: Option<tls::Keys>,
) {
    let here = stream.local_addr().ok();
    let go_on = move |state: &AppState, router: &Router, peer| match keys {
        None => connection(state, router, stream, peer, place),
        Some(keys) => secure(state, router, stream, peer, place, &keys),
    };
    let proxies = &state.settings.trusted_proxies;
    if proxies.is_at(address.ip()) {
        return go_on(state, router, Peer::Proxy(address));
    }
    // A program of this machine comes from the address that it connects to, or from loopback.
    let here = here.filter(|here| {
        let from = address.ip().to_canonical();
        proxies.has_users() && (from.is_loopback() || from == here.ip().to_canonical())
    });
    let Some(here) = here else {
        return go_on(state, router, Peer::Network(address));
    };
    let (state, router) = (state.clone(), router.clone());
    tokio::spawn(async move {
        let looking = state.clone();
        let look = move || looking.settings.trusted_proxies.owns(address, here);
        let peer = match tokio::task::spawn_blocking(look).await {
            Ok(true) => Peer::Proxy(address),
            Ok(false) | Err(_) => Peer::Network(address),
        };
        go_on(&state, &router, peer);
    });
}

/// The first byte of TLS: a handshake record, RFC 8446 5.1.
const HANDSHAKE: u8 = 22;

/// A connection that speaks TLS. One that speaks HTTP is told so.
fn secure(
    state: &AppState,
    router: &Router,
    stream: TcpStream,
    peer: Peer,
    permit: OwnedSemaphorePermit,
    keys: &tls::Keys,
) {
    let (state, router, acceptor) = (state.clone(), router.clone(), keys.acceptor());
    tokio::spawn(async move {
        let handshake = async {
            let mut first = [0];
            stream.peek(&mut first).await?;
            if first[0] != HANDSHAKE {
                let answer = axum::routing::any(told_to_speak_tls).with_state(state.clone());
                let router = Router::new().fallback_service(answer);
                connection(&state, &router, stream, peer, permit);
                return Ok(());
            }
            let stream = acceptor.accept(stream).await?;
            connection(&state, &router, stream, peer, permit);
            io::Result::Ok(())
        };
        match tokio::time::timeout(HEADER_TIME, handshake).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a handshake"),
            Err(_) => tracing::debug!("a handshake took too long"),
        }
    });
}

/// What a browser shows that was sent here without `https:`. Nothing that it sent is looked at.
async fn told_to_speak_tls(State(state): State<AppState>) -> Response {
    let text = format!(
        "This port speaks TLS: the address begins with https, {}/\n",
        state.settings.address()
    );
    let close = [(header::CONNECTION, "close")];
    (StatusCode::BAD_REQUEST, close, text).into_response()
}

async fn local(
    state: &AppState,
    router: &Router,
    listener: Option<std::os::unix::net::UnixListener>,
    places: &Arc<Semaphore>,
) -> io::Result<()> {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    loop {
        let place = place(places).await?;
        match listener.accept().await {
            Ok((stream, _)) => match stream.peer_cred() {
                Ok(who) => {
                    let peer = Peer::Local { uid: who.uid() };
                    connection(state, router, stream, peer, place);
                }
                Err(error) => tracing::warn!(%error, "who connected cannot be found out"),
            },
            Err(error) => pause(&error).await,
        }
    }
}

async fn place(places: &Arc<Semaphore>) -> io::Result<OwnedSemaphorePermit> {
    let place = Arc::clone(places).acquire_owned().await;
    place.map_err(io::Error::other)
}

/// Out of descriptors, or a client that is gone already: neither ends the server.
async fn pause(error: &io::Error) {
    if error.kind() != io::ErrorKind::ConnectionAborted {
        tracing::warn!(%error, "accepting");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A connection's place among all. What outlives the connection's requests, a WebSocket, takes a
/// copy out of its request and holds it.
#[derive(Clone)]
pub struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

fn connection<S>(
    state: &AppState,
    router: &Router,
    stream: S,
    peer: Peer,
    permit: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (router, base) = (router.clone(), state.clone());
    let place = Place {
        _permit: Arc::new(permit),
    };
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(peer);
        parts.extensions.insert(place.clone());
        let (body, rest) = rest::lend(Body::new(body), &parts.headers);
        let request = Request::from_parts(parts, body);
        let answer = router
            .clone()
            .oneshot(below_base(&base.settings.base_path, request));
        async move {
            let answer = answer.await;
            if let Some(rest) = rest {
                rest.throw_away();
            }
            answer
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let state = state.clone();
    tokio::spawn(async move {
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = ending(&state) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection");
        }
    });
}

/// The request as it is without the base path, which a proxy may leave in or take off.
fn below_base(base: &str, mut request: Request) -> Request {
    if base.is_empty() {
        return request;
    }
    let uri = request.uri();
    let rest = match uri.path().strip_prefix(base) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => return request,
    };
    let rest = match uri.query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    };
    if let Ok(rest) = rest.parse::<PathAndQuery>() {
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(rest);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_path_is_taken_off_where_it_stands() {
        for (base, before, after) in [
            ("", "/containers?q=1", "/containers?q=1"),
            ("/hole", "/hole/containers?q=1", "/containers?q=1"),
            ("/hole", "/hole", "/"),
            ("/hole", "/holes", "/holes"),
            ("/hole", "/containers", "/containers"),
        ] {
            let request = Request::builder().uri(before).body(Body::empty());
            let request = below_base(base, request.expect("a request"));
            assert_eq!(request.uri(), after, "{base} {before}");
        }
    }
}
