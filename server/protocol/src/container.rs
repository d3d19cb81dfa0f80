//! A container: what is asked for, and what it became.
//!
//! A [`ContainerSpec`] can only be made of valid parts: each field's type checks itself while it
//! is parsed, at the API and again in the keeper.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::id::{ContainerId, HostPid, NamespaceInode};
use crate::namespace::{Isolation, NamespaceType, PerNamespace};
use crate::session::Exit;

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

/// What a container may use. `None` takes Porthole's default, never "no limit".
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory in bytes; default 512 MiB.
    pub memory: Option<u64>,
    /// Swap in bytes beyond the memory; default 0.
    pub swap: Option<u64>,
    /// A number of cores, fractions allowed; default 1.
    pub cpus: Option<f64>,
    /// Processes and threads; default 256.
    pub pids: Option<u32>,
}

impl Limits {
    /// Memory in bytes where none is asked for.
    pub const DEFAULT_MEMORY: u64 = 512 * 1024 * 1024;
    /// Cores where none are asked for.
    pub const DEFAULT_CPUS: f64 = 1.0;
    /// Processes where none are asked for.
    pub const DEFAULT_PIDS: u32 = 256;

    /// The first field whose value no kernel takes, with the reason.
    pub fn check(&self) -> Result<(), (&'static str, Invalid)> {
        if self
            .memory
            .is_some_and(|m| !(4 << 20..=1 << 50).contains(&m))
        {
            return Err((
                "limits.memory",
                Invalid("memory is given in bytes, at least 4 MiB (4194304)"),
            ));
        }
        if self.swap.is_some_and(|s| s > 1 << 50) {
            return Err((
                "limits.swap",
                Invalid("swap is given in bytes, at most 1 PiB"),
            ));
        }
        if self.cpus.is_some_and(|c| !(0.01..=1024.0).contains(&c)) {
            return Err((
                "limits.cpus",
                Invalid("cpus is a number of cores between 0.01 and 1024"),
            ));
        }
        if self.pids.is_some_and(|p| !(1..=4_194_304).contains(&p)) {
            return Err((
                "limits.pids",
                Invalid("pids is a number of processes between 1 and 4194304"),
            ));
        }
        Ok(())
    }
}

/// Where a container's namespace of one type comes from: `own`, `host` or `container:REF`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NamespaceChoice {
    /// A new one.
    #[default]
    Own,
    /// The host's.
    Host,
    /// That of another container, by id or name.
    Container(String),
}

impl TryFrom<String> for NamespaceChoice {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        match text.as_str() {
            "own" => Ok(Self::Own),
            "host" => Ok(Self::Host),
            _ => match text.strip_prefix("container:") {
                Some(reference) if !reference.is_empty() => {
                    Ok(Self::Container(reference.to_owned()))
                }
                _ => Err(Invalid(
                    "a namespace is \"own\", \"host\" or \"container:\" and a name",
                )),
            },
        }
    }
}

impl From<NamespaceChoice> for String {
    fn from(choice: NamespaceChoice) -> String {
        match choice {
            NamespaceChoice::Own => "own".to_owned(),
            NamespaceChoice::Host => "host".to_owned(),
            NamespaceChoice::Container(reference) => format!("container:{reference}"),
        }
    }
}

/// How far the clocks of a container's time namespace are from the host's, in whole seconds,
/// see time_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeOffset {
    /// Added to `CLOCK_MONOTONIC`.
    pub monotonic: i64,
    /// Added to `CLOCK_BOOTTIME`.
    pub boottime: i64,
}

const fn yes() -> bool {
    true
}

/// What a container is to be. The body of `POST /api/v1/containers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerSpec {
    /// Unique among the containers of this Porthole; made up where it is not given.
    #[serde(default)]
    pub name: Option<ContainerName>,
    /// The image that its root file system comes from.
    pub image: ImageName,
    /// Arguments of the entry point, or the command where there is none. Empty: the image's.
    #[serde(default)]
    pub command: Vec<Argument>,
    /// What `command` is handed to. Empty: the image's.
    #[serde(default)]
    pub entrypoint: Vec<Argument>,
    /// Added to the image's environment.
    #[serde(default)]
    pub env: BTreeMap<EnvName, Argument>,
    /// Where its command starts.
    #[serde(default)]
    pub workdir: Option<AbsolutePath>,
    /// Whom its command runs as.
    #[serde(default)]
    pub user: Option<UserSpec>,
    /// Its host name; its name or the first twelve digits of its id where it is not given.
    #[serde(default)]
    pub hostname: Option<Hostname>,
    /// Whether its command gets a terminal.
    #[serde(default)]
    pub tty: bool,
    /// Whether PID 1 is Porthole's small reaping init, with the command as its child.
    #[serde(default = "yes")]
    pub init: bool,
    /// For people and programs to find it by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// Where its namespaces come from. Own where not given, but for `time`: the host's.
    #[serde(default)]
    pub namespaces: BTreeMap<NamespaceType, NamespaceChoice>,
    /// Gives it a time namespace of its own with these offsets.
    #[serde(default)]
    pub time_offset: Option<TimeOffset>,
    /// Whether to start it at once.
    #[serde(default = "yes")]
    pub start: bool,
}

impl ContainerSpec {
    /// Words of a command line taken together, and variables taken together, may be this long.
    pub const WORDS: usize = 48 * 1024;

    /// Where its namespace of this type comes from.
    pub fn namespace(&self, kind: NamespaceType) -> NamespaceChoice {
        match self.namespaces.get(&kind) {
            Some(choice) => choice.clone(),
            None if kind == NamespaceType::Time && self.time_offset.is_none() => {
                NamespaceChoice::Host
            }
            None => NamespaceChoice::Own,
        }
    }

    /// Checks what no single field can check: the first field that is wrong, and why.
    pub fn check(&self) -> Result<(), (&'static str, Invalid)> {
        self.limits.check()?;
        if self.time_offset.is_some() && self.namespace(NamespaceType::Time) != NamespaceChoice::Own
        {
            return Err((
                "time_offset",
                Invalid("clocks can differ only in a time namespace of its own"),
            ));
        }
        let words: usize = self
            .command
            .iter()
            .chain(&self.entrypoint)
            .map(|w| w.as_str().len() + 1)
            .sum();
        let variables: usize = self
            .env
            .iter()
            .map(|(k, v)| k.as_str().len() + v.as_str().len() + 2)
            .sum();
        if words + variables > Self::WORDS {
            return Err((
                "command",
                Invalid("command and environment have at most 49152 bytes together"),
            ));
        }
        if self.labels.len() > 64
            || self
                .labels
                .iter()
                .any(|(k, v)| k.is_empty() || k.len() > 128 || v.len() > 1024)
        {
            return Err((
                "labels",
                Invalid("at most 64 labels, names of 1 to 128 bytes, values of at most 1024"),
            ));
        }
        Ok(())
    }
}

/// A moment: milliseconds since 1970. In JSON it is RFC 3339 in UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(pub u64);

impl Timestamp {
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
        // Beyond the year 9999 RFC 3339 has no form; nothing here gets that old.
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.min(253_402_300_799_999));
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

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// It never ran, or its last start failed (`error` says why).
    Created,
    /// Its init runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its init has ended.
    Exited,
    /// What became of it could not be found out.
    Unknown,
}

impl ContainerState {
    /// Its word in JSON, on screen and in CSS.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Exited => "exited",
            Self::Unknown => "unknown",
        }
    }
}

/// One line of `/proc/PID/uid_map`: first id inside, first id outside, how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdRange(pub u32, pub u32, pub u32);

impl IdRange {
    /// The outer id of an inner one, `None` where this range does not hold it.
    pub fn outside(&self, inside: u32) -> Option<u32> {
        let offset = inside.checked_sub(self.0)?;
        (offset < self.2).then(|| self.1 + offset)
    }

    /// The inner id of an outer one, `None` where this range does not hold it.
    pub fn inside(&self, outside: u32) -> Option<u32> {
        let offset = outside.checked_sub(self.1)?;
        (offset < self.2).then(|| self.0 + offset)
    }
}

/// One of a container's eight namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerNamespace {
    /// `None` while the container does not run.
    pub inode: Option<NamespaceInode>,
    /// Whose it is.
    pub isolation: Isolation,
    /// The other containers in it.
    #[serde(default)]
    pub shared_with: Vec<ContainerId>,
}

/// A container as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its identifier.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// Who made it.
    pub engine: Engine,
    /// The account that it belongs to.
    pub owner: Owner,
    /// What was asked for, with the defaults that are in force filled in.
    pub spec: ContainerSpec,
    /// What it is doing.
    pub state: ContainerState,
    /// Why its last start failed.
    pub error: Option<String>,
    /// Its init.
    pub pid: Option<HostPid>,
    /// How its last run ended.
    pub exit: Option<Exit>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// When its last run ended.
    pub finished_at: Option<Timestamp>,
    /// Its eight namespaces.
    pub namespaces: PerNamespace<ContainerNamespace>,
    /// Its user ids.
    pub uid_map: Vec<IdRange>,
    /// Its group ids.
    pub gid_map: Vec<IdRange>,
    /// Its group in the cgroup2 tree, from that tree's root.
    pub cgroup: Option<String>,
}

/// An image that containers can be made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its name.
    pub name: ImageName,
    /// What it is, for people.
    pub description: String,
    /// The command of a container that names none.
    pub command: Vec<Argument>,
    /// Why no container can be made of it on this machine, and what to do.
    pub unavailable: Option<String>,
}

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

    #[test]
    fn digits_are_never_a_name() {
        assert_eq!("0".parse(), Ok(NameOrId::Id(0)));
        for bad in ["4294967296", "0 ", "-1", "", "65536", "+1", "0x0"] {
            assert!(bad.parse::<NameOrId>().is_err(), "{bad:?}");
        }
        let both: UserSpec = "www-data:4".parse().expect("valid");
        assert_eq!(both.to_string(), "www-data:4");
    }

    #[test]
    fn a_smallest_spec_takes_the_defaults() {
        let spec: ContainerSpec = serde_json::from_str(r#"{"image":"host"}"#).expect("valid");
        assert!(spec.init && spec.start && !spec.tty);
        assert_eq!(spec.namespace(NamespaceType::Net), NamespaceChoice::Own);
        assert_eq!(spec.namespace(NamespaceType::Time), NamespaceChoice::Host);
        assert_eq!(spec.check(), Ok(()));
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = serde_json::from_str::<ContainerSpec>(r#"{"image":"host","privileged":true}"#)
            .expect_err("refused");
        assert!(error.to_string().contains("privileged"), "{error}");
    }

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
