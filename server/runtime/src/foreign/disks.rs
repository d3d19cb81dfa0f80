//! The machine's disks: whether a container may open one. Whoever reads a disk reads every file that
//! is on it, whatever those ask for.
//!
//! The kernel is asked, by access(2) of a device's node, which opens nothing. What a control group
//! allows is a list in the v1 tree and a program in the cgroup2 tree: the answer holds for both.

use std::collections::HashSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    Access, AtFlags, Dir, FileType, Mode, StatVfsMountFlags, accessat, fstatvfs, makedev, mknodat,
    statat,
};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::filesystem::filesystem;
use crate::program;
use crate::recorder::Recorder;
use crate::step::{Step, StepError};

/// Where the kernel lists disks, and what else takes commands for one: sysfs's classes.
const CLASSES: [(&str, FileType); 4] = [
    ("block", FileType::BlockDevice),
    ("bsg", FileType::CharacterDevice),
    ("nvme-generic", FileType::CharacterDevice),
    ("scsi_generic", FileType::CharacterDevice),
];

/// So many nodes are looked at in a container's `/dev`.
const NODES: usize = 4096;

/// How deep nodes lie there: `/dev/mapper/x`.
const DEPTH: usize = 2;

/// A device by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Number {
    is_block: bool,
    device: u64,
}

/// Every disk of the machine.
#[derive(Debug)]
pub(crate) struct Disks {
    /// A file system that is mounted nowhere, with a node of each by the name that the kernel has
    /// for it.
    nodes: OwnedFd,
    names: Vec<String>,
    numbers: HashSet<Number>,
    /// Whether Porthole does not see them, or may make no node of some, and cannot ask.
    unasked: bool,
}

/// What a container may of the machine's disks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Allowed<'a> {
    /// None can be opened.
    Nothing,
    /// This one can.
    Disk(&'a str),
    /// That cannot be told.
    Unknown,
}

impl Disks {
    /// Finds them, in the machine's own mount namespace.
    pub(crate) fn find(trace: &mut Recorder) -> Result<Self, StepError> {
        let nodes = filesystem(
            "tmpfs",
            &["mode=700", "size=1m"],
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
            trace,
        )?;
        let mut disks = Self {
            nodes,
            names: Vec::new(),
            numbers: HashSet::new(),
            unasked: false,
        };
        trace.step(
            Step::FindDisks,
            "mknodat(tmpfs, …) of each in /sys/class/block",
            || {
                for (class, kind) in CLASSES {
                    disks.take(class, kind)?;
                }
                Ok::<_, Errno>(disks.names.len())
            },
        )?;
        Ok(disks)
    }

    fn take(&mut self, class: &str, kind: FileType) -> Result<(), Errno> {
        // A class that there is not, and a disk that has gone meanwhile, are none. Every kernel has
        // this one, where its sysfs is mounted.
        let Ok(entries) = fs::read_dir(format!("/sys/class/{class}")) else {
            self.unasked |= class == "block";
            return Ok(());
        };
        for entry in entries.flatten() {
            let text = |file: &str| fs::read_to_string(entry.path().join(file)).ok();
            // A loop device without a file, a drive without a medium.
            let is_empty =
                kind == FileType::BlockDevice && text("size").is_none_or(|size| size.trim() == "0");
            let (Some(device), false) = (text("dev").as_deref().and_then(device), is_empty) else {
                continue;
            };
            // What the kernel's own names hold of slashes is `!` in sysfs.
            let name = format!("{class}:{}", entry.file_name().to_string_lossy());
            match mknodat(&self.nodes, &name, kind, Mode::RUSR | Mode::WUSR, device) {
                Ok(()) => self.names.push(name),
                Err(Errno::PERM) => self.unasked = true,
                Err(errno) => return Err(errno),
            }
            self.numbers.insert(Number {
                is_block: kind == FileType::BlockDevice,
                device,
            });
        }
        Ok(())
    }

    /// What has to stay open for [`Disks::allowed`].
    pub(crate) fn open(&self) -> BorrowedFd<'_> {
        self.nodes.as_fd()
    }

    /// What the control groups of this process, root of the machine, let it read.
    pub(crate) fn allowed(&self) -> Allowed<'_> {
        let reads = |name: &&String| {
            accessat(
                &self.nodes,
                name.as_str(),
                Access::READ_OK,
                AtFlags::empty(),
            )
            .is_ok()
        };
        match self.names.iter().find(reads) {
            Some(name) => {
                Allowed::Disk(name.split_once(':').map_or(name.as_str(), |(_, name)| name))
            }
            None if self.unasked => Allowed::Unknown,
            None => Allowed::Nothing,
        }
    }

    /// One whose node is in `/dev` below this root directory and can be opened there by this
    /// process. The container's files may take as long as they like to answer.
    pub(crate) fn seen(&self, root: &OwnedFd) -> Option<String> {
        let dev = program::open_directory(root, "/dev").ok()?;
        let mut left = NODES;
        self.seen_in(&dev, "/dev", DEPTH, &mut left)
    }

    fn seen_in(&self, at: &OwnedFd, path: &str, depth: usize, left: &mut usize) -> Option<String> {
        let no_devices = fstatvfs(at).is_ok_and(|system| {
            // Nothing can be opened there by its numbers.
            system.f_flag.contains(StatVfsMountFlags::NODEV)
        });
        let readable = rustix::fs::openat(
            at,
            ".",
            rustix::fs::OFlags::RDONLY
                | rustix::fs::OFlags::DIRECTORY
                | rustix::fs::OFlags::CLOEXEC,
            Mode::empty(),
        );
        for entry in Dir::new(readable.ok()?).ok()?.flatten() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            *left = left.checked_sub(1)?;
            let Ok(status) = statat(at, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let path = || format!("{path}/{}", name.to_string_lossy());
            let kind = FileType::from_raw_mode(status.st_mode);
            let number = Number {
                is_block: kind == FileType::BlockDevice,
                device: status.st_rdev,
            };
            let is_device = matches!(kind, FileType::BlockDevice | FileType::CharacterDevice);
            if kind == FileType::Directory && depth > 1 {
                let inner = name
                    .to_str()
                    .ok()
                    .and_then(|name| program::open_directory(at, name).ok());
                if let Some(found) =
                    inner.and_then(|inner| self.seen_in(&inner, &path(), depth - 1, left))
                {
                    return Some(found);
                }
            } else if is_device
                && !no_devices
                && self.numbers.contains(&number)
                && accessat(at, name, Access::READ_OK, AtFlags::empty()).is_ok()
            {
                return Some(path());
            }
        }
        None
    }
}

/// `253:0`, as sysfs writes a device's numbers.
pub(super) fn device(text: &str) -> Option<u64> {
    let (major, minor) = text.trim().split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_numbered_as_sysfs_says() {
        assert_eq!(device("253:5\n"), Some(makedev(253, 5)));
        assert_eq!(device("253"), None);
        assert_eq!(device("a:b"), None);
    }
}
