//! One search: candidates by groups, then by PID namespaces, then which lies in which.

use std::collections::HashMap;

use porthole_protocol::engine::Engine;
use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode};
use porthole_protocol::namespace::NamespaceSet;
use porthole_protocol::observation::Process;

use super::Namespaces;
use crate::model::Known;
use crate::recognise::{Level, Supervisor, is_supervisor, supervisor};

/// A stage of runc's that is in the container's group before its init is, and ends.
pub(super) fn is_helper(process: &Process) -> bool {
    matches!(
        process.command.as_str(),
        "runc:[0:PARENT]" | "runc:[1:CHILD]"
    )
}

/// A container that may be one.
#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    /// What its group says; `None` if only its namespaces tell it.
    pub(super) level: Option<&'a Level>,
    /// The container whose group its own lies in.
    around: Option<usize>,
    pub(super) within: Option<usize>,
    pub(super) init: Option<&'a Known>,
    supervisor: Option<Supervisor>,
}

impl Node<'_> {
    pub(super) fn own(&self) -> bool {
        self.level.is_some_and(|level| level.own)
    }

    pub(super) fn engine(&self) -> Engine {
        match (self.level, &self.supervisor) {
            (Some(level), _) => level.engine,
            (None, Some(supervisor)) => supervisor.engine,
            (None, None) => Engine::None,
        }
    }

    pub(super) fn name(&self) -> Option<String> {
        let told = self.supervisor.as_ref().and_then(|s| s.name.clone());
        told.or_else(|| match (self.level, self.engine()) {
            (Some(level), Engine::Lxc | Engine::Nspawn) => Some(level.id.as_str().to_owned()),
            _ => None,
        })
    }

    /// The identifier that it would have if nobody else claimed it.
    pub(super) fn claim(&self) -> Option<ContainerId> {
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
    pub(super) fn key(&self) -> String {
        match (self.level, self.init) {
            (Some(level), _) => level.group.clone(),
            (None, Some(init)) => {
                format!("{}-{}", init.process.host_pid, init.process.start_ticks)
            }
            (None, None) => String::new(),
        }
    }

    pub(super) fn rank(&self) -> (bool, bool, bool, usize, String) {
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
pub(super) struct Search<'a> {
    processes: &'a HashMap<HostPid, Known>,
    initial: NamespaceSet,
    parent: Box<dyn Fn(NamespaceInode) -> Option<NamespaceInode> + 'a>,
    pub(super) nodes: Vec<Node<'a>>,
    /// The nodes of a group, outermost first.
    chains: HashMap<u64, Vec<usize>>,
    /// The container that a PID namespace belongs to.
    owners: HashMap<NamespaceInode, Option<usize>>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        processes: &'a HashMap<HostPid, Known>,
        namespaces: &'a impl Namespaces,
    ) -> Self {
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
    pub(super) fn by_group(&mut self) {
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
            // A zombie is in nothing any more.
            if let Some(innermost) = chain.last()
                && known.process.state != 'Z'
            {
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
    pub(super) fn by_namespaces(&mut self) {
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
    pub(super) fn nest(&mut self) {
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
    pub(super) fn innermost(&self, known: &Known) -> Option<usize> {
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
    if eldest.pids.len() > 1 && eldest.pids.last() == Some(&1) {
        return None;
    }
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
