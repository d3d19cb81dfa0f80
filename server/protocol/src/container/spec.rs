//! What a container is asked to be.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    AbsolutePath, Argument, ContainerName, EnvName, Hostname, ImageName, Invalid, NetworkChoice,
    Publish, RestartPolicy, Signal, UserSpec,
};
use crate::namespace::NamespaceType;

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
    /// These, and where they say nothing, those.
    #[must_use]
    pub fn or(self, those: Self) -> Self {
        Self {
            memory: self.memory.or(those.memory),
            swap: self.swap.or(those.swap),
            cpus: self.cpus.or(those.cpus),
            pids: self.pids.or(those.pids),
        }
    }

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
    /// When it is started again after it has ended.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Whether it is removed, with everything of it, when it has ended.
    #[serde(default)]
    pub auto_remove: bool,
    /// What asks it to end; SIGTERM where nothing is given.
    #[serde(default)]
    pub stop_signal: Option<Signal>,
    /// How many seconds it has to end by itself; 10 where nothing is given.
    #[serde(default)]
    pub stop_timeout: Option<f64>,
    /// What it is connected to. Not given: root's bridge where there is one, else nothing.
    #[serde(default)]
    pub network: Option<NetworkChoice>,
    /// Ports of the machine that lead to it.
    #[serde(default)]
    pub publish: Vec<Publish>,
    /// Name servers. None: the machine's.
    #[serde(default)]
    pub dns: Vec<IpAddr>,
    /// Whether to start it at once.
    #[serde(default = "yes")]
    pub start: bool,
}

/// What of a container can be changed after it was made. `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Change {
    /// Its name.
    pub name: Option<ContainerName>,
    /// What it may use; of these too `None` stays as it is.
    pub limits: Limits,
    /// When it is started again.
    pub restart: Option<RestartPolicy>,
}

impl ContainerSpec {
    /// Words of a command line taken together, and variables taken together, may be this long.
    pub const WORDS: usize = 48 * 1024;

    /// The longest time that it can have to end by itself, in seconds.
    pub const LONGEST_STOP: f64 = 3600.0;

    /// Where its namespace of this type comes from.
    pub fn namespace(&self, kind: NamespaceType) -> NamespaceChoice {
        match self.namespaces.get(&kind) {
            Some(choice) => choice.clone(),
            None if kind == NamespaceType::Net => match &self.network {
                Some(NetworkChoice::Host) => NamespaceChoice::Host,
                Some(NetworkChoice::Container(reference)) => {
                    NamespaceChoice::Container(reference.clone())
                }
                Some(NetworkChoice::Bridge | NetworkChoice::None) | None => NamespaceChoice::Own,
            },
            None if kind == NamespaceType::Time && self.time_offset.is_none() => {
                NamespaceChoice::Host
            }
            None => NamespaceChoice::Own,
        }
    }

    /// Checks that what is said of its network is said once.
    fn check_network(&self) -> Result<(), (&'static str, Invalid)> {
        let namespace = self.namespaces.get(&NamespaceType::Net);
        let agree = match (&self.network, namespace) {
            (None, _) | (_, None) => true,
            (Some(NetworkChoice::Host), Some(choice)) => *choice == NamespaceChoice::Host,
            (Some(NetworkChoice::Container(one)), Some(NamespaceChoice::Container(other))) => {
                one == other
            }
            (Some(NetworkChoice::Bridge | NetworkChoice::None), Some(choice)) => {
                *choice == NamespaceChoice::Own
            }
            (Some(_), Some(_)) => false,
        };
        if !agree {
            return Err((
                "network",
                Invalid("network and namespaces.net say different things; leave one of them out"),
            ));
        }
        let own = self.namespace(NamespaceType::Net) == NamespaceChoice::Own
            && self.network != Some(NetworkChoice::None);
        if !own && !self.publish.is_empty() {
            return Err((
                "publish",
                Invalid("ports are published of a container whose network is the bridge"),
            ));
        }
        if !own && !self.dns.is_empty() {
            return Err((
                "dns",
                Invalid("name servers are set of a container whose network is the bridge"),
            ));
        }
        if self.dns.len() > 3 {
            return Err(("dns", Invalid("nobody asks more than three name servers")));
        }
        Publish::check(&self.publish).map_err(|why| ("publish", why))
    }

    /// Checks what no single field can check: the first field that is wrong, and why.
    pub fn check(&self) -> Result<(), (&'static str, Invalid)> {
        self.limits.check()?;
        self.check_network()?;
        if self.time_offset.is_some() && self.namespace(NamespaceType::Time) != NamespaceChoice::Own
        {
            return Err((
                "time_offset",
                Invalid("clocks can differ only in a time namespace of its own"),
            ));
        }
        self.check_life()?;
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

    /// Checks what it says of the container's end.
    pub fn check_life(&self) -> Result<(), (&'static str, Invalid)> {
        if self.auto_remove && self.restart != RestartPolicy::No {
            return Err((
                "restart",
                Invalid(
                    "a container that is removed when it ends cannot be started again: choose one of auto_remove and restart",
                ),
            ));
        }
        let longest = 0.0..=Self::LONGEST_STOP;
        if self.stop_timeout.is_some_and(|t| !longest.contains(&t)) {
            return Err((
                "stop_timeout",
                Invalid("stop_timeout is a number of seconds between 0 and 3600"),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smallest_spec_takes_the_defaults() {
        let spec: ContainerSpec = serde_json::from_str(r#"{"image":"host"}"#).expect("valid");
        assert!(spec.init && spec.start && !spec.tty);
        assert_eq!(spec.namespace(NamespaceType::Net), NamespaceChoice::Own);
        assert_eq!(spec.namespace(NamespaceType::Time), NamespaceChoice::Host);
        assert_eq!(spec.check(), Ok(()));
    }

    #[test]
    fn a_network_is_said_once() {
        let spec = |json: &str| serde_json::from_str::<ContainerSpec>(json).expect("a spec");
        let host = spec(r#"{"image":"host","network":"host"}"#);
        assert_eq!(host.namespace(NamespaceType::Net), NamespaceChoice::Host);
        let shared =
            spec(r#"{"image":"host","network":"container:a","namespaces":{"net":"container:a"}}"#);
        assert_eq!(shared.check(), Ok(()));
        for (field, json) in [
            (
                "network",
                r#"{"image":"host","network":"host","namespaces":{"net":"own"}}"#,
            ),
            (
                "network",
                r#"{"image":"host","network":"bridge","namespaces":{"net":"host"}}"#,
            ),
            (
                "network",
                r#"{"image":"host","network":"container:a","namespaces":{"net":"container:b"}}"#,
            ),
            (
                "publish",
                r#"{"image":"host","network":"none","publish":[{"host_port":80,"container_port":80}]}"#,
            ),
            (
                "dns",
                r#"{"image":"host","network":"host","dns":["192.0.2.1"]}"#,
            ),
        ] {
            let (found, _) = spec(json).check().expect_err(json);
            assert_eq!(found, field, "{json}");
        }
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = serde_json::from_str::<ContainerSpec>(r#"{"image":"host","privileged":true}"#)
            .expect_err("refused");
        assert!(error.to_string().contains("privileged"), "{error}");
    }
}
