//! Forked children that run Rust code, and signals sent to processes by pidfd.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Takes the descriptors from 3 on that whoever started this program passed to it, as systemd
/// passes sockets. `None` after the first call, or where one of them is not open.
pub fn take_passed(count: u8) -> Option<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return None;
    }
    let numbers = FIRST_PASSED..FIRST_PASSED + RawFd::from(count);
    for number in numbers.clone() {
        // SAFETY: it takes no pointer; a number that is not open is an error.
        if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
            return None;
        }
    }
    Some(
        numbers
            // SAFETY: it is open, and owned by nobody: it was open when this program began, which
            // calls this once, before it opens anything.
            .map(|number| unsafe { OwnedFd::from_raw_fd(number) })
            .collect(),
    )
}

/// The first descriptor that is passed to a program.
const FIRST_PASSED: RawFd = 3;

/// Runs another program in this process. It gets these arguments (the first is its own name), this
/// environment (`NAME=value`), standard input, output and error, and `passed` as descriptors 3, 4
/// and so on; nothing else. Exits with 127 and words on standard error where that fails.
pub fn run_program(
    program: BorrowedFd<'_>,
    arguments: &[CString],
    environment: &[CString],
    passed: &[BorrowedFd<'_>],
) -> ! {
    let error = match place(program, passed) {
        Ok(program) => {
            let pointers = |words: &[CString]| -> Vec<*const libc::c_char> {
                let words = words.iter().map(|word| word.as_ptr());
                words.chain([std::ptr::null()]).collect()
            };
            let (arguments, environment) = (pointers(arguments), pointers(environment));
            // SAFETY: both arrays end in a null pointer, and they and the strings that they point
            // to live until the call returns, if it ever does. The path is empty and ends in NUL.
            unsafe {
                libc::syscall(
                    libc::SYS_execveat,
                    program.as_raw_fd(),
                    c"".as_ptr(),
                    arguments.as_ptr(),
                    environment.as_ptr(),
                    libc::AT_EMPTY_PATH,
                )
            };
            io::Error::last_os_error()
        }
        Err(error) => error,
    };
    let name = arguments.first().map(|word| word.to_string_lossy());
    eprintln!("cannot run {}: {error}", name.unwrap_or_default());
    exit(127)
}

/// Puts descriptors to their places, and everything else out of the next program's way.
fn place(program: BorrowedFd<'_>, passed: &[BorrowedFd<'_>]) -> io::Result<OwnedFd> {
    let count = RawFd::try_from(passed.len()).map_err(io::Error::other)?;
    let end = FIRST_PASSED + count;
    // First above all places, so that none is written over before it was put.
    let program = rustix::io::fcntl_dupfd_cloexec(program, end)?;
    let above = passed
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, end))
        .collect::<Result<Vec<_>, _>>()?;
    for (number, fd) in (FIRST_PASSED..).zip(&above) {
        // SAFETY: it takes no pointer. Whoever owned this number never runs again: the caller,
        // which is all that runs in this process, does not return.
        if unsafe { libc::dup2(fd.as_raw_fd(), number) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: it takes no pointer, and closes nothing before the next program begins.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            end.cast_unsigned(),
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    Ok(program)
}
