//! Memory that a container uses, and processes of it that were killed for want of it.

use std::os::fd::OwnedFd;

use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use rustix::io::Errno;

use super::{Cgroups, Controller, read};
use crate::step::{Step, StepError};

/// A field of a file whose lines are a name and a number.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.strip_prefix(' ')?;
        value.trim().parse().ok()
    })
}

/// The files of a version of the memory controller.
struct Files {
    limit: &'static str,
    used: &'static str,
    /// Where the field `oom_kill` is.
    events: &'static str,
    /// Fields of `memory.stat` whose memory the kernel takes back when it is short.
    spare: [&'static str; 2],
}

const UNIFIED: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    events: "memory.events",
    spare: ["inactive_file", "active_file"],
};

const LEGACY: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    events: "memory.oom_control",
    spare: ["total_inactive_file", "total_active_file"],
};

impl Cgroups {
    /// The limit of memory at which the kernel has killed a process of the container, if it has;
    /// since the container was last started, whose groups are made anew each time.
    pub fn out_of_memory(&self, id: &ContainerId) -> Option<u64> {
        let (group, files) = self.memory_group(id)?;
        let text = |name| read(&group, name, Step::ReadCgroup).ok();
        let killed = field(&text(files.events)?, "oom_kill")?;
        let limit = text(files.limit)?;
        (killed > 0).then(|| limit.trim().parse().unwrap_or(u64::MAX))
    }

    /// The container's group where memory is limited.
    fn memory_group(&self, id: &ContainerId) -> Option<(OwnedFd, Files)> {
        let tree = self
            .trees()
            .find(|tree| tree.controllers.contains(&Controller::Memory))?;
        let group = self.open(tree, &[id.as_str()]).ok()?;
        let unified = std::ptr::eq(tree, &raw const self.unified);
        Some((group, if unified { UNIFIED } else { LEGACY }))
    }

    /// Refuses a limit that is less than what is used and cannot be taken back: cgroup2 would kill
    /// processes to get there.
    pub(super) fn check_memory(&self, id: &ContainerId, limit: u64) -> Result<(), Failure> {
        let Some((group, files)) = self.memory_group(id) else {
            return Ok(());
        };
        let used = read(&group, files.used, Step::ReadCgroup)?;
        let used: u64 = used.trim().parse().unwrap_or(0);
        let stat = read(&group, "memory.stat", Step::ReadCgroup)?;
        let spare = files.spare.iter().filter_map(|name| field(&stat, name));
        let needed = used.saturating_sub(spare.sum());
        if needed > limit {
            return Err(too_little(needed, limit));
        }
        Ok(())
    }
}

/// What the kernel says by EBUSY where it cannot take so much back.
pub(super) fn refused(error: StepError, limit: u64) -> Failure {
    if error.is(Errno::BUSY) {
        Failure::new(
            FailureCode::Invalid,
            format!(
                "the container uses more than {} MiB of memory now, and the kernel cannot take so much back: choose a higher limit, or let it use less first",
                limit >> 20
            ),
        )
        .field("limits.memory")
        .stage(Stage::Cgroup)
    } else {
        super::lost(error)
    }
}

fn too_little(needed: u64, limit: u64) -> Failure {
    Failure::new(
        FailureCode::Invalid,
        format!(
            "the container uses {} MiB of memory now, which is more than {} MiB: choose a higher limit, or let it use less first",
            needed >> 20,
            limit >> 20
        ),
    )
    .field("limits.memory")
    .stage(Stage::Cgroup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field(text, "oom_kill"), Some(3));
        assert_eq!(field(text, "under_oom"), Some(0));
        assert_eq!(field(text, "oom"), None);
        assert_eq!(field("", "oom_kill"), None);
    }
}
