//! A container's `/dev`: a fresh tmpfs with six devices of the machine's, each checked to be what
//! its name says.
//!
//! Devices cannot be made in a user namespace, so they are clones of the machine's nodes. Every
//! other mount but devpts is `nodev`: a device that is made all the same cannot be opened.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, major, minor, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::recorder::Recorder;
use crate::step::{Step, StepError};

/// A device of the machine's, cloned.
#[derive(Debug)]
pub(super) struct Node {
    name: &'static str,
    mount: OwnedFd,
}

/// Names with the numbers that they must have: Documentation/admin-guide/devices.txt.
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];

const DIRECTORIES: [&str; 3] = ["pts", "shm", "mqueue"];

/// Clones the machine's devices.
pub(super) fn take(trace: &mut Recorder) -> Result<Vec<Node>, StepError> {
    NODES
        .into_iter()
        .map(|(name, first, second)| {
            let path = format!("/dev/{name}");
            let mount = trace.step(
                (Step::OpenHostNode, &path),
                format!("open_tree({path:?}, OPEN_TREE_CLONE)"),
                || {
                    open_tree(
                        CWD,
                        path.as_str(),
                        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
                    )
                },
            )?;
            if is_device(&mount, first, second) {
                Ok(Node { name, mount })
            } else {
                Err(StepError::new((Step::CheckDevice, path), Errno::NXIO))
            }
        })
        .collect()
}

/// Whether a descriptor is a character device of these numbers.
pub(super) fn is_device(fd: &OwnedFd, first: u32, second: u32) -> bool {
    fstat(fd).is_ok_and(|status| {
        FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
            && major(status.st_rdev) == first
            && minor(status.st_rdev) == second
    })
}

/// Links, directories, and files for the devices to be attached over.
pub(super) fn furnish(dev: &OwnedFd, trace: &mut Recorder) -> Result<(), StepError> {
    for name in DIRECTORIES {
        trace.step(
            (Step::MakeMountPoint, format!("/dev/{name}")),
            format!("mkdirat(dev, {name:?}, 0755)"),
            || mkdirat(dev, name, Mode::from_bits_truncate(0o755)),
        )?;
    }
    for (name, target) in LINKS {
        trace.step(
            (Step::MakeLink, format!("/dev/{name}")),
            format!("symlinkat({target:?}, dev, {name:?})"),
            || symlinkat(target, dev, name),
        )?;
    }
    for (name, _, _) in NODES {
        trace.step(
            (Step::MakeMountPoint, format!("/dev/{name}")),
            format!("openat(dev, {name:?}, O_CREAT|O_EXCL)"),
            || {
                openat(
                    dev,
                    name,
                    OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC,
                    Mode::from_bits_truncate(0o666),
                )
            },
        )?;
    }
    Ok(())
}

/// Attaches the devices in the container's `/dev`.
pub(super) fn attach(nodes: &[Node], dev: &OwnedFd, trace: &mut Recorder) -> Result<(), StepError> {
    for node in nodes {
        trace.step(
            (Step::AttachMount, format!("/dev/{}", node.name)),
            format!("move_mount(\"/dev/{}\")", node.name),
            || {
                move_mount(
                    &node.mount,
                    "",
                    dev,
                    node.name,
                    MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
                )
            },
        )?;
    }
    Ok(())
}
