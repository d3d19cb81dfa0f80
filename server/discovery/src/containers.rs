//! Which containers there are, and which of them each process is in. Pure.
//!
//! Two things tell a container: the path of its control group ([`recognise`](crate::recognise)),
//! and a PID namespace of its own.
//!
//! - **By its group.** Whoever is in the group is in the container. Its init is the eldest there
//!   that has left the PID or the mount namespace of what is around it, which leaves out who was
//!   put into the group from outside; or the child of that one that is PID 1 in the same mounts,
//!   for then it is only the stage of a runtime that made it, or unshare(1).
//! - **By its namespaces**, engine `none`: a PID namespace that no group accounts for, if its first
//!   process has a mount namespace of its own too. Without its own mounts it cannot even have its
//!   own `/proc`, and is no place that one could be in: browsers make PID namespaces like that for
//!   the processes that draw pages. Neither are any other namespaces alone a container: systemd gives
//!   services own mounts, host names and networks (`PrivateMounts=`, `PrivateTmp=`,
//!   `ProtectHostname=`, `PrivateNetwork=`), and `ip netns exec` a network and mounts. All of those
//!   are told as namespaces.
//!
//! A process is in the innermost of the container whose group it is in and the one whose PID
//! namespace it is in, so that who entered a container's namespaces from outside is in it.

use std::collections::{HashMap, HashSet};

use porthole_protocol::container::IdRange;
use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode};
use porthole_protocol::namespace::NamespaceSet;
use porthole_protocol::observation::{Process, Sighting};

use crate::model::Known;
use crate::recognise::is_supervisor;

mod search;

use search::{Search, is_helper};

/// What is asked about namespaces.
pub(crate) trait Namespaces {
    /// Those that the host began with.
    fn initial(&self) -> &NamespaceSet;
    /// The parent of a PID namespace.
    fn parent(&self, inode: NamespaceInode) -> Option<NamespaceInode>;
    /// The maps of a user namespace, for users and for groups.
    fn maps(&self, inode: NamespaceInode) -> Option<(&[IdRange], &[IdRange])>;
}

/// Where processes are that are all in the same container: a control group, by the number that the
/// reader gave it, and a PID namespace.
pub(crate) type Place = (u64, Option<NamespaceInode>);

/// The containers there are.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    /// All that others made.
    pub(crate) foreign: HashMap<ContainerId, Sighting>,
    /// What each place is in.
    places: HashMap<Place, Option<ContainerId>>,
    /// The first processes of all containers, ours too, and when they were started.
    inits: HashMap<HostPid, u64>,
    /// The groups of those whose identifier another has with more right, as long as they are there.
    demoted: HashSet<String>,
}

impl Containers {
    /// The container of this place; `None` if the place is not known yet.
    pub(crate) fn of(&self, place: Place) -> Option<&Option<ContainerId>> {
        self.places.get(&place)
    }

    /// Whether this is a container's first process.
    pub(crate) fn is_init(&self, pid: HostPid) -> bool {
        self.inits.contains_key(&pid)
    }

    /// Whether a process that became this may change which containers there are.
    pub(crate) fn concerns(&self, before: Option<&Known>, now: &Known) -> bool {
        if before.is_none_or(|before| before.place() != now.place())
            && !self.places.contains_key(&now.place())
        {
            return true;
        }
        let init = self.inits.contains_key(&now.process.host_pid);
        before.is_some_and(|before| {
            let (a, b) = (&before.process, &now.process);
            let moved = a.namespaces != b.namespaces
                || a.start_ticks != b.start_ticks
                || a.pids != b.pids
                || before.group.number != now.group.number;
            let renamed = a.command != b.command || a.args != b.args;
            // The machine's clock was set.
            let retimed = a.started_at != b.started_at;
            // It may be the first of a PID namespace that was none, or of a group that had a
            // stage of runc's only.
            let first = b.pids.len() > 1 && b.pids.last() == Some(&1);
            let supervises = |process: &Process| is_supervisor(&process.command);
            (moved && (init || first || !now.group.levels.is_empty()))
                || (retimed && init)
                || (renamed && [a, b].into_iter().any(|p| is_helper(p) || supervises(p)))
        })
    }

    /// Finds out anew which containers there are.
    pub(crate) fn find(
        &mut self,
        processes: &HashMap<HostPid, Known>,
        namespaces: &impl Namespaces,
        frozen: &HashSet<String>,
    ) {
        let mut search = Search::new(processes, namespaces);
        search.by_group();
        search.by_namespaces();
        search.nest();
        let ids = self.name(&search);
        self.places.clear();
        for known in processes.values() {
            self.places.entry(known.place()).or_insert_with(|| {
                let node = search.innermost(known);
                node.and_then(|at| ids[at].clone())
            });
        }
        self.foreign.clear();
        self.inits.clear();
        for (at, node) in search.nodes.iter().enumerate() {
            let (Some(id), Some(init)) = (&ids[at], node.init) else {
                continue;
            };
            let init = &init.process;
            self.inits.insert(init.host_pid, init.start_ticks);
            if node.own() {
                continue;
            }
            let maps = init.namespaces.user.and_then(|user| namespaces.maps(user));
            let (users, groups) = maps.unwrap_or_default();
            let cgroup = match node.level {
                Some(level) => Some(level.group.clone()),
                None => init.cgroup.clone(),
            };
            let sighting = Sighting {
                id: id.clone(),
                engine: node.engine(),
                name: node.name(),
                init: init.host_pid,
                start_ticks: init.start_ticks,
                started_at: init.started_at,
                namespaces: init.namespaces,
                uid_map: users.to_vec(),
                gid_map: groups.to_vec(),
                paused: node
                    .level
                    .is_some_and(|level| frozen.contains(&level.group)),
                cgroup,
                within: node.within.and_then(|at| ids[at].clone()),
                pod: node.level.and_then(|level| level.pod.clone()),
            };
            self.foreign.insert(id.clone(), sighting);
        }
    }

    /// What each is called. An identifier is one container's only: of several that claim it, ours
    /// comes first, then the one in fewest others, then the one that no user's own groups hold,
    /// then the shorter path. The others keep it with a mark, for as long as they are there.
    fn name(&mut self, search: &Search<'_>) -> Vec<Option<ContainerId>> {
        let mut claims: HashMap<ContainerId, Vec<usize>> = HashMap::new();
        for (at, node) in search.nodes.iter().enumerate() {
            if node.init.is_some()
                && let Some(id) = node.claim()
            {
                claims.entry(id).or_default().push(at);
            }
        }
        let mut ids = vec![None; search.nodes.len()];
        let mut demoted = HashSet::new();
        for (id, mut claimants) in claims {
            claimants.sort_by_key(|at| search.nodes[*at].rank());
            let mut taken = false;
            for at in claimants {
                let node = &search.nodes[at];
                let key = node.key();
                let plain = !taken && (node.own() || !self.demoted.contains(&key));
                if plain {
                    taken = true;
                    ids[at] = Some(id.clone());
                } else {
                    ids[at] = marked(&id, &key);
                    demoted.insert(key);
                }
            }
        }
        self.demoted = demoted;
        ids
    }
}

/// An identifier with eight digits more that depend on the group.
fn marked(id: &ContainerId, key: &str) -> Option<ContainerId> {
    // FNV-1a, 32 bits: it only has to differ between groups.
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let length = id.as_str().len().min(ContainerId::LIMIT - 9);
    format!("{}-{hash:08x}", &id.as_str()[..length])
        .parse()
        .ok()
}

#[cfg(test)]
mod tests;
