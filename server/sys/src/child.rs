//! Forked children that run Rust code, and signals sent to processes by pidfd.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// A child of this process, which reaps it.
#[derive(Debug)]
pub struct Child {
    /// Its number in this process's PID namespace.
    pub pid: i32,
    /// The same, never mistaken for another.
    pub pidfd: OwnedFd,
}

/// What a child exits with when its code panicked.
pub const PANICKED: i32 = 101;

/// Starts a child that runs this code and nothing else. Of the descriptors it keeps standard
/// input, output and error and those given; the code may use no other that it captured.
///
/// Refused where this process has more than one thread: what the others hold locked would stay
/// locked in the child for ever.
pub fn fork(keep: &[BorrowedFd<'_>], code: impl FnOnce() -> Infallible) -> io::Result<Child> {
    // A directory has one link for each directory in it, and two of its own.
    if rustix::fs::stat("/proc/self/task")?.st_nlink != 3 {
        return Err(io::Error::other(
            "a process with several threads cannot fork",
        ));
    }
    // SAFETY: this process has one thread, so that its child is a whole copy of it in which no
    // lock is held by a thread that is not there.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // Unwinding stops here: the caller's frames belong to the parent, and their
            // destructors would close descriptors a second time.
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                close_all_but(keep);
                code()
            }));
            match panicked {
                Ok(never) => match never {},
                Err(_) => exit(PANICKED),
            }
        }
        pid => {
            // The child is not reaped before this returns, so that its number is still its own.
            let known = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
            Ok(Child {
                pid,
                pidfd: pidfd_open(known, PidfdFlags::empty())?,
            })
        }
    }
}

/// Ends this process at once: without destructors, without what `atexit` was told.
pub fn exit(code: i32) -> ! {
    // SAFETY: it takes no pointer and does not return.
    unsafe { libc::_exit(code) }
}

fn close_all_but(keep: &[BorrowedFd<'_>]) {
    let mut kept: Vec<u32> = keep
        .iter()
        .map(|fd| fd.as_raw_fd().cast_unsigned())
        .collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept {
        if fd > first {
            close_range(first, fd - 1);
        }
        first = first.max(fd + 1);
    }
    close_range(first, u32::MAX);
}

fn close_range(first: u32, last: u32) {
    // SAFETY: called in a child between fork and the code it is to run, which by the contract of
    // `fork` uses no descriptor in this range; nothing else runs in this process.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}

/// Sends a signal by its number, real-time ones too. The error of a process that has ended is
/// `ESRCH`.
pub fn send_signal(process: impl AsFd, signal: u8) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as it is borrowed; no pointer but null is passed.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_fd().as_raw_fd(),
            libc::c_int::from(signal),
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
