//! Reading `/proc`: each file once, relative to the directory of its process, into one buffer.
//!
//! The descriptor of `/proc/PID` names one process for good: once that is gone, what is read
//! through it fails, and never comes from a later process with the same number.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use porthole_protocol::container::{IdRange, Timestamp};
use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::namespace::{NamespaceSet, NamespaceType, PerNamespace};
use porthole_protocol::observation::Process;
use porthole_sys::nsfs;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, RawDir, fstat, open, openat};
use rustix::io::{Errno, read};
use rustix::path::DecInt;
use rustix::time::{ClockId, clock_gettime};

use crate::groups::Groups;
use crate::links::{inode_at, inode_of};
use crate::networks::Networks;
use crate::recognise::Group;
use crate::{Settings, parse, printable};

/// Holds every file that is read here but for a status with thousands of groups.
const BUFFER: usize = 16 * 1024;

/// The kernel's first thread, in the first PID namespace.
const KTHREADD: HostPid = HostPid(2);

/// No file is read beyond this. 65,536 groups, the most that a process can have, make a status
/// of 700 KiB.
const FILE_LIMIT: usize = 1024 * 1024;

/// So many milliseconds make a change of the clock one that counts.
const CLOCK_SET: u64 = 1000;

/// A process as it was read, with the means to ask more about it.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Its ids inside are not filled in: they need the maps of its user namespace.
    pub(crate) process: Process,
    /// Its control group.
    pub(crate) group: Arc<Group>,
    /// Its directory in `/proc`.
    pub(crate) directory: OwnedFd,
}

/// What became of a look at a process.
#[derive(Debug)]
pub(crate) enum Look {
    /// It is there.
    Found(Box<Reading>),
    /// There is no such process.
    Gone,
    /// It could not be read this time (no memory, no descriptor); nothing is known.
    Unclear,
}

/// A namespace and what it hangs from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) kind: NamespaceType,
    pub(crate) inode: NamespaceInode,
    pub(crate) owner: Option<NamespaceInode>,
    pub(crate) parent: Option<NamespaceInode>,
    /// Who made it, of a user namespace.
    pub(crate) owner_uid: Option<u32>,
    /// What this process's network namespace calls it, of one that is of this type too.
    pub(crate) netnsid: Option<i32>,
}

/// The maps of a user namespace, for users and for groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct IdMaps {
    pub(crate) users: Vec<IdRange>,
    pub(crate) groups: Vec<IdRange>,
}

/// The reader of one `/proc`.
#[derive(Debug)]
pub(crate) struct Reader {
    proc: OwnedFd,
    /// This process.
    pub(crate) me: HostPid,
    buffer: Vec<u8>,
    /// Those of kthreadd, the parent of the kernel's threads, once it has been read.
    of_kernel: Option<NamespaceSet>,
    groups: Groups,
    page: u64,
    ticks_per_second: u64,
    networks: Networks,
    /// The moment of the boot, in milliseconds since 1970, by the clock as it is set.
    boot: u64,
}

impl Reader {
    /// Opens `/proc`.
    pub(crate) fn open(settings: &Settings) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = open("/proc", flags, Mode::empty())?;
        Ok(Self {
            proc,
            me: HostPid(std::process::id().cast_signed()),
            buffer: vec![0; BUFFER],
            of_kernel: None,
            groups: Groups::new(settings),
            page: rustix::param::page_size() as u64,
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            networks: Networks::open(),
            boot: boot(),
        })
    }

    /// The numbers of all processes.
    pub(crate) fn list(&self) -> Result<Vec<HostPid>, Errno> {
        // A description of its own, so that its position is the beginning.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(&self.proc, ".", flags, Mode::empty())?;
        let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
        let mut entries = RawDir::new(directory, &mut buffer);
        let mut pids = Vec::with_capacity(1024);
        while let Some(entry) = entries.next() {
            pids.extend(parse::pid(entry?.file_name().to_bytes()).map(HostPid));
        }
        Ok(pids)
    }

    /// The namespaces that the host began with: those of its first process. Where these may not
    /// be read, those of the kernel's threads, which nobody can move; else the reader's own.
    pub(crate) fn initial(&mut self) -> NamespaceSet {
        let _ = self.process(KTHREADD);
        let who: &[&str] = match self.of_kernel {
            Some(_) => &["1", "2", "self"],
            None => &["1", "self"],
        };
        PerNamespace::build(|kind| {
            who.iter()
                .find_map(|who| inode_at(self.proc.as_fd(), &format!("{who}/ns/{}", kind.name())))
        })
    }

    /// Reads a process.
    pub(crate) fn look(&mut self, pid: HostPid) -> Look {
        match self.process(pid) {
            Ok(Some(reading)) => Look::Found(Box::new(reading)),
            Err(Errno::NOENT | Errno::SRCH) => Look::Gone,
            Ok(None) | Err(_) => Look::Unclear,
        }
    }

    fn process(&mut self, pid: HostPid) -> Result<Option<Reading>, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(&self.proc, DecInt::new(pid.0), flags, Mode::empty())?;
        let at = directory.as_fd();
        // The directory of a process belongs to its effective ids, dumpable or not
        // (task_dump_owner in fs/proc/base.c).
        let owner = fstat(at)?;
        let length = read_file(at, "stat", &mut self.buffer)?;
        let Some(stat) = parse::stat(&self.buffer[..length]) else {
            return Ok(None);
        };
        self.boot = follow_clock(self.boot, boot());
        let kernel = stat.kernel;
        let read = |kind| inode_at(at, path_of(kind));
        let namespaces = match self.of_kernel {
            // The kernel's threads are in the namespaces of the one that makes them, without a way
            // out but for one (devtmpfs, drivers/base/devtmpfs.c), which has other mounts.
            Some(of_kernel) if kernel && stat.parent == KTHREADD.0 => NamespaceSet {
                mnt: read(NamespaceType::Mnt),
                ..of_kernel
            },
            // Whose mount namespace shows shows the others that the kernel has; a zombie has left
            // all, and of one that may not be asked no link may be read.
            _ => match read(NamespaceType::Mnt) {
                Some(mnt) => PerNamespace::build(|kind| match kind {
                    NamespaceType::Mnt => Some(mnt),
                    _ => read(kind),
                }),
                None => NamespaceSet::default(),
            },
        };
        let mut process = Process {
            host_pid: pid,
            pids: vec![pid.0],
            parent: (stat.parent > 0).then_some(HostPid(stat.parent)),
            uid: owner.st_uid,
            uid_inside: None,
            gid: owner.st_gid,
            gid_inside: None,
            command: printable::line(stat.command),
            args: Vec::new(),
            tty: parse::tty(stat.tty),
            state: stat.state,
            started_at: Timestamp(self.boot + stat.start_ticks * 1000 / self.ticks_per_second),
            start_ticks: stat.start_ticks,
            threads: stat.threads,
            rss: stat.rss_pages * self.page,
            namespaces,
            container: None,
            session: None,
            cgroup: None,
            security: None,
        };
        // A thread of the kernel is in no container, and nothing confines it.
        let group = if kernel {
            if pid == KTHREADD {
                self.of_kernel = Some(namespaces);
            }
            self.groups.none()
        } else {
            let length = read_file(at, "status", &mut self.buffer)?;
            let status = parse::status(&self.buffer[..length]);
            process.pids = status.pids.unwrap_or(process.pids);
            process.security = status.security;
            let length = unless_gone(read_file(at, "cgroup", &mut self.buffer))?;
            self.groups.of(&self.buffer[..length])
        };
        process.cgroup.clone_from(&group.path);
        process.session.clone_from(&group.session);
        Ok(Some(Reading {
            process,
            group,
            directory,
        }))
    }

    /// What its network namespace calls others.
    pub(crate) const fn networks(&self) -> &Networks {
        &self.networks
    }

    /// The namespace of this type that a process is in.
    pub(crate) fn namespace_of(&self, pid: HostPid, kind: NamespaceType) -> Option<NamespaceInode> {
        inode_at(self.proc(), &format!("{pid}/{}", path_of(kind)))
    }

    /// The directory of all processes.
    pub(crate) fn proc(&self) -> BorrowedFd<'_> {
        self.proc.as_fd()
    }

    /// Forgets what only ended processes were in.
    pub(crate) fn tidy(&mut self) {
        self.groups.tidy();
    }

    /// What the namespace of this type hangs from that the process is in, and what that hangs
    /// from in turn, as far as it is not `known`. `None` if the process has left it meanwhile.
    pub(crate) fn relations(
        &self,
        directory: &OwnedFd,
        kind: NamespaceType,
        inode: NamespaceInode,
        known: impl Fn(NamespaceInode) -> bool,
    ) -> Option<Vec<Relation>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = openat(directory, path_of(kind), flags, Mode::empty()).ok()?;
        if inode_of(&namespace)? != inode {
            return None;
        }
        Some(self.relations_of(namespace, kind, inode, known))
    }

    /// What this open namespace hangs from, and what that hangs from in turn, as far as it is not
    /// `known`.
    pub(crate) fn relations_of(
        &self,
        namespace: OwnedFd,
        kind: NamespaceType,
        inode: NamespaceInode,
        known: impl Fn(NamespaceInode) -> bool,
    ) -> Vec<Relation> {
        let mut found = Vec::new();
        // The kernel allows 32 levels of PID and user namespaces each.
        let mut open = vec![(kind, inode, namespace)];
        while let Some((kind, inode, namespace)) = open.pop() {
            let mut hang = |kind, from: std::io::Result<OwnedFd>| {
                let from = from.ok()?;
                let inode = inode_of(&from)?;
                if !known(inode) {
                    open.push((kind, inode, from));
                }
                Some(inode)
            };
            let owner = hang(NamespaceType::User, nsfs::owner(&namespace));
            let parent = match kind {
                // The owner of a user namespace is its parent.
                NamespaceType::User => owner,
                NamespaceType::Pid => hang(NamespaceType::Pid, nsfs::parent(&namespace)),
                _ => None,
            };
            let is_user = kind == NamespaceType::User;
            let owner_uid = is_user.then(|| nsfs::owner_uid(&namespace).ok()).flatten();
            if found.iter().all(|r: &Relation| r.inode != inode) {
                found.push(Relation {
                    kind,
                    inode,
                    owner,
                    parent,
                    owner_uid,
                    netnsid: (kind == NamespaceType::Net)
                        .then(|| self.networks.number_of(&namespace))
                        .flatten(),
                });
            }
        }
        found
    }

    /// The maps of the user namespace that the process is in. `None` if it cannot be told now;
    /// empty while they are not written.
    pub(crate) fn id_maps(&mut self, directory: &OwnedFd) -> Option<IdMaps> {
        let at = directory.as_fd();
        let length = read_file(at, "uid_map", &mut self.buffer).ok()?;
        let users = parse::id_map(&self.buffer[..length])?;
        let length = read_file(at, "gid_map", &mut self.buffer).ok()?;
        let groups = parse::id_map(&self.buffer[..length])?;
        Some(IdMaps { users, groups })
    }
}

/// Its link's path from the directory of a process.
pub(crate) const fn path_of(kind: NamespaceType) -> &'static str {
    match kind {
        NamespaceType::Mnt => "ns/mnt",
        NamespaceType::Uts => "ns/uts",
        NamespaceType::Ipc => "ns/ipc",
        NamespaceType::Pid => "ns/pid",
        NamespaceType::Net => "ns/net",
        NamespaceType::User => "ns/user",
        NamespaceType::Cgroup => "ns/cgroup",
        NamespaceType::Time => "ns/time",
    }
}

/// A file that may not be read is as good as an empty one, as long as the process is there.
fn unless_gone(read: Result<usize, Errno>) -> Result<usize, Errno> {
    match read {
        Err(errno) if !matches!(errno, Errno::NOENT | Errno::SRCH) => Ok(0),
        other => other,
    }
}

/// Reads a file whole: these are made at the first read, so that one read of a buffer that is
/// not filled has all of it.
pub(crate) fn read_file(
    at: BorrowedFd<'_>,
    name: &str,
    buffer: &mut Vec<u8>,
) -> Result<usize, Errno> {
    let file = openat(at, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut length = read(&file, &mut buffer[..])?;
    while length == buffer.len() && length < FILE_LIMIT {
        buffer.resize(length * 2, 0);
        length += read(&file, &mut buffer[length..])?;
    }
    Ok(length)
}

/// The moment of the boot by now, where it was `before`: another one only where the clock has been
/// set, since the two clocks are not read at once, and what has not changed is not told again. When
/// it has been set, processes are told as by the new time from when they are read next.
const fn follow_clock(before: u64, now: u64) -> u64 {
    if now.abs_diff(before) < CLOCK_SET {
        before
    } else {
        now
    }
}

/// The moment of the boot: what the clock shows less what has passed.
fn boot() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let passed = clock_gettime(ClockId::Boottime);
    let passed = passed.tv_sec * 1000 + passed.tv_nsec / 1_000_000;
    (now.as_millis() as u64).saturating_sub(passed.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_moves_where_the_clock_was_set_and_not_where_it_is_only_read() {
        const BOOT: u64 = 1_700_000_000_000;
        for jitter in [BOOT - 999, BOOT - 1, BOOT, BOOT + 1, BOOT + 999] {
            assert_eq!(follow_clock(BOOT, jitter), BOOT);
        }
        for set in [BOOT - 3_600_000, BOOT - 1000, BOOT + 1000, BOOT + 3_600_000] {
            assert_eq!(follow_clock(BOOT, set), set);
        }
    }
}
