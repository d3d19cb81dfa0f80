//! A container of an engine.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::EndpointId;
use crate::container::{RestartPolicy, Timestamp};
use crate::engine::Engine;
use crate::id::{ContainerId, HostPid};

/// What a container does, as its engine says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It has never run.
    Created,
    /// It runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// It has ended, and the engine is about to start it again.
    Restarting,
    /// It is being stopped.
    Stopping,
    /// It is being removed.
    Removing,
    /// It has ended.
    Exited,
    /// Its removal has failed.
    Dead,
    /// The engine has not said.
    Unknown,
}

impl RunState {
    /// Its word in JSON, on screen and in CSS.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }

    /// Whether its processes are there.
    pub const fn has_processes(self) -> bool {
        matches!(
            self,
            Self::Running | Self::Paused | Self::Stopping | Self::Removing
        )
    }
}

/// A container, as its engine knows it. Texts are the engine's own, shortened where they are longer
/// than [`TEXT_LIMIT`]; lists have at most [`LIST_LIMIT`] entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineContainer {
    /// Which engine.
    pub endpoint: EndpointId,
    /// What that is.
    pub engine: Engine,
    /// Its identifier there.
    pub id: ContainerId,
    /// Its name, without the `/` that Docker writes before it.
    pub name: String,
    /// What it was made of, as who made it named that.
    pub image: String,
    /// The image's identifier, `sha256:` and 64 digits; Podman leaves the `sha256:` out.
    pub image_id: String,
    /// What it does.
    pub state: RunState,
    /// How it last ended; `None` while it runs and before it ever ran.
    pub exit_code: Option<i32>,
    /// Its last end was the kernel's, for want of memory.
    pub oom_killed: bool,
    /// Why it could not be started, in the engine's words.
    pub error: Option<String>,
    /// Its first process on the host while it runs.
    pub pid: Option<HostPid>,
    /// What its health check found.
    pub health: Option<Health>,
    /// What was written on it.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// When it last ended.
    pub finished_at: Option<Timestamp>,
    /// How often the engine has started it again.
    pub restarts: u32,
    /// When the engine starts it again by itself.
    pub restart_policy: RestartPolicy,
    /// The arguments, `CMD`.
    pub command: Vec<String>,
    /// What stands before them.
    pub entrypoint: Vec<String>,
    /// Its variables.
    pub env: Environment,
    /// The directory that its command starts in; empty: the image's, or `/`.
    pub workdir: String,
    /// Whom its command runs as, `name`, `uid` or with `:group`; empty: root.
    pub user: String,
    /// Its host name.
    pub hostname: String,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether it is nearly as mighty as the host's root.
    pub privileged: bool,
    /// Ports, those that only the image names among them.
    pub ports: Vec<Port>,
    /// Networks that it is in.
    pub networks: Vec<Network>,
    /// What is mounted into it.
    pub mounts: Vec<Mount>,
    /// The Compose project and service that it belongs to.
    pub compose: Option<Compose>,
    /// The Podman pod that it belongs to.
    pub pod: Option<String>,
    /// Something was left out of this because it was too much.
    pub clipped: bool,
}

/// The longest text in bytes.
pub const TEXT_LIMIT: usize = 16 * 1024;

/// The longest list.
pub const LIST_LIMIT: usize = 512;

/// Variables of a container, `NAME=value`. They often hold passwords: who gets to see them is the
/// server's to decide, and they never show in debugging output.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(pub Vec<String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} variables)", self.0.len())
    }
}

/// What a health check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Health {
    Starting,
    Healthy,
    Unhealthy,
}

/// A port of a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Inside.
    pub container: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Where the host listens for it; `None` where it is not published.
    pub host: Option<HostPort>,
}

/// Where the host listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostPort {
    /// Its address; empty: all of them.
    pub address: String,
    /// The port.
    pub port: u16,
}

/// A container's place in a network of its engine's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Network {
    /// The network.
    pub name: String,
    /// The container's addresses in it, with prefix length; none while it does not run.
    pub addresses: Vec<String>,
    /// Its hardware address.
    pub mac: Option<String>,
    /// Where the network goes out.
    pub gateway: Option<String>,
}

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mount {
    /// `bind`, `volume`, `tmpfs`, …
    pub kind: String,
    /// A volume's name.
    pub name: Option<String>,
    /// On the host.
    pub source: String,
    /// In the container.
    pub destination: String,
    /// Whether the container can write to it.
    pub writable: bool,
}

/// Where a container stands in a Compose project, by its labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Compose {
    /// The project.
    pub project: String,
    /// The service.
    pub service: Option<String>,
}
