//! What is known now, of all engines together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use porthole_protocol::engines::{ContainerRef, EndpointId, EngineContainer, EngineState};
use porthole_protocol::id::ContainerId;
use tokio::sync::watch;

/// Everything, each part shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) engines: Vec<Arc<EngineState>>,
    pub(crate) containers: BTreeMap<ContainerRef, Arc<EngineContainer>>,
}

/// What is known, and that it has changed. Each engine's part is written by its own task only.
pub(crate) struct Board {
    known: Mutex<Known>,
    changed: watch::Sender<()>,
}

impl Board {
    pub(crate) fn new(endpoints: &[porthole_protocol::engines::Endpoint]) -> Self {
        let engines = (0..)
            .map(EndpointId)
            .zip(endpoints)
            .map(|(endpoint, at)| {
                Arc::new(EngineState {
                    endpoint,
                    engine: at.engine,
                    socket: at.socket.clone(),
                    version: None,
                    trouble: None,
                })
            })
            .collect();
        Self {
            known: Mutex::new(Known {
                engines,
                containers: BTreeMap::new(),
            }),
            changed: watch::Sender::new(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything, as it is now.
    pub(crate) fn known(&self) -> Known {
        self.lock().clone()
    }

    /// Tells of changes from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether this container is known.
    pub(crate) fn has(&self, container: &ContainerRef) -> bool {
        self.lock().containers.contains_key(container)
    }

    /// The containers of an engine.
    pub(crate) fn of(&self, endpoint: EndpointId) -> Vec<Arc<EngineContainer>> {
        let known = self.lock();
        let containers = known.containers.values();
        containers
            .filter(|container| container.endpoint == endpoint)
            .cloned()
            .collect()
    }

    /// A container is this now.
    pub(crate) fn put(&self, container: EngineContainer) {
        let key = ContainerRef {
            endpoint: container.endpoint,
            id: container.id.clone(),
        };
        let mut known = self.lock();
        if known.containers.get(&key).map(|at| &**at) != Some(&container) {
            known.containers.insert(key, Arc::new(container));
            self.changed.send_replace(());
        }
    }

    /// A container is gone.
    pub(crate) fn remove(&self, endpoint: EndpointId, id: &ContainerId) {
        let key = ContainerRef {
            endpoint,
            id: id.clone(),
        };
        if self.lock().containers.remove(&key).is_some() {
            self.changed.send_replace(());
        }
    }

    /// An engine answers, and all its containers are known; or there is trouble with it. Answers
    /// whether that is new.
    pub(crate) fn engine(&self, endpoint: EndpointId, now: Result<String, String>) -> bool {
        let mut known = self.lock();
        let Some(state) = known.engines.get_mut(usize::from(endpoint.0)) else {
            return false;
        };
        let mut next = EngineState::clone(state);
        match now {
            Ok(version) => (next.version, next.trouble) = (Some(version), None),
            Err(trouble) => next.trouble = Some(trouble),
        }
        let new = **state != next;
        if new {
            *state = Arc::new(next);
            self.changed.send_replace(());
        }
        new
    }
}
