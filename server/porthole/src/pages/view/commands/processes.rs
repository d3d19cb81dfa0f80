//! Commands of the pages about processes.

use porthole_protocol::id::HostPid;
use porthole_protocol::namespace::NamespaceType;

use super::super::processes::listing::Listing;
use super::{Api, Equal, equal, lsns, noted, nsenter, ps};
use crate::world::World;

pub(super) fn of_list(api: &Api<'_>, query: &str) -> Vec<Equal> {
    let listing: Listing = serde_urlencoded::from_str(query).unwrap_or_default();
    let mut asked = Vec::new();
    let numbers: Vec<&str> = listing.q.split(['/', ' ']).collect();
    match numbers.last().and_then(|last| last.parse::<u32>().ok()) {
        // The interface knows a number on any level; the others of a path are not needed for it.
        Some(pid) => asked.push(("pid", pid.to_string())),
        None if !listing.q.is_empty() => asked.push(("q", listing.q.clone())),
        None => {}
    }
    for (name, value) in [("container", &listing.container), ("uid", &listing.uid)] {
        if !value.is_empty() && value != "none" {
            asked.push((name, value.clone()));
        }
    }
    let query = serde_urlencoded::to_string(&asked).unwrap_or_default();
    let path = if query.is_empty() {
        "/processes".to_owned()
    } else {
        format!("/processes?{query}")
    };
    vec![
        equal("This list", &api.get(&path)),
        noted(
            "The same, by the kernel alone",
            "ps -eo pid,ppid,uid,gid,tty,stat,nlwp,rss,pidns,userns,args --forest",
            "PIDs inside are in the line NSpid of /proc/PID/status.",
        ),
        equal("Every namespace", "lsns"),
    ]
}

pub(super) fn of_one(api: &Api<'_>, world: &World, pid: &str) -> Vec<Equal> {
    let Some(process) = pid.parse().ok().and_then(|pid| world.process(HostPid(pid))) else {
        return Vec::new();
    };
    let pid = process.host_pid;
    let isolated = NamespaceType::ALL.into_iter().filter(|kind| {
        let inode = *process.namespaces.get(*kind);
        inode.is_some_and(|inode| !world.namespace(inode).is_some_and(|n| n.initial))
    });
    let enter = nsenter(pid, isolated);
    vec![
        equal("The process", &api.get(&format!("/processes/{pid}"))),
        equal(
            "What is read inside",
            &api.get(&format!("/processes/{pid}/detail")),
        ),
        equal("The process, by the kernel alone", &ps(pid)),
        noted(
            "Its numbers, ids, capabilities, seccomp",
            &format!("cat /proc/{pid}/status"),
            "NSpid holds its PID on every level, the outermost first.",
        ),
        equal("Its namespaces", &lsns(pid, None)),
        equal("Their files", &format!("ls -l /proc/{pid}/ns")),
        noted(
            "A shell in those that are not the host's",
            &format!("{enter} sh"),
            "As root on the host.",
        ),
    ]
}
