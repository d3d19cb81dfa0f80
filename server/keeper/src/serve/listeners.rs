//! Where Porthole can be reached: opened by root, served by others, open while those restart.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::accounts::Account;
use crate::ground;
use crate::settings::Places;

/// Where a browser finds Porthole unless told otherwise.
const LISTEN: &str = "127.0.0.1:7678";

/// How long the server of a `serve` that was killed may take to end.
const PREDECESSOR: Duration = Duration::from_secs(2);

/// All listeners.
pub(super) struct Listeners {
    http: TcpListener,
    api: UnixListener,
    keeper: OwnedFd,
    engines: Option<UnixListener>,
    /// What is to be deleted at the end.
    paths: [PathBuf; 4],
}

impl Listeners {
    /// Opens them; what was opened is closed again where one fails.
    pub(super) fn open(places: &Places, server: &Account, engines: bool) -> anyhow::Result<Self> {
        let http = http()?;
        let api_path = match std::env::var_os("PORTHOLE_SOCKET") {
            Some(path) if !path.is_empty() => PathBuf::from(path),
            _ => places.run.join("porthole.sock"),
        };
        ground::unlink(&api_path)?;
        let api = UnixListener::bind(&api_path)
            .with_context(|| format!("cannot listen at {}", api_path.display()))?;
        ground::share(&api_path, Some(server), Some(server))?;
        api.set_nonblocking(true)?;
        let keeper = ground::keeper_listener(places, Some(server))?;
        let engines_path = places.engines_socket();
        ground::unlink(&engines_path)?;
        let engines = if engines {
            let listener = UnixListener::bind(&engines_path)
                .with_context(|| format!("cannot listen at {}", engines_path.display()))?;
            ground::give(&engines_path, server)?;
            Some(listener)
        } else {
            None
        };
        // Only root makes files in RUN; the server writes into this one when it needs to.
        let code_path = places.run.join("setup-code");
        ground::unlink(&code_path)?;
        ground::empty_file(&code_path, server)?;
        Ok(Self {
            http,
            api,
            keeper: keeper.into(),
            engines,
            paths: [api_path, places.keeper_socket(), engines_path, code_path],
        })
    }

    /// What the server is given.
    pub(super) fn for_server(&self) -> [BorrowedFd<'_>; 2] {
        [self.http.as_fd(), self.api.as_fd()]
    }

    /// What the keeper is given.
    pub(super) fn for_keeper(&self) -> [BorrowedFd<'_>; 1] {
        [self.keeper.as_fd()]
    }

    /// What the engines broker is given, where there is one.
    pub(super) fn for_engines(&self) -> Option<BorrowedFd<'_>> {
        self.engines.as_ref().map(AsFd::as_fd)
    }

    /// Deletes the sockets, and the file beside them.
    pub(super) fn close(&self) {
        for path in &self.paths {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Binds it, also where the server of one that was killed a moment ago is still ending.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let until = Instant::now() + PREDECESSOR;
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            bound => return bound,
        }
    }
}

fn http() -> anyhow::Result<TcpListener> {
    let text = std::env::var("PORTHOLE_LISTEN").unwrap_or_default();
    let text = if text.is_empty() { LISTEN } else { &text };
    let address = address(text).with_context(|| {
        format!("{text} is no address to listen at; write one as {LISTEN} or [::1]:7678")
    })?;
    let listener = bind(address).map_err(|error| {
        anyhow::anyhow!(match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "{address} is in use by another program (ss -ltnp 'sport = :{}' says which): stop that one, or choose another address with --listen or PORTHOLE_LISTEN",
                address.port()
            ),
            io::ErrorKind::AddrNotAvailable => format!(
                "{address} is none of this machine's addresses: choose another with --listen or PORTHOLE_LISTEN"
            ),
            _ => format!("cannot listen at {address}: {error}"),
        })
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    // A name, of which /etc/hosts has at least "localhost".
    text.to_socket_addrs().ok()?.next()
}
