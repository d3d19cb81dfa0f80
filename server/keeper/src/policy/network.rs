//! The policy's table `network`.

use std::num::NonZeroU32;

use porthole_runtime::network::pool::{Range, parse_range};
use serde::Deserialize;

/// What containers may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NetworkRules {
    /// There is a bridge for them.
    pub(crate) bridge: bool,
    /// Their addresses; `None`: some that the machine has no other use for.
    pub(crate) ipv4: Option<Range>,
    /// Ports may be published anywhere, and not on loopback alone.
    pub(crate) publish_anywhere: bool,
    /// Connections that one container may have at once; `None`: as many as is usual.
    pub(crate) connections: Option<NonZeroU32>,
}

/// As the file has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    bridge: bool,
    ipv4: Option<String>,
    publish: Option<String>,
    connections: Option<NonZeroU32>,
}

impl Written {
    pub(super) fn resolve(self) -> Result<NetworkRules, String> {
        let ipv4 = self
            .ipv4
            .map(|text| parse_range(&text))
            .transpose()
            .map_err(|error| format!("network.ipv4: {error}"))?;
        let publish_anywhere = match self.publish.as_deref() {
            None | Some("loopback") => false,
            Some("anywhere") => true,
            Some(other) => {
                return Err(format!(
                    "network.publish is \"loopback\" or \"anywhere\", not {other:?}"
                ));
            }
        };
        Ok(NetworkRules {
            bridge: self.bridge,
            ipv4,
            publish_anywhere,
            connections: self.connections,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<NetworkRules, String> {
        toml::from_str::<Written>(text)
            .map_err(|error| error.to_string())?
            .resolve()
    }

    #[test]
    fn there_is_no_network_unless_root_says_so() {
        assert_eq!(resolve(""), Ok(NetworkRules::default()));
        assert!(!NetworkRules::default().bridge);
        let rules = resolve(
            "bridge = true\nipv4 = \"10.9.0.0/24\"\npublish = \"anywhere\"\nconnections = 20",
        );
        let rules = rules.expect("valid");
        assert_eq!(rules.connections, NonZeroU32::new(20));
        assert!(rules.bridge && rules.publish_anywhere);
        assert_eq!(rules.ipv4.map(|(_, prefix)| prefix), Some(24));
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (bad, named) in [
            ("ipv4 = \"8.8.8.0/24\"", "private"),
            ("publish = \"yes\"", "anywhere"),
            ("brige = true", "brige"),
            ("connections = 0", "nonzero"),
        ] {
            let why = resolve(bad).expect_err("refused");
            assert!(why.contains(named), "{why}");
        }
    }
}
