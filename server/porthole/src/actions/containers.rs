//! Containers: create, start, stop, kill, restart, remove.

use std::sync::Arc;
use std::time::Duration;

use porthole_protocol::container::{Container, ContainerSpec};

use crate::access::Identity;
use crate::{AppState, Refusal};

/// Makes a container and, where its spec says so, starts it. A failed start keeps the container,
/// in state `created`, with its `error`.
pub async fn create(
    _state: &AppState,
    _identity: &Identity,
    _spec: ContainerSpec,
) -> Result<Arc<Container>, Refusal> {
    Err(Refusal::keeper_away())
}

/// Starts a container.
pub async fn start(
    _state: &AppState,
    _identity: &Identity,
    _container: &Container,
) -> Result<Arc<Container>, Refusal> {
    Err(Refusal::keeper_away())
}

/// Ends a container's init: SIGTERM, and SIGKILL after the timeout (10 s where none is given).
pub async fn stop(
    _state: &AppState,
    _identity: &Identity,
    _container: &Container,
    _timeout: Option<Duration>,
) -> Result<Arc<Container>, Refusal> {
    Err(Refusal::keeper_away())
}

/// Sends a container's init a signal.
pub async fn kill(
    _state: &AppState,
    _identity: &Identity,
    _container: &Container,
    _signal: u8,
) -> Result<Arc<Container>, Refusal> {
    Err(Refusal::keeper_away())
}

/// Stops it where it runs, and starts it.
pub async fn restart(
    _state: &AppState,
    _identity: &Identity,
    _container: &Container,
    _timeout: Option<Duration>,
) -> Result<Arc<Container>, Refusal> {
    Err(Refusal::keeper_away())
}

/// Removes a container with everything of it; `force` kills it first where it runs.
pub async fn remove(
    _state: &AppState,
    _identity: &Identity,
    _container: &Container,
    _force: bool,
) -> Result<(), Refusal> {
    Err(Refusal::keeper_away())
}
