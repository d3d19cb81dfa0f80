//! Images: the list, how far imports have come, and how much disk all of it takes.

pub mod one;
pub mod prune;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use askama::Template;
use porthole_protocol::container::{Argument, ImageName};
use porthole_protocol::id::ContainerId;
use porthole_protocol::image::{Digest, ImportStage, Importing};
use serde::{Deserialize, Serialize};

use super::live::{Part, Region, Slot};
use super::shell::Shell;
use super::words::{When, bytes, command_line, visible};
use super::{Scene, html, list};
use crate::api::images::{ImageView, views};
use crate::world::World;

/// Containers that a row names.
const NAMED: usize = 3;

/// The address of an image below the base path: the signs of a name that would end the path or a
/// query are written as numbers.
pub fn path_of(name: &str) -> String {
    format!("/images/{}", encoded(name))
}

fn encoded(name: &str) -> String {
    let pair = serde_urlencoded::to_string([("", name)]).unwrap_or_default();
    pair.trim_start_matches('=').to_owned()
}

/// What [`path_of`] has written.
pub(in crate::pages) fn decoded(part: &str) -> String {
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(&format!("n={part}")).unwrap_or_default();
    pairs.into_iter().next().unwrap_or_default().1
}

/// Twelve digits of a digest: what people tell images apart by.
fn short(digest: &Digest) -> String {
    digest.digits().chars().take(12).collect()
}

/// What an image is called: one without a name by the first digits of its digest.
pub fn called(name: &ImageName) -> String {
    match name.as_str().parse::<Digest>() {
        Ok(digest) => short(&digest),
        Err(_) => visible(name.as_str()),
    }
}

fn words_of(words: &[Argument]) -> String {
    command_line(&words.iter().map(Argument::as_str).collect::<Vec<_>>())
}

/// A container that is made of an image.
#[derive(Debug, Clone)]
pub struct User {
    path: String,
    name: String,
    state: &'static str,
}

impl User {
    fn of(world: &World, id: &ContainerId) -> Option<Self> {
        let container = world.any_container(id)?;
        Some(Self {
            path: format!("/containers/{}", super::reference(world, &container)),
            name: visible(container.name()),
            state: container.state().name(),
        })
    }

    fn all(world: &World, view: &ImageView) -> Vec<Self> {
        let users = view.used_by.iter();
        users.filter_map(|id| Self::of(world, id)).collect()
    }
}

#[derive(Template)]
#[template(path = "partials/image_row.html")]
struct ImageRow {
    base: String,
    dom: String,
    path: String,
    title: String,
    /// The name as a form's value.
    value: String,
    unnamed: bool,
    short: Option<String>,
    description: String,
    command: String,
    size: Option<String>,
    own: String,
    shared: Option<String>,
    layers: usize,
    created: Option<When>,
    imported: Option<When>,
    owner: Option<String>,
    users: Vec<User>,
    more: usize,
    unavailable: Option<String>,
    may_create: bool,
    may_change: bool,
}

/// The id of an image's row: its name has signs that no selector takes.
fn dom(name: &str) -> String {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    format!("i-{:016x}", hasher.finish())
}

impl ImageRow {
    fn of(world: &World, scene: Scene<'_>, name: &ImageName, view: &ImageView) -> Self {
        let mut users = User::all(world, view);
        let more = users.len().saturating_sub(NAMED);
        users.truncate(NAMED);
        let entry: Vec<_> = view
            .entrypoint
            .iter()
            .chain(&view.command)
            .cloned()
            .collect();
        let shared = view.shared_size.unwrap_or(0);
        let size = view.size.unwrap_or(0);
        Self {
            base: scene.base.to_owned(),
            dom: dom(name.as_str()),
            path: path_of(name.as_str()),
            title: called(&view.name),
            value: encoded(name.as_str()),
            unnamed: view.names.is_empty(),
            short: view.id.as_ref().map(short),
            description: visible(&view.description),
            command: words_of(&entry),
            size: view.size.map(bytes),
            own: bytes(size - shared),
            shared: (shared > 0).then(|| bytes(shared)),
            layers: view.layers.len(),
            created: view.created_at.map(When::from),
            imported: view.imported_at.map(When::from),
            owner: view.owner.as_ref().map(|owner| visible(owner.as_str())),
            users,
            more,
            unavailable: view.unavailable.as_deref().map(visible),
            may_create: scene.who.may_create() && view.unavailable.is_none(),
            may_change: scene.who.is_admin() && view.id.is_some(),
        }
    }
}

/// An import that goes on.
struct ImportRow {
    /// By what it is ended.
    id: String,
    name: String,
    owner: String,
    words: &'static str,
    done: u64,
    total: u64,
    far: String,
}

impl ImportRow {
    fn of(importing: &Importing) -> Self {
        let Importing { done, total, .. } = *importing;
        let name = importing.name.as_ref();
        Self {
            id: importing.id.to_string(),
            name: name.map_or_else(String::new, |name| visible(name.as_str())),
            owner: visible(importing.owner.as_str()),
            words: match importing.stage {
                ImportStage::Receiving => "is being sent",
                ImportStage::Decompressing => "is being decompressed",
                ImportStage::Unpacking => "is being unpacked",
                ImportStage::Storing => "is being written to the disk",
                ImportStage::Done => "is there",
                ImportStage::Failed => "came to nothing",
            },
            done,
            total,
            far: match (done, total) {
                (0, _) => String::new(),
                (done, 0) => bytes(done),
                (done, total) => format!("{} of {}", bytes(done), bytes(total)),
            },
        }
    }
}

#[derive(Template)]
#[template(path = "partials/image_imports.html")]
struct Imports {
    base: String,
    may_stop: bool,
    rows: Vec<ImportRow>,
}

#[derive(Template)]
#[template(path = "partials/images_empty.html")]
struct Empty {
    base: String,
    any: bool,
}

/// What is said where nothing was imported yet; images that Porthole makes itself are there always.
#[derive(Template)]
#[template(path = "partials/images_first.html")]
struct First {
    may_import: bool,
}

/// What the address of the list says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Listing {
    /// Words that name, description, digest, command or owner hold.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub q: String,
}

impl Listing {
    fn holds(&self, view: &ImageView, name: &ImageName) -> bool {
        let text = format!(
            "{name} {} {} {} {} {}",
            view.description,
            view.id.as_ref().map_or("", |id| id.as_str()),
            words_of(&view.entrypoint),
            words_of(&view.command),
            view.owner.as_ref().map_or("", |owner| owner.as_str()),
        )
        .to_lowercase();
        let q = self.q.to_lowercase();
        q.split_whitespace().all(|word| text.contains(word))
    }
}

/// Bytes on the disk of all layers, each of which counts once.
fn disk(all: &[ImageView]) -> u64 {
    let layers = all.iter().flat_map(|view| &view.layers);
    let sizes: BTreeMap<&Digest, u64> = layers.map(|layer| (&layer.digest, layer.size)).collect();
    sizes.values().sum()
}

/// The page.
#[derive(Template)]
#[template(path = "images.html")]
pub struct ImagesPage {
    shell: Shell,
    listing: Listing,
    region: Region,
    may_import: bool,
    most: u64,
    most_words: String,
    import_command: String,
    /// What has just been done.
    pub done: String,
}

impl ImagesPage {
    /// The page for this list.
    pub fn new(world: &World, scene: Scene<'_>, listing: &Listing, shell: Shell) -> Self {
        let region = region(world, scene, listing);
        let bounds = world.keeper().hello.map(|hello| hello.policy.images);
        let most = bounds.unwrap_or_default().archive;
        Self {
            import_command: super::commands::import_image(&shell.origin),
            shell: shell.around(&region),
            listing: listing.clone(),
            region,
            may_import: scene.who.is_admin(),
            most,
            most_words: bytes(most),
            done: String::new(),
        }
    }
}

/// What of the list is live.
pub fn region(world: &World, scene: Scene<'_>, listing: &Listing) -> Region {
    let all = views(world);
    let rows = all.iter().filter(|view| listing.holds(view, &view.name));
    let parts: Vec<_> = rows
        .map(|view| Part {
            id: dom(view.name.as_str()),
            html: html(&ImageRow::of(world, scene, &view.name, view)),
        })
        .collect();
    let counts = (parts.len(), all.len());
    let imported = all.iter().any(|view| view.id.is_some());
    let mut region = list::region(parts, counts, ("image", "images"), || {
        html(&Empty {
            base: scene.base.to_owned(),
            any: !all.is_empty(),
        })
    });
    let disk = match disk(&all) {
        0 => String::new(),
        disk => format!("{} of disk in all", bytes(disk)),
    };
    let imports = Imports {
        base: scene.base.to_owned(),
        may_stop: scene.who.is_admin(),
        rows: world.imports().iter().map(ImportRow::of).collect(),
    };
    let first = if imported || all.is_empty() || !listing.q.is_empty() {
        String::new()
    } else {
        html(&First {
            may_import: scene.who.is_admin(),
        })
    };
    region.slots.extend([
        Slot::whole("disk", disk),
        Slot::whole("imports", html(&imports)),
        Slot::whole("first", first),
    ]);
    region
}
