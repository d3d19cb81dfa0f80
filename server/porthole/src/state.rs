//! What every handler can reach.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::watch;

use crate::access::Access;
use crate::actions::images::Receiving;
use crate::actions::limits::Making;
use crate::engines::Engines;
use crate::hubs::Hubs;
use crate::keeper::Keeper;
use crate::settings::Settings;
use crate::store::Store;
use crate::usage::Lookers;
use crate::world::World;

/// What every handler can reach: `State(state): State<AppState>`. Cloning it is cheap.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// The one of each thing.
pub struct Shared {
    /// What was set by flags, environment and file.
    pub settings: Settings,
    /// What is so now.
    pub world: World,
    /// What outlives the process.
    pub store: Store,
    /// Who may do what.
    pub access: Access,
    /// Containers that are being made, and sessions that are being opened.
    pub making: Making,
    /// Archives that are being received.
    pub receiving: Receiving,
    /// The hubs of what runs.
    pub hubs: Hubs,
    /// Who looks at what containers use.
    pub lookers: Lookers,
    /// The connection to the keeper.
    pub keeper: Keeper,
    /// What Docker and Podman know of their containers, and the way to have them do something.
    pub engines: Engines,
    /// Becomes true when the server is to end: what is open without end ends then.
    pub ending: watch::Sender<bool>,
}

impl AppState {
    /// One server's state.
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
