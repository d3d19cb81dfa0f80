//! What pages show: pure functions of the world and of who looks at it.
//!
//! Nothing here reads a file, a clock or a request. A view is a structure whose fields are ready
//! to be written into its template; every text that comes from a container or a person has gone
//! through [`words::visible`], and askama escapes it.

pub mod actions;
mod change;
pub mod commands;
pub mod compare;
pub(crate) mod connection;
pub mod container;
pub mod containers;
pub mod create;
pub mod facts;
pub mod fingerprint;
pub mod gate;
pub mod images;
pub mod list;
pub mod live;
pub mod namespaces;
pub mod pid_map;
pub mod process;
pub mod processes;
pub mod sessions;
pub mod settings;
pub mod shell;
pub mod tabs;
pub mod terminal;
pub mod typed;
pub mod usage;
pub mod words;

#[cfg(test)]
mod gallery;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod told;

use crate::access::Identity;
use crate::world::{AnyContainer, World};

/// Where a page is: what its links begin with, and who reads it.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The path that a proxy puts before every address, without a slash at its end.
    pub base: &'a str,
    /// Who looks.
    pub who: &'a Identity,
}

/// A template as text. Rendering fails only where a `Display` of ours does, and none does.
pub(super) fn html(template: &impl askama::Template) -> String {
    template.render().unwrap_or_default()
}

/// What a container's addresses name it by: its name, but for one that is called as a page is.
pub(crate) fn reference(world: &World, container: &AnyContainer) -> String {
    match container {
        AnyContainer::Own(own) if own.name.as_str() == "new" => own.id.to_string(),
        _ => world.reference(container),
    }
}
