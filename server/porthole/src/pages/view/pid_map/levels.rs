//! On which levels of nesting a process stands.

use std::collections::HashMap;

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Process;

use crate::world::World;

/// The PID namespace that the host began with, as the observer sees it.
fn hosts(world: &World) -> Option<NamespaceInode> {
    let mut all = world.namespaces().into_iter();
    let initial = all.find(|n| n.kind == NamespaceType::Pid && n.initial);
    initial
        .map(|n| n.inode)
        .or_else(|| world.process(HostPid(1)).and_then(|p| p.namespaces.pid))
}

/// Where a process stands on each level: its namespace, which is not known everywhere, and its
/// number.
pub(super) type Place = (Option<NamespaceInode>, i32);

/// Looks up on which levels processes stand.
pub(super) struct Levels<'a> {
    pub(super) world: &'a World,
    pub(super) host: Option<NamespaceInode>,
    chains: HashMap<NamespaceInode, Vec<NamespaceInode>>,
}

impl<'a> Levels<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        Self {
            world,
            host: hosts(world),
            chains: HashMap::new(),
        }
    }

    /// This namespace and those that it lies in, as far as they are known, the innermost first.
    fn chain(&mut self, inode: NamespaceInode) -> &[NamespaceInode] {
        let world = self.world;
        self.chains.entry(inode).or_insert_with(|| {
            let mut chain = vec![inode];
            let parent = |inode| world.namespace(inode).and_then(|n| n.parent);
            let mut next = parent(inode);
            while let Some(outer) = next.filter(|_| chain.len() < 33) {
                chain.push(outer);
                next = parent(outer);
            }
            chain
        })
    }

    /// From the host inwards.
    pub(super) fn of(&mut self, process: &Process) -> Vec<Place> {
        let depth = process.pids.len();
        let host = self.host;
        let chain = match process.namespaces.pid {
            Some(inode) => self.chain(inode).to_vec(),
            None => Vec::new(),
        };
        let place = |(level, pid): (usize, &i32)| {
            let known = chain.get(depth - 1 - level).copied();
            (if level == 0 { host } else { known }, *pid)
        };
        process.pids.iter().enumerate().map(place).collect()
    }
}

/// How many processes each PID namespace sees.
pub(super) fn visible_in(levels: &mut Levels<'_>) -> HashMap<NamespaceInode, usize> {
    let mut seen = HashMap::new();
    for process in levels.world.processes() {
        if process.pids.len() < 2 {
            continue;
        }
        for (inode, _) in levels.of(&process).into_iter().skip(1) {
            if let Some(inode) = inode {
                *seen.entry(inode).or_default() += 1;
            }
        }
    }
    seen
}
