//! Freezing all processes of a container, in the cgroup2 tree.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::Failure;
use rustix::fs::{Mode, OFlags, openat};

use super::{Cgroups, write};
use crate::step::{Step, StepError};

/// A container whose processes have been told to stand still. Its descriptor is ready, as epoll(7)
/// says by EPOLLPRI, when something of that has changed since [`Freezing::is_done`] was asked.
#[derive(Debug)]
pub struct Freezing(OwnedFd);

/// `cgroup.events` has two short lines.
const EVENTS_LIMIT: usize = 256;

impl Cgroups {
    /// Stops every process of a container until [`Cgroups::thaw`]. The kernel does that in its own
    /// time: one that waits for a device stops only after that.
    pub fn freeze(&self, id: &ContainerId) -> Result<Freezing, Failure> {
        let group = self
            .open(&self.unified, &[id.as_str()])
            .map_err(super::lost)?;
        let events = openat(
            &group,
            "cgroup.events",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| StepError::new((Step::OpenCgroup, "cgroup.events"), errno))?;
        write(&group, "cgroup.freeze", "1", Step::FreezeCgroup)?;
        Ok(Freezing(events))
    }

    /// Lets a container's processes go on. Without effect on one that is not frozen.
    pub fn thaw(&self, id: &ContainerId) -> Result<(), Failure> {
        match self.try_open(&self.unified, &[id.as_str()])? {
            Some(group) => Ok(write(&group, "cgroup.freeze", "0", Step::ThawCgroup)?),
            None => Ok(()),
        }
    }

    /// Whether a container's processes have been told to stand still.
    pub fn is_frozen(&self, id: &ContainerId) -> bool {
        let told = |group: &OwnedFd| super::read(group, "cgroup.freeze", Step::ReadCgroup);
        match self.try_open(&self.unified, &[id.as_str()]) {
            Ok(Some(group)) => told(&group).is_ok_and(|text| text.trim() == "1"),
            Ok(None) | Err(_) => false,
        }
    }
}

impl Freezing {
    /// Whether every process stands still.
    pub fn is_done(&self) -> Result<bool, Failure> {
        let mut text = [0; EVENTS_LIMIT];
        let length = rustix::io::pread(&self.0, &mut text, 0)
            .map_err(|errno| StepError::new((Step::ReadCgroup, "cgroup.events"), errno))?;
        Ok(text[..length]
            .split(|byte| *byte == b'\n')
            .any(|line| line == b"frozen 1"))
    }
}

impl AsFd for Freezing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
