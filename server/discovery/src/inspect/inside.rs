//! What a visitor reads inside: files of `/proc` there, which may be anything.
//!
//! By descriptor and by no link, and nothing is opened before it is known of which file system it
//! is, which is told by the number of its mount and not asked of that file system: one of FUSE is
//! the container's and may never answer.

use std::collections::HashMap;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx};
use rustix::io::Errno;

use super::scan;

/// A file that is read inside.
const FILE_LIMIT: usize = 1024 * 1024;

/// The inside, as the visitor sees it.
#[derive(Debug)]
pub(super) struct Inside<'a> {
    root: BorrowedFd<'a>,
    /// The file system of each mount there, by the mount's number.
    mounts: &'a HashMap<u64, String>,
    /// The procfs there, once it has been looked for.
    proc: Proc,
}

/// What is at `/proc` inside.
#[derive(Debug)]
enum Proc {
    /// A procfs, by its mount's root.
    There(OwnedFd),
    /// Something else or nothing, in words; and its file system.
    Not(String, Option<String>),
}

/// What a file of `/proc` inside holds.
#[derive(Debug)]
pub(super) struct Found {
    /// Its text, or why there is none.
    pub(super) text: Result<String, String>,
    /// The file system that it is of where that is no procfs.
    pub(super) through: Option<String>,
}

impl<'a> Inside<'a> {
    /// Below this root, whose mounts are these.
    pub(super) fn new(root: BorrowedFd<'a>, mounts: &'a HashMap<u64, String>) -> Self {
        let proc = Proc::Not(String::new(), None);
        let mut inside = Self { root, mounts, proc };
        inside.proc = inside.find_proc();
        inside
    }

    /// The number of this process in the PID namespace that was entered: the last that was given.
    pub(super) fn own_pid(&self) -> i32 {
        std::process::id().cast_signed()
    }

    /// A file of `/proc` that holds a number.
    pub(super) fn number(&self, file: &str) -> Option<u32> {
        self.file(file).text.ok()?.trim().parse().ok()
    }

    /// A file of `/proc`, by its path from there.
    pub(super) fn file(&self, file: &str) -> Found {
        let proc = match &self.proc {
            Proc::There(proc) => proc,
            Proc::Not(why, through) => {
                return Found {
                    text: Err(why.clone()),
                    through: through.clone(),
                };
            }
        };
        // Read-only parts of a container's /proc are mounts of it upon itself: of procfs too.
        let (directories, name) = file.rsplit_once('/').unwrap_or(("", file));
        let mut inner: Option<OwnedFd> = None;
        for directory in directories.split('/').filter(|name| !name.is_empty()) {
            let at = inner.as_ref().unwrap_or(proc);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match openat2(at, directory, flags, Mode::empty(), BELOW) {
                Ok(open) => match self.fstype(open.as_fd()) {
                    Some(fstype) if fstype == "proc" => inner = Some(open),
                    fstype => return masked(fstype),
                },
                Err(errno) => return Found::not(in_words(errno)),
            }
        }
        self.plain(inner.as_ref().unwrap_or(proc), name)
    }

    /// A file in a directory of procfs.
    fn plain(&self, at: &OwnedFd, name: &str) -> Found {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = |resolve| openat2(at, name, flags, Mode::empty(), resolve);
        // Nothing that is mounted over it: what opens is a file of procfs.
        match open(BELOW | ResolveFlags::NO_XDEV) {
            Ok(open) => Found {
                text: text_of(&open),
                through: None,
            },
            Err(Errno::XDEV) => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let path = openat2(at, name, flags, Mode::empty(), BELOW);
                match path.ok().and_then(|path| self.fstype(path.as_fd())) {
                    // lxcfs and its like are read, since that is what programs see.
                    Some(fstype) if fstype.starts_with("fuse") => Found {
                        text: open(BELOW)
                            .map_err(in_words)
                            .and_then(|open| text_of(&open)),
                        through: Some(fstype),
                    },
                    fstype => masked(fstype),
                }
            }
            Err(errno) => Found::not(in_words(errno)),
        }
    }

    /// The file system that something open is of, without asking that file system.
    fn fstype(&self, open: BorrowedFd<'_>) -> Option<String> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let status = statx(open, "", flags, StatxFlags::MNT_ID).ok()?;
        self.mounts.get(&status.stx_mnt_id).cloned()
    }

    fn find_proc(&self) -> Proc {
        let resolve =
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat2(self.root, "proc", flags, Mode::empty(), resolve) {
            Ok(open) => match self.fstype(open.as_fd()) {
                Some(name) if name == "proc" => Proc::There(open),
                name => Proc::Not("what is at /proc is no procfs".to_owned(), name),
            },
            Err(errno) => Proc::Not(format!("there is no /proc: {errno}"), None),
        }
    }
}

/// Below a directory, and by no link.
const BELOW: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// What something else is mounted over, which is not opened.
fn masked(fstype: Option<String>) -> Found {
    Found {
        text: Err("masked: something else is mounted over it".to_owned()),
        through: Some(fstype.unwrap_or_else(|| "unknown".to_owned())),
    }
}

impl Found {
    fn not(why: String) -> Self {
        Self {
            text: Err(why),
            through: None,
        }
    }
}

fn text_of(open: &OwnedFd) -> Result<String, String> {
    let bytes = scan::rest(open, FILE_LIMIT).map_err(in_words)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn in_words(errno: Errno) -> String {
    match errno {
        Errno::NOENT => "there is no such file".to_owned(),
        Errno::ACCESS | Errno::PERM => "it may not be read".to_owned(),
        errno => errno.to_string(),
    }
}
