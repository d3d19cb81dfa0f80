//! User namespaces: maps, owner, what lies above.

use std::convert::Infallible;

use porthole_protocol::container::IdRange;
use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::inspection::{MappedRange, User};
use porthole_protocol::namespace::NamespaceType;
use porthole_sys::nsfs;
use porthole_sys::process::{SingleThreaded, exit, fork};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, fstat};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::target::{Target, enter};
use super::{Step, Trouble, scan};
use crate::parse;

/// A map has 340 lines at most, user_namespaces(7).
const MAP_LIMIT: usize = 64 * 1024;

pub(super) fn read(target: &Target, alone: SingleThreaded) -> Result<User, Trouble> {
    let (namespace, open) = target.namespace(NamespaceType::User)?;
    let ancestors = ancestors(open.as_fd());
    let maps = match target {
        Target::Process(process) => Maps::of(process.identity.pid)?,
        _ => Maps::of_empty(open.as_fd(), alone)?,
    };
    let parent = match ancestors.first() {
        // What is mapped to the initial one is mapped to the host.
        Some(parent) if ancestors.len() > 1 => scan::leaders(NamespaceType::User)?
            .get(parent)
            .and_then(|leader| Maps::of(*leader).ok()),
        _ => None,
    };
    let direct = ancestors.len() <= 1;
    let ranges = |own: &[IdRange], above: Option<&Vec<IdRange>>| {
        own.iter()
            .map(|IdRange(inside, outside, count)| MappedRange {
                inside: *inside,
                parent: if direct {
                    Some(*outside)
                } else {
                    above.and_then(|map| parse::inside(map, *outside))
                },
                outside: *outside,
                count: *count,
            })
            .collect()
    };
    Ok(User {
        namespace,
        level: u32::try_from(ancestors.len()).unwrap_or(u32::MAX),
        owner_uid: nsfs::owner_uid(&open).ok(),
        uid_map: ranges(&maps.users, parent.as_ref().map(|maps| &maps.users)),
        gid_map: ranges(&maps.groups, parent.as_ref().map(|maps| &maps.groups)),
        setgroups: maps.setgroups,
        ancestors,
    })
}

/// The namespaces above an open PID or user namespace, its parent first.
pub(super) fn ancestors(open: BorrowedFd<'_>) -> Vec<NamespaceInode> {
    // The kernel allows 32 levels.
    const LEVELS: usize = 33;
    let mut found = Vec::new();
    let mut above: Option<OwnedFd> = nsfs::parent(open).ok();
    while let Some(open) = above.take()
        && found.len() < LEVELS
    {
        found.extend(fstat(&open).map(|status| NamespaceInode(status.st_ino)));
        above = nsfs::parent(&open).ok();
    }
    found
}

/// The maps of a user namespace, to the host's ids.
#[derive(Debug, Default)]
pub(super) struct Maps {
    pub(super) users: Vec<IdRange>,
    pub(super) groups: Vec<IdRange>,
    setgroups: Option<bool>,
}

impl Maps {
    /// Of the namespace that a process is in. Read from the initial namespace the kernel tells the
    /// host's ids, however deep it lies.
    pub(super) fn of(pid: HostPid) -> Result<Self, Trouble> {
        let file = |name: &str| scan::whole(CWD, format!("/proc/{pid}/{name}"), MAP_LIMIT);
        let map = |name: &str| {
            let bytes = file(name).map_err(|_| Trouble::ProcessGone(pid))?;
            Ok(parse::id_map(&bytes).unwrap_or_default())
        };
        Ok(Self {
            users: map("uid_map")?,
            groups: map("gid_map")?,
            setgroups: match file("setgroups").ok().as_deref() {
                Some(b"allow\n") => Some(true),
                Some(b"deny\n") => Some(false),
                _ => None,
            },
        })
    }

    /// Of one that nobody is in: a child enters it and waits until its maps are read.
    fn of_empty(open: BorrowedFd<'_>, alone: SingleThreaded) -> Result<Self, Trouble> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(Trouble::of(Step::Visit));
        let (entered, enters) = pipe()?;
        let (waits, ends) = pipe()?;
        let child = fork(alone, |forked| -> Infallible {
            let kept = [open, enters.as_fd(), waits.as_fd()];
            let ready = forked.close_all_but(&kept).is_ok()
                && enter(NamespaceType::User, open).is_ok()
                // After the change of credentials, which takes it away.
                && set_parent_process_death_signal(Some(Signal::KILL)).is_ok()
                && rustix::io::write(&enters, b"!").is_ok();
            if ready {
                let _ = rustix::io::read(&waits, &mut [0; 1]);
            }
            exit(0)
        })
        .map_err(|error| {
            let errno = rustix::io::Errno::from_io_error(&error);
            Trouble::of(Step::Visit)(errno.unwrap_or(rustix::io::Errno::AGAIN))
        })?;
        drop((enters, waits));
        let came = matches!(rustix::io::read(&entered, &mut [0; 1]), Ok(1));
        let maps = came.then(|| Self::of(HostPid(child.pid)));
        drop(ends);
        maps.ok_or(Trouble::Unfit("the user namespace cannot be entered"))?
    }
}
