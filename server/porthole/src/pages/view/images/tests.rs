//! Images that share a layer, one of them without a name: what is shown and what would go.

use porthole_protocol::keeper::Event;
use serde_json::json;

use super::super::shell::Shell;
use super::super::{Scene, html, sample};
use super::one::{ImagePage, RemovePage};
use super::prune::{PrunePage, Waste};
use super::{ImagesPage, Listing, decoded, path_of, region};
use crate::access::Role;
use crate::api::images::views;
use crate::world::World;

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn add(world: &World, digit: char, name: Option<&str>, layers: &[(char, u64)]) {
    let layers: Vec<_> = layers
        .iter()
        .map(|(digit, size)| json!({"digest": digest(*digit), "size": size, "entries": 3}))
        .collect();
    let image = json!({
        "name": name.map_or_else(|| digest(digit), str::to_owned),
        "description": "Imported from <b>somewhere</b>", "command": ["/bin/sh"], "unavailable": null,
        "stored": {
            "id": digest(digit), "names": Vec::from_iter(name), "config": {"command": ["/bin/sh"]},
            "layers": layers, "created_at": null, "imported_at": sample::NOW, "owner": "admin",
            "format": "rootfs", "devices_left_out": 2,
        },
    });
    let image = serde_json::from_value(image).expect("valid");
    world.apply(Event::Image(Box::new(image)));
}

/// A base that two images have, an own layer of each, and one without a name.
fn world() -> World {
    let world = sample::world();
    add(
        &world,
        'a',
        Some("reg.example/web:1"),
        &[('1', 100), ('2', 20)],
    );
    add(&world, 'b', Some("db:1"), &[('1', 100), ('3', 7)]);
    add(&world, 'c', None, &[('3', 7), ('4', 1)]);
    world
}

/// Every page of images.
pub(in crate::pages::view) fn pages(scene: Scene<'_>) -> Vec<(String, String)> {
    let world = world();
    let shell = || {
        Shell::new(
            &world,
            &super::super::shell::Host::default(),
            scene,
            "images",
        )
    };
    let list = ImagesPage::new(&world, scene, &Listing::default(), shell());
    let all = views(&world);
    let web = all
        .iter()
        .find(|view| view.name.as_str() == "reg.example/web:1");
    let web = web.expect("there");
    [
        ("images", html(&list)),
        ("image", html(&ImagePage::new(&world, scene, web, shell()))),
        (
            "image-remove",
            html(&RemovePage::new(&world, web, shell(), String::new())),
        ),
        (
            "images-prune",
            html(&PrunePage::new(&world, shell(), String::new())),
        ),
    ]
    .map(|(name, page)| (name.to_owned(), page))
    .into()
}

#[test]
fn an_address_leads_back_to_its_name() {
    for name in [
        "web:1",
        "reg.example:5000/a_b/web:1.0-x",
        "prune",
        &digest('a'),
    ] {
        let path = path_of(name);
        let part = path.strip_prefix("/images/").expect("below the list");
        assert!(!part.contains(['/', ':', '?', '#']), "{path}");
        assert_eq!(decoded(part), name);
    }
}

#[test]
fn a_layer_counts_once_and_is_freed_with_its_last_image() {
    let world = world();
    let who = sample::admin();
    let scene = Scene {
        base: "",
        who: &who,
    };
    let shown = region(&world, scene, &Listing::default());
    assert_eq!(shown.slot("disk"), "128 B of disk in all");
    let frees = |all| {
        html(&PrunePage::new(&world, Shell::outside(""), String::new())).contains(if all {
            "<b>128 B</b>"
        } else {
            "<b>1 B</b>"
        })
    };
    assert!(frees(false), "what the named ones have too stays");
    assert!(frees(true));
    let mark = Waste::of(&world, true).mark();
    add(&world, 'd', Some("new:1"), &[('1', 100)]);
    assert_ne!(
        Waste::of(&world, true).mark(),
        mark,
        "the question is another now"
    );
}

#[test]
fn what_changes_images_is_offered_to_administrators_alone() {
    let offered = |role| {
        let who = sample::identity("ada", role);
        let all = pages(Scene {
            base: "",
            who: &who,
        });
        let shown = all
            .iter()
            .filter(|(name, _)| name == "images" || name == "image");
        shown.filter(|(_, page)| page.contains("/remove\"")).count()
    };
    assert_eq!(offered(Role::User), 0);
    assert_eq!(offered(Role::Viewer), 0);
    assert_eq!(offered(Role::Admin), 2, "the control");
}

#[test]
fn what_an_image_says_of_itself_is_text() {
    let who = sample::admin();
    for (name, page) in pages(Scene {
        base: "",
        who: &who,
    }) {
        assert!(!page.contains("<b>somewhere"), "{name}");
    }
}
