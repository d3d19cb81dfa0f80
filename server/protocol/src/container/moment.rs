//! When something happened.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::Invalid;

/// A moment: milliseconds since 1970. In JSON it is RFC 3339 in UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The last moment that RFC 3339 has a form for; those beyond are written as this one.
    pub const LAST: Self = Self(253_402_300_799_999);

    /// The moment that this clock shows.
    pub fn from_system(time: SystemTime) -> Self {
        let since = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.min(Self::LAST.0));
        humantime::format_rfc3339_millis(time).fmt(f)
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> String {
        time.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        humantime::parse_rfc3339(&text)
            .map(Self::from_system)
            .map_err(|_| Invalid("a time is written as RFC 3339 has it, in UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_rfc_3339() {
        let text = serde_json::to_string(&Timestamp(1_700_000_000_123)).expect("json");
        assert_eq!(text, "\"2023-11-14T22:13:20.123Z\"");
        assert_eq!(
            serde_json::from_str::<Timestamp>(&text).ok(),
            Some(Timestamp(1_700_000_000_123))
        );
    }
}
