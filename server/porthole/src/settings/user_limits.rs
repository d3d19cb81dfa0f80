//! What accounts may have in all, as a variable says it.

use serde::Deserialize;

use super::SettingsError;
use crate::access::limits::{Ceiling, Kind, Said, UNLIMITED};

/// The inside of a table of TOML in one line.
pub(crate) fn parse(text: &str) -> Result<Said, SettingsError> {
    #[derive(Deserialize)]
    struct Table {
        limits: Said,
    }
    let table = toml::from_str::<Table>(&format!("limits = {{ {text} }}"));
    table.map(|table| table.limits).map_err(|why| {
        let why = why.message();
        let why = format!(
            "it is as \"containers = 10, sessions = 5, memory = 4294967296, cpus = 2, pids = \"unlimited\"\": {why}"
        );
        SettingsError::value("PORTHOLE_USER_LIMITS", text, why)
    })
}

/// The same as [`parse`] reads it.
pub(crate) fn text(limits: &Said) -> String {
    let of = |kind: Kind| match limits.get(kind)? {
        Ceiling::Most(amount) => Some(format!("{} = {}", kind.name(), kind.json(amount))),
        Ceiling::Unlimited => Some(format!("{} = \"{UNLIMITED}\"", kind.name())),
    };
    let said: Vec<_> = Kind::ALL.into_iter().filter_map(of).collect();
    said.join(", ")
}
