//! When a container that has ended is started again by itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// When a container that has ended is started again, in Docker's words: `no`, `on-failure`,
/// `on-failure:3`, `always`, `unless-stopped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Whenever it ends; after the machine's restart also where somebody had stopped it.
    Always,
    /// Whenever it ends, unless somebody has stopped it.
    UnlessStopped,
    /// When it fails, but not after the machine's restart.
    OnFailure {
        /// So often; 0 is without end.
        most: u32,
    },
}

impl FromStr for RestartPolicy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const WHY: Invalid = Invalid(
            "a restart policy is \"no\", \"on-failure\", \"on-failure:\" and a number, \"always\" or \"unless-stopped\"",
        );
        match text {
            "no" => Ok(Self::No),
            "always" => Ok(Self::Always),
            "unless-stopped" => Ok(Self::UnlessStopped),
            "on-failure" => Ok(Self::OnFailure { most: 0 }),
            _ => {
                let most = text.strip_prefix("on-failure:").ok_or(WHY)?;
                let most = most.parse().map_err(|_| WHY)?;
                Ok(Self::OnFailure { most })
            }
        }
    }
}

impl TryFrom<String> for RestartPolicy {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::Always => f.write_str("always"),
            Self::UnlessStopped => f.write_str("unless-stopped"),
            Self::OnFailure { most: 0 } => f.write_str("on-failure"),
            Self::OnFailure { most } => write!(f, "on-failure:{most}"),
        }
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> String {
        policy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_written_in_dockers_words() {
        for text in [
            "no",
            "always",
            "unless-stopped",
            "on-failure",
            "on-failure:3",
        ] {
            let policy: RestartPolicy = text.parse().expect(text);
            assert_eq!(policy.to_string(), text);
        }
        for bad in ["", "No", "on-failure:", "on-failure:-1", "always:1"] {
            assert!(bad.parse::<RestartPolicy>().is_err(), "{bad}");
        }
    }
}
