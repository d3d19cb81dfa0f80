//! Making sure that a process is the one that was written down.

use std::io;
use std::os::fd::OwnedFd;

use porthole_protocol::id::HostPid;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// A pidfd of the process with this number that was started at this time.
///
/// The number is looked up first and the time read afterwards, so that the time is that of the
/// process that the descriptor is of, if that still lives.
pub(super) fn open(pid: HostPid, start_ticks: u64) -> io::Result<OwnedFd> {
    let gone = || io::Error::from(rustix::io::Errno::SRCH);
    let number = Pid::from_raw(pid.0).ok_or_else(gone)?;
    let pidfd = pidfd_open(number, PidfdFlags::empty())?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let found = start_ticks_of(&stat).ok_or_else(gone)?;
    porthole_sys::signals::send(&pidfd, 0)?;
    if found == start_ticks {
        Ok(pidfd)
    } else {
        Err(gone())
    }
}

/// Field 22 of `/proc/PID/stat`, see proc_pid_stat(5). The second field is a name in brackets,
/// which may hold anything, brackets too.
fn start_ticks_of(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_confuses_nobody() {
        let stat = "7 (a) b) 1 (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2";
        assert_eq!(start_ticks_of(stat), Some(4242));
        assert_eq!(start_ticks_of("7 (a"), None);
    }

    #[test]
    fn a_process_of_another_time_is_another() {
        let pid = std::process::id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
        let ticks = start_ticks_of(&stat).expect("ticks");
        let pid = HostPid(pid.cast_signed());
        assert!(open(pid, ticks).is_ok());
        assert!(open(pid, ticks + 1).is_err());
        assert!(open(HostPid(0), 0).is_err());
    }
}
