//! Calls that change nothing and say whether one may: what the kernel answers is all that they do.

use std::io;

/// Whether this process could set the machine's clock. settimeofday(2) with neither a time nor a
/// zone checks the permission first (`do_sys_settimeofday64` in kernel/time/time.c), and then has
/// nothing to set.
pub fn set_clock() -> io::Result<()> {
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: both arguments may be null. libc's own function is not called: musl's answers for the
    // kernel where there is no time.
    answer(unsafe { libc::syscall(libc::SYS_settimeofday, nothing, nothing) })
}

/// Whether this process could read the kernel's log. `SYSLOG_ACTION_SIZE_BUFFER` of syslog(2) is
/// allowed to whoever may read it all (`check_syslog_permissions` in kernel/printk/printk.c), and
/// answers a number only.
pub fn read_kernel_log() -> io::Result<()> {
    const SIZE_BUFFER: libc::c_int = 10;
    let nothing = std::ptr::null_mut::<libc::c_char>();
    // SAFETY: this action reads and writes no memory.
    answer(unsafe { libc::syscall(libc::SYS_syslog, SIZE_BUFFER, nothing, 0) })
}

fn answer(value: libc::c_long) -> io::Result<()> {
    if value < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_for_the_clock_leaves_it_alone() {
        // Whoever may is let through, and a call that sets something would show.
        let before = std::time::SystemTime::now();
        let _ = set_clock();
        let passed = before.elapsed().expect("a clock that goes on");
        assert!(passed < std::time::Duration::from_secs(60));
    }
}
