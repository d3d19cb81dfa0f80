//! Whether what is seen under an engine's identifier is what its engine means by it.
//!
//! Whoever may make control groups, an ordinary user of systemd's among them, can call one like a
//! container of Docker's. An engine that knows the identifier says which process is the first of
//! that container, or that none is. What is seen and is not that one stands apart, as what no engine
//! made; the engine's container stays what the engine says of it.
//!
//! While a container is being started or stopped the two disagree for a moment. For [`GRACE`] it is
//! shown as one, and neither entered nor changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use porthole_protocol::engine::Engine;
use porthole_protocol::engines::{EngineContainer, RunState};
use porthole_protocol::id::{ContainerId, HostPid};
use porthole_protocol::observation::{Process, Sighting};
use serde::Serialize;

use super::{Change, State, World};

/// How long an engine may take to say of a process that is seen that it is its container's.
pub(super) const GRACE: Duration = Duration::from_secs(3);

/// An identifier that something has by the name of its control group alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The identifier.
    pub id: ContainerId,
    /// Whose it is.
    pub engine: Engine,
    /// What the container that has it by right is called.
    pub name: String,
    /// What is said of that one.
    #[serde(skip)]
    says: Says,
}

/// What speaks against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// Its engine calls its state so.
    State(&'static str),
    /// Its engine says that this is its first process.
    First(HostPid),
    /// It is Porthole's own.
    Own,
}

impl Claim {
    /// In a sentence or two.
    pub fn words(&self) -> String {
        let (engine, name) = (self.engine.words(), &self.name);
        let group = format!("Its control group is called as that of {engine}'s container {name}");
        match self.says {
            Says::State(state) => {
                format!("{group}, but {engine} says that this one is {state}.")
            }
            Says::First(pid) => {
                format!("{group}, but {engine} says that the first process of this one is {pid}.")
            }
            Says::Own => format!("{group}, and is another."),
        }
    }
}

/// Since when an engine has not confirmed what is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    Since(Instant),
    /// For so long that it stands apart, until the engine says that it is its container.
    Settled,
}

/// What of the sightings is in doubt.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// By the identifier that is claimed.
    doubts: HashMap<ContainerId, Doubt>,
    /// What sightings are called here, where that is not what the observer calls them.
    names: HashMap<ContainerId, ContainerId>,
}

impl Claims {
    /// What the container is called that the observer calls so.
    pub(super) fn name(&self, observed: &ContainerId) -> Option<&ContainerId> {
        self.names.get(observed)
    }

    /// What the observer calls the one that is called so here.
    fn observed<'a>(&'a self, name: &'a ContainerId) -> &'a ContainerId {
        let renamed = self.names.iter().find(|(_, now)| *now == name);
        renamed.map_or(name, |(observed, _)| observed)
    }

    /// Whether somebody has to look again when [`GRACE`] is over.
    fn waits(&self) -> bool {
        let mut doubts = self.doubts.values();
        doubts.any(|doubt| *doubt != Doubt::Settled)
    }
}

/// What it is called that only claims an identifier: as the observer calls what no engine made.
fn apart(sighting: &Sighting) -> Option<ContainerId> {
    format!("none-{}-{}", sighting.init, sighting.start_ticks)
        .parse()
        .ok()
}

/// Whether both claim one identifier: the observer marks all but one of those.
fn claims_the_same(id: &ContainerId, other: &ContainerId) -> bool {
    let marked = other.as_str().rsplit_once('-');
    id == other || marked.is_some_and(|(stem, _)| id.as_str().starts_with(stem))
}

impl State {
    /// The sighting that an engine means by what it says of a container: its first process is that
    /// one's, on whatever level the engine counts.
    fn meant(&self, told: &EngineContainer) -> Option<&Arc<Sighting>> {
        let plain = self.seen.get(&told.id);
        if told.state == RunState::Unknown {
            return plain;
        }
        if !told.state.has_processes() {
            return None;
        }
        let Some(pid) = told.pid else {
            return plain;
        };
        if plain.is_some_and(|plain| plain.init == pid) {
            return plain;
        }
        // The observer may have given the identifier to another that claims it.
        let mut all = self.seen.values();
        let other = all.find(|other| other.init == pid && claims_the_same(&told.id, &other.id));
        other.or_else(|| plain.filter(|plain| self.holds(plain, pid)))
    }

    /// Whether a process with this number is in what is seen: one beside its first, or its first by
    /// the numbers of an engine that runs in a container itself.
    fn holds(&self, seen: &Sighting, pid: HostPid) -> bool {
        let first = self.processes.get(&seen.init);
        let named = self.claims.name(&seen.id).unwrap_or(&seen.id);
        first.is_some_and(|first| first.pids.contains(&pid.0))
            || self
                .processes
                .get(&pid)
                .is_some_and(|process| process.container.as_ref() == Some(named))
    }

    /// Looks at every claim again.
    fn judge(&self, now: Instant) -> Claims {
        let mut judged = Claims::default();
        for id in self
            .seen
            .keys()
            .filter(|id| self.containers.contains_key(*id))
        {
            self.set_apart(&mut judged, id);
        }
        for (id, told) in &self.by_engines {
            let before = self.claims.doubts.get(id);
            let plain = self.seen.get(id);
            match (self.meant(told), plain) {
                (Some(meant), _) if meant.id == *id => {}
                // The engine's container is seen, and another has its identifier.
                (Some(meant), _) => {
                    self.set_apart(&mut judged, id);
                    judged.names.insert(meant.id.clone(), id.clone());
                }
                (None, Some(_)) => {
                    let doubt = match before {
                        None => Doubt::Since(now),
                        Some(Doubt::Since(then)) if now.duration_since(*then) >= GRACE => {
                            Doubt::Settled
                        }
                        Some(before) => *before,
                    };
                    if doubt == Doubt::Settled {
                        self.set_apart(&mut judged, id);
                    }
                    judged.doubts.insert(id.clone(), doubt);
                }
                // Whoever comes and goes under it is not shown as its engine's each time.
                (None, None) => {
                    if before == Some(&Doubt::Settled) {
                        judged.doubts.insert(id.clone(), Doubt::Settled);
                    }
                }
            }
        }
        judged
    }

    fn set_apart(&self, judged: &mut Claims, id: &ContainerId) {
        if let Some(name) = self.seen.get(id).and_then(|seen| apart(seen)) {
            judged.names.insert(id.clone(), name);
        }
    }

    /// The sightings, each under the identifier that it has by right.
    fn rightly_named(&self) -> BTreeMap<ContainerId, Arc<Sighting>> {
        let named = self.seen.values().map(|seen| {
            let name = self.claims.name(&seen.id);
            let within = seen.within.as_ref().and_then(|id| self.claims.name(id));
            if name.is_none() && within.is_none() {
                return (seen.id.clone(), seen.clone());
            }
            let mut other = Sighting::clone(seen);
            if let Some(within) = within {
                other.within = Some(within.clone());
            }
            if let Some(name) = name {
                other.id = name.clone();
                if !self.by_engines.contains_key(name) {
                    (other.engine, other.name, other.pod) = (Engine::None, None, None);
                }
            }
            (other.id.clone(), Arc::new(other))
        });
        named.collect()
    }

    /// What this container has by its group's name alone; that the engine has only not confirmed it
    /// yet is told by the second.
    pub(super) fn claim(&self, id: &ContainerId) -> (Option<Claim>, bool) {
        let observed = self.claims.observed(id);
        let waits = self.claims.doubts.get(id);
        let unconfirmed = observed == id && matches!(waits, Some(Doubt::Since(_)));
        if let Some(own) = self.containers.get(observed).filter(|_| observed != id) {
            let claim = Claim {
                id: own.id.clone(),
                engine: own.engine,
                name: own.name.to_string(),
                says: Says::Own,
            };
            return (Some(claim), false);
        }
        let told = self.by_engines.get(observed);
        let claimed = told.filter(|_| observed != id && !self.by_engines.contains_key(id));
        let claim = claimed.map(|told| Claim {
            id: told.id.clone(),
            engine: told.engine,
            name: told.name.clone(),
            says: match told.pid.filter(|_| told.state.has_processes()) {
                Some(pid) => Says::First(pid),
                None => Says::State(told.state.name()),
            },
        });
        (claim, unconfirmed)
    }

    /// Gives processes the container that they are in by right, where that is another now.
    fn relabel(&mut self, before: &Claims) -> Option<Change> {
        let mut touched = BTreeSet::new();
        let mut changed: Vec<Arc<Process>> = Vec::new();
        let ids: BTreeSet<&ContainerId> = before
            .names
            .keys()
            .chain(self.claims.names.keys())
            .collect();
        let moved = ids.into_iter().filter_map(|observed| {
            let was = before.name(observed).unwrap_or(observed);
            let is = self.claims.name(observed).unwrap_or(observed);
            let pids = self.by_container.get(was).filter(|_| was != is)?;
            Some((pids.clone(), is.clone()))
        });
        // All are taken out before any is put in: two may have changed places.
        let moved: Vec<(BTreeSet<HostPid>, ContainerId)> = moved.collect();
        for process in moved.iter().flat_map(|(pids, _)| pids) {
            if let Some(process) = self.processes.get(process).cloned() {
                self.leave(&process, &mut touched);
            }
        }
        for (pids, container) in moved {
            touched.insert(container.clone());
            for pid in pids {
                let Some(process) = self.processes.get_mut(&pid) else {
                    continue;
                };
                Arc::make_mut(process).container = Some(container.clone());
                changed.push(process.clone());
                let members = self.by_container.entry(container.clone());
                members.or_default().insert(pid);
            }
        }
        (!changed.is_empty()).then(|| Change::Processes {
            containers: Arc::new(touched),
            changed: Arc::new(changed),
            gone: Arc::default(),
        })
    }
}

impl World {
    /// Names what is seen by right. What has changed of processes is told once containers are.
    pub(super) fn name_rightly(&self, state: &mut State, now: Instant) -> Option<Change> {
        let judged = state.judge(now);
        if judged.waits() {
            self.doubted.notify_one();
        }
        let before = std::mem::replace(&mut state.claims, judged);
        state.sightings = state.rightly_named();
        match before.names == state.claims.names {
            true => None,
            false => state.relabel(&before),
        }
    }

    /// Looks again at what is in doubt as often as there is a doubt to settle.
    pub async fn settle_doubts(&self) {
        loop {
            self.doubted.notified().await;
            tokio::time::sleep(GRACE).await;
            self.settle(Instant::now());
        }
    }

    pub(super) fn settle(&self, now: Instant) {
        self.recognise_at(&mut self.write(), now);
    }
}

#[cfg(test)]
mod tests;
