//! What the observer saw: processes, namespaces, and the containers that it recognised.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use porthole_protocol::id::ContainerId;
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::{Process, Update};

use super::{Change, State, World};

impl World {
    /// How often the wires between network namespaces may have changed.
    pub fn wirings(&self) -> u64 {
        self.read().wirings
    }

    /// Takes note of what the observer saw.
    pub fn observe(&self, update: Update) {
        let mut state = self.write();
        // Whoever is not told of again has ended while nobody looked.
        let mut before = HashMap::new();
        if update.full {
            before = std::mem::take(&mut state.processes);
            state.by_container.clear();
            state.namespaces.clear();
            state.seen.clear();
        }
        let containers_change = update.full
            || !update.containers.is_empty()
            || !update.containers_gone.is_empty()
            // With every process that comes or goes the host's are told again, as having more or fewer.
            || update.namespaces.iter().any(|n| {
                n.initial && !state.namespaces.get(&n.inode).is_some_and(|was| was.initial)
            });
        for id in &update.containers_gone {
            state.seen.remove(id);
        }
        for sighting in update.containers {
            state.seen.insert(sighting.id.clone(), Arc::new(sighting));
        }
        let mut touched = BTreeSet::new();
        let mut gone = Vec::new();
        for pid in update.processes_gone {
            if let Some(process) = state.processes.remove(&pid) {
                state.leave(&process, &mut touched);
                state.ended.put(process.clone());
                gone.push(process);
            }
        }
        let mut changed = Vec::with_capacity(update.processes.len());
        for mut process in update.processes {
            let observed = process.container.as_ref();
            if let Some(name) = observed.and_then(|id| state.claims.name(id)) {
                process.container = Some(name.clone());
            }
            let process = Arc::new(process);
            let told = state.processes.insert(process.host_pid, process.clone());
            if let Some(told) = &told
                && told.container != process.container
            {
                state.leave(told, &mut touched);
            }
            // Its number is another's now, or the same one's as before.
            if let Some(last) = before.remove(&process.host_pid).or(told)
                && last.start_ticks != process.start_ticks
            {
                state.ended.put(last);
            }
            if let Some(container) = &process.container {
                touched.insert(container.clone());
                state
                    .by_container
                    .entry(container.clone())
                    .or_default()
                    .insert(process.host_pid);
            }
            changed.push(process);
        }
        for (_, last) in before {
            state.ended.put(last);
        }
        let mut rewired = update.wires || update.full;
        for inode in &update.namespaces_gone {
            let last = state.namespaces.remove(inode);
            rewired |= last.is_some_and(|last| last.kind == NamespaceType::Net);
        }
        let mut namespaces = Vec::with_capacity(update.namespaces.len());
        for namespace in update.namespaces {
            let namespace = Arc::new(namespace);
            let told = state.namespaces.insert(namespace.inode, namespace.clone());
            rewired |= told.is_none() && namespace.kind == NamespaceType::Net;
            namespaces.push(namespace);
        }
        let outer: Vec<ContainerId> = touched
            .iter()
            .flat_map(|id| state.outer(id))
            .cloned()
            .collect();
        touched.extend(outer);
        state.notice = update.notice;
        if containers_change || state.renames(&changed) {
            self.recognise(&mut state);
            // Some may be in another container by right.
            for process in &mut changed {
                if let Some(now) = state.processes.get(&process.host_pid) {
                    process.clone_from(now);
                }
            }
        }
        let gone = Arc::new(gone);
        if update.full || !changed.is_empty() || !gone.is_empty() {
            self.changes.tell(Change::Processes {
                containers: Arc::new(touched),
                changed: Arc::new(changed),
                gone: gone.clone(),
            });
        }
        if !namespaces.is_empty() || !update.namespaces_gone.is_empty() {
            self.changes.tell(Change::Namespaces {
                changed: Arc::new(namespaces),
                gone: Arc::new(update.namespaces_gone),
            });
        }
        // Where a network has no number here nothing is heard of its wires; but whoever changes them
        // is mostly a program in it that then ends.
        let unheard = |process: &Arc<Process>| {
            let network = process
                .namespaces
                .net
                .and_then(|net| state.namespaces.get(&net));
            network.is_some_and(|network| !network.initial && network.netnsid.is_none())
        };
        if rewired || gone.iter().any(unheard) {
            state.wirings += 1;
            self.changes.tell(Change::Wires);
        }
    }
}

impl State {
    pub(super) fn leave(&mut self, process: &Process, touched: &mut BTreeSet<ContainerId>) {
        let Some(container) = &process.container else {
            return;
        };
        touched.insert(container.clone());
        if let Some(pids) = self.by_container.get_mut(container) {
            pids.remove(&process.host_pid);
            if pids.is_empty() {
                self.by_container.remove(container);
            }
        }
    }
}
