//! Attributes of mounts, see mount_setattr(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// What is to change.
#[derive(Debug, Default, Clone, Copy)]
pub struct Attributes<'a> {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` or 0 to leave it.
    pub propagation: u64,
    /// The user namespace whose map the mount's ids go through from now on.
    pub idmap: Option<BorrowedFd<'a>>,
    /// Whether everything mounted below changes with it.
    pub recursive: bool,
}

/// `struct mount_attr` of `linux/mount.h`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// Changes the mount that `mount` is open on.
pub fn set_attributes(mount: impl AsFd, attributes: &Attributes<'_>) -> io::Result<()> {
    let mut argument = MountAttr {
        set: attributes.set,
        clear: attributes.clear,
        propagation: attributes.propagation,
        userns_fd: 0,
    };
    if let Some(namespace) = attributes.idmap {
        argument.set |= MOUNT_ATTR_IDMAP;
        argument.userns_fd = u64::from(namespace.as_raw_fd().cast_unsigned());
    }
    let mut flags = libc::AT_EMPTY_PATH;
    if attributes.recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: `argument` has the size that is given and outlives the call; the path is a literal;
    // both descriptors are open for as long as they are borrowed.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const argument,
            size_of::<MountAttr>(),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
