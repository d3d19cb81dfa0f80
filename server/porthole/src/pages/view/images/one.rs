//! One image: what it is, what its maker wants run, its layers, and what is made of it.

use askama::Template;

use super::super::live::{Region, Slot};
use super::super::shell::Shell;
use super::super::words::{When, bytes, visible};
use super::super::{Scene, html};
use super::{User, called, decoded, encoded, path_of, short, words_of};
use crate::api::images::{ImageView, find, views};
use crate::world::World;

struct LayerRow {
    short: String,
    digest: String,
    size: String,
    entries: u64,
    shared: bool,
}

/// What of it is live.
#[derive(Template)]
#[template(path = "partials/image_facts.html")]
struct Facts {
    base: String,
    description: String,
    unavailable: Option<String>,
    id: Option<String>,
    /// Every name and its address.
    names: Vec<(String, String)>,
    owner: String,
    imported: Option<When>,
    created: Option<When>,
    size: String,
    own: String,
    shared: Option<String>,
    entrypoint: String,
    command: String,
    env: Vec<String>,
    user: String,
    workdir: String,
    stop_signal: String,
    /// Names and values.
    labels: Vec<(String, String)>,
    labels_left_out: usize,
    devices: u64,
    layers: Vec<LayerRow>,
    users: Vec<User>,
}

impl Facts {
    fn of(world: &World, scene: Scene<'_>, view: &ImageView) -> Self {
        let all = views(world);
        let layers = view.layers.iter().map(|layer| LayerRow {
            short: short(&layer.digest),
            digest: layer.digest.to_string(),
            size: bytes(layer.size),
            entries: layer.entries,
            shared: all.iter().any(|other| {
                other.id != view.id && other.layers.iter().any(|l| l.digest == layer.digest)
            }),
        });
        let shared = view.shared_size.unwrap_or(0);
        let size = view.size.unwrap_or(0);
        let name = |name: &str| (visible(name), path_of(name));
        Self {
            base: scene.base.to_owned(),
            description: visible(&view.description),
            unavailable: view.unavailable.as_deref().map(visible),
            id: view.id.as_ref().map(ToString::to_string),
            names: view.names.iter().map(|n| name(n.as_str())).collect(),
            owner: view
                .owner
                .as_ref()
                .map_or_else(String::new, |owner| visible(owner.as_str())),
            imported: view.imported_at.map(When::from),
            created: view.created_at.map(When::from),
            size: bytes(size),
            own: bytes(size - shared),
            shared: (shared > 0).then(|| bytes(shared)),
            entrypoint: words_of(&view.entrypoint),
            command: words_of(&view.command),
            env: view.env.keys().map(|n| visible(n.as_str())).collect(),
            user: view
                .user
                .as_ref()
                .map_or_else(String::new, |user| visible(&user.to_string())),
            workdir: view
                .workdir
                .as_ref()
                .map_or_else(String::new, |path| visible(path.as_str())),
            stop_signal: view
                .stop_signal
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
            labels: view
                .labels
                .iter()
                .map(|(name, value)| (visible(name), visible(value)))
                .collect(),
            labels_left_out: view.labels_left_out,
            devices: view.devices_left_out,
            layers: layers.collect(),
            users: User::all(world, view),
        }
    }
}

#[derive(Template)]
#[template(path = "partials/image_gone.html")]
struct Gone {
    base: String,
}

/// What of the page is live.
fn region_of(world: &World, scene: Scene<'_>, view: &ImageView) -> Region {
    let facts = html(&Facts::of(world, scene, view));
    Region {
        slots: vec![Slot::whole("image", facts)],
    }
}

/// What of the page at this part of an address is live.
pub fn region(world: &World, scene: Scene<'_>, part: &str) -> Region {
    let found = find(world, &decoded(part)).ok();
    let all = views(world);
    let view = found.and_then(|image| all.iter().find(|view| view.name == image.name));
    match view {
        Some(view) => region_of(world, scene, view),
        None => {
            let base = scene.base.to_owned();
            let slots = vec![Slot::whole("image", html(&Gone { base }))];
            Region { slots }
        }
    }
}

/// The page.
#[derive(Template)]
#[template(path = "image.html")]
pub struct ImagePage {
    shell: Shell,
    title: String,
    path: String,
    value: String,
    may_create: bool,
    may_change: bool,
    region: Region,
    /// The name that was typed and could not be given.
    pub typed: String,
    /// Why.
    pub error: String,
}

impl ImagePage {
    /// The page of this image.
    pub fn new(world: &World, scene: Scene<'_>, view: &ImageView, shell: Shell) -> Self {
        let region = region_of(world, scene, view);
        Self {
            shell: shell.around(&region),
            title: called(&view.name),
            path: path_of(view.name.as_str()),
            value: encoded(view.name.as_str()),
            may_create: scene.who.may_create() && view.unavailable.is_none(),
            may_change: scene.who.is_admin() && view.id.is_some(),
            region,
            typed: String::new(),
            error: String::new(),
        }
    }
}

/// The question before a name is taken away, and the image with its last one.
#[derive(Template)]
#[template(path = "image_remove.html")]
pub struct RemovePage {
    shell: Shell,
    title: String,
    path: String,
    made_here: bool,
    /// The image stays under these.
    others: Vec<String>,
    frees: String,
    users: Vec<User>,
    error: String,
}

impl RemovePage {
    /// The question; with an error where its answer could not be followed.
    pub fn new(world: &World, view: &ImageView, shell: Shell, error: String) -> Self {
        let own = view.size.unwrap_or(0) - view.shared_size.unwrap_or(0);
        let others = view.names.iter().filter(|name| **name != view.name);
        Self {
            shell,
            title: called(&view.name),
            path: path_of(view.name.as_str()),
            made_here: view.id.is_none(),
            others: others.map(|name| visible(name.as_str())).collect(),
            frees: bytes(own),
            users: User::all(world, view),
            error,
        }
    }
}
