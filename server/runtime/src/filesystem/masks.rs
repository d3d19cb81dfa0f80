//! What of `/proc` and `/sys` a container does not see, or may not write: Docker's lists.
//!
//! Both file systems are the kernel's own and were mounted by us a moment ago, so that names below
//! them are what they say.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::{QUIET_READ_ONLY, filesystem, restrict};
use crate::recorder::Recorder;
use crate::step::{Step, StepError};

const MASKED_IN_PROC: [&str; 10] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];

const MASKED_IN_SYS: [&str; 2] = ["firmware", "devices/virtual/powercap"];

const READ_ONLY_IN_PROC: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

pub(super) fn attach(
    proc: &OwnedFd,
    sys: &OwnedFd,
    dev: &OwnedFd,
    trace: &mut Recorder,
) -> Result<(), StepError> {
    let mut empty = None;
    for (at, top, names) in [
        (proc, "/proc", &MASKED_IN_PROC[..]),
        (sys, "/sys", &MASKED_IN_SYS[..]),
    ] {
        for name in names {
            mask(at, &format!("{top}/{name}"), name, dev, &mut empty, trace)?;
        }
    }
    for name in READ_ONLY_IN_PROC {
        read_only(proc, name, trace)?;
    }
    Ok(())
}

/// Puts nothing over a file or directory, if the kernel has it.
fn mask(
    at: &OwnedFd,
    path: &str,
    name: &str,
    dev: &OwnedFd,
    empty: &mut Option<OwnedFd>,
    trace: &mut Recorder,
) -> Result<(), StepError> {
    let Some(point) = point(at, name, path)? else {
        return Ok(());
    };
    let status =
        fstat(&point).map_err(|errno| StepError::new((Step::OpenMountPoint, path), errno))?;
    let cover = if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
        match empty {
            None => {
                let new = filesystem("tmpfs", &["mode=755", "size=4096"], QUIET_READ_ONLY, trace)?;
                let kept = new
                    .try_clone()
                    .map_err(|e| StepError::new(Step::CloneMount, e))?;
                *empty = Some(kept);
                new
            }
            Some(empty) => clone(empty, "", path, trace)?,
        }
    } else {
        clone(dev, "null", path, trace)?
    };
    place(&cover, &point, path, trace)
}

/// Binds a file or directory over itself, read-only.
fn read_only(proc: &OwnedFd, name: &str, trace: &mut Recorder) -> Result<(), StepError> {
    let path = format!("/proc/{name}");
    let Some(point) = point(proc, name, &path)? else {
        return Ok(());
    };
    let cover = clone(proc, name, &path, trace)?;
    restrict(
        &cover,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
        true,
        &path,
        trace,
    )?;
    place(&cover, &point, &path, trace)
}

fn point(at: &OwnedFd, name: &str, path: &str) -> Result<Option<OwnedFd>, StepError> {
    match openat(
        at,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(point) => Ok(Some(point)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(StepError::new((Step::OpenMountPoint, path), errno)),
    }
}

fn clone(at: &OwnedFd, name: &str, path: &str, trace: &mut Recorder) -> Result<OwnedFd, StepError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    trace.step(
        (Step::CloneMount, path),
        format!("open_tree({path:?}, OPEN_TREE_CLONE)"),
        || open_tree(at, name, flags),
    )
}

fn place(
    cover: &OwnedFd,
    point: &OwnedFd,
    path: &str,
    trace: &mut Recorder,
) -> Result<(), StepError> {
    trace.step(
        (Step::AttachMount, path),
        format!("move_mount({path:?})"),
        || {
            move_mount(
                cover,
                "",
                point,
                "",
                MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
            )
        },
    )
}
