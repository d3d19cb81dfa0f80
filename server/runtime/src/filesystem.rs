//! Init's share of a container's root directory: everything that is mounted in it.
//!
//! Two acts. While the machine's tree is still there, file systems are made and devices are taken
//! from it, all as descriptors. Then the root directory is changed and the machine's tree is gone,
//! and only after that anything below the new root is looked at: by descriptor, without following
//! a link, since a container that is started again has had its root to itself.

mod device;
mod masks;
pub(crate) mod toolbox;

use std::os::fd::OwnedFd;

use porthole_protocol::namespace::NamespaceType;
use porthole_sys::mount::{Attributes, set_attributes};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    open_tree, unmount,
};

use crate::layers::Overlays;
use crate::plan::Plan;
use crate::recorder::Recorder;
use crate::step::{Step, StepError};

/// Kernel's magic numbers of file systems (statfs(2)).
const PROC: i64 = 0x9fa0;
const SYSFS: i64 = 0x6265_6572;
const TMPFS: i64 = 0x0102_1994;
const DEVPTS: i64 = 0x1cd1;

/// No set-user-id, no devices, no programs.
const QUIET: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
const QUIET_READ_ONLY: MountAttrFlags = QUIET.union(MountAttrFlags::MOUNT_ATTR_RDONLY);

/// How many terminals a container may have open.
const TERMINALS: &str = "max=16";

/// What is mounted in a container, not attached yet.
struct Taken {
    proc: OwnedFd,
    sys: Sys,
    cgroup: Option<OwnedFd>,
    dev: OwnedFd,
    nodes: Vec<device::Node>,
    terminals: OwnedFd,
    shm: OwnedFd,
    mqueue: Option<OwnedFd>,
}

/// What is mounted at `/sys`.
enum Sys {
    /// A sysfs.
    Kernel(OwnedFd),
    /// Nothing but a place for the control groups: a container that shares another's network, but
    /// not its users, may mount no sysfs.
    Empty(OwnedFd),
}

impl Sys {
    fn mount(&self) -> &OwnedFd {
        match self {
            Self::Kernel(mount) | Self::Empty(mount) => mount,
        }
    }
}

/// A container's root directory as its init sees it, whole.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) root: OwnedFd,
    /// Its devpts.
    pub(crate) terminals: OwnedFd,
}

/// Moves this process, the root of the container's user namespace, into the container's root
/// directory with everything in it.
pub(crate) fn enter(
    plan: &Plan,
    overlays: Overlays,
    trace: &mut Recorder,
) -> Result<Root, StepError> {
    crate::layers::end_propagation(trace)?;
    let taken = take(plan, trace)?;
    change_root(&overlays.root, trace)?;
    let root = overlays.root;
    if let Some(usr) = overlays.usr {
        attach(&usr, &root, "usr", trace)?;
    }
    attach(&taken.proc, &root, "proc", trace)?;
    check(&taken.proc, PROC, "/proc")?;
    let sys = taken.sys.mount();
    attach(sys, &root, "sys", trace)?;
    let kind = match &taken.sys {
        Sys::Kernel(_) => SYSFS,
        Sys::Empty(_) => TMPFS,
    };
    check(sys, kind, "/sys")?;
    if let Some(cgroup) = &taken.cgroup {
        attach(cgroup, sys, "fs/cgroup", trace)?;
    }
    attach(&taken.dev, &root, "dev", trace)?;
    device::attach(&taken.nodes, &taken.dev, trace)?;
    attach(&taken.terminals, &taken.dev, "pts", trace)?;
    check(&taken.terminals, DEVPTS, "/dev/pts")?;
    attach(&taken.shm, &taken.dev, "shm", trace)?;
    if let Some(mqueue) = &taken.mqueue {
        attach(mqueue, &taken.dev, "mqueue", trace)?;
    }
    masks::attach(&taken.proc, sys, &taken.dev, trace)?;
    Ok(Root {
        root,
        terminals: taken.terminals,
    })
}

fn take(plan: &Plan, trace: &mut Recorder) -> Result<Taken, StepError> {
    let proc = match filesystem("proc", &[], QUIET, trace) {
        // Only who owns the PID namespace may mount its procfs. The machine's shows the machine's
        // processes, and so is for a container that is among them: nobody who only shares another
        // container's gets it.
        Err(error) if error.is(Errno::PERM) && plan.host(NamespaceType::Pid) => {
            machine_tree("/proc", QUIET, trace)?
        }
        answer => answer?,
    };
    let sys = match filesystem("sysfs", &[], QUIET_READ_ONLY, trace) {
        // The same holds for the network namespace and sysfs.
        Err(error) if error.is(Errno::PERM) && plan.host(NamespaceType::Net) => {
            Sys::Kernel(machine_tree("/sys", QUIET_READ_ONLY, trace)?)
        }
        Err(error) if error.is(Errno::PERM) && !plan.own(NamespaceType::Net) => {
            Sys::Empty(empty_sys(trace)?)
        }
        answer => Sys::Kernel(answer?),
    };
    let cgroup = if plan.own(NamespaceType::Cgroup) {
        Some(filesystem("cgroup2", &[], QUIET_READ_ONLY, trace)?)
    } else {
        None
    };
    let mqueue = if plan.own(NamespaceType::Ipc) {
        Some(filesystem("mqueue", &[], QUIET, trace)?)
    } else {
        None
    };
    let dev = filesystem(
        "tmpfs",
        &["mode=755", "size=65536", "nr_inodes=64"],
        QUIET,
        trace,
    )?;
    device::furnish(&dev, trace)?;
    Ok(Taken {
        proc,
        sys,
        cgroup,
        nodes: device::take(trace)?,
        dev,
        terminals: filesystem(
            "devpts",
            &[
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
                TERMINALS,
            ],
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
            trace,
        )?,
        shm: filesystem("tmpfs", &["mode=1777", "size=67108864"], QUIET, trace)?,
        mqueue,
    })
}

/// A read-only `/sys` in which there is only where control groups are mounted.
fn empty_sys(trace: &mut Recorder) -> Result<OwnedFd, StepError> {
    let sys = filesystem("tmpfs", &["mode=755", "size=4096"], QUIET, trace)?;
    for path in ["fs", "fs/cgroup"] {
        trace.step(
            (Step::MakeMountPoint, path),
            format!("mkdirat({path:?}, 0755)"),
            || mkdirat(&sys, path, Mode::from_bits_truncate(0o755)),
        )?;
    }
    restrict(&sys, QUIET_READ_ONLY, false, "/sys", trace)?;
    Ok(sys)
}

/// A new file system that is attached nowhere.
pub(crate) fn filesystem(
    kind: &'static str,
    options: &[&str],
    attributes: MountAttrFlags,
    trace: &mut Recorder,
) -> Result<OwnedFd, StepError> {
    let mounted = trace.step(
        (Step::MountFilesystem, kind),
        format!("fsmount({kind}, {:?})", options.join(",")),
        || {
            let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_set_string(&context, "source", kind)?;
            for option in options {
                match option.split_once('=') {
                    Some((key, value)) => fsconfig_set_string(&context, key, value)?,
                    None => fsconfig_set_flag(&context, *option)?,
                }
            }
            fsconfig_create(&context)?;
            fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        },
    )?;
    Ok(mounted)
}

/// A clone of one of the machine's trees.
fn machine_tree(
    path: &'static str,
    attributes: MountAttrFlags,
    trace: &mut Recorder,
) -> Result<OwnedFd, StepError> {
    let tree = trace.step(
        (Step::CloneMount, path),
        format!("open_tree({path:?}, OPEN_TREE_CLONE|AT_RECURSIVE)"),
        || {
            open_tree(
                CWD,
                path,
                OpenTreeFlags::OPEN_TREE_CLONE
                    | OpenTreeFlags::OPEN_TREE_CLOEXEC
                    | OpenTreeFlags::AT_RECURSIVE,
            )
        },
    )?;
    restrict(&tree, attributes, true, path, trace)?;
    Ok(tree)
}

fn restrict(
    mount: &OwnedFd,
    attributes: MountAttrFlags,
    recursive: bool,
    path: &str,
    trace: &mut Recorder,
) -> Result<(), StepError> {
    trace.step(
        (Step::SetMountAttributes, path),
        format!("mount_setattr({path:?}, {:#x})", attributes.bits()),
        || {
            set_attributes(
                mount,
                &Attributes {
                    set: u64::from(attributes.bits()),
                    recursive,
                    ..Attributes::default()
                },
            )
        },
    )
}

/// The new root is attached over the old one, both are swapped, and the old one is detached: see
/// "pivot_root(".", ".")" in pivot_root(2).
pub(crate) fn change_root(root: &OwnedFd, trace: &mut Recorder) -> Result<(), StepError> {
    trace.step(
        (Step::AttachMount, "/"),
        "move_mount(overlay, \"/\")",
        || move_mount(root, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH),
    )?;
    trace.step(Step::EnterRoot, "fchdir(overlay)", || {
        rustix::process::fchdir(root)
    })?;
    trace.step(Step::PivotRoot, "pivot_root(\".\", \".\")", || {
        rustix::process::pivot_root(".", ".")
    })?;
    trace.step(Step::DetachHost, "umount2(\".\", MNT_DETACH)", || {
        unmount(".", UnmountFlags::DETACH)
    })?;
    trace.step(Step::EnterRoot, "chdir(\"/\")", || {
        rustix::process::chdir("/")
    })
}

/// Attaches a mount at a directory below `at` that is reached without any link.
fn attach(
    mount: &OwnedFd,
    at: &OwnedFd,
    path: &str,
    trace: &mut Recorder,
) -> Result<(), StepError> {
    let point = match mount_point(at, path) {
        Err(Errno::NOENT) => {
            trace.step(
                (Step::MakeMountPoint, path),
                format!("mkdirat({path:?}, 0755)"),
                || mkdirat(at, path, Mode::from_bits_truncate(0o755)),
            )?;
            mount_point(at, path)
        }
        answer => answer,
    };
    let point = point.map_err(|errno| StepError::new((Step::OpenMountPoint, path), errno))?;
    trace.step(
        (Step::AttachMount, path),
        format!("move_mount({path:?})"),
        || {
            move_mount(
                mount,
                "",
                &point,
                "",
                MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
            )
        },
    )
}

fn mount_point(at: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    openat2(
        at,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
    )
}

/// Makes sure that a descriptor is of a kind of file system.
pub(crate) fn check(fd: &OwnedFd, magic: i64, path: &str) -> Result<(), StepError> {
    let found = rustix::fs::fstatfs(fd)
        .map_err(|errno| StepError::new((Step::CheckFilesystem, path), errno))?;
    if found.f_type == magic {
        Ok(())
    } else {
        Err(StepError::new((Step::CheckFilesystem, path), Errno::INVAL))
    }
}

/// Whether a descriptor is on a devpts.
pub(crate) fn is_terminals(fd: &OwnedFd) -> bool {
    check(fd, DEVPTS, "").is_ok()
}
