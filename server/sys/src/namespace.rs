//! Leaving namespaces for new ones, see unshare(2).

use std::io;

use rustix::thread::UnshareFlags;

use crate::process::SingleThreaded;

/// Moves this process into new namespaces: `CLONE_NEW*` and nothing else, EINVAL otherwise. A new
/// PID or time namespace is entered by the next child.
pub fn unshare(_alone: SingleThreaded, namespaces: u64) -> io::Result<()> {
    const ALL: UnshareFlags = UnshareFlags::NEWNS
        .union(UnshareFlags::NEWUTS)
        .union(UnshareFlags::NEWIPC)
        .union(UnshareFlags::NEWPID)
        .union(UnshareFlags::NEWNET)
        .union(UnshareFlags::NEWUSER)
        .union(UnshareFlags::NEWCGROUP)
        .union(UnshareFlags::NEWTIME);
    let flags = u32::try_from(namespaces)
        .ok()
        .map(UnshareFlags::from_bits_retain)
        .filter(|flags| ALL.contains(*flags))
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: with one thread there is nobody to share a table of descriptors with, and
    // CLONE_FILES is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    Ok(())
}
