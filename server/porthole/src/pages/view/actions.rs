//! What can be done with a container: the same buttons in the list and on its own pages.

use askama::Template;
use porthole_protocol::container::{ContainerState, Signal};

use super::{Scene, words::visible};
use crate::actions::containers::STOP_TIMEOUT;
use crate::world::{AnyContainer, World};

/// The buttons.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "partials/actions.html")]
pub struct Actions {
    /// What addresses begin with.
    pub base: String,
    /// The container.
    pub id: String,
    /// What its addresses name it by.
    pub at: String,
    /// Its name, for the question.
    pub name: String,
    /// Its processes are there.
    pub running: bool,
    /// They are frozen.
    pub paused: bool,
    /// It may be started.
    pub startable: bool,
    /// Its restart policy is about to start it.
    pub waits: bool,
    /// What stopping it does.
    pub stop: String,
    /// Who looks may see what happens inside.
    pub may_look: bool,
    /// Who looks may change it.
    pub may_change: bool,
    /// Who looks may choose how a terminal joins it.
    pub may_choose: bool,
    /// The engine that is asked to change it; none for Porthole's own.
    pub engine: Option<&'static str>,
    /// In a list, where space is short.
    pub small: bool,
}

impl Actions {
    /// For this container.
    pub fn of(world: &World, container: &AnyContainer, scene: Scene<'_>, small: bool) -> Self {
        let engine = match container {
            AnyContainer::Own(_) => None,
            AnyContainer::Foreign(foreign) => Some(foreign.engine.words()),
        };
        Self {
            base: scene.base.to_owned(),
            id: container.id().to_string(),
            at: super::reference(world, container),
            name: visible(container.name()),
            running: matches!(
                container.state(),
                ContainerState::Running | ContainerState::Paused
            ),
            paused: container.state() == ContainerState::Paused,
            startable: matches!(
                container.state(),
                ContainerState::Created | ContainerState::Exited
            ),
            waits: container.own().is_some_and(|own| own.restart_at.is_some()),
            stop: stop(container),
            may_look: scene.who.may_look_into_container(container),
            may_change: scene.who.may_change_any(container) && changeable(world, container),
            may_choose: scene.who.is_admin(),
            engine,
            small,
        }
    }
}

/// What stopping it does.
fn stop(container: &AnyContainer) -> String {
    match container {
        AnyContainer::Own(own) => {
            let signal = own.spec.stop_signal.unwrap_or(Signal::TERM);
            let seconds = own
                .spec
                .stop_timeout
                .unwrap_or_else(|| STOP_TIMEOUT.as_secs_f64());
            format!("{signal}, and SIGKILL after {seconds} seconds")
        }
        AnyContainer::Foreign(foreign) => {
            let engine = foreign.engine.words();
            format!("{engine} sends its stop signal, and SIGKILL after ten seconds")
        }
    }
}

fn changeable(world: &World, container: &AnyContainer) -> bool {
    match container {
        AnyContainer::Own(_) => true,
        AnyContainer::Foreign(foreign) => world.managed(foreign).is_ok(),
    }
}

/// Why there are no buttons for who might use them, and what to do.
pub fn unmanaged(world: &World, container: &AnyContainer, scene: Scene<'_>) -> Option<String> {
    let AnyContainer::Foreign(foreign) = container else {
        return None;
    };
    let why = world.managed(foreign).err()?;
    scene.who.is_admin().then(|| visible(&why.to_string()))
}
