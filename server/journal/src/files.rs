//! The two files of a journal in their directory.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// The output's file name.
const OUTPUT: &str = "output";

/// The index's file name.
const INDEX: &str = "index";

/// A journal's files, open for reading and writing.
#[derive(Debug)]
pub struct Files {
    /// The bytes.
    pub journal: File,
    /// The records about them.
    pub index: File,
}

impl Files {
    /// The same files under new descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            journal: self.journal.try_clone()?,
            index: self.index.try_clone()?,
        })
    }
}

/// Opens the journal in this directory; what is missing is made first. The directory is given
/// mode 0700, the files 0600.
///
/// Not with O_APPEND, which splice(2) refuses.
pub fn create(directory: &Path) -> io::Result<Files> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    open_with(directory, true)
}

/// Opens the journal in this directory.
pub fn open(directory: &Path) -> io::Result<Files> {
    open_with(directory, false)
}

/// Opens the journal in a directory of somebody who is not trusted, below `root`: by no link.
/// What the files are is for the caller to look at.
pub fn open_beneath(root: impl AsFd, directory: &Path) -> io::Result<Files> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // Opened for both, a FIFO too is opened without waiting; NONBLOCK is for a lease, which its owner
    // may hold on to for three quarters of a minute (fcntl(2), F_SETLEASE).
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let one = |name| -> io::Result<File> {
        let path = directory.join(name);
        Ok(openat2(root.as_fd(), path, flags, Mode::empty(), resolve)?.into())
    };
    Ok(Files {
        journal: one(OUTPUT)?,
        index: one(INDEX)?,
    })
}

fn open_with(directory: &Path, create: bool) -> io::Result<Files> {
    let one = |name| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(directory.join(name))
    };
    Ok(Files {
        journal: one(OUTPUT)?,
        index: one(INDEX)?,
    })
}
