//! Files of ours in a container's `/etc`: mounted over its own, by descriptor.

use std::os::fd::OwnedFd;
use std::path::Path;

use porthole_sys::mount::{Attributes, set_attributes};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, unlinkat,
};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::recorder::Recorder;
use crate::step::{Step, StepError};

/// How many there are.
pub(crate) const COVERS: usize = 2;

/// The names, in the order in which they are handed over.
const NAMES: [&str; COVERS] = ["hosts", "resolv.conf"];

/// A mount of one file, attached nowhere, that nobody can write through.
pub(super) fn clone_file(path: &Path) -> Result<OwnedFd, StepError> {
    let failed = |errno| StepError::new((Step::CloneMount, path.display()), errno);
    let tree = open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
    .map_err(failed)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    set_attributes(
        &tree,
        &Attributes {
            set: u64::from(attributes.bits()),
            ..Attributes::default()
        },
    )
    .map_err(|error| StepError::new((Step::SetMountAttributes, path.display()), error))?;
    Ok(tree)
}

/// Puts them into a container's `/etc`. What a container has made of its `/etc` keeps it from
/// nothing but the names.
pub(crate) fn attach(covers: Vec<OwnedFd>, root: &OwnedFd, trace: &mut Recorder) {
    for (cover, name) in covers.iter().zip(NAMES) {
        // It is in the trace.
        let _ = trace.step(
            (Step::AttachMount, name),
            format!("move_mount(\"/etc/{name}\")"),
            || cover_one(cover, root, name),
        );
    }
}

fn cover_one(cover: &OwnedFd, root: &OwnedFd, name: &str) -> Result<(), Errno> {
    let etc = openat2(
        root,
        "etc",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
    )?;
    let point = match regular(&etc, name) {
        Ok(Some(point)) => point,
        found => {
            // A link, a pipe, a device that the container has put there: not what was meant.
            if found.is_ok() {
                unlinkat(&etc, name, AtFlags::empty())?;
            }
            openat(
                &etc,
                name,
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::from_bits_truncate(0o644),
            )?;
            regular(&etc, name)?.ok_or(Errno::LOOP)?
        }
    };
    move_mount(
        cover,
        "",
        &point,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
}

/// The file with this name; `None` where it is something else.
fn regular(etc: &OwnedFd, name: &str) -> Result<Option<OwnedFd>, Errno> {
    let point = openat(
        etc,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let kind = FileType::from_raw_mode(fstat(&point)?.st_mode);
    Ok((kind == FileType::RegularFile).then_some(point))
}
