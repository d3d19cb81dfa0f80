//! Identifiers. Each is its own type: a [`HostPid`] cannot be passed for a [`ContainerPid`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text has another length than this kind of identifier.
    #[error("an identifier here has {expected} hexadecimal digits, this text has {found}")]
    Length {
        /// Digits that this kind has.
        expected: usize,
        /// Bytes that the text has.
        found: usize,
    },
    /// The text holds something that is no lower-case hexadecimal digit.
    #[error("an identifier holds the digits 0-9 and a-f only")]
    Digit,
    /// The text is no container's identifier.
    #[error(
        "a container's identifier has 1 to 128 letters, digits, \"_\", \".\" and \"-\", and begins with a letter or a digit"
    )]
    Name,
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
    }
    text
}

const fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

macro_rules! text_id {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// How many random bytes make one.
            pub const BYTES: usize = $bytes;

            /// The identifier that these random bytes are.
            pub fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(hex(&bytes))
            }

            /// The hexadecimal digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first twelve digits, as `docker ps` shows them.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if text.len() != $bytes * 2 {
                    return Err(IdError::Length { expected: $bytes * 2, found: text.len() });
                }
                if !text.bytes().all(is_digit) {
                    return Err(IdError::Digit);
                }
                Ok(Self(text.to_owned()))
            }
        }

        text_id!($name);
    };
}

/// A container's identifier, as its engine gives it: Porthole's own, Docker's and the other OCI
/// engines' are 64 hexadecimal digits, LXC's and systemd-nspawn's are names. 1 to 128 bytes of
/// letters, digits, `_`, `.` and `-`, the first a letter or a digit: it is no path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// How many random bytes make one of Porthole's own.
    pub const BYTES: usize = 32;

    /// The longest in bytes.
    pub const LIMIT: usize = 128;

    /// The identifier of Porthole's own that these random bytes are.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(hex(&bytes))
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Digits are shortened to twelve, as `docker ps` shows them; a name is not shortened.
    pub fn short(&self) -> &str {
        if self.is_digits() {
            &self.0[..12]
        } else {
            &self.0
        }
    }

    /// Whether it has the form of Porthole's own: 64 hexadecimal digits, as other engines' have too.
    pub fn is_digits(&self) -> bool {
        self.0.len() == Self::BYTES * 2 && self.0.bytes().all(is_digit)
    }
}

impl FromStr for ContainerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let fits = (1..=Self::LIMIT).contains(&text.len())
            && text.as_bytes()[0].is_ascii_alphanumeric()
            && text.bytes().all(inner);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Name)
        }
    }
}

text_id!(ContainerId);

hex_id!(
    /// A session's identifier: 32 hexadecimal digits.
    SessionId,
    16
);

hex_id!(
    /// An import's identifier: 32 hexadecimal digits, chosen by who asks for it.
    ImportId,
    16
);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A process as the PID namespace that the keeper runs in numbers it.
    HostPid,
    i32
);
number!(
    /// A process as the innermost PID namespace that it is in numbers it.
    ContainerPid,
    i32
);
number!(
    /// The inode of a namespace on nsfs: the number in `pid:[4026531836]`, see namespaces(7).
    NamespaceInode,
    u64
);
number!(
    /// A place in a session's output, counted in bytes from its beginning over all streams.
    Seq,
    u64
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_writes() {
        let id = SessionId::from_bytes([0xa5; 16]);
        assert_eq!(id.as_str(), "a5".repeat(16));
        assert_eq!(id.as_str().parse::<SessionId>(), Ok(id));
    }

    #[test]
    fn a_path_is_no_id() {
        assert_eq!(
            "../x".parse::<SessionId>(),
            Err(IdError::Length {
                expected: 32,
                found: 4
            })
        );
        assert_eq!(
            "../../../../../../etc/passwd0123".parse::<SessionId>(),
            Err(IdError::Digit)
        );
        assert_eq!("A5".repeat(16).parse::<SessionId>(), Err(IdError::Digit));
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "-a",
            ".a",
            "a b",
            "a\0",
            "é",
            &"a".repeat(129),
        ] {
            assert_eq!(bad.parse::<ContainerId>(), Err(IdError::Name), "{bad:?}");
        }
    }

    #[test]
    fn a_containers_id_is_digits_or_a_name() {
        let own = ContainerId::from_bytes([0xa5; 32]);
        assert!(own.is_digits());
        assert_eq!(own.short(), "a5a5a5a5a5a5");
        for name in ["web", "none-812-99120", "a_b.c", "deadbeef"] {
            let id: ContainerId = name.parse().expect("a name");
            assert!(!id.is_digits());
            assert_eq!(id.short(), name);
        }
    }
}
