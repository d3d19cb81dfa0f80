//! The root directory of a toolbox: an image's tools, the container's files at [`TARGET`], and the
//! container's processes in `/proc`.
//!
//! The mount namespace is the session's own and belongs to the machine's user namespace: nobody in
//! the container can change it, nor can the session once it is in the container's user namespace.
//! So it is built before that is entered. Nothing below the container's root is looked up: the
//! whole tree is cloned from a descriptor of its root directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use porthole_protocol::namespace::NamespaceType;
use porthole_sys::mount::{Attributes, set_attributes};
use porthole_sys::namespace::unshare;
use porthole_sys::process::{Clone, Forked, clone, exit};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};
use rustix::thread::{move_into_link_name_space, move_into_thread_name_spaces};

use super::{
    DEVPTS, PROC, QUIET, QUIET_READ_ONLY, TERMINALS, attach, change_root, check, device, empty_sys,
    filesystem, masks,
};
use crate::layers::Overlays;
use crate::recorder::Recorder;
use crate::step::{Step, StepError};

/// Where the container's files are.
pub(crate) const TARGET: &str = "/target";

/// `MS_PRIVATE` of mount(2).
const PRIVATE: u64 = 1 << 18;

/// What is needed for one.
#[derive(Debug)]
pub(crate) struct Toolbox<'a> {
    /// The container's init.
    pub(crate) target: &'a OwnedFd,
    /// Init's root directory, opened on the machine's side.
    pub(crate) root: &'a OwnedFd,
    /// The namespaces to enter on the way: neither `mnt`, which is its own, nor `user`.
    pub(crate) kinds: &'a [NamespaceType],
}

/// Moves this process, root of the machine, into a toolbox. Answers the root directory of the
/// container's files.
pub(crate) fn enter(
    toolbox: &Toolbox<'_>,
    overlays: &Overlays,
    forked: &Forked,
    trace: &mut Recorder,
) -> Result<OwnedFd, StepError> {
    let alone = forked.single_threaded();
    trace.step(Step::UnshareMounts, "unshare(CLONE_NEWNS)", || {
        unshare(alone, NamespaceType::Mnt.clone_flag())
    })?;
    crate::layers::end_propagation(trace)?;
    let files = clone_files(toolbox, trace)?;
    let flags = u32::try_from(crate::plan::flags(toolbox.kinds)).unwrap_or(0);
    if flags != 0 {
        trace.step(
            Step::SetNamespaces,
            format!("setns(pidfd, {})", crate::plan::flag_names(toolbox.kinds)),
            || {
                let flags = ThreadNameSpaceType::from_bits_retain(flags);
                move_into_thread_name_spaces(toolbox.target.as_fd(), flags)
            },
        )?;
        trace.entered(toolbox.kinds.iter().copied());
    }
    furnish(&files, overlays, forked, trace)?;
    Ok(files)
}

/// The container's files as one detached tree. open_tree(2) clones only mounts of the namespace
/// that its caller is in.
fn clone_files(toolbox: &Toolbox<'_>, trace: &mut Recorder) -> Result<OwnedFd, StepError> {
    let home = trace.step(Step::KeepMounts, "open(\"/proc/self/ns/mnt\")", || {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        open("/proc/self/ns/mnt", flags, Mode::empty())
    })?;
    trace.step(Step::SetNamespaces, "setns(pidfd, CLONE_NEWNS)", || {
        move_into_thread_name_spaces(toolbox.target.as_fd(), ThreadNameSpaceType::MOUNT)
    })?;
    let files = trace.step(
        (Step::CloneMount, TARGET),
        "open_tree(init's root, \"\", OPEN_TREE_CLONE|AT_RECURSIVE|AT_EMPTY_PATH)",
        || {
            open_tree(
                toolbox.root,
                "",
                OpenTreeFlags::OPEN_TREE_CLONE
                    | OpenTreeFlags::OPEN_TREE_CLOEXEC
                    | OpenTreeFlags::AT_RECURSIVE
                    | OpenTreeFlags::AT_EMPTY_PATH,
            )
        },
    )?;
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    trace.step(
        (Step::SetMountAttributes, TARGET),
        format!(
            "mount_setattr(tree, AT_RECURSIVE, {:#x}, MS_PRIVATE)",
            quiet.bits()
        ),
        || {
            set_attributes(
                &files,
                &Attributes {
                    set: u64::from(quiet.bits()),
                    propagation: PRIVATE,
                    recursive: true,
                    ..Attributes::default()
                },
            )
        },
    )?;
    trace.step(
        Step::SetNamespaces,
        "setns(own mounts, CLONE_NEWNS)",
        || move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Mount)),
    )?;
    Ok(files)
}

fn furnish(
    files: &OwnedFd,
    overlays: &Overlays,
    forked: &Forked,
    trace: &mut Recorder,
) -> Result<(), StepError> {
    let sys = match filesystem("sysfs", &[], QUIET_READ_ONLY, trace) {
        Err(error) if error.is(Errno::PERM) => empty_sys(trace)?,
        answer => answer?,
    };
    let options = ["mode=755", "size=65536", "nr_inodes=64"];
    let dev = filesystem("tmpfs", &options, QUIET, trace)?;
    device::furnish(&dev, trace)?;
    let nodes = device::take(trace)?;
    let options = [
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
        "gid=5",
        TERMINALS,
    ];
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let terminals = filesystem("devpts", &options, attributes, trace)?;
    let shm = filesystem("tmpfs", &["mode=1777", "size=67108864"], QUIET, trace)?;
    change_root(&overlays.root, trace)?;
    let root = &overlays.root;
    if let Some(usr) = &overlays.usr {
        attach(usr, root, "usr", trace)?;
    }
    attach(&sys, root, "sys", trace)?;
    attach(&dev, root, "dev", trace)?;
    device::attach(&nodes, &dev, trace)?;
    attach(&terminals, &dev, "pts", trace)?;
    check(&terminals, DEVPTS, "/dev/pts")?;
    attach(&shm, &dev, "shm", trace)?;
    attach(files, root, TARGET.trim_start_matches('/'), trace)?;
    mount_processes([root.as_fd(), sys.as_fd(), dev.as_fd()], forked, trace)
}

/// procfs shows the PID namespace of whoever mounts it, and of that only children are members:
/// one of them does it.
fn mount_processes(
    [root, sys, dev]: [BorrowedFd<'_>; 3],
    forked: &Forked,
    trace: &mut Recorder,
) -> Result<(), StepError> {
    let failed = |error| StepError::new((Step::MountFilesystem, "proc"), error);
    let copies = [root, sys, dev].map(|fd| fd.try_clone_to_owned());
    let [Ok(root), Ok(sys), Ok(dev)] = copies else {
        return Err(failed(Errno::MFILE));
    };
    let mut helper = trace.forked(porthole_protocol::trace::Actor::Joiner, None);
    let child = trace.step(
        Step::Clone,
        "clone3(CLONE_PIDFD) to mount its procfs",
        || {
            clone(forked.single_threaded(), &Clone::default(), |_| {
                let mounted = filesystem("proc", &[], QUIET, &mut helper).and_then(|proc| {
                    attach(&proc, &root, "proc", &mut helper)?;
                    check(&proc, PROC, "/proc")?;
                    masks::attach(&proc, &sys, &dev, &mut helper)
                });
                exit(match mounted {
                    Ok(()) => 0,
                    // An errno is below 134; 255 for what is none.
                    Err(error) => u8::try_from(error.errno).unwrap_or(255).into(),
                })
            })
        },
    )?;
    let status = rustix::io::retry_on_intr(|| {
        waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)
    })
    .map_err(failed)?;
    match status.and_then(|status| status.exit_status()) {
        Some(0) => Ok(()),
        Some(errno) => Err(failed(Errno::from_raw_os_error(errno))),
        None => Err(failed(Errno::CHILD)),
    }
}
