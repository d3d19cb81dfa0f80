//! What can be done with a container: the same buttons in the list and on its own pages.

use askama::Template;
use porthole_protocol::container::ContainerState;

use super::{Scene, words::visible};
use crate::world::AnyContainer;

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
    /// It may be started.
    pub startable: bool,
    /// Who looks may see what happens inside.
    pub may_look: bool,
    /// Who looks may change it.
    pub may_change: bool,
    /// In a list, where space is short.
    pub small: bool,
}

impl Actions {
    /// For this container.
    pub fn of(container: &AnyContainer, scene: Scene<'_>, small: bool) -> Self {
        Self {
            base: scene.base.to_owned(),
            id: container.id().to_string(),
            at: super::reference(container),
            name: visible(container.name()),
            running: matches!(
                container.state(),
                ContainerState::Running | ContainerState::Paused
            ),
            startable: matches!(
                container.state(),
                ContainerState::Created | ContainerState::Exited
            ),
            may_look: scene.who.may_look_into_container(container),
            may_change: container.own().is_some() && scene.who.may_change_any(container),
            small,
        }
    }
}
