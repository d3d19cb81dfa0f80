//! Control groups: limits, what belongs to a container or a session, and ending all of it.

use porthole_protocol::container::Limits;
use porthole_protocol::id::{ContainerId, SessionId};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};

/// The groups of one instance of Porthole in every hierarchy that this machine has.
#[derive(Debug)]
pub struct Cgroups {
    instance: String,
}

impl Cgroups {
    /// Looks at how this machine has its control groups. `instance` is eight hexadecimal digits of
    /// a hash of the instance's root directory: its directory is `porthole-<instance>`, below the
    /// group that the caller is in. Also answers what is lacking, in sentences for people.
    /// Makes no directory.
    pub fn detect(instance: &str) -> Result<(Self, Vec<String>), Failure> {
        Ok((
            Self {
                instance: format!("porthole-{instance}"),
            },
            Vec::new(),
        ))
    }

    /// On a machine with cgroup2 alone, moves the caller into a leaf of its own, so that the group
    /// above may hand controllers to containers. `serve` calls it before it starts anything; does
    /// nothing where that is not needed.
    pub fn move_to_leaf() -> Result<(), Failure> {
        Ok(())
    }

    /// Makes a container's groups and sets its limits. What is left of earlier ones is used again.
    pub fn create(&self, _id: &ContainerId, _limits: &Limits) -> Result<(), Failure> {
        Err(unfinished())
    }

    /// Removes a container's groups, its sessions' and, after the last container, the instance's.
    /// Kills what is still in them. It is no error that there are none.
    pub fn remove(&self, _id: &ContainerId) -> Result<(), Failure> {
        Err(unfinished())
    }

    /// Makes a session's group below its container's, in the cgroup2 tree.
    pub fn create_session(&self, _id: &ContainerId, _session: &SessionId) -> Result<(), Failure> {
        Err(unfinished())
    }

    /// Removes a session's group once it is empty; `false` while processes are in it.
    pub fn remove_session(&self, _id: &ContainerId, _session: &SessionId) -> Result<bool, Failure> {
        Err(unfinished())
    }

    /// Kills every process of a container, its sessions' too, after thawing them.
    pub fn kill(&self, _id: &ContainerId) -> Result<(), Failure> {
        Err(unfinished())
    }

    /// Kills every process of a session, what it left in the background too.
    pub fn kill_session(&self, _id: &ContainerId, _session: &SessionId) -> Result<(), Failure> {
        Err(unfinished())
    }

    /// Stops every process of a container until [`Cgroups::thaw`].
    pub fn freeze(&self, _id: &ContainerId) -> Result<(), Failure> {
        Err(unfinished())
    }

    /// Lets a container's processes go on. Without effect on one that is not frozen.
    pub fn thaw(&self, _id: &ContainerId) -> Result<(), Failure> {
        Err(unfinished())
    }

    /// The container's group in the cgroup2 tree, from that tree's root.
    pub fn path(&self, id: &ContainerId) -> String {
        format!("/{}/{id}", self.instance)
    }
}

fn unfinished() -> Failure {
    Failure::new(FailureCode::Internal, "not built yet").stage(Stage::Cgroup)
}
