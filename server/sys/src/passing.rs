//! Passing descriptors to the next program, as systemd passes sockets: from number 3 on.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::process::Forked;

/// The number of the first descriptor that is passed.
pub const FIRST: RawFd = 3;

/// Puts `passed` at [`FIRST`] and what follows it, where the next program finds them open. Every
/// other descriptor but the three standard ones is closed by exec; none may be used any more. The
/// answer is `program` under another number, to be executed.
pub fn pass(
    _forked: &Forked,
    program: BorrowedFd<'_>,
    passed: &[BorrowedFd<'_>],
) -> io::Result<OwnedFd> {
    let count = RawFd::try_from(passed.len()).map_err(io::Error::other)?;
    let end = FIRST + count;
    // First above all places, so that none is written over before it was put.
    let program = rustix::io::fcntl_dupfd_cloexec(program, end)?;
    let above = passed
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, end))
        .collect::<Result<Vec<_>, _>>()?;
    for (number, fd) in (FIRST..).zip(&above) {
        // SAFETY: it takes no pointer. Whoever owned this number never runs again: a forked
        // process does not return to its caller's frames (`Forked`).
        if unsafe { libc::dup2(fd.as_raw_fd(), number) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: it takes no pointer, and closes nothing before the next program begins.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            end.cast_unsigned(),
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(program)
}
