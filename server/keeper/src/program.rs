//! This program itself, sealed.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use porthole_sys::memfd::{copy_of_self, runs_sealed};

/// A sealed copy of this program: the one that it runs from, whose memory all that run from it
/// share, or else a new one.
pub(crate) fn sealed() -> io::Result<OwnedFd> {
    if runs_sealed()? {
        Ok(File::open("/proc/self/exe")?.into())
    } else {
        copy_of_self()
    }
}
