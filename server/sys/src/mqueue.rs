//! Asking a POSIX message queue what it holds, see mq_getattr(3).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// What a queue says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// How many messages fit.
    pub most_messages: u64,
    /// How many bytes one may have.
    pub longest: u64,
    /// How many are in it.
    pub messages: u64,
}

/// `struct mq_attr` of `linux/mqueue.h`.
#[repr(C)]
#[derive(Default)]
struct Raw {
    flags: libc::c_long,
    most_messages: libc::c_long,
    longest: libc::c_long,
    messages: libc::c_long,
    reserved: [libc::c_long; 4],
}

/// The attributes of an open queue; EBADF where the descriptor is none of a queue.
pub fn attributes(queue: impl AsFd) -> io::Result<Attributes> {
    let mut raw = Raw::default();
    // SAFETY: `raw` is a `struct mq_attr` that outlives the call; no new one is passed, so nothing
    // is changed. The descriptor is open for as long as it is borrowed.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mq_getsetattr,
            queue.as_fd().as_raw_fd(),
            std::ptr::null::<Raw>(),
            &raw mut raw,
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    let number = |value: libc::c_long| u64::try_from(value).unwrap_or(0);
    Ok(Attributes {
        most_messages: number(raw.most_messages),
        longest: number(raw.longest),
        messages: number(raw.messages),
    })
}
