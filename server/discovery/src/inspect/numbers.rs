//! PID namespaces.

use porthole_protocol::id::HostPid;
use porthole_protocol::inspection::Pid;
use porthole_protocol::namespace::NamespaceType;
use porthole_sys::process::SingleThreaded;
use rustix::fd::AsFd;
use rustix::fs::CWD;

use super::target::Target;
use super::users::ancestors;
use super::visitor;
use super::{Trouble, scan};
use crate::parse;

/// Holds every status but those with thousands of groups, whose `NSpid` comes behind these.
const STATUS_LIMIT: usize = 1024 * 1024;

pub(super) fn read(target: &Target, alone: SingleThreaded) -> Result<Pid, Trouble> {
    let (namespace, open) = target.namespace(NamespaceType::Pid)?;
    let own = scan::own(NamespaceType::Pid);
    // The host's first process may be one that cannot be looked into.
    let mut init = (own == Some(namespace)).then_some(HostPid(1));
    let mut processes = 0;
    for pid in scan::pids()? {
        if scan::namespace_of(pid, NamespaceType::Pid) == Some(namespace) {
            processes += 1;
            if init.is_none() && is_init(pid) {
                init = Some(pid);
            }
        }
    }
    let mut notes = Vec::new();

    let (pid_max, last_pid) = if own == Some(namespace) {
        let read = |name: &str| scan::host_text(&format!("/proc/sys/kernel/{name}")).ok();
        (
            read("pid_max").and_then(|text| text.trim().parse().ok()),
            read("ns_last_pid").and_then(|text| text.trim().parse().ok()),
        )
    } else if let Target::Process(process) = target {
        let (pid_max, last) = visitor::visit(process, alone, |inside| {
            (inside.number("sys/kernel/pid_max"), inside.own_pid())
        })?;
        if pid_max.is_none() {
            notes
                .push("There is no readable /proc inside, so its pid_max is not known.".to_owned());
        }
        (pid_max, Some(last))
    } else {
        notes.push(
            "No process is in it, and without its first process none can enter it.".to_owned(),
        );
        (None, None)
    };
    let ancestors = ancestors(open.as_fd());
    Ok(Pid {
        namespace,
        level: u32::try_from(ancestors.len()).unwrap_or(u32::MAX),
        ancestors,
        init,
        processes,
        pid_max,
        last_pid,
        notes,
    })
}

fn is_init(pid: HostPid) -> bool {
    scan::whole(CWD, format!("/proc/{pid}/status"), STATUS_LIMIT)
        .ok()
        .and_then(|status| parse::status(&status).pids)
        .is_some_and(|pids| pids.last() == Some(&1))
}
