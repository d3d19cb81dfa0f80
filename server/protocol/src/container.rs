//! A container: what is asked for, and what it became.
//!
//! A [`ContainerSpec`] can only be made of valid parts: each field's type checks itself while it
//! is parsed, at the API and again in the keeper.

mod moment;
mod network;
mod restart;
mod signal;
mod spec;
mod text;
mod user;

use serde::{Deserialize, Serialize};

pub use self::moment::Timestamp;
pub use self::network::{ContainerNetwork, NetworkChoice, Publish, Transport};
pub use self::restart::RestartPolicy;
pub use self::signal::Signal;
pub use self::spec::{Change, ContainerSpec, Limits, NamespaceChoice, TimeOffset};
pub use self::text::{
    AbsolutePath, Argument, ContainerName, EnvName, Hostname, ImageName, Invalid, Owner,
};
pub use self::user::{NameOrId, UserSpec};
use crate::engine::Engine;
use crate::id::{ContainerId, HostPid, NamespaceInode};
use crate::image::{Digest, StoredImage};
use crate::namespace::{Isolation, PerNamespace};
use crate::session::Exit;

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
    /// The imported image that it was made of, whatever that is called by now.
    #[serde(default)]
    pub image_id: Option<Digest>,
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
    /// How often it was started again by its restart policy, since a person started it.
    #[serde(default)]
    pub restarts: u32,
    /// When its restart policy starts it again.
    #[serde(default)]
    pub restart_at: Option<Timestamp>,
    /// Its eight namespaces.
    pub namespaces: PerNamespace<ContainerNamespace>,
    /// Its user ids.
    pub uid_map: Vec<IdRange>,
    /// Its group ids.
    pub gid_map: Vec<IdRange>,
    /// Its group in the cgroup2 tree, from that tree's root.
    pub cgroup: Option<String>,
    /// Where it is on the bridge, if that is its network and it was started once.
    #[serde(default)]
    pub network: Option<ContainerNetwork>,
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
    /// Where it was imported: what is known of it.
    #[serde(default)]
    pub stored: Option<Box<StoredImage>>,
}
