//! Namespaces as `/proc` has them: links that say their inodes, and files of nsfs.

use porthole_protocol::id::NamespaceInode;
use rustix::fd::AsFd;
use rustix::fs::{fstat, fstatfs, readlinkat_raw};

use crate::parse;

/// `NSFS_MAGIC` of `linux/magic.h`.
const NSFS: i64 = 0x6e73_6673;

/// The inode in what a link of `/proc/PID/ns` says.
pub(crate) fn inode_at(at: impl AsFd, link: &str) -> Option<NamespaceInode> {
    let mut name = [0; 64];
    let length = readlinkat_raw(at, link, &mut name).ok()?;
    parse::namespace(&name[..length])
}

/// The inode of an open namespace.
pub(crate) fn inode_of(namespace: impl AsFd) -> Option<NamespaceInode> {
    let status = fstat(namespace).ok()?;
    Some(NamespaceInode(status.st_ino))
}

/// Whether something open, be it only by reference, is this namespace.
pub(crate) fn is_namespace(open: impl AsFd, inode: NamespaceInode) -> bool {
    fstatfs(&open).is_ok_and(|system| system.f_type == NSFS) && inode_of(&open) == Some(inode)
}
