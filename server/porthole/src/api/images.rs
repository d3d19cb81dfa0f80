//! Images: what there is, what uses it and how much disk it takes; import, tag, remove, prune.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use porthole_protocol::container::{
    AbsolutePath, Argument, EnvName, Image, ImageName, Owner, Signal, Timestamp, UserSpec,
};
use porthole_protocol::id::{ContainerId, ImportId};
use porthole_protocol::image::{Digest, Format, Layer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::{Asked, Sent, SentOr};
use super::list::{Listed, Page};
use super::view;
use crate::access::Identity;
use crate::actions::images::{self, Gone};
use crate::world::World;
use crate::{AppState, Refusal};

/// An image, as the API and the pages show it.
#[derive(Debug, Serialize)]
pub struct ImageView {
    /// One of its names; its digest where it has none.
    pub name: ImageName,
    /// Where it was imported: the digest of its configuration.
    pub id: Option<Digest>,
    /// All its names.
    pub names: Vec<ImageName>,
    /// What it is, for people.
    pub description: String,
    /// What a container of it runs that asks for nothing.
    pub command: Vec<Argument>,
    /// What the command is handed to.
    pub entrypoint: Vec<Argument>,
    /// Its variables.
    pub env: BTreeMap<EnvName, Argument>,
    /// Whom it runs as.
    pub user: Option<UserSpec>,
    /// Where it starts.
    pub workdir: Option<AbsolutePath>,
    /// What asks it to end.
    pub stop_signal: Option<Signal>,
    /// What its maker says of it.
    pub labels: BTreeMap<String, String>,
    /// Labels that were too many or too long to be kept.
    pub labels_left_out: usize,
    /// Why no container can be made of it on this machine, and what to do.
    pub unavailable: Option<String>,
    /// What it came as.
    pub format: Option<Format>,
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// Bytes on the disk, its own and those that other images have too.
    pub size: Option<u64>,
    /// Bytes that other images have too.
    pub shared_size: Option<u64>,
    /// When its maker made it.
    pub created_at: Option<Timestamp>,
    /// When it was imported.
    pub imported_at: Option<Timestamp>,
    /// Who imported it.
    pub owner: Option<Owner>,
    /// Containers that are made of it.
    pub used_by: Vec<ContainerId>,
    /// Device nodes of its archive that were left out.
    pub devices_left_out: u64,
}

/// All images, as the API and the pages show them.
pub fn views(world: &World) -> Vec<ImageView> {
    let images = world.images();
    // Of an image with two names each layer counts once.
    let mut owners: BTreeMap<&Digest, Vec<&Digest>> = BTreeMap::new();
    for stored in images.iter().filter_map(|image| image.stored.as_deref()) {
        for layer in &stored.layers {
            let ids = owners.entry(&layer.digest).or_default();
            if !ids.contains(&&stored.id) {
                ids.push(&stored.id);
            }
        }
    }
    let shared = |layer: &Digest| owners.get(layer).is_some_and(|ids| ids.len() > 1);
    images
        .iter()
        .map(|image| of(world, image, shared))
        .collect()
}

fn of(world: &World, image: &Arc<Image>, shared: impl Fn(&Digest) -> bool) -> ImageView {
    let stored = image.stored.as_deref();
    let config = stored
        .map(|stored| stored.config.clone())
        .unwrap_or_default();
    let layers = stored
        .map(|stored| stored.layers.clone())
        .unwrap_or_default();
    let mut seen = Vec::new();
    let (mut size, mut shared_size) = (0, 0);
    for layer in &layers {
        if seen.contains(&&layer.digest) {
            continue;
        }
        seen.push(&layer.digest);
        size += layer.size;
        if shared(&layer.digest) {
            shared_size += layer.size;
        }
    }
    let used_by = world.containers();
    let used_by = used_by
        .iter()
        .filter(|container| match stored {
            Some(stored) => container.image_id.as_ref() == Some(&stored.id),
            None => container.image_id.is_none() && container.spec.image == image.name,
        })
        .map(|container| container.id.clone())
        .collect();
    ImageView {
        name: image.name.clone(),
        id: stored.map(|stored| stored.id.clone()),
        names: stored.map_or_else(|| vec![image.name.clone()], |stored| stored.names.clone()),
        description: image.description.clone(),
        command: if stored.is_some() {
            config.command
        } else {
            image.command.clone()
        },
        entrypoint: config.entrypoint,
        env: config.env,
        user: config.user,
        workdir: config.workdir,
        stop_signal: config.stop_signal,
        labels: config.labels,
        labels_left_out: config.labels_left_out,
        unavailable: image.unavailable.clone(),
        format: stored.map(|stored| stored.format),
        layers,
        size: stored.map(|_| size),
        shared_size: stored.map(|_| shared_size),
        created_at: stored.and_then(|stored| stored.created_at),
        imported_at: stored.map(|stored| stored.imported_at),
        owner: stored.map(|stored| stored.owner.clone()),
        used_by,
        devices_left_out: stored.map_or(0, |stored| stored.devices_left_out),
    }
}

/// All images.
pub async fn list(
    State(state): State<AppState>,
    Asked(query): Asked<Vec<(String, String)>>,
) -> Result<Json<Page>, Refusal> {
    const LISTED: Listed = Listed {
        fields: &[
            "name",
            "description",
            "unavailable",
            "id",
            "format",
            "size",
            "owner",
            "imported_at",
        ],
        key: "name",
        sort: "name",
    };
    let items: Result<Vec<Value>, Refusal> = views(&state.world).iter().map(view::value).collect();
    Ok(Json(LISTED.page(items?, query)?))
}

/// The image that a path means: by a name, with its tag or without, or by its digest.
pub fn find(world: &World, name: &str) -> Result<Arc<Image>, Refusal> {
    let latest = format!("{name}:latest");
    let images = world.images();
    let is = |image: &&Arc<Image>| {
        let id = image.stored.as_ref().map(|stored| stored.id.as_str());
        image.name.as_str() == name || id == Some(name)
    };
    let found = images
        .iter()
        .find(is)
        .or_else(|| images.iter().find(|image| image.name.as_str() == latest));
    found.cloned().ok_or_else(|| {
        Refusal::not_found(
            "image_not_found",
            format!("There is no image {name:?}. GET /api/v1/images lists them."),
        )
    })
}

/// One image.
pub async fn one(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let image = find(&state.world, &name)?;
    shown(&state, &image.name)
}

/// One image's JSON; `null` where there is none of this name any more.
pub(super) fn view_of(state: &AppState, name: &ImageName) -> Value {
    let all = views(&state.world);
    let found = all.iter().find(|view| view.name == *name);
    found
        .and_then(|view| view::value(view).ok())
        .unwrap_or(Value::Null)
}

fn shown(state: &AppState, name: &ImageName) -> Result<Json<Value>, Refusal> {
    match view_of(state, name) {
        Value::Null => Err(Refusal::not_found(
            "image_not_found",
            format!("The image {name} was removed meanwhile."),
        )),
        found => Ok(Json(found)),
    }
}

/// What an import is told in its address.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    name: Option<ImageName>,
    /// What the import is to be called, so that who sends it can end it.
    import: Option<ImportId>,
}

/// The body is an archive: a tar of a root file system, what `docker save` writes or an OCI image
/// layout, plain or compressed by gzip, zstd or xz. What it is is seen by its content.
pub async fn import(
    State(state): State<AppState>,
    identity: Identity,
    Asked(wanted): Asked<Wanted>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    let asked = images::Asked {
        id: wanted.import.unwrap_or_else(images::new_id),
        name: wanted.name,
        length,
    };
    let image = images::import(&state, &identity, asked, body).await?;
    Ok((StatusCode::CREATED, shown(&state, &image.name)?))
}

/// Imports that go on.
pub async fn imports(State(state): State<AppState>) -> Json<Value> {
    Json(json!({"items": state.world.imports(), "next": null}))
}

/// Ends an import, whoever began it and however far it has come.
pub async fn cancel(
    State(state): State<AppState>,
    identity: Identity,
    Path(id): Path<ImportId>,
) -> Result<StatusCode, Refusal> {
    images::cancel(&state, &identity, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A new name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tag {
    name: ImageName,
}

/// Gives an image another name.
pub async fn tag(
    State(state): State<AppState>,
    identity: Identity,
    Path(name): Path<String>,
    Sent(tag): Sent<Tag>,
) -> Result<Json<Value>, Refusal> {
    let image = find(&state.world, &name)?;
    let tagged = images::tag(&state, &identity, &image, tag.name).await?;
    shown(&state, &tagged.name)
}

/// Takes a name away, and the image with its last one; by its digest with all of them.
pub async fn remove(
    State(state): State<AppState>,
    identity: Identity,
    Path(name): Path<String>,
) -> Result<Json<Gone>, Refusal> {
    let image = find(&state.world, &name)?;
    let by_id = image
        .stored
        .as_ref()
        .is_some_and(|stored| stored.id.as_str() == name);
    let meant = match (by_id, name.parse()) {
        (true, Ok(id)) => id,
        _ => image.name.clone(),
    };
    Ok(Json(images::remove(&state, &identity, &meant).await?))
}

/// What is to be pruned.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prune {
    all: bool,
}

/// Removes images that no container is made of: those without a name, with `all` every one that was
/// imported.
pub async fn prune(
    State(state): State<AppState>,
    identity: Identity,
    SentOr(prune): SentOr<Prune>,
) -> Result<Json<Gone>, Refusal> {
    Ok(Json(images::prune(&state, &identity, prune.all).await?))
}
