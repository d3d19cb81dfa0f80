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
use porthole_protocol::engine::Engine;
use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode};
use porthole_protocol::namespace::NamespaceSet;
use porthole_protocol::observation::{Process, Sighting};

use crate::model::Known;
use crate::recognise::{Level, Supervisor, is_supervisor, supervisor};

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
            // It may be the first of a PID namespace that was none, or of a group that had a
            // stage of runc's only.
            let first = b.pids.len() > 1 && b.pids.last() == Some(&1);
            let supervises = |process: &Process| is_supervisor(&process.command);
            (moved && (init || first || !now.group.levels.is_empty()))
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

/// A stage of runc's that is in the container's group before its init is, and ends.
fn is_helper(process: &Process) -> bool {
    matches!(
        process.command.as_str(),
        "runc:[0:PARENT]" | "runc:[1:CHILD]"
    )
}

/// A container that may be one.
#[derive(Debug, Default)]
struct Node<'a> {
    /// What its group says; `None` if only its namespaces tell it.
    level: Option<&'a Level>,
    /// The container whose group its own lies in.
    around: Option<usize>,
    within: Option<usize>,
    init: Option<&'a Known>,
    supervisor: Option<Supervisor>,
}

impl Node<'_> {
    fn own(&self) -> bool {
        self.level.is_some_and(|level| level.own)
    }

    fn engine(&self) -> Engine {
        match (self.level, &self.supervisor) {
            (Some(level), _) => level.engine,
            (None, Some(supervisor)) => supervisor.engine,
            (None, None) => Engine::None,
        }
    }

    fn name(&self) -> Option<String> {
        let told = self.supervisor.as_ref().and_then(|s| s.name.clone());
        told.or_else(|| match (self.level, self.engine()) {
            (Some(level), Engine::Lxc | Engine::Nspawn) => Some(level.id.as_str().to_owned()),
            _ => None,
        })
    }

    /// The identifier that it would have if nobody else claimed it.
    fn claim(&self) -> Option<ContainerId> {
        let init = &self.init?.process;
        let none = || {
            format!("none-{}-{}", init.host_pid, init.start_ticks)
                .parse()
                .ok()
        };
        match (self.level, &self.supervisor) {
            (Some(level), _) => Some(level.id.clone()),
            (None, Some(supervisor)) => supervisor.id.clone().or_else(none),
            (None, None) => none(),
        }
    }

    /// What it is that claims an identifier.
    fn key(&self) -> String {
        match (self.level, self.init) {
            (Some(level), _) => level.group.clone(),
            (None, Some(init)) => {
                format!("{}-{}", init.process.host_pid, init.process.start_ticks)
            }
            (None, None) => String::new(),
        }
    }

    fn rank(&self) -> (bool, bool, bool, usize, String) {
        let key = self.key();
        (
            !self.own(),
            self.level.is_none(),
            self.around.is_some() || key.starts_with("/user.slice/"),
            key.len(),
            key,
        )
    }
}

/// One search for containers.
struct Search<'a> {
    processes: &'a HashMap<HostPid, Known>,
    initial: NamespaceSet,
    parent: Box<dyn Fn(NamespaceInode) -> Option<NamespaceInode> + 'a>,
    nodes: Vec<Node<'a>>,
    /// The nodes of a group, outermost first.
    chains: HashMap<u64, Vec<usize>>,
    /// The container that a PID namespace belongs to.
    owners: HashMap<NamespaceInode, Option<usize>>,
}

impl<'a> Search<'a> {
    fn new(processes: &'a HashMap<HostPid, Known>, namespaces: &'a impl Namespaces) -> Self {
        Self {
            processes,
            initial: *namespaces.initial(),
            parent: Box::new(|inode| namespaces.parent(inode)),
            nodes: Vec::new(),
            chains: HashMap::new(),
            owners: HashMap::new(),
        }
    }

    /// Those that groups tell.
    fn by_group(&mut self) {
        let mut by_path: HashMap<(&str, &ContainerId), usize> = HashMap::new();
        let mut members: Vec<Vec<&'a Known>> = Vec::new();
        for known in self.processes.values() {
            let levels = &known.group.levels;
            if levels.is_empty() {
                continue;
            }
            let nodes = &mut self.nodes;
            let chain = self.chains.entry(known.group.number).or_insert_with(|| {
                let mut around = None;
                let each = levels.iter().map(|level| {
                    let at = *by_path
                        .entry((&level.group, &level.id))
                        .or_insert(nodes.len());
                    if at == nodes.len() {
                        nodes.push(Node {
                            level: Some(level),
                            around,
                            ..Node::default()
                        });
                        members.push(Vec::new());
                    }
                    around = Some(at);
                    at
                });
                each.collect()
            });
            if let Some(innermost) = chain.last() {
                members[*innermost].push(known);
            }
        }
        // Outermost first: one that is inside is told from what is around it.
        let depth = |mut at: usize| {
            let mut depth = 0;
            while let Some(around) = self.nodes[at].around {
                at = around;
                depth += 1;
            }
            depth
        };
        let mut order: Vec<(usize, usize)> =
            (0..self.nodes.len()).map(|at| (depth(at), at)).collect();
        order.sort_unstable();
        for (_, at) in order {
            let around = self.nodes[at].around;
            let outside = self.namespaces_of(around);
            let eldest = members[at]
                .iter()
                .min_by_key(|known| seniority(&known.process, &outside))
                .copied();
            let init = eldest.map(|eldest| made_by(eldest, &members[at]).unwrap_or(eldest));
            self.nodes[at].init = init;
            let Some(init) = init else { continue };
            self.nodes[at].supervisor = self.supervisor_of(init, None);
            let inner = init.process.namespaces.pid;
            if init.process.pids.last() == Some(&1)
                && inner != self.initial.pid
                && inner != outside.pid
                && let Some(inner) = inner
            {
                self.owners.entry(inner).or_insert(Some(at));
            }
        }
    }

    /// Those that only their namespaces tell.
    fn by_namespaces(&mut self) {
        let mut firsts: HashMap<NamespaceInode, &'a Known> = HashMap::new();
        for known in self.processes.values() {
            let Some(inode) = known.process.namespaces.pid else {
                continue;
            };
            if Some(inode) == self.initial.pid || self.owners.contains_key(&inode) {
                continue;
            }
            let age = |known: &Known| {
                let process = &known.process;
                let first = process.pids.last() == Some(&1);
                (!first, process.start_ticks, process.host_pid)
            };
            firsts
                .entry(inode)
                .and_modify(|first| {
                    if age(known) < age(first) {
                        *first = known;
                    }
                })
                .or_insert(known);
        }
        let mut firsts: Vec<(NamespaceInode, &Known)> = firsts.into_iter().collect();
        firsts.sort_by_key(|(_, first)| (first.process.pids.len(), first.process.host_pid));
        for (inode, first) in firsts {
            let around = self.combine(self.group_of(first), self.owner_above(inode));
            let outside = self.namespaces_of(around);
            let mnt = first.process.namespaces.mnt;
            if mnt.is_none() || (mnt == outside.mnt && !self.is_maker(around, first)) {
                self.owners.insert(inode, around);
                continue;
            }
            let supervisor = self.supervisor_of(first, Some(inode));
            self.nodes.push(Node {
                within: around,
                init: Some(first),
                supervisor,
                ..Node::default()
            });
            self.owners.insert(inode, Some(self.nodes.len() - 1));
        }
    }

    /// Whether the first process of this container has made the mounts that it is in for this one:
    /// who leaves the mount and the PID namespace at once is itself in the new mounts, and only its
    /// children are in the new PID namespace.
    fn is_maker(&self, at: Option<usize>, first: &Known) -> bool {
        let Some(maker) = at.and_then(|at| self.nodes[at].init) else {
            return false;
        };
        let maker = &maker.process;
        let beside = |other: &Known| {
            let other = &other.process;
            other.namespaces.mnt == maker.namespaces.mnt
                && other.namespaces.pid == maker.namespaces.pid
                && other.host_pid != maker.host_pid
        };
        first.process.parent == Some(maker.host_pid) && !self.processes.values().any(beside)
    }

    /// Which of them lie in which.
    fn nest(&mut self) {
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            let (Some(_), Some(init)) = (node.level, node.init) else {
                continue;
            };
            let above = init.process.namespaces.pid.and_then(|pid| {
                let own = self.owners.get(&pid) == Some(&Some(at));
                // One that shares the namespace of another is beside it, not in it.
                own.then(|| self.owner_above(pid)).flatten()
            });
            let within = self.combine(self.living(node.around), above);
            if within.is_some_and(|within| !self.is_in(within, at)) {
                self.nodes[at].within = within;
            }
        }
    }

    /// The container that a process is in.
    fn innermost(&self, known: &Known) -> Option<usize> {
        let pid = known.process.namespaces.pid;
        let by_namespace = pid.and_then(|pid| self.owners.get(&pid).copied().flatten());
        self.combine(self.group_of(known), by_namespace)
    }

    /// The inner one of two that something is in; the one that its group tells, if neither is in
    /// the other.
    fn combine(&self, group: Option<usize>, namespace: Option<usize>) -> Option<usize> {
        match (group, namespace) {
            (Some(group), Some(namespace)) if self.is_in(namespace, group) => Some(namespace),
            (None, namespace) => namespace,
            (group, _) => group,
        }
    }

    /// Whether one is the other or lies in it.
    fn is_in(&self, inner: usize, outer: usize) -> bool {
        let mut at = Some(inner);
        // A path is as deep as containers go; by namespaces the kernel allows 32 levels.
        for _ in 0..64 {
            match at {
                Some(at) if at == outer => return true,
                Some(inside) => {
                    let node = &self.nodes[inside];
                    at = node.within.or(node.around);
                }
                None => return false,
            }
        }
        false
    }

    fn group_of(&self, known: &Known) -> Option<usize> {
        let chain = self.chains.get(&known.group.number)?;
        self.living(chain.last().copied())
    }

    /// This one, or the next around it that has a process.
    fn living(&self, mut at: Option<usize>) -> Option<usize> {
        while let Some(here) = at {
            if self.nodes[here].init.is_some() {
                return at;
            }
            at = self.nodes[here].around;
        }
        None
    }

    /// Whose the PID namespace above this one is.
    fn owner_above(&self, inode: NamespaceInode) -> Option<usize> {
        let above = (self.parent)(inode)?;
        self.owners.get(&above).copied().flatten()
    }

    fn namespaces_of(&self, at: Option<usize>) -> NamespaceSet {
        self.living(at)
            .and_then(|at| self.nodes[at].init)
            .map_or(self.initial, |init| init.process.namespaces)
    }

    /// What the parent of this first process tells, if it looks after it from outside the
    /// namespace.
    fn supervisor_of(&self, init: &Known, inside: Option<NamespaceInode>) -> Option<Supervisor> {
        let parent = &self.processes.get(&init.process.parent?)?.process;
        if !is_supervisor(&parent.command) || (inside.is_some() && parent.namespaces.pid == inside)
        {
            return None;
        }
        supervisor(&parent.command, &parent.args)
    }
}

/// The child of a container's eldest process that is PID 1 where that one is not, in the same
/// mounts.
fn made_by<'a>(eldest: &Known, members: &[&'a Known]) -> Option<&'a Known> {
    let eldest = &eldest.process;
    let children = members.iter().filter(|known| {
        let child = &known.process;
        child.parent == Some(eldest.host_pid)
            && child.pids.len() > eldest.pids.len()
            && child.pids.last() == Some(&1)
            && child.namespaces.mnt == eldest.namespaces.mnt
    });
    children
        .min_by_key(|known| (known.process.start_ticks, known.process.host_pid))
        .copied()
}

/// The least is the first process of a container, around which these are the namespaces.
fn seniority(process: &Process, outside: &NamespaceSet) -> impl Ord + use<> {
    let stranger = process.namespaces.mnt == outside.mnt && process.namespaces.pid == outside.pid;
    (
        stranger,
        is_helper(process),
        process.start_ticks,
        process.pids.len(),
        process.pids.last() != Some(&1),
        process.host_pid,
    )
}

#[cfg(test)]
mod tests;
