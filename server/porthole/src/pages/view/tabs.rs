//! What of a container is read from inside, each a piece that its page loads when it is there: a
//! container whose files hang costs a line, not the page.

pub mod isolation;
pub mod security;

use askama::Template;
use porthole_protocol::engines::EngineContainer;
use porthole_protocol::inspection::What;
use porthole_protocol::namespace::NamespaceType;

use super::container::Tab;
use super::html;
use super::words::visible;

/// A piece of a container's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Its mounts.
    Mounts,
    /// Its interfaces, routes and sockets.
    Network,
    /// What it may do.
    Security,
    /// What it shares with the host all the same.
    Isolation,
    /// Its variables.
    Environment,
}

impl Piece {
    /// The last part of its address.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Mounts => "mounts/detail",
            Self::Network => "network/detail",
            Self::Security => "security/detail",
            Self::Isolation => "isolation",
            Self::Environment => "environment",
        }
    }

    /// The page that it is on.
    pub const fn tab(self) -> Tab {
        match self {
            Self::Mounts => Tab::Mounts,
            Self::Network => Tab::Network,
            Self::Security => Tab::Security,
            Self::Isolation | Self::Environment => Tab::Overview,
        }
    }

    /// The element that it is loaded into.
    pub const fn slot(self) -> &'static str {
        match self {
            Self::Mounts | Self::Network | Self::Security => "detail",
            Self::Isolation => "isolation",
            Self::Environment => "environment",
        }
    }

    /// What is read for it where that is one namespace of the container.
    pub const fn of_namespace(self) -> Option<(NamespaceType, What)> {
        match self {
            Self::Mounts => Some((NamespaceType::Mnt, What::Mounts)),
            Self::Network => Some((NamespaceType::Net, What::Network)),
            Self::Security | Self::Isolation | Self::Environment => None,
        }
    }
}

/// Something that could not be read.
#[derive(Template)]
#[template(path = "partials/piece_unread.html")]
struct Unread<'a> {
    message: &'a str,
    again: &'a str,
    slot: &'static str,
}

/// Says why a piece is not there; reading it may be tried again at this address.
pub fn unread(piece: Piece, message: &str, again: &str) -> String {
    html(&Unread {
        message: &super::words::sentence(message),
        again,
        slot: piece.slot(),
    })
}

#[derive(Template)]
#[template(path = "partials/environment.html")]
struct Environment {
    variables: Vec<(String, String)>,
}

/// A container's variables, each `NAME=value`.
pub fn environment<S: AsRef<str>>(variables: impl IntoIterator<Item = S>) -> String {
    let split = |variable: S| {
        let (name, value) = variable
            .as_ref()
            .split_once('=')
            .unwrap_or((variable.as_ref(), ""));
        (visible(name), visible(value))
    };
    html(&Environment {
        variables: variables.into_iter().map(split).collect(),
    })
}

/// What its engine has mounted into it.
#[derive(Template)]
#[template(path = "partials/engine_mounts.html")]
struct EngineMounts {
    engine: &'static str,
    rows: Vec<EngineMount>,
}

struct EngineMount {
    destination: String,
    kind: String,
    source: String,
    writable: bool,
}

/// What its engine has mounted into a container, for who may look into it; nothing where it says of
/// none.
pub fn engine_mounts(told: &EngineContainer) -> String {
    if told.mounts.is_empty() {
        return String::new();
    }
    let row = |mount: &porthole_protocol::engines::Mount| EngineMount {
        destination: visible(&mount.destination),
        kind: visible(&mount.kind),
        source: visible(mount.name.as_ref().unwrap_or(&mount.source)),
        writable: mount.writable,
    };
    html(&EngineMounts {
        engine: told.engine.words(),
        rows: told.mounts.iter().map(row).collect(),
    })
}
