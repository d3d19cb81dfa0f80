//! Images come, get names and go, one alteration at a time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use porthole_protocol::container::ImageName;
use porthole_protocol::id::ImportId;
use porthole_protocol::image::{Digest, Format, ImageConfig, Layer, StoredImage};

use super::*;
use crate::ledger::Import;

fn name(text: &str) -> ImageName {
    text.parse().expect("a name")
}

fn layer(number: u8) -> Layer {
    Layer {
        digest: Digest::from_bytes([number; 32]),
        size: 100 * u64::from(number),
        entries: 1,
    }
}

fn image(number: u8, layers: &[u8]) -> StoredImage {
    let config = serde_json::json!({
        "entrypoint": ["/run"], "command": ["it"], "env": {"A": "image", "B": "image"},
        "user": "app", "workdir": "/work", "stop_signal": "SIGQUIT",
    });
    StoredImage {
        id: Digest::from_bytes([number; 32]),
        names: Vec::new(),
        config: serde_json::from_value(config).expect("a configuration"),
        layers: layers.iter().copied().map(layer).collect(),
        created_at: None,
        imported_at: Timestamp(5),
        owner: "admin".parse().expect("owner"),
        format: Format::OciArchive,
        devices_left_out: 0,
    }
}

impl World {
    /// One that no other import has.
    fn import_id() -> ImportId {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        ImportId::from_bytes(bytes)
    }

    fn begin_import(&mut self, asked: Option<&str>) -> (Ticket, Import) {
        let (ticket, effects) = self.ask(Request::ImportImage {
            id: Self::import_id(),
            name: asked.map(name),
            owner: "admin".parse().expect("owner"),
        });
        match effects.as_slice() {
            [Effect::Import(import)] => (ticket, Import::clone(import)),
            other => panic!("{other:?}"),
        }
    }

    /// The list that is being written, once that has succeeded.
    fn saved(&mut self, effects: &[Effect]) -> (Vec<StoredImage>, Vec<Effect>) {
        let [.., Effect::SaveImages(images)] = effects else {
            panic!("{effects:?}")
        };
        (images.clone(), self.ledger.images_saved(Ok(())))
    }

    fn import(&mut self, asked: &str, image: StoredImage) -> Vec<Effect> {
        let (ticket, import) = self.begin_import(Some(asked));
        let effects = self.ledger.imported(&import, Ok((image, None)));
        let (_, effects) = self.saved(&effects);
        assert!(
            matches!(reply(&effects, ticket), Some(Reply::Image(_))),
            "{effects:?}"
        );
        effects
    }

    fn names(&self) -> Vec<String> {
        let events = self.everything();
        let images = events.into_iter().filter_map(|event| match event {
            Event::Image(image) => Some(image.name.to_string()),
            _ => None,
        });
        images.collect()
    }
}

#[test]
fn a_container_is_what_its_image_wants_where_nothing_else_is_asked_for() {
    let mut world = World::new();
    world.import("web", image(1, &[1]));
    let spec = world.create(r#"{"image":"web"}"#).spec;
    assert_eq!(
        (spec.entrypoint[0].as_str(), spec.command[0].as_str()),
        ("/run", "it")
    );
    assert_eq!(spec.user.expect("app").to_string(), "app");
    assert_eq!(spec.workdir.expect("given").as_str(), "/work");
    assert!(spec.stop_signal.is_some());
    let asked = r#"{"image":"web:latest","command":["other"],"env":{"A":"asked"},"user":"0","workdir":"/"}"#;
    let spec = world.create(asked).spec;
    assert_eq!(
        (spec.entrypoint[0].as_str(), spec.command[0].as_str()),
        ("/run", "other")
    );
    let env: Vec<_> = spec.env.values().map(|value| value.as_str()).collect();
    assert_eq!(env, ["asked", "image"]);
    assert_eq!(spec.user.expect("root").to_string(), "0");
    let entry = world
        .create(r#"{"image":"web","entrypoint":["/own"]}"#)
        .spec;
    assert!(
        entry.command.is_empty(),
        "the image's command was for its entry point"
    );
    let mut silent = image(2, &[1]);
    silent.config = ImageConfig::default();
    world.import("silent", silent);
    let (ticket, effects) = world.try_create(r#"{"image":"silent"}"#);
    assert_eq!(failed(&effects, ticket).field.as_deref(), Some("command"));
}

#[test]
fn what_is_used_stays_and_a_name_goes_to_whoever_came_last() {
    let mut world = World::new();
    world.import("web:1", image(1, &[1, 2]));
    let container = world.create(r#"{"image":"web:1"}"#);
    assert_eq!(container.image_id, Some(Digest::from_bytes([1; 32])));
    let used = world.refusal(Request::RemoveImage {
        image: name("web:1"),
    });
    assert_eq!(used.code, FailureCode::WrongState);
    assert!(
        used.message.contains(container.name.as_str()),
        "{}",
        used.message
    );
    // The name goes; the image stays, known by its digest.
    let effects = world.import("web:1", image(3, &[2, 3]));
    let digest = Digest::from_bytes([1; 32]).to_string();
    assert_eq!(world.names(), ["busybox", "host", &digest, "web:1"]);
    let told = |wanted: &str| {
        effects.iter().any(|effect| {
            matches!(effect, Effect::Tell(Event::Image(image)) if image.name.as_str() == wanted)
        })
    };
    assert!(told(&digest) && told("web:1"), "{effects:?}");
    let prune = |all| Request::PruneImages { all };
    let (ticket, effects) = world.ask(prune(false));
    let (_, effects) = world.saved(&effects);
    let nothing = Reply::ImagesGone {
        names: Vec::new(),
        freed: 0,
    };
    assert_eq!(reply(&effects, ticket), Some(nothing));
    let (_, effects) = world.ask(Request::Remove {
        container: container.id.clone(),
        force: true,
    });
    assert!(
        effects.contains(&Effect::Unmake(container.id.clone())),
        "{effects:?}"
    );
    world.ledger.removed(&container.id, Ok(()));
    let (ticket, effects) = world.ask(prune(false));
    let (left, effects) = world.saved(&effects);
    assert_eq!(left.len(), 1);
    // The layer that both have stays.
    let gone = Reply::ImagesGone {
        names: vec![name(&digest)],
        freed: 100,
    };
    assert_eq!(reply(&effects, ticket), Some(gone));
    assert!(effects.contains(&Effect::Tell(Event::ImageGone(name(&digest)))));
}

#[test]
fn a_list_that_cannot_be_written_is_not_in_force() {
    let mut world = World::new();
    world.import("one", image(1, &[1]));
    let (first, effects) = world.ask(Request::TagImage {
        image: name("one"),
        name: name("two"),
    });
    assert!(matches!(effects.as_slice(), [Effect::SaveImages(_)]));
    let (second, effects) = world.ask(Request::TagImage {
        image: name("one"),
        name: name("three"),
    });
    assert_eq!(effects, [], "it waits");
    let full = Failure::new(FailureCode::Storage, "full");
    let effects = world.ledger.images_saved(Err(full.clone()));
    assert_eq!(reply(&effects, first), Some(Reply::Failed(full)));
    let (images, effects) = world.saved(&effects);
    assert_eq!(images[0].names, [name("one:latest"), name("three:latest")]);
    assert!(matches!(reply(&effects, second), Some(Reply::Image(_))));
    assert_eq!(
        world.names(),
        ["busybox", "host", "one:latest", "three:latest"]
    );
}

#[test]
fn layers_are_deleted_while_nobody_makes_anything() {
    let mut world = World::new();
    world.import("one", image(1, &[1]));
    let kept: BTreeSet<Digest> = [Digest::from_bytes([1; 32])].into();
    let (_, making) = world.try_create(r#"{"image":"one"}"#);
    assert_eq!(world.later(1), [], "a container is being made");
    let [Effect::Make(config)] = making.as_slice() else {
        panic!("{making:?}")
    };
    world.ledger.made(&config.id);
    let (_, import) = world.begin_import(Some("two"));
    assert_eq!(world.later(1), [], "an image is being imported");
    world
        .ledger
        .imported(&import, Err(Failure::new(FailureCode::Invalid, "bad")));
    assert_eq!(world.later(1), [Effect::SweepImages(kept)]);
    assert_eq!(world.later(1), [], "once");
    // What is imported meanwhile could be deleted at once: it waits.
    let (_, effects) = world.ask(Request::ImportImage {
        id: ImportId::from_bytes([3; 16]),
        name: Some(name("three")),
        owner: "admin".parse().expect("owner"),
    });
    assert_eq!(effects, []);
    assert!(matches!(
        world.ledger.images_swept(true).as_slice(),
        [Effect::Import(_)]
    ));
}

#[test]
fn layers_that_could_not_be_deleted_are_tried_again() {
    let mut world = World::new();
    world.import("one", image(1, &[1]));
    let swept = |effects: &[Effect]| matches!(effects, [Effect::SweepImages(_)]);
    let look = |world: &mut World, ms| {
        let wall = Timestamp(0);
        assert_eq!(world.ledger.expire(|_| true, Now { wall, ms }), []);
    };
    assert!(swept(&world.later(1)));
    assert_eq!(world.ledger.images_swept(false), []);
    assert_eq!(world.later(1), [], "not at once");
    look(&mut world, 2);
    assert!(swept(&world.later(1)));
    // The control: once they are deleted nobody tries.
    assert_eq!(world.ledger.images_swept(true), []);
    look(&mut world, 3);
    assert_eq!(world.later(1), []);
}

#[test]
fn an_image_is_called_as_asked_or_as_its_archive_says() {
    let mut world = World::new();
    let (_, import) = world.begin_import(None);
    let own = Some(name("shop/app"));
    let effects = world.ledger.imported(&import, Ok((image(1, &[1]), own)));
    world.saved(&effects);
    assert_eq!(world.names(), ["busybox", "host", "shop/app:latest"]);
    let (ticket, import) = world.begin_import(None);
    let effects = world.ledger.imported(&import, Ok((image(2, &[1]), None)));
    assert_eq!(failed(&effects, ticket).field.as_deref(), Some("name"));
    for bad in [
        "host",
        "busybox",
        "sha256:abc",
        "a//b",
        "a:b:c",
        "a/",
        "a:.b",
    ] {
        let refused = world.refusal(Request::ImportImage {
            id: ImportId::from_bytes([4; 16]),
            name: Some(name(bad)),
            owner: "admin".parse().expect("owner"),
        });
        assert_eq!(refused.field.as_deref(), Some("name"), "{bad}");
    }
    for good in ["busybox:1.36", "localhost:5000/a/b:c", "a"] {
        world.import(good, image(3, &[1]));
    }
    let more: Vec<_> = (0..2).map(|_| world.begin_import(Some("x"))).collect();
    assert_eq!(more.len(), 2);
    let third = world.refusal(Request::ImportImage {
        id: ImportId::from_bytes([5; 16]),
        name: Some(name("x")),
        owner: "admin".parse().expect("owner"),
    });
    assert_eq!(third.code, FailureCode::Exhausted);
}

#[test]
fn an_import_is_ended_by_its_identifier_and_no_other() {
    let mut world = World::new();
    // Both without a name, of one person.
    let (first_ticket, first) = world.begin_import(None);
    let (_, second) = world.begin_import(None);
    assert_ne!(first.id, second.id);
    let cancel = |id: &ImportId| Request::CancelImport { id: id.clone() };
    let nobody = world.refusal(cancel(&ImportId::from_bytes([7; 16])));
    assert_eq!(nobody.code, FailureCode::ImportNotFound);
    let (ticket, effects) = world.ask(cancel(&first.id));
    assert_eq!(
        effects,
        [
            Effect::CancelImport(first.id.clone()),
            Effect::Reply(ticket, Reply::Done)
        ]
    );
    let gone = crate::ledger::cancelled();
    let effects = world.ledger.imported(&first, Err(gone));
    assert_eq!(failed(&effects, first_ticket).code, FailureCode::Cancelled);
    let again = world.refusal(cancel(&first.id));
    assert_eq!(again.code, FailureCode::ImportNotFound, "it has ended");
    // The control: the other one goes on.
    let effects = world
        .ledger
        .imported(&second, Ok((image(1, &[1]), Some(name("kept")))));
    world.saved(&effects);
    assert_eq!(world.names(), ["busybox", "host", "kept:latest"]);
    let late = world.refusal(cancel(&second.id));
    assert_eq!(late.code, FailureCode::ImportNotFound);
}

#[test]
fn an_import_that_waits_is_ended_without_a_child() {
    let mut world = World::new();
    world.import("one", image(1, &[1]));
    assert!(matches!(
        world.later(1).as_slice(),
        [Effect::SweepImages(_)]
    ));
    let id = ImportId::from_bytes([3; 16]);
    let (waiting, effects) = world.ask(Request::ImportImage {
        id: id.clone(),
        name: Some(name("two")),
        owner: "admin".parse().expect("owner"),
    });
    assert_eq!(effects, []);
    let (ticket, effects) = world.ask(Request::CancelImport { id });
    assert_eq!(failed(&effects, waiting).code, FailureCode::Cancelled);
    assert_eq!(reply(&effects, ticket), Some(Reply::Done));
    assert_eq!(
        world.ledger.images_swept(true),
        [],
        "nothing waits any more"
    );
}
