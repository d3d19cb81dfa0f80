//! System V IPC and POSIX message queues.

use std::ffi::CStr;

use porthole_protocol::id::HostPid;
use porthole_protocol::inspection::{
    Ipc, IpcObject, MessageQueue, PosixQueue, SemaphoreSet, Setting, SharedMemory,
};
use porthole_protocol::namespace::NamespaceType;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::budget::Budget;
use super::target::Target;
use super::{Trouble, scan};
use crate::printable;

/// A list is not read beyond this.
const LIST_LIMIT: usize = 8 * 1024 * 1024;

/// So many POSIX queues are asked.
const QUEUES: usize = 1024;

/// `SHM_DEST` of `linux/shm.h`.
const REMOVED: u32 = 0o1000;

/// What is set for each IPC namespace, ipc_namespaces(7): below `/proc/sys`.
const SETTINGS: [&str; 13] = [
    "kernel/shmmax",
    "kernel/shmall",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "fs/mqueue/queues_max",
    "fs/mqueue/msg_max",
    "fs/mqueue/msgsize_max",
    "fs/mqueue/msg_default",
    "fs/mqueue/msgsize_default",
];

pub(super) fn read(target: &Target) -> Result<Ipc, Trouble> {
    let namespace = target.enter(NamespaceType::Ipc)?;
    let mut budget = Budget::new();
    let mut notes = Vec::new();
    let mut rows = |name: &str| {
        scan::whole(CWD, format!("/proc/sysvipc/{name}"), LIST_LIMIT).unwrap_or_else(|errno| {
            notes.push(format!("/proc/sysvipc/{name} cannot be read: {errno}."));
            Vec::new()
        })
    };
    let (messages, semaphores, shared) = (rows("msg"), rows("sem"), rows("shm"));
    let posix = posix_queues().unwrap_or_else(|errno| {
        notes.push(format!("POSIX message queues cannot be read: {errno}."));
        Vec::new()
    });
    Ok(Ipc {
        namespace,
        queues: budget.take(4, lines(&messages).filter_map(|line| queue(&line))),
        semaphores: budget.take(3, lines(&semaphores).filter_map(|line| set(&line))),
        segments: budget.take(2, lines(&shared).filter_map(|line| segment(&line))),
        posix_queues: budget.take(1, posix),
        limits: SETTINGS.iter().filter_map(|name| setting(name)).collect(),
        notes,
    })
}

fn setting(name: &str) -> Option<Setting> {
    let value = scan::host_text(&format!("/proc/sys/{name}")).ok()?;
    Some(Setting {
        name: name.replace('/', "."),
        value: value.split_whitespace().collect::<Vec<_>>().join(" "),
    })
}

/// The words of each line but the first, which are titles; proc_sysvipc(5).
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Vec<&str>> {
    str::from_utf8(bytes)
        .unwrap_or_default()
        .lines()
        .skip(1)
        .map(|line| line.split_ascii_whitespace().collect())
}

fn number(words: &[&str], place: usize) -> Option<u64> {
    words.get(place)?.parse().ok()
}

fn small(words: &[&str], place: usize) -> Option<u32> {
    words.get(place)?.parse().ok()
}

/// 0 stands for nobody yet, or for one of another PID namespace.
fn pid(words: &[&str], place: usize) -> Option<HostPid> {
    let pid: i32 = words.get(place)?.parse().ok()?;
    (pid > 0).then_some(HostPid(pid))
}

/// What all three have: the place of their four ids and of the time of the last change differs.
fn object(words: &[&str], ids: usize, changed: usize) -> Option<(IpcObject, u32)> {
    // The key is printed as a signed number.
    let key: i32 = words.first()?.parse().ok()?;
    let mode = u32::from_str_radix(words.get(2)?, 8).ok()?;
    let object = IpcObject {
        key: key.cast_unsigned(),
        id: words.get(1)?.parse().ok()?,
        permissions: u16::try_from(mode & 0o777).unwrap_or(0),
        uid: small(words, ids)?,
        gid: small(words, ids + 1)?,
        creator_uid: small(words, ids + 2)?,
        creator_gid: small(words, ids + 3)?,
        changed_at: number(words, changed)?,
    };
    Some((object, mode))
}

pub(super) fn queue(words: &[&str]) -> Option<MessageQueue> {
    Some(MessageQueue {
        object: object(words, 7, 13)?.0,
        bytes: number(words, 3)?,
        messages: number(words, 4)?,
        last_sender: pid(words, 5),
        last_receiver: pid(words, 6),
    })
}

pub(super) fn set(words: &[&str]) -> Option<SemaphoreSet> {
    Some(SemaphoreSet {
        object: object(words, 4, 9)?.0,
        semaphores: number(words, 3)?,
        operated_at: number(words, 8)?,
    })
}

pub(super) fn segment(words: &[&str]) -> Option<SharedMemory> {
    let (object, mode) = object(words, 7, 13)?;
    Some(SharedMemory {
        object,
        size: number(words, 3)?,
        creator: pid(words, 4),
        last: pid(words, 5),
        attached: number(words, 6)?,
        resident: number(words, 14)?,
        swapped: number(words, 15)?,
        removed: mode & REMOVED != 0,
    })
}

/// An mqueue file system shows the queues of the IPC namespace that it was mounted in; this one is
/// attached nowhere and goes with its descriptor.
fn posix_queues() -> Result<Vec<PosixQueue>, Errno> {
    let context = fsopen("mqueue", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let root = fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )?;
    let mut queues = Vec::new();
    scan::names(&root, |name| {
        queues.extend(posix_queue(&root, name).ok().flatten());
        queues.len() < QUEUES
    })?;
    queues.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(queues)
}

fn posix_queue(root: &OwnedFd, name: &CStr) -> Result<Option<PosixQueue>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let queue = openat(root, name, flags, Mode::empty())?;
    let status = fstat(&queue)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    // `QSIZE:129  NOTIFY:2  SIGNO:0  NOTIFY_PID:8260`, mq_overview(7).
    let text = scan::rest(&queue, 4096)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let field = |title: &str| {
        let (_, rest) = text.split_once(title)?;
        rest.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    let attributes = porthole_sys::mqueue::attributes(&queue).ok();
    Ok(Some(PosixQueue {
        name: format!("/{}", printable::line(name.to_bytes())),
        uid: status.st_uid,
        gid: status.st_gid,
        permissions: u16::try_from(status.st_mode & 0o777).unwrap_or(0),
        bytes: field("QSIZE:").unwrap_or(0),
        messages: attributes.map(|all| all.messages),
        most_messages: attributes.map(|all| all.most_messages),
        longest: attributes.map(|all| all.longest),
        notifies: field("NOTIFY_PID:")
            .and_then(|pid| i32::try_from(pid).ok())
            .filter(|pid| *pid > 0)
            .map(HostPid),
    }))
}
