//! Settings: flags, then `PORTHOLE_*`, then `/etc/porthole/config.toml`.

use std::path::PathBuf;

/// What the server was told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Path below which a proxy shows Porthole, `""` or `/porthole`: stands before every address.
    pub base_path: String,
    /// State.
    pub root: PathBuf,
    /// Sockets.
    pub run: PathBuf,
}
