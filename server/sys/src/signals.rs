//! Signals by number: what a process does about them, sending and awaiting them, see signal(7).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The highest number.
pub const LAST: i32 = 64;

/// Every signal does what it does by default, and none is blocked: what a program expects to find
/// when it starts.
pub fn reset() {
    for signal in 1..=LAST {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            // SAFETY: SIG_DFL is no function of ours. libc refuses the numbers that it reserves.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    set_mask(&filled(false));
}

/// Blocks every signal that can be blocked, so that [`wait`] gets them.
pub fn block_all() {
    set_mask(&filled(true));
}

fn filled(full: bool) -> libc::sigset_t {
    // SAFETY: `sigset_t` is plain bits, which either call sets before anybody reads them.
    unsafe {
        let mut set = std::mem::zeroed();
        if full {
            libc::sigfillset(&raw mut set);
        } else {
            libc::sigemptyset(&raw mut set);
        }
        set
    }
}

fn set_mask(set: &libc::sigset_t) {
    // SAFETY: `set` is initialised and outlives the call; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, set, std::ptr::null_mut()) };
}

/// Waits for the next signal, after [`block_all`]; its number.
pub fn wait() -> io::Result<i32> {
    let set = filled(true);
    // SAFETY: `set` is initialised and outlives the call; no details are asked for.
    let signal = unsafe { libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) };
    if signal < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(signal)
}

/// Sends the process of a pidfd a signal by its number, 0 to see whether it is still there.
pub fn send(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is involved: the details are left to the kernel. The descriptor is open
    // for as long as it is borrowed.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
