//! What keeps namespaces alive beside the processes in them: descriptors, mounts, threads that are
//! elsewhere than their process, and what only children will be in. Nothing tells when any of it
//! comes about, so all are looked for again and again, within a budget.
//!
//! - A process's descriptors, threads and what is for its children are read when it is first seen, a
//!   second after anything happened to it (most that are born do not live that long), and with each
//!   correction: at most [`DESCRIPTORS`] and [`THREADS`] of one, and threads only where there is more
//!   than one. Of whom a thread holds something is read each second: most are soon back.
//! - The mounts of the namespace that the observer's own first process is in tell when they change.
//!   Those of others are read when one is first seen, a second after anything happened to a process
//!   in it, and with each correction.
//! - All of that together may look at [`BUDGET`] links and lines a second, about a hundredth of a
//!   processor. What is left over waits for the next second.
//!
//! Where the namespace found is not known, it is opened to ask what it hangs from, with nothing
//! that could make this wait or do something: what a descriptor or a path leads to is first only
//! referred to (`O_PATH`), and a path is followed without symbolic links and from what the kernel
//! has in memory (`RESOLVE_CACHED`), so that no FUSE or network file system is asked.

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::namespace::{NamespaceSet, NamespaceType};
use porthole_protocol::observation::Process;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, RawDir, ResolveFlags, openat, openat2, readlinkat_raw};
use rustix::io::{Errno, read};
use rustix::path::DecInt;

use crate::host::Host;
use crate::links::{inode_at, is_namespace};
use crate::model::{By, Held, Mounted, Way};
use crate::procfs::path_of;
use crate::{parse, printable};

/// So many descriptors of a process are looked at.
const DESCRIPTORS: usize = 4096;

/// So many threads of a process are looked at.
const THREADS: usize = 1024;

/// The types that a thread alone can be in: who has threads cannot enter or make a user or time
/// namespace, and a PID namespace is for children (unshare(2), setns(2)).
const OF_THREADS: [NamespaceType; 5] = [
    NamespaceType::Mnt,
    NamespaceType::Uts,
    NamespaceType::Ipc,
    NamespaceType::Net,
    NamespaceType::Cgroup,
];

/// So many links and lines may be looked at in a second.
const BUDGET: usize = 10_000;

/// What opening a process's table or a file of mounts costs in links.
const OPENING: usize = 8;

/// So many network namespaces are asked at a time what they are called.
const NUMBERED: usize = 1000;

/// How long after something happened to a process.
const PACE: Duration = Duration::from_secs(1);

/// How soon after one change of mounts another is looked at.
const MOUNT_PACE: Duration = Duration::from_millis(100);

/// No list of mounts is read beyond this.
const MOUNTS_LIMIT: usize = 4 * 1024 * 1024;

/// How many bytes of a mount's path are told.
const PATH_LIMIT: usize = 512;

/// Who is to be looked at.
#[derive(Debug)]
pub(crate) struct Holders {
    /// Something happened to them within the last second.
    young: BTreeSet<HostPid>,
    due: BTreeSet<HostPid>,
    due_mounts: BTreeSet<NamespaceInode>,
    /// The first process's mounts, which tell when they change.
    watched: Option<OwnedFd>,
    watched_next: Instant,
    next: Instant,
    budget: usize,
}

impl Holders {
    /// Nobody was looked at yet.
    pub(crate) fn new(host: &Host) -> Self {
        let now = Instant::now();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Self {
            young: BTreeSet::new(),
            due: BTreeSet::new(),
            due_mounts: BTreeSet::new(),
            watched: openat(host.reader.proc(), "1/mountinfo", flags, Mode::empty()).ok(),
            watched_next: now,
            next: now + PACE,
            budget: BUDGET,
        }
    }

    /// Something happened to this process.
    pub(crate) fn touch(&mut self, pid: HostPid) {
        self.young.insert(pid);
    }

    /// Everybody is to be looked at.
    pub(crate) fn doubt(&mut self, host: &Host) {
        self.due.extend(host.model.pids());
        self.due_mounts.extend(host.model.mount_namespaces());
    }

    /// Tells when mounts change (POLLPRI), if it may be asked yet.
    pub(crate) fn watched(&self, now: Instant) -> Option<BorrowedFd<'_>> {
        (self.watched_next <= now).then(|| self.watched.as_ref().map(AsFd::as_fd))?
    }

    /// The mounts of the first process have changed.
    pub(crate) fn mounts_changed(&mut self, host: &mut Host, now: Instant) {
        self.watched_next = now + MOUNT_PACE;
        let initial = host.model.initial().mnt;
        if let Some(initial) = initial {
            look_at_mounts(host, initial);
        }
    }

    /// When there is something to do.
    pub(crate) fn next(&self, now: Instant) -> Instant {
        let watched = Some(self.watched_next).filter(|next| *next > now);
        watched.map_or(self.next, |next| next.min(self.next))
    }

    /// Looks at those that are due, as far as the budget goes.
    pub(crate) fn look(&mut self, host: &mut Host, now: Instant) {
        if now >= self.next {
            self.next = now + PACE;
            self.budget = BUDGET;
            for pid in std::mem::take(&mut self.young) {
                if let Some(process) = host.model.process(pid) {
                    let mnt = process.namespaces.mnt;
                    self.due_mounts
                        .extend(mnt.filter(|mnt| host.model.initial().mnt != Some(*mnt)));
                    self.due.insert(pid);
                }
            }
        }
        // Some at a time, so that no event waits for long.
        let most = self.budget.min(BUDGET / 20);
        let mut left = most;
        while left > 0
            && let Some(pid) = self.due.pop_first()
        {
            left = left.saturating_sub(look_at_process(host, pid));
            if host.model.holds_by_thread(pid) {
                self.young.insert(pid);
            }
        }
        while left > 0
            && let Some(mnt) = self.due_mounts.pop_first()
        {
            left = left.saturating_sub(look_at_mounts(host, mnt));
        }
        self.budget -= most - left;
    }

    /// Whether somebody is due and may be looked at now.
    pub(crate) fn is_busy(&self) -> bool {
        self.budget > 0 && !(self.due.is_empty() && self.due_mounts.is_empty())
    }
}

/// Looks for the namespaces that a process holds without being in them. Answers how many links that
/// were.
pub(crate) fn look_at_process(host: &mut Host, pid: HostPid) -> usize {
    // Threads of the kernel and zombies have none, but for threads that outlive the first; and our
    // own are open for a moment.
    let has_some = |process: &&Process| {
        process.security.is_some() && (process.state != 'Z' || process.threads > 1)
    };
    let known = host.model.process(pid).filter(has_some);
    let known = known.filter(|_| pid != host.reader.me);
    let flags = PATH | OFlags::DIRECTORY;
    let opened = known.and_then(|process| {
        let directory = openat(host.reader.proc(), DecInt::new(pid.0), flags, Mode::empty());
        Some((directory.ok()?, process))
    });
    let Some((directory, process)) = opened else {
        host.model.hold(pid, Vec::new());
        return 1;
    };
    let (mut held, mut looked) = for_children(&directory, &process.namespaces);
    if process.threads > 1 {
        looked += threads(&directory, pid, &process.namespaces, &mut held);
    }
    looked += descriptors(&directory, &mut held);
    held.sort_unstable_by_key(|held| held.by);
    for held in &held {
        if host.model.is_related(held.kind, held.inode) {
            continue;
        }
        if let Some(link) = held.by.of(pid).link(held.kind) {
            let found = openat(host.reader.proc(), link, PATH, Mode::empty());
            relate(host, held.kind, held.inode, found);
        }
    }
    host.model.hold(pid, held);
    OPENING + looked
}

/// The namespaces that its children will be in and it is not.
fn for_children(directory: &OwnedFd, own: &NamespaceSet) -> (Vec<Held>, usize) {
    let links = [
        (NamespaceType::Pid, "ns/pid_for_children"),
        (NamespaceType::Time, "ns/time_for_children"),
    ];
    let held = links.into_iter().filter_map(|(kind, link)| {
        let inode = own.get(kind).and_then(|_| inode_at(directory, link))?;
        (Some(inode) != *own.get(kind)).then_some(Held {
            kind,
            inode,
            by: By::Children,
        })
    });
    (held.collect(), links.len())
}

/// The namespaces that threads of it are in and it is not.
fn threads(directory: &OwnedFd, pid: HostPid, own: &NamespaceSet, held: &mut Vec<Held>) -> usize {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(tasks) = openat(directory, "task", flags, Mode::empty()) else {
        return 0;
    };
    let mut looked = 0;
    let mut buffer = [MaybeUninit::uninit(); 8 * 1024];
    let mut entries = RawDir::new(&tasks, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let tid = parse::pid(entry.file_name().to_bytes());
        let Some(tid) = tid.filter(|tid| *tid != pid.0) else {
            continue;
        };
        if looked >= THREADS * OF_THREADS.len() {
            break;
        }
        looked += OF_THREADS.len();
        for kind in OF_THREADS {
            if let Some(inode) = inode_at(&tasks, &format!("{tid}/{}", path_of(kind)))
                && Some(inode) != *own.get(kind)
            {
                let by = By::Thread(tid);
                held.push(Held { kind, inode, by });
            }
        }
    }
    looked
}

/// The namespaces that it has open.
fn descriptors(directory: &OwnedFd, held: &mut Vec<Held>) -> usize {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(table) = openat(directory, "fd", flags, Mode::empty()) else {
        return 0;
    };
    let mut looked = 0;
    let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
    let mut entries = RawDir::new(&table, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name();
        if looked >= DESCRIPTORS {
            break;
        }
        let Some(fd) = parse::descriptor(name.to_bytes()) else {
            continue;
        };
        looked += 1;
        let mut link = [0; 64];
        // Every other file's name begins with a slash or is of another kind.
        if let Ok(length) = readlinkat_raw(&table, name, &mut link)
            && let Some((kind, inode)) = parse::namespace_name(&link[..length])
        {
            let by = By::Descriptor(fd);
            held.push(Held { kind, inode, by });
        }
    }
    looked
}

/// Looks for the namespaces that are mounted in this one. Answers how many lines that were.
pub(crate) fn look_at_mounts(host: &mut Host, mnt: NamespaceInode) -> usize {
    let Some(pid) = host.model.leader(mnt) else {
        return 0;
    };
    let Ok(bytes) = mountinfo(host.reader.proc(), pid) else {
        return OPENING;
    };
    let mut mounted = Vec::new();
    for (kind, inode, path) in parse::mounted_namespaces(&bytes) {
        if !host.model.is_related(kind, inode) {
            let found = below_root(host.reader.proc(), pid, &path);
            relate(host, kind, inode, found);
        }
        let mut path = printable::line(&path);
        path.truncate(path.floor_char_boundary(PATH_LIMIT));
        mounted.push(Mounted { kind, inode, path });
    }
    host.model.mount(mnt, mounted);
    OPENING + bytes.iter().filter(|b| **b == b'\n').count()
}

fn mountinfo(proc: BorrowedFd<'_>, pid: HostPid) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(proc, format!("{pid}/mountinfo"), flags, Mode::empty())?;
    let mut bytes = vec![0; 16 * 1024];
    let mut length = 0;
    loop {
        match read(&file, &mut bytes[length..])? {
            0 => break,
            more => length += more,
        }
        if length >= MOUNTS_LIMIT {
            break;
        }
        if bytes.len() - length < 4096 {
            bytes.resize(bytes.len() * 2, 0);
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// What a process sees at this path.
fn below_root(proc: BorrowedFd<'_>, pid: HostPid, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = PATH | OFlags::DIRECTORY;
    let root = openat(proc, format!("{pid}/root"), flags, Mode::empty())?;
    openat2(
        root,
        path,
        PATH | OFlags::NOFOLLOW,
        Mode::empty(),
        ResolveFlags::IN_ROOT
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::CACHED,
    )
}

/// Asks what a namespace hangs from that was found by reference.
fn relate(
    host: &mut Host,
    kind: NamespaceType,
    inode: NamespaceInode,
    found: Result<OwnedFd, Errno>,
) {
    if let Some(open) = open_found(host, inode, found) {
        let known = |other| host.model.is_any_related(other);
        let relations = host.reader.relations_of(open, kind, inode, known);
        host.model.relate(&relations);
    }
}

/// Opens a namespace that was found by reference.
fn open_found(
    host: &Host,
    inode: NamespaceInode,
    found: Result<OwnedFd, Errno>,
) -> Option<OwnedFd> {
    let found = found.ok()?;
    // It may have been replaced by anything meanwhile.
    if !is_namespace(&found, inode) {
        return None;
    }
    let path = format!("self/fd/{}", found.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    openat(host.reader.proc(), path, flags, Mode::empty()).ok()
}

/// Asks for the numbers of network namespaces that have none: they get one when a wire first leads
/// to them, and keep it.
pub(crate) fn number(host: &mut Host) {
    for (inode, way) in host.model.unnumbered().into_iter().take(NUMBERED) {
        let found = match way {
            Way::Link(link) => openat(host.reader.proc(), link, PATH, Mode::empty()),
            Way::Mount(pid, path) => below_root(host.reader.proc(), pid, path.as_bytes()),
        };
        let open = open_found(host, inode, found);
        if let Some(netnsid) = open.and_then(|open| host.reader.networks().number_of(open)) {
            host.model.number(inode, netnsid);
        }
    }
}
