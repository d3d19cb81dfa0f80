//! Whether a container holds anything back from its root: a session in one that does not is as
//! good as a root shell of the machine, whatever it is confined by.

use std::os::fd::AsFd;

use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::namespace::{NamespaceSet, NamespaceType};
use rustix::io::Errno;

use super::facts::Facts;
use crate::confinement::CAPABILITIES;

/// A directory as nothing else is: its file system and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Directory(u64, u64);

impl Directory {
    pub(crate) fn of(open: impl AsFd) -> Result<Self, Errno> {
        let status = rustix::fs::fstat(open)?;
        Ok(Self(status.st_dev, status.st_ino))
    }

    /// The root directory of whoever calls.
    pub(crate) fn root() -> Result<Self, Errno> {
        let status = rustix::fs::stat("/")?;
        Ok(Self(status.st_dev, status.st_ino))
    }
}

/// Where the mount namespace of init begins at the machine's root directory, and init has another
/// one: chroot(2) keeps nobody in who may call it too.
pub(crate) const CHANGED_ROOT: &str = "its first process has only changed its root directory, and the machine's own files are around it";

/// What is said where [`reason`] has one, and root's policy does not let that be.
pub(crate) fn refusal(why: &str) -> Failure {
    Failure::new(
        FailureCode::Forbidden,
        format!(
            "this container holds hardly anything back: {why}. Whoever joins it as its init is can be root of the machine; root's policy allows it by join_privileged = true"
        ),
    )
    .stage(Stage::Identity)
}

/// Why a session that is confined as this init is would hardly be confined; `None` where it is. A
/// sentence's end.
pub(crate) fn reason(
    facts: &Facts,
    namespaces: &NamespaceSet,
    host: &NamespaceSet,
    machines_root: bool,
) -> Option<String> {
    let hosts = |kind| namespaces.get(kind) == host.get(kind);
    // A mount namespace alone, as unshare(1) makes it, takes no file away.
    if hosts(NamespaceType::Mnt) || machines_root {
        return Some("it has the machine's own files".to_owned());
    }
    if hosts(NamespaceType::Pid) {
        return Some("it is among the machine's own processes".to_owned());
    }
    let maps_root = facts.uid_map.iter().any(|range| range.inside(0).is_some());
    if !hosts(NamespaceType::User) && !maps_root {
        // What it has of capabilities ends at its user namespace, and no user in it is root outside.
        return None;
    }
    let more = facts.status.bounding & !CAPABILITIES.bits();
    if more != 0 {
        return Some(format!(
            "its root is the machine's, with more than Docker's default capabilities ({more:#x} beyond them)"
        ));
    }
    (facts.status.seccomp == 0)
        .then(|| "its root is the machine's, and no system call is filtered".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Label, Status};
    use super::*;
    use porthole_protocol::container::IdRange;
    use porthole_protocol::id::NamespaceInode;
    use porthole_protocol::namespace::PerNamespace;

    fn docker() -> (Facts, NamespaceSet, NamespaceSet) {
        let host = PerNamespace::build(|kind| Some(NamespaceInode(kind as u64)));
        let mut own = PerNamespace::build(|kind| Some(NamespaceInode(100 + kind as u64)));
        own.user = host.user;
        own.time = host.time;
        let facts = Facts {
            status: Status {
                bounding: CAPABILITIES.bits(),
                seccomp: 2,
                ..Status::default()
            },
            uid_map: vec![IdRange(0, 0, u32::MAX)],
            gid_map: vec![IdRange(0, 0, u32::MAX)],
            limits: Vec::new(),
            oom_score_adj: 0,
            label: Label::None,
            environment: None,
            workdir: None,
        };
        (facts, own, host)
    }

    #[test]
    fn dockers_defaults_hold_something_back() {
        let (facts, own, host) = docker();
        assert_eq!(reason(&facts, &own, &host, false), None);
    }

    #[test]
    fn whatever_takes_a_wall_away_is_told() {
        let (facts, own, host) = docker();
        for kind in [NamespaceType::Mnt, NamespaceType::Pid] {
            let mut shared = own;
            *shared.get_mut(kind) = *host.get(kind);
            assert!(reason(&facts, &shared, &host, false).is_some(), "{kind}");
        }
        assert!(reason(&facts, &own, &host, true).is_some(), "its root");
        let mut unfiltered = facts.clone();
        unfiltered.status.seccomp = 0;
        assert!(reason(&unfiltered, &own, &host, false).is_some());
        let mut capable = facts.clone();
        capable.status.bounding |= 1 << 21;
        assert!(
            reason(&capable, &own, &host, false)
                .expect("a reason")
                .contains("0x200000")
        );
        // All of that ends at a user namespace, unless the machine's root is in it.
        let mut users = own;
        users.user = Some(NamespaceInode(7));
        capable.status.seccomp = 0;
        assert!(reason(&capable, &users, &host, false).is_some());
        capable.uid_map = vec![IdRange(0, 100_000, 65_536)];
        assert_eq!(reason(&capable, &users, &host, false), None);
    }
}
