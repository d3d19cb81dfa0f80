//! A glance at the namespaces of processes that nothing happened to.
//!
//! No event tells that a process calls unshare(2) or setns(2); a fork or another program mostly
//! follows, and tells. Where nothing does, only looking finds it. Reading the links alone costs a
//! small part of reading a process: with each second as many are read as [`LINKS`] allows, in turn.
//! On a host of a few hundred processes that is all of them.

use std::time::{Duration, Instant};

use porthole_protocol::id::HostPid;
use porthole_protocol::namespace::NamespaceType;

use crate::host::Host;

/// So many links a second: about three thousandths of a processor.
const LINKS: usize = 2000;

const PACE: Duration = Duration::from_secs(1);

/// The types whose link changes without a fork: a PID or time namespace is for children only.
const TYPES: [NamespaceType; 6] = [
    NamespaceType::Mnt,
    NamespaceType::Uts,
    NamespaceType::Ipc,
    NamespaceType::Net,
    NamespaceType::User,
    NamespaceType::Cgroup,
];

/// Whose turn it is.
#[derive(Debug)]
pub(crate) struct Glance {
    turn: Vec<HostPid>,
    next: Instant,
}

impl Glance {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            turn: Vec::new(),
            next: now + PACE,
        }
    }

    /// When it is time.
    pub(crate) const fn next(&self) -> Instant {
        self.next
    }

    /// Those of the processes whose turn it is that are in other namespaces than is known.
    pub(crate) fn look(&mut self, host: &Host, now: Instant) -> Vec<HostPid> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + PACE;
        if self.turn.is_empty() {
            // The kernel's threads are left out: nobody can move them.
            let can_move = |pid: &HostPid| {
                let process = host.model.process(*pid);
                process.is_some_and(|process| process.security.is_some())
            };
            self.turn = host.model.pids().filter(can_move).collect();
        }
        let begin = self.turn.len().saturating_sub(LINKS / TYPES.len());
        let turn = self.turn.split_off(begin);
        turn.into_iter()
            .filter(|pid| has_moved(host, *pid))
            .collect()
    }
}

fn has_moved(host: &Host, pid: HostPid) -> bool {
    let Some(process) = host.model.process(pid) else {
        return false;
    };
    TYPES.into_iter().any(|kind| {
        // What cannot be read now was not left: a process that ends tells that by itself.
        let now = host.reader.namespace_of(pid, kind);
        now.is_some() && now != *process.namespaces.get(kind)
    })
}
