//! Which processes there are, and who of them is in which namespace.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::namespace::NamespaceType;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, RawDir, open, openat};
use rustix::io::{Errno, read};

use super::{Step, Trouble};
use crate::links::inode_at;
use crate::parse;
use crate::procfs::path_of;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// The names in an open directory, `.` and `..` left out, until `each` answers false.
pub(super) fn names(
    directory: impl AsFd,
    mut each: impl FnMut(&std::ffi::CStr) -> bool,
) -> Result<(), Errno> {
    // A description of its own, so that its position is the beginning.
    let directory = openat(directory, ".", DIRECTORY, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") && !each(name) {
            break;
        }
    }
    Ok(())
}

/// The numbers of all processes.
pub(super) fn pids() -> Result<Vec<HostPid>, Trouble> {
    let failed = || Trouble::at(Step::ReadProcess, "/proc");
    let proc = open("/proc", DIRECTORY, Mode::empty()).map_err(failed())?;
    let mut pids = Vec::new();
    names(&proc, |name| {
        pids.extend(parse::pid(name.to_bytes()).map(HostPid));
        true
    })
    .map_err(failed())?;
    Ok(pids)
}

/// The namespace of this type that a process is in.
pub(super) fn namespace_of(pid: HostPid, kind: NamespaceType) -> Option<NamespaceInode> {
    inode_at(CWD, &format!("/proc/{pid}/{}", path_of(kind)))
}

/// The namespace of this type that this process is in: until it has entered another, the host's.
pub(super) fn own(kind: NamespaceType) -> Option<NamespaceInode> {
    namespace_of(HostPid(std::process::id().cast_signed()), kind)
}

/// Every namespace of this type with a process in it, and the lowest number of those.
pub(super) fn leaders(kind: NamespaceType) -> Result<BTreeMap<NamespaceInode, HostPid>, Trouble> {
    let mut leaders = BTreeMap::new();
    for pid in pids()? {
        if let Some(inode) = namespace_of(pid, kind) {
            let leader = leaders.entry(inode).or_insert(pid);
            *leader = (*leader).min(pid);
        }
    }
    Ok(leaders)
}

/// A file whole, but for what lies beyond `limit` bytes.
pub(super) fn whole(
    at: impl AsFd,
    path: impl rustix::path::Arg,
    limit: usize,
) -> Result<Vec<u8>, Errno> {
    let file = openat(at, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rest(&file, limit)
}

/// What is left to read of an open file, at most `limit` bytes.
pub(super) fn rest(file: &OwnedFd, limit: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    loop {
        let length = bytes.len();
        if length >= limit {
            return Ok(bytes);
        }
        bytes.resize((length + 64 * 1024).min(limit), 0);
        match read(file, &mut bytes[length..]) {
            Ok(0) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Ok(count) => bytes.truncate(length + count),
            Err(Errno::INTR) => bytes.truncate(length),
            Err(errno) => return Err(errno),
        }
    }
}

/// The same of a path of the host's, as text.
pub(super) fn host_text(path: &str) -> Result<String, Errno> {
    let bytes = whole(CWD, path, 1024 * 1024)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
