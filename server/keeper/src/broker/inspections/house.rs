//! Whose a process is, to the most that can be told of it without waiting: all that one container has
//! are of one house, however many processes, namespaces and groups it makes.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use porthole_discovery::recognise;
use porthole_protocol::id::HostPid;
use porthole_protocol::inspection::Subject;
use porthole_sys::nsfs;

/// Namespaces nest no deeper (pid_namespaces(7), user_namespaces(7)).
const DEPTH: usize = 33;

/// Something that a container cannot have a second of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum House {
    /// Its PID namespace, the outermost below the keeper's own.
    Pids(u64),
    /// Its user namespace, likewise, which root has made.
    Users(u64),
    /// Whoever of the machine's users has made that, or whose process it is.
    Account(u32),
    /// The outermost control group that is named as containers' are.
    Group(String),
}

/// The houses of what is looked at; none where it is the machine's.
pub(super) fn of(subject: &Subject, base: &str) -> Vec<House> {
    match subject {
        Subject::Host => Vec::new(),
        Subject::Process(identity) => of_process(identity.pid, base),
        Subject::Namespace { holder, .. } => of_process(holder.pid(), base),
    }
}

fn of_process(pid: HostPid, base: &str) -> Vec<House> {
    let mut houses = Vec::new();
    if let Some(outermost) = outermost(pid, "pid") {
        houses.extend(inode(&outermost).map(House::Pids));
    }
    let account = match outermost(pid, "user") {
        Some(users) => match nsfs::owner_uid(&users) {
            Ok(0) | Err(_) => {
                houses.extend(inode(&users).map(House::Users));
                None
            }
            Ok(uid) => Some(uid),
        },
        None => fs::metadata(format!("/proc/{pid}")).map(|of| of.uid()).ok(),
    };
    houses.extend(account.filter(|uid| *uid != 0).map(House::Account));
    if let Ok(file) = fs::read(format!("/proc/{pid}/cgroup")) {
        let levels = recognise::group(&file, Some(base)).levels;
        houses.extend(
            levels
                .into_iter()
                .next()
                .map(|level| House::Group(level.group)),
        );
    }
    houses
}

/// The namespace of this type that the process is in, or the one above it that is directly below the
/// keeper's own. `None` where it is in that.
fn outermost(pid: HostPid, kind: &str) -> Option<File> {
    let own = fs::metadata(format!("/proc/self/ns/{kind}")).ok()?.ino();
    let mut found = File::open(format!("/proc/{pid}/ns/{kind}")).ok()?;
    if inode(&found)? == own {
        return None;
    }
    for _ in 0..DEPTH {
        match nsfs::parent(&found).map(File::from) {
            Ok(parent) if inode(&parent)? != own => found = parent,
            // It is below ours, or its parent is none that may be seen.
            _ => break,
        }
    }
    Some(found)
}

fn inode(file: &File) -> Option<u64> {
    file.metadata().ok().map(|status| status.ino())
}
