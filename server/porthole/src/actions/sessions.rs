//! Sessions: open, end.

use std::collections::BTreeMap;
use std::sync::Arc;

use porthole_protocol::container::{AbsolutePath, Argument, Container, EnvName, UserSpec};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::session::{Session, Size};
use serde::Deserialize;

use crate::access::Identity;
use crate::{AppState, Refusal};

/// What to run in a container. The body of `POST /api/v1/containers/{container}/sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OpenSession {
    /// What to run. Empty: the user's login shell, then bash, ash, sh.
    pub command: Vec<Argument>,
    /// Whether it gets a terminal; pipes otherwise.
    pub tty: bool,
    /// The terminal's columns.
    pub cols: u16,
    /// The terminal's rows.
    pub rows: u16,
    /// As whom; the container's user where it is not given.
    pub user: Option<UserSpec>,
    /// Where; the container's where it is not given.
    pub workdir: Option<AbsolutePath>,
    /// Added to the container's environment.
    pub env: BTreeMap<EnvName, Argument>,
    /// Which namespaces to join; all where it is not given.
    pub join: Option<Vec<NamespaceType>>,
}

impl Default for OpenSession {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            tty: true,
            cols: Size::DEFAULT.cols,
            rows: Size::DEFAULT.rows,
            user: None,
            workdir: None,
            env: BTreeMap::new(),
            join: None,
        }
    }
}

/// Runs something in a container. That it was asked for is in the audit trail, on disk, before
/// its shell exists.
pub async fn open(
    _state: &AppState,
    _identity: &Identity,
    _container: &Container,
    _open: OpenSession,
) -> Result<Arc<Session>, Refusal> {
    Err(Refusal::keeper_away())
}

/// Ends every process of a session.
pub async fn end(
    _state: &AppState,
    _identity: &Identity,
    _session: &Session,
) -> Result<Arc<Session>, Refusal> {
    Err(Refusal::keeper_away())
}
