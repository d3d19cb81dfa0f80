//! What nothing uses: which images would go, and how much of the disk with them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use askama::Template;
use porthole_protocol::image::Digest;

use super::super::shell::Shell;
use super::super::words::bytes;
use super::called;
use crate::api::images::views;
use crate::world::World;

/// Images that no container is made of.
pub struct Waste {
    ids: BTreeSet<Digest>,
    names: Vec<String>,
    frees: u64,
}

impl Waste {
    /// Those without a name; with `all` every one that was imported.
    pub fn of(world: &World, all: bool) -> Self {
        let views = views(world);
        let (mut gone, mut staying) = (BTreeMap::new(), BTreeSet::new());
        let (mut ids, mut names) = (BTreeSet::new(), Vec::new());
        for view in &views {
            let Some(id) = &view.id else { continue };
            if (all || view.names.is_empty()) && view.used_by.is_empty() {
                gone.extend(view.layers.iter().map(|layer| (&layer.digest, layer.size)));
                ids.insert(id.clone());
                names.push(called(&view.name));
            } else {
                staying.extend(view.layers.iter().map(|layer| &layer.digest));
            }
        }
        gone.retain(|digest, _| !staying.contains(digest));
        Self {
            ids,
            names,
            frees: gone.values().sum(),
        }
    }

    /// What tells it from any other, so that nothing goes that the question has not named.
    pub fn mark(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.ids.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

/// One of the two answers.
struct Choice {
    what: &'static str,
    names: Vec<String>,
    mark: String,
    frees: String,
}

/// The question.
#[derive(Template)]
#[template(path = "images_prune.html")]
pub struct PrunePage {
    shell: Shell,
    unnamed: Option<Choice>,
    unused: Option<Choice>,
    error: String,
}

impl PrunePage {
    /// What would go now; with an error where the answer could not be followed.
    pub fn new(world: &World, shell: Shell, error: String) -> Self {
        let (unnamed, unused) = (Waste::of(world, false), Waste::of(world, true));
        let same = unnamed.ids == unused.ids;
        let choice = |what, waste: Waste| {
            (!waste.ids.is_empty()).then(|| Choice {
                what,
                mark: waste.mark(),
                frees: bytes(waste.frees),
                names: waste.names,
            })
        };
        Self {
            shell,
            unnamed: choice("unnamed", unnamed),
            unused: if same { None } else { choice("unused", unused) },
            error,
        }
    }
}
