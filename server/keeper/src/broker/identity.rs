//! Making sure that a process is the one that was written down.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::namespace::{NamespaceSet, NamespaceType, PerNamespace};
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

/// The same, for sharing a namespace of that process: it must be the one that was written down.
pub(super) fn open_in(
    pid: HostPid,
    start_ticks: u64,
    kind: NamespaceType,
    namespaces: &NamespaceSet,
) -> io::Result<OwnedFd> {
    let pidfd = open(pid, start_ticks)?;
    let found = namespace_of(&pid.to_string(), kind);
    // After the number was read, so that it is that of the process that still lives.
    porthole_sys::signals::send(&pidfd, 0)?;
    if found.is_some() && found == *namespaces.get(kind) {
        Ok(pidfd)
    } else {
        Err(io::Error::from(rustix::io::Errno::SRCH))
    }
}

/// The namespaces of this process, which are the host's.
pub(super) fn own_namespaces() -> NamespaceSet {
    PerNamespace::build(|kind| namespace_of("self", kind))
}

fn namespace_of(process: &str, kind: NamespaceType) -> Option<NamespaceInode> {
    std::fs::metadata(format!("/proc/{process}/ns/{kind}"))
        .ok()
        .map(|status| NamespaceInode(status.ino()))
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

    #[test]
    fn a_process_in_another_namespace_is_another() {
        let pid = std::process::id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
        let ticks = start_ticks_of(&stat).expect("ticks");
        let pid = HostPid(pid.cast_signed());
        let mut namespaces = own_namespaces();
        assert!(open_in(pid, ticks, NamespaceType::Net, &namespaces).is_ok());
        namespaces.net = namespaces.ipc;
        assert!(open_in(pid, ticks, NamespaceType::Net, &namespaces).is_err());
        assert!(open_in(pid, ticks, NamespaceType::Ipc, &namespaces).is_ok());
        namespaces.net = None;
        assert!(open_in(pid, ticks, NamespaceType::Net, &namespaces).is_err());
    }
}
