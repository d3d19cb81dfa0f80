//! Texts that are checked while they are parsed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text cannot be what it was given as. Its message says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:expr, $why:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(Invalid($why)) }
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn begins_alphanumeric(text: &str) -> bool {
    text.bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric())
}

checked_text!(
    /// A container's name, with Docker's rule: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 63 bytes.
    ContainerName,
    |t| t.len() <= 63
        && begins_alphanumeric(t)
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)),
    "a name begins with a letter or digit, goes on with letters, digits, '_', '.' or '-', and has at most 63 characters"
);
checked_text!(
    /// An image's name.
    ImageName,
    |t| t.len() <= 255
        && begins_alphanumeric(t)
        && !t.contains("..")
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-/:".contains(&b)),
    "an image's name begins with a letter or digit and goes on with letters, digits, '_', '.', '-', '/' or ':'"
);
checked_text!(
    /// A host name, RFC 1123, at most 63 bytes (the kernel takes 64).
    Hostname,
    |t| t.len() <= 63
        && t.split('.').all(|label| {
            begins_alphanumeric(label)
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }),
    "a host name has letters, digits and '-' in parts separated by '.', and at most 63 characters"
);
checked_text!(
    /// One word of a command line: at most 32 KiB, without a NUL byte.
    Argument,
    |t| t.len() <= 32 * 1024 && !t.contains('\0'),
    "a word of a command holds no NUL byte and at most 32768 bytes"
);
checked_text!(
    /// A variable's name: no `=`, no NUL byte, at most 255 bytes, not empty.
    EnvName,
    |t| (1..=255).contains(&t.len()) && !t.contains(['\0', '=']),
    "a variable's name is not empty and holds neither '=' nor a NUL byte"
);
checked_text!(
    /// An absolute path inside a container, at most 4,095 bytes, without a NUL byte.
    AbsolutePath,
    |t| t.len() < 4096 && t.starts_with('/') && !t.contains('\0'),
    "a path inside a container is absolute: it begins with '/'"
);
checked_text!(
    /// The name of a Porthole account that owns something.
    Owner,
    |t| (1..=64).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-@".contains(&b)),
    "an account's name has letters, digits, '_', '.', '-' or '@', and at most 64 characters"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_rule() {
        for good in ["web", "a", "0b_1.2-c", &"x".repeat(63)] {
            assert!(good.parse::<ContainerName>().is_ok(), "{good}");
        }
        for bad in ["", "../x", ".a", "-a", "a b", "a\n", "é", &"x".repeat(300)] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad:?}");
        }
    }
}
