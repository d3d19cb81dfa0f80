//! The mounts that a process sees, and who is in the same peer groups.

use std::collections::{BTreeMap, HashMap};

use porthole_protocol::id::NamespaceInode;
use porthole_protocol::inspection::{
    Bounded, Mount, Mounts, PeerGroup, PeerMount, Propagation, PropagationKind,
};
use porthole_protocol::namespace::NamespaceType;
use rustix::fs::CWD;

use super::budget::Budget;
use super::mountinfo::{self, Entry};
use super::target::Process;
use super::{Step, Trouble, scan};
use crate::printable;

/// A list of mounts is not read beyond this.
const MOUNTINFO_LIMIT: usize = 16 * 1024 * 1024;

/// In so many other mount namespaces members of peer groups are looked for.
const SEARCHED: u32 = 256;

/// So many members of a group are told.
const MEMBERS: usize = 64;

pub(super) fn read(process: &Process) -> Result<Mounts, Trouble> {
    let namespace = process
        .inode(NamespaceType::Mnt.name())
        .ok_or(Trouble::ProcessGone(process.identity.pid))?;
    let bytes = scan::whole(&process.directory, "mountinfo", MOUNTINFO_LIMIT)
        .map_err(Trouble::at(Step::ReadProcess, process.path("mountinfo")))?;
    let entries: Vec<Entry<'_>> = mountinfo::entries(&bytes).collect();
    let order = mountinfo::tree(&entries);
    let hidden = mountinfo::hidden(&entries, &order);
    let mut budget = Budget::new();
    let (groups, searched, not_searched) = groups(namespace, &entries)?;
    let groups = budget.take(4, groups);
    let mounts = order
        .iter()
        .map(|(place, depth)| mount(&entries[*place], *depth, &hidden));
    Ok(Mounts {
        process: process.identity.pid,
        namespace,
        mounts: budget.take(1, mounts),
        groups,
        searched,
        not_searched,
    })
}

pub(super) fn mount(entry: &Entry<'_>, depth: u32, hidden: &HashMap<u64, u64>) -> Mount {
    let path = printable::line(&entry.path);
    let altered = path.as_bytes() != entry.path;
    Mount {
        id: entry.id,
        parent: entry.parent,
        depth,
        device: printable::line(entry.device),
        root: printable::line(&entry.root),
        path,
        path_raw: altered.then(|| printable::line(entry.path_raw)),
        fstype: printable::line(&entry.fstype),
        source: printable::line(&entry.source),
        options: words(entry.options),
        super_options: words(&entry.super_options),
        propagation: Propagation {
            kind: match (entry.shared, entry.master) {
                _ if entry.unbindable => PropagationKind::Unbindable,
                (None, None) => PropagationKind::Private,
                (Some(_), None) => PropagationKind::Shared,
                (None, Some(_)) => PropagationKind::Slave,
                (Some(_), Some(_)) => PropagationKind::SharedSlave,
            },
            group: entry.shared,
            master: entry.master,
            from: entry.from,
        },
        hidden_by: hidden.get(&entry.id).copied(),
    }
}

fn words(options: &[u8]) -> Vec<String> {
    options
        .split(|byte| *byte == b',')
        .filter(|word| !word.is_empty())
        .map(|word| printable::line(&mountinfo::unescaped(word)))
        .collect()
}

/// The peer groups of these mounts with their members in the other mount namespaces; in how many
/// these were looked for, and in how many not.
fn groups(
    own: NamespaceInode,
    entries: &[Entry<'_>],
) -> Result<(Vec<PeerGroup>, u32, u32), Trouble> {
    let mut groups: BTreeMap<u64, Bounded<PeerMount>> = entries
        .iter()
        .flat_map(|entry| [entry.shared, entry.master])
        .flatten()
        .map(|group| (group, Bounded::default()))
        .collect();
    let (searched, left) = if groups.is_empty() {
        (0, 0)
    } else {
        search(own, &mut groups)?
    };
    let groups = groups
        .into_iter()
        .map(|(id, members)| PeerGroup { id, members })
        .collect();
    Ok((groups, searched, left))
}

fn search(
    own: NamespaceInode,
    groups: &mut BTreeMap<u64, Bounded<PeerMount>>,
) -> Result<(u32, u32), Trouble> {
    let (mut searched, mut left) = (0, 0);
    for (namespace, process) in scan::leaders(NamespaceType::Mnt)? {
        if namespace == own {
            continue;
        }
        if searched == SEARCHED {
            left += 1;
            continue;
        }
        let path = format!("/proc/{process}/mountinfo");
        let Ok(bytes) = scan::whole(CWD, path, MOUNTINFO_LIMIT) else {
            left += 1;
            continue;
        };
        searched += 1;
        for entry in mountinfo::entries(&bytes) {
            for (group, receives) in [(entry.shared, false), (entry.master, true)] {
                let Some(members) = group.and_then(|group| groups.get_mut(&group)) else {
                    continue;
                };
                if members.items.len() == MEMBERS {
                    members.left_out += 1;
                    continue;
                }
                members.items.push(PeerMount {
                    namespace,
                    process,
                    path: printable::line(&entry.path),
                    receives,
                });
            }
        }
    }
    Ok((searched, left))
}
