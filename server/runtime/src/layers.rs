//! The monitor's share of a container's root directory: overlays over id-mapped layers.
//!
//! The layers belong to the machine's root; mapped through the container's user namespace, they
//! are its root's. The upper layer is plain and belongs to the container's first id: an id-mapped
//! one mounts read-only without an error. Layers are attached in a mount namespace of the
//! monitor's that lives for a moment (detached ones fail before Linux 6.18), and overlays leave it
//! as descriptors, so that no mount ever shows in the machine's.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use porthole_sys::mount::{Attributes, set_attributes};
use porthole_sys::namespace::unshare;
use porthole_sys::process::SingleThreaded;
use rustix::fs::{CWD, Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::image::Layers;
use crate::recorder::Recorder;
use crate::root::{ROOT, UPPER, USR, WORK};
use crate::step::{Step, StepError};

/// `MS_SLAVE` of mount(2): what the machine unmounts is unmounted here too, and nothing the other
/// way around.
pub(crate) const SLAVE: u64 = 1 << 19;

const CLONE_NEWNS: u64 = 0x0002_0000;

/// This process's descriptors, as paths.
const DESCRIPTORS: &str = "/proc/self/fd";

/// So many lower layers are named in one value.
const TOGETHER: usize = 2;

/// Overlays that are mounted nowhere yet.
#[derive(Debug)]
pub(crate) struct Overlays {
    pub(crate) root: OwnedFd,
    pub(crate) usr: Option<OwnedFd>,
}

/// The caller's own mount namespace, which it returns to by dropping this: it has no hurry, since
/// taking the left one down waits for every processor.
#[derive(Debug)]
pub(crate) struct Home {
    namespace: OwnedFd,
}

impl Home {
    fn leave(alone: SingleThreaded, trace: &mut Recorder) -> Result<Self, StepError> {
        let namespace = trace.step(Step::KeepMounts, "open(\"/proc/self/ns/mnt\")", || {
            open(
                "/proc/self/ns/mnt",
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            )
        })?;
        trace.step(Step::UnshareMounts, "unshare(CLONE_NEWNS)", || {
            unshare(alone, CLONE_NEWNS)
        })?;
        Ok(Self { namespace })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The kernel lets root return to a namespace that it holds open.
        let _ = move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Mount));
    }
}

/// Makes the overlays of a container whose directory is `directory`, in a mount namespace that the
/// caller leaves afterwards. `users` is its user
/// namespace, `None` where that is the machine's.
pub(crate) fn overlays(
    alone: SingleThreaded,
    directory: &Path,
    layers: &Layers,
    users: Option<BorrowedFd<'_>>,
    trace: &mut Recorder,
) -> Result<(Overlays, Home), StepError> {
    let home = Home::leave(alone, trace)?;
    end_propagation(trace)?;
    let anchor = open_path(directory, trace)?;
    let mut builder = Builder {
        directory,
        anchor,
        users,
        trace,
    };
    let root = builder.overlay(ROOT, &layers.root, layers.imported)?;
    let usr = match &layers.usr {
        Some(lower) => Some(builder.overlay(USR, lower, false)?),
        None => None,
    };
    Ok((Overlays { root, usr }, home))
}

/// From here on no mount of this namespace shows in the machine's.
pub(crate) fn end_propagation(trace: &mut Recorder) -> Result<(), StepError> {
    let root = open(
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| StepError::new(Step::Propagation, errno))?;
    trace.step(
        Step::Propagation,
        "mount_setattr(\"/\", AT_RECURSIVE, {propagation=MS_SLAVE})",
        || {
            set_attributes(
                &root,
                &Attributes {
                    propagation: SLAVE,
                    recursive: true,
                    ..Attributes::default()
                },
            )
        },
    )
}

fn open_path(path: &Path, trace: &mut Recorder) -> Result<OwnedFd, StepError> {
    trace.step(
        (Step::OpenLayer, path.display()),
        format!("open({path:?}, O_PATH|O_DIRECTORY)"),
        || {
            open(
                path,
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
        },
    )
}

struct Builder<'a> {
    directory: &'a Path,
    /// Where layers are attached, one over the other: they are used by descriptor.
    anchor: OwnedFd,
    users: Option<BorrowedFd<'a>>,
    trace: &'a mut Recorder,
}

impl Builder<'_> {
    /// `imported`: what the lower layers say to overlay is in `user.overlay.*`, which whoever
    /// unpacked them could write without being the machine's root.
    fn overlay(
        &mut self,
        name: &str,
        lower: &[PathBuf],
        imported: bool,
    ) -> Result<OwnedFd, StepError> {
        let mut lowers = Vec::with_capacity(lower.len());
        for path in lower {
            lowers.push(self.layer(path)?);
        }
        let upper = self.below_anchor(UPPER, name)?;
        let work = self.below_anchor(WORK, name)?;
        // Descriptors instead of paths: no path can be taken for several by a ':' in it, and the
        // container reads none of the machine's in its mountinfo.
        let path = |fd: &OwnedFd| format!("{DESCRIPTORS}/{}", fd.as_raw_fd());
        let context = self
            .trace
            .step(Step::OpenOverlay, "fsopen(\"overlay\")", || {
                fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
            })?;
        self.configure(&context, name, "source", "overlay")?;
        let back = self.stack(&context, name, &lowers)?;
        for (key, fd) in [("upperdir", &upper), ("workdir", &work)] {
            self.configure(&context, name, key, &path(fd))?;
        }
        if imported {
            self.trace.step(
                (Step::ConfigureOverlay, format!("{name}: userxattr")),
                "fsconfig(FSCONFIG_SET_FLAG, \"userxattr\")",
                || fsconfig_set_flag(&context, "userxattr"),
            )?;
        }
        let created = self.trace.step(
            (Step::MountOverlay, self.directory.display()),
            "fsconfig(FSCONFIG_CMD_CREATE)",
            || fsconfig_create(&context),
        );
        if let Some(back) = back {
            rustix::process::fchdir(&back)
                .map_err(|errno| StepError::new((Step::OpenLayer, "."), errno))?;
        }
        created?;
        self.trace.step(
            (Step::MountOverlay, self.directory.display()),
            format!("fsmount(overlay /{})", if name == ROOT { "" } else { name }),
            || {
                fsmount(
                    &context,
                    FsMountFlags::FSMOUNT_CLOEXEC,
                    // Whoever is the machine's root inside could make devices, but not open them.
                    MountAttrFlags::MOUNT_ATTR_NODEV,
                )
            },
        )
    }

    fn configure(
        &mut self,
        context: &OwnedFd,
        name: &str,
        key: &str,
        value: &str,
    ) -> Result<(), StepError> {
        self.trace.step(
            (Step::ConfigureOverlay, format!("{name}: {key}={value}")),
            format!("fsconfig(FSCONFIG_SET_STRING, {key:?}, {value:?})"),
            || fsconfig_set_string(context, key, value),
        )
    }

    /// Names the lower layers, topmost first. A value has at most 255 bytes, so that many are named
    /// one by one. Linux before 6.7 takes them in one value only: relative to the directory of our
    /// descriptors, which keeps about sixty short enough. Answers the directory to go back to then.
    fn stack(
        &mut self,
        context: &OwnedFd,
        name: &str,
        lowers: &[OwnedFd],
    ) -> Result<Option<OwnedFd>, StepError> {
        let paths: Vec<String> = lowers
            .iter()
            .map(|fd| format!("{DESCRIPTORS}/{}", fd.as_raw_fd()))
            .collect();
        if lowers.len() <= TOGETHER {
            self.configure(context, name, "lowerdir", &paths.join(":"))?;
            return Ok(None);
        }
        for path in &paths {
            match self.configure(context, name, "lowerdir+", path) {
                Err(error) if error.is(Errno::INVAL) && *path == paths[0] => {
                    return self.stack_at_once(context, name, lowers).map(Some);
                }
                answer => answer?,
            }
        }
        Ok(None)
    }

    fn stack_at_once(
        &mut self,
        context: &OwnedFd,
        name: &str,
        lowers: &[OwnedFd],
    ) -> Result<OwnedFd, StepError> {
        let back = open_path(Path::new("."), self.trace)?;
        self.trace.step(
            (Step::OpenLayer, DESCRIPTORS),
            format!("chdir({DESCRIPTORS:?})"),
            || rustix::process::chdir(DESCRIPTORS),
        )?;
        let numbers: Vec<String> = lowers.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
        self.configure(context, name, "lowerdir", &numbers.join(":"))?;
        Ok(back)
    }

    /// Opens a directory of the container's, beneath the layers that are attached over it.
    fn below_anchor(&mut self, part: &str, name: &str) -> Result<OwnedFd, StepError> {
        let path = format!("{part}/{name}");
        self.trace.step(
            (Step::OpenLayer, self.directory.join(&path).display()),
            format!("openat(container, {path:?}, O_PATH|O_DIRECTORY|O_NOFOLLOW)"),
            || {
                openat(
                    &self.anchor,
                    path.as_str(),
                    OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )
            },
        )
    }

    /// A clone of the mount that `path` is on, with the container's ids.
    fn layer(&mut self, path: &Path) -> Result<OwnedFd, StepError> {
        let layer = self.trace.step(
            (Step::CloneLayer, path.display()),
            format!("open_tree({path:?}, OPEN_TREE_CLONE)"),
            || {
                open_tree(
                    CWD,
                    path,
                    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
                )
            },
        )?;
        if let Some(users) = self.users {
            self.trace.step(
                (Step::MapLayer, path.display()),
                format!("mount_setattr({path:?}, {{MOUNT_ATTR_IDMAP}})"),
                || {
                    set_attributes(
                        &layer,
                        &Attributes {
                            idmap: Some(users),
                            ..Attributes::default()
                        },
                    )
                },
            )?;
        }
        self.trace.step(
            (Step::AttachLayer, path.display()),
            "move_mount(layer)",
            || {
                move_mount(
                    &layer,
                    "",
                    &self.anchor,
                    "",
                    MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH
                        | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
                )
            },
        )?;
        Ok(layer)
    }
}
