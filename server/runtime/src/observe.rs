//! What `/proc` says of a process of ours.

use std::fs;

use porthole_protocol::id::{ContainerPid, HostPid, NamespaceInode};
use porthole_protocol::namespace::{NamespaceSet, PerNamespace};

use rustix::fs::{Mode, OFlags, open, readlinkat};
use rustix::io::Errno;

use crate::step::{Step, StepError};

/// The namespaces that a process is in.
pub(crate) fn namespaces(pid: HostPid) -> Result<NamespaceSet, StepError> {
    let path = format!("/proc/{pid}/ns");
    let failed = |errno| StepError::new((Step::ReadNamespaces, &path), errno);
    // The process is looked up once and not for each of the eight.
    let directory = open(
        path.as_str(),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(failed)?;
    let mut refused = None;
    let set = PerNamespace::build(|kind| {
        match readlinkat(&directory, kind.name(), Vec::with_capacity(32)) {
            Ok(target) => inode(&target.to_string_lossy()),
            Err(errno) => {
                refused = refused.or(Some(errno));
                None
            }
        }
    });
    match refused {
        // A kernel without namespaces of a type lacks the file.
        Some(Errno::NOENT) if set.mnt.is_some() => Ok(set),
        Some(errno) => Err(failed(errno)),
        None => Ok(set),
    }
}

/// The number in `pid:[4026531836]`.
fn inode(link: &str) -> Option<NamespaceInode> {
    let (_, rest) = link.split_once(":[")?;
    rest.strip_suffix(']')?.parse().ok().map(NamespaceInode)
}

/// Clock ticks between boot and a process's start: field 22 of `/proc/PID/stat`.
pub(crate) fn start_ticks(pid: HostPid) -> Result<u64, StepError> {
    let path = format!("/proc/{pid}/stat");
    let text =
        fs::read(&path).map_err(|error| StepError::new((Step::ReadProcess, &path), error))?;
    let text = String::from_utf8_lossy(&text);
    // The second field is the command in parentheses, and may hold anything.
    text.rsplit_once(')')
        .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(19)?.parse().ok())
        .ok_or_else(|| StepError::new((Step::ReadProcess, path), Errno::INVAL))
}

/// The same process in the innermost PID namespace that it is in.
pub(crate) fn container_pid(pid: HostPid) -> Result<ContainerPid, StepError> {
    let path = format!("/proc/{pid}/status");
    let text =
        fs::read(&path).map_err(|error| StepError::new((Step::ReadProcess, &path), error))?;
    String::from_utf8_lossy(&text)
        .lines()
        .find_map(|line| {
            line.strip_prefix("NSpid:")?
                .split_ascii_whitespace()
                .last()?
                .parse()
                .ok()
        })
        .map(ContainerPid)
        .ok_or_else(|| StepError::new((Step::ReadProcess, path), Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read() {
        let own = HostPid(std::process::id().cast_signed());
        let set = namespaces(own).expect("namespaces");
        assert!(set.mnt.is_some() && set.cgroup.is_some());
        assert!(start_ticks(own).expect("ticks") > 0);
        assert_eq!(container_pid(own).expect("pid").0, own.0);
        assert_eq!(
            inode("pid:[4026531836]"),
            Some(NamespaceInode(4_026_531_836))
        );
        assert_eq!(inode("pid:4026531836"), None);
    }
}
