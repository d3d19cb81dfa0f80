//! Whom a process is to run as.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// A user or group as a person names it. Digits are a number and never a name, so that an
/// `/etc/passwd` with an account called `0` gains nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameOrId {
    /// To be looked up in the container's `/etc/passwd` or `/etc/group`.
    Name(String),
    /// A number inside the container, below 65,536: a container's block of ids has no more.
    Id(u32),
}

impl FromStr for NameOrId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return match text.parse::<u32>() {
                Ok(id) if id < 65_536 => Ok(Self::Id(id)),
                _ => Err(Invalid("a user or group number is between 0 and 65535")),
            };
        }
        let valid = text.len() <= 32
            && text
                .bytes()
                .next()
                .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.-$".contains(&b));
        if valid {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(Invalid(
                "a user is a name (letters, digits, '_', '.', '-') or a number, as is a group after ':'",
            ))
        }
    }
}

impl fmt::Display for NameOrId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => id.fmt(f),
        }
    }
}

/// Who a process is to run as: `name|uid[:group|gid]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserSpec {
    /// The user.
    pub user: NameOrId,
    /// The group; the user's own where it is not given.
    pub group: Option<NameOrId>,
}

impl FromStr for UserSpec {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Ok(match text.split_once(':') {
            Some((user, group)) => Self {
                user: user.parse()?,
                group: Some(group.parse()?),
            },
            None => Self {
                user: text.parse()?,
                group: None,
            },
        })
    }
}

impl TryFrom<String> for UserSpec {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl fmt::Display for UserSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.user.fmt(f)?;
        match &self.group {
            Some(group) => write!(f, ":{group}"),
            None => Ok(()),
        }
    }
}

impl From<UserSpec> for String {
    fn from(user: UserSpec) -> String {
        user.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_never_a_name() {
        assert_eq!("0".parse(), Ok(NameOrId::Id(0)));
        for bad in ["4294967296", "0 ", "-1", "", "65536", "+1", "0x0"] {
            assert!(bad.parse::<NameOrId>().is_err(), "{bad:?}");
        }
        let both: UserSpec = "www-data:4".parse().expect("valid");
        assert_eq!(both.to_string(), "www-data:4");
    }
}
