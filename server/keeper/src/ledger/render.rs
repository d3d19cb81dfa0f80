//! A container as others are told of it.

use porthole_protocol::container::{
    Container, ContainerNamespace, ContainerState, IdRange, NamespaceChoice,
};
use porthole_protocol::engine::Engine;
use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::{Event, Failure, FailureCode, Reply};
use porthole_protocol::namespace::{Isolation, NamespaceType, PerNamespace};

use super::record::{Config, Held, Life, State};
use super::{Effect, Ledger, Ticket};

/// Every id, as the initial user namespace maps them.
const ALL_IDS: IdRange = IdRange(0, 0, u32::MAX);

impl Ledger {
    /// What is written down of a container.
    pub(crate) fn stored(&self, id: &ContainerId) -> Option<(&Config, &State)> {
        let held = self.containers.get(id)?;
        Some((&held.config, &held.state))
    }

    fn render(&self, held: &Held) -> Container {
        let config = &held.config;
        let ids = match config.spec.namespace(NamespaceType::User) {
            NamespaceChoice::Host => ALL_IDS,
            NamespaceChoice::Own | NamespaceChoice::Container(_) => config.ids,
        };
        let run = held.run();
        Container {
            id: config.id.clone(),
            name: config.name.clone(),
            engine: Engine::Porthole,
            owner: config.owner.clone(),
            spec: config.spec.clone(),
            image_id: config.image_id.clone(),
            state: match held.state.life {
                Life::Running(_) if held.paused() => ContainerState::Paused,
                Life::Running(_) => ContainerState::Running,
                Life::Exited => ContainerState::Exited,
                // It never ran, or what ran before has been cleared away for a new run.
                Life::Created | Life::Starting { .. } => ContainerState::Created,
            },
            error: held.state.error.clone(),
            pid: run.map(|run| run.host_pid),
            exit: held.state.exit.clone(),
            created_at: config.created_at,
            started_at: held.state.started_at,
            finished_at: held.state.exit.as_ref().map(|exit| exit.at),
            restarts: held.state.restarts,
            restart_at: held.state.restart_at,
            namespaces: PerNamespace::build(|kind| self.render_namespace(held, kind)),
            uid_map: vec![ids],
            gid_map: vec![ids],
            cgroup: run.map(|_| format!("{}/{}", self.cgroup, config.id)),
            network: self.render_network(held),
        }
    }

    fn render_namespace(&self, held: &Held, kind: NamespaceType) -> ContainerNamespace {
        let inode = held.run().and_then(|run| *run.namespaces.get(kind));
        let choice = held.config.spec.namespace(kind);
        let shared_with: Vec<ContainerId> = match (&choice, inode) {
            (NamespaceChoice::Host, _) => Vec::new(),
            (_, Some(inode)) => self
                .containers
                .values()
                .filter(|other| other.config.id != held.config.id)
                .filter(|other| {
                    other.run().and_then(|run| *run.namespaces.get(kind)) == Some(inode)
                })
                .map(|other| other.config.id.clone())
                .collect(),
            (NamespaceChoice::Container(id), None) => id.parse().into_iter().collect(),
            (NamespaceChoice::Own, None) => Vec::new(),
        };
        let isolation = match choice {
            NamespaceChoice::Host => Isolation::Host,
            _ if !shared_with.is_empty() => Isolation::Shared,
            _ => Isolation::Own,
        };
        ContainerNamespace {
            inode,
            isolation,
            shared_with,
        }
    }

    pub(super) fn container_event(&self, id: &ContainerId) -> Option<Event> {
        let held = self.container(id).ok()?;
        Some(Event::Container(Box::new(self.render(held))))
    }

    /// Tells of a container that has changed, and of those that share namespaces with it.
    pub(super) fn tell(&self, id: &ContainerId) -> Vec<Effect> {
        let Some(held) = self.containers.get(id) else {
            return Vec::new();
        };
        let mut effects: Vec<_> = self
            .container_event(id)
            .map(Effect::Tell)
            .into_iter()
            .collect();
        effects.extend(self.tell_related(&held.config));
        effects
    }

    /// Tells of the containers that share namespaces with this one, for whom it matters whether
    /// it runs.
    pub(super) fn tell_related(&self, config: &Config) -> Vec<Effect> {
        self.containers
            .values()
            .filter(|other| other.config.id != config.id)
            .filter(|other| relates(&other.config, config))
            .filter_map(|other| self.container_event(&other.config.id))
            .map(Effect::Tell)
            .collect()
    }

    pub(super) fn container_reply(&self, ticket: Ticket, id: &ContainerId) -> Effect {
        let reply = match self.containers.get(id) {
            Some(held) => Reply::Container(Box::new(self.render(held))),
            None => Reply::Failed(Failure::new(
                FailureCode::ContainerNotFound,
                "the container is gone",
            )),
        };
        Effect::Reply(ticket, reply)
    }
}

/// Whether they can be in the same namespace of some type: one refers to the other, or both to a
/// third.
fn relates(one: &Config, other: &Config) -> bool {
    NamespaceType::ALL.iter().any(|kind| {
        let root = |config: &Config| match config.spec.namespace(*kind) {
            NamespaceChoice::Host => None,
            NamespaceChoice::Own => Some(config.id.to_string()),
            NamespaceChoice::Container(id) => Some(id),
        };
        matches!((root(one), root(other)), (Some(a), Some(b)) if a == b)
    })
}
