//! The kernel's own tools.

use porthole_protocol::id::HostPid;
use porthole_protocol::namespace::NamespaceType;

/// What nsenter(1) calls a type.
const fn nsenter_flag(kind: NamespaceType) -> &'static str {
    match kind {
        NamespaceType::Mnt => "--mount",
        NamespaceType::Uts => "--uts",
        NamespaceType::Ipc => "--ipc",
        NamespaceType::Pid => "--pid",
        NamespaceType::Net => "--net",
        NamespaceType::User => "--user",
        NamespaceType::Cgroup => "--cgroup",
        NamespaceType::Time => "--time",
    }
}

/// Enters these namespaces of a process.
pub fn nsenter(pid: HostPid, kinds: impl IntoIterator<Item = NamespaceType>) -> String {
    kinds
        .into_iter()
        .fold(format!("nsenter --target {pid}"), |line, kind| {
            line + " " + nsenter_flag(kind)
        })
}

/// Enters a namespace by a file that leads to it: a mount, an open descriptor.
pub fn nsenter_file(kind: NamespaceType, path: &str) -> String {
    format!(
        "nsenter {}={}",
        nsenter_flag(kind),
        shell_words::quote(path)
    )
}

/// Shows a process from every side that ps(1) knows.
pub fn ps(pid: HostPid) -> String {
    format!("ps -o pid,ppid,uid,gid,tty,stat,nlwp,rss,lstart,pidns,userns,cgroup,args -p {pid}")
}

/// Lists one namespace of a process, or all of them.
pub fn lsns(pid: HostPid, kind: Option<NamespaceType>) -> String {
    match kind {
        Some(kind) => format!("lsns --type {kind} --task {pid}"),
        None => format!("lsns --task {pid}"),
    }
}
