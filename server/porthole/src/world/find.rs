//! Which container a person means.

use std::sync::Arc;

use porthole_protocol::container::Container;
use porthole_protocol::engine::Engine;
use porthole_protocol::id::ContainerId;

use super::{AnyContainer, Foreign, State, World};

/// Why a reference names no container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Nothing has this id or name.
    #[error("There is no container \"{0}\".")]
    NotFound(String),
    /// Several identifiers begin so.
    #[error(
        "Several containers are called \"{0}\" or have an identifier that begins so. Give more of its identifier."
    )]
    NotUnique(String),
    /// It is another engine's.
    #[error("The container \"{name}\" was not made here{}.", by(*engine))]
    NotOwn {
        /// Its name.
        name: String,
        /// Whose it is.
        engine: Engine,
    },
}

/// Who made what was not made here.
fn by(engine: Engine) -> String {
    match engine {
        Engine::Porthole => " but by another Porthole".to_owned(),
        Engine::None => ": its namespaces are some program's".to_owned(),
        engine => format!(" but by {}", engine.words()),
    }
}

impl FindError {
    /// Another engine's container is named where only Porthole's own will do.
    pub fn not_own(container: &Foreign) -> Self {
        Self::NotOwn {
            name: shown(&container.name),
            engine: container.engine,
        }
    }
}

impl World {
    /// The container that a person means: an id, else a name, else the beginning of one id.
    pub fn find(&self, reference: &str) -> Result<Arc<Container>, FindError> {
        let found = self.find_any(reference)?;
        match found {
            AnyContainer::Own(own) => Ok(own),
            AnyContainer::Foreign(foreign) => Err(FindError::not_own(&foreign)),
        }
    }

    /// The same among all containers, whoever made them. Of two with one name Porthole's own is
    /// meant. Where an own one is called as another engine's is identified, neither is: whoever
    /// makes a container here chooses its name, and whoever may make control groups such an
    /// identifier, so that either could take the other's place.
    pub fn find_any(&self, reference: &str) -> Result<AnyContainer, FindError> {
        let state = self.read();
        // `lxc:web` is LXC's alone, whatever anything else is called.
        if let Some((engine, id)) = reference.split_once(':') {
            let foreign = id.parse().ok().and_then(|id| state.foreign.get(&id));
            let found = foreign.filter(|found| found.engine.name() == engine);
            let found = found.cloned().map(AnyContainer::Foreign);
            return found.ok_or_else(|| FindError::NotFound(shown(reference)));
        }
        let mut own = state.containers.values();
        let named = own.find(|c| c.name.as_str() == reference).cloned();
        let id = reference.parse::<ContainerId>();
        match (id.ok().and_then(|id| state.any(&id)), named) {
            (Some(AnyContainer::Foreign(_)), Some(_)) => {
                return Err(FindError::NotUnique(shown(reference)));
            }
            (Some(found), _) => return Ok(found),
            (None, Some(named)) => {
                return match state.identifies_another(reference) {
                    true => Err(FindError::NotUnique(shown(reference))),
                    false => Ok(AnyContainer::Own(named)),
                };
            }
            (None, None) => {}
        }
        // A process chooses its name freely: a bare container is meant by its identifier alone.
        let named = state.foreign.values();
        let named = named.filter(|c| c.engine != Engine::None && c.name == reference);
        if let Some(found) = only(named, reference)? {
            return Ok(AnyContainer::Foreign(found.clone()));
        }
        let begins = |id: &ContainerId| !reference.is_empty() && id.as_str().starts_with(reference);
        let begun = state.containers.keys().chain(state.foreign.keys());
        only(begun.filter(|id| begins(id)), reference)?
            .and_then(|id| state.any(id))
            .ok_or_else(|| FindError::NotFound(shown(reference)))
    }
}

impl World {
    /// What names this container and no other in an address: the name of one of Porthole's own where
    /// nothing else is meant by it, and else its identifier; of another engine's the identifier,
    /// with its engine before it where an own one is called so.
    pub fn reference(&self, container: &AnyContainer) -> String {
        let state = self.read();
        match container {
            AnyContainer::Own(own) if state.identifies_another(own.name.as_str()) => {
                own.id.to_string()
            }
            AnyContainer::Own(own) => own.name.to_string(),
            AnyContainer::Foreign(foreign) => {
                let id = foreign.id.as_str();
                let mut own = state.containers.values();
                match own.any(|own| own.name.as_str() == id) {
                    true => format!("{}:{id}", foreign.engine.name()),
                    false => id.to_owned(),
                }
            }
        }
    }
}

impl State {
    /// Whether another engine's container is identified so, in full or by what `docker ps` shows.
    fn identifies_another(&self, name: &str) -> bool {
        let Ok(from) = name.parse::<ContainerId>() else {
            return false;
        };
        let mut begun = self.foreign.range(from..);
        begun
            .by_ref()
            .take_while(|(id, _)| id.as_str().starts_with(name))
            .any(|(id, _)| id.as_str() == name || id.short() == name)
    }
}

/// The only one of these, if there is one.
fn only<T>(mut found: impl Iterator<Item = T>, reference: &str) -> Result<Option<T>, FindError> {
    match (found.next(), found.next()) {
        (one, None) => Ok(one),
        (_, Some(_)) => Err(FindError::NotUnique(shown(reference))),
    }
}

/// What somebody typed, fit to be shown back: short and without control characters.
fn shown(reference: &str) -> String {
    reference
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(80)
        .collect()
}
