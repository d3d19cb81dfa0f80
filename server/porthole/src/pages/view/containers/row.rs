//! A container's row, and its state in words.

use askama::Template;
use porthole_protocol::container::{Container, ContainerState};
use porthole_protocol::engine::Engine;
use porthole_protocol::engines::Health;

use super::super::actions::Actions;
use super::super::fingerprint::Fingerprint;
use super::super::words::{When, visible};
use super::super::{self as view, Scene, list};
use super::Listing;
use crate::world::{AnyContainer, World};

/// A container's state in words, with the class that colours it.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "partials/state.html")]
pub struct StateView {
    /// Its class.
    pub class: &'static str,
    /// `running`, `exited (0)`, `not started`.
    pub word: String,
    /// Since when.
    pub since: Option<When>,
    /// Why the last start failed.
    pub error: Option<String>,
}

impl StateView {
    /// Of this container.
    pub fn of(container: &AnyContainer) -> Self {
        let (class, word, since) = match container.state() {
            ContainerState::Created if container.error().is_some() => {
                ("failed", "failed to start".to_owned(), None)
            }
            ContainerState::Created => ("created", "not started".to_owned(), None),
            ContainerState::Running => ("running", "running".to_owned(), container.started_at()),
            ContainerState::Paused => ("paused", "paused".to_owned(), container.started_at()),
            ContainerState::Exited => {
                let code = container.exit_code();
                let word = code.map_or_else(|| "exited".to_owned(), |c| format!("exited ({c})"));
                ("exited", word, container.finished_at())
            }
            ContainerState::Unknown => ("unknown", "unknown".to_owned(), None),
        };
        let (more, health) = match container {
            AnyContainer::Own(own) => (own_says(own), None),
            AnyContainer::Foreign(_) => engine_says(container),
        };
        Self {
            class: if health == Some(Health::Unhealthy) {
                "failed"
            } else {
                class
            },
            word: match more {
                Some(more) => format!("{word}, {more}"),
                None => word,
            },
            since: since.map(When::from),
            error: container.error().map(visible),
        }
    }
}

/// Whether it was to be removed when it ended, and is there all the same: its removal has not been
/// gone on with, or something keeps its files from being deleted.
pub(in crate::pages::view) fn stays(container: &AnyContainer) -> bool {
    let own = container.own();
    own.is_some_and(|own| own.spec.auto_remove && own.state == ContainerState::Exited)
}

/// What there is to say of the state of one of Porthole's own.
fn own_says(container: &Container) -> Option<&'static str> {
    let ended = container.exit.as_ref().filter(|_| container.pid.is_none());
    if container.restart_at.is_some() {
        return Some("starts again soon");
    }
    if container.spec.auto_remove && container.state == ContainerState::Exited {
        return Some("not removed yet");
    }
    ended
        .filter(|exit| exit.oom_killed)
        .map(|_| "out of memory")
}

/// What an engine knows of a container's state beyond its word.
fn engine_says(container: &AnyContainer) -> (Option<&'static str>, Option<Health>) {
    let AnyContainer::Foreign(foreign) = container else {
        return (None, None);
    };
    if foreign.unconfirmed {
        return (Some("not confirmed yet"), None);
    }
    let runs = container.state() == ContainerState::Running;
    let health = foreign.told.as_ref().and_then(|told| told.health);
    let word = match health.filter(|_| runs) {
        Some(Health::Unhealthy) => Some("unhealthy"),
        Some(Health::Starting) => Some("health not known yet"),
        Some(Health::Healthy) => Some("healthy"),
        None => foreign.status(),
    };
    (word, health.filter(|_| runs))
}

#[derive(Template)]
#[template(path = "partials/container_row.html")]
pub(super) struct ContainerRow {
    base: String,
    id: String,
    short: String,
    at: String,
    name: String,
    /// How deep it lies in the containers above it.
    depth: usize,
    engine: Option<&'static str>,
    /// Whose container it is not, though its group is called so: in short, and in a sentence.
    not: Option<(String, String)>,
    /// In words, and as its filter's address has it.
    group: Option<(String, String)>,
    /// Where it runs, if that is a container: how it is addressed, and its name.
    within: Option<(String, String)>,
    state: StateView,
    image: String,
    fingerprint: Option<Fingerprint>,
    pid: Option<i32>,
    inside: Option<i32>,
    owner: String,
    created: Option<When>,
    actions: Actions,
}

impl ContainerRow {
    pub(super) fn of(
        (depth, container): &(usize, AnyContainer),
        world: &World,
        scene: Scene<'_>,
    ) -> Self {
        let init = container.pid().and_then(|pid| world.process(pid));
        let within = container.within().and_then(|id| world.any_container(id));
        let not = match container {
            AnyContainer::Own(_) => None,
            AnyContainer::Foreign(foreign) => foreign.claim.as_ref().map(|claim| {
                let short = format!("not {}'s {}", claim.engine.words(), claim.name);
                (visible(&short), visible(&claim.words()))
            }),
        };
        Self {
            base: scene.base.to_owned(),
            id: container.id().to_string(),
            // That of bare namespaces is its number, which has a column.
            short: match container.engine() {
                Engine::None => String::new(),
                _ => container.id().short().to_owned(),
            },
            at: view::reference(world, container),
            name: visible(container.name()),
            depth: (*depth).min(DEEPEST),
            engine: (container.own().is_none() && not.is_none())
                .then(|| container.engine().words()),
            not,
            group: container.group().map(|group| {
                let of_group = Listing {
                    group: group.name().to_owned(),
                    ..Listing::default()
                };
                (visible(&group.words()), list::query(&of_group))
            }),
            within: within.map(|c| (view::reference(world, &c), visible(c.name()))),
            state: StateView::of(container),
            image: container.image().map_or_else(String::new, visible),
            fingerprint: Fingerprint::of(container, false),
            pid: container.pid().map(|pid| pid.0),
            inside: init.and_then(|process| process.pids.last().copied()),
            owner: container
                .owner()
                .map_or_else(String::new, ToString::to_string),
            created: container.created_at().map(When::from),
            actions: Actions::of(world, container, scene, true),
        }
    }
}

/// Deeper ones are drawn as deep as this.
const DEEPEST: usize = 4;
