//! Commands of the pages about images.

use super::super::Scene;
use super::super::images::path_of;
use super::{Api, Equal, equal, noted};
use crate::world::World;

/// Imports an archive that lies in a file.
pub fn import(origin: &str) -> String {
    let call = Api(origin).send("POST", "/images?name=$NAME");
    format!("{call} -T archive.tar")
}

pub(super) fn of_list(api: &Api<'_>, scene: Scene<'_>) -> Vec<Equal> {
    let mut rows = vec![noted("This list", &api.get("/images"), "As docker images.")];
    if scene.who.is_admin() {
        rows.extend([
            noted(
                "Import an image",
                &import(api.0),
                "As docker load and docker import. Where the archive says its name, ?name= can be left out.",
            ),
            noted(
                "Remove images without a name",
                &api.send("POST", "/images/prune"),
                "Only those that nothing uses, as docker image prune.",
            ),
            noted(
                "Remove all that nothing uses",
                &api.with("POST", "/images/prune", "'{\"all\": true}'"),
                "As docker image prune --all.",
            ),
        ]);
    }
    rows
}

pub(super) fn of_one(api: &Api<'_>, world: &World, scene: Scene<'_>, part: &str) -> Vec<Equal> {
    let name = super::super::images::decoded(part);
    let Ok(image) = crate::api::images::find(world, &name) else {
        return Vec::new();
    };
    let path = path_of(image.name.as_str());
    let mut rows = vec![noted(
        "The image",
        &api.get(&path),
        "As docker image inspect.",
    )];
    if scene.who.is_admin() && image.stored.is_some() {
        rows.push(equal(
            "Another name",
            &api.with("POST", &format!("{path}/tag"), "'{\"name\": \"NAME:TAG\"}'"),
        ));
        rows.push(noted(
            "Remove",
            &api.send("DELETE", &path),
            "The name goes, with the last one the image; as docker rmi.",
        ));
    }
    if scene.who.may_create() {
        let body = serde_json::json!({ "image": image.name }).to_string();
        rows.push(equal(
            "A container of it",
            &api.with("POST", "/containers", &shell_words::quote(&body)),
        ));
    }
    rows
}
