//! The shelf that images stand on, and what they are called by.

use std::collections::{BTreeMap, VecDeque};

use porthole_protocol::container::{Argument, Image, ImageName};
use porthole_protocol::id::ImportId;
use porthole_protocol::image::{Digest, StoredImage};
use porthole_protocol::keeper::{Failure, FailureCode, Reply, Stage};

use crate::ledger::{Effect, Ticket};

/// Names that one image may have.
const NAMES: usize = 32;

/// Something that is to be done to the list.
#[derive(Debug)]
pub(super) enum Alteration {
    Add(Box<StoredImage>, ImageName),
    Tag(ImageName, ImageName),
    Remove(ImageName),
    Prune { all: bool },
}

/// A list that is being written to the disk, and what is answered then.
#[derive(Debug)]
pub(super) struct Saving {
    pub(super) ticket: Ticket,
    pub(super) images: Vec<StoredImage>,
    pub(super) reply: Reply,
}

/// All images.
#[derive(Debug, Default)]
pub(in crate::ledger) struct Shelf {
    /// Those that are made here.
    pub(super) made: Vec<Image>,
    pub(super) stored: Vec<StoredImage>,
    pub(super) alterations: VecDeque<(Ticket, Alteration)>,
    pub(super) saving: Option<Saving>,
    /// Imports that go on, those that wait too.
    pub(super) importing: Vec<ImportId>,
    /// Imports that wait until layers have been deleted.
    pub(super) held: Vec<Effect>,
    pub(super) sweeping: bool,
    /// There may be layers that no image has.
    pub(super) litter: bool,
    /// They could not be deleted: tried again with what is looked at now and then.
    pub(super) missed: bool,
}

impl Shelf {
    pub(in crate::ledger) fn new(made: Vec<Image>) -> Self {
        Self {
            made,
            ..Self::default()
        }
    }

    /// Has what could not be deleted tried again.
    pub(in crate::ledger) fn try_again(&mut self) {
        self.litter |= std::mem::take(&mut self.missed);
    }

    /// Those that are made here.
    pub(in crate::ledger) fn made(&self) -> impl Iterator<Item = &Image> {
        self.made.iter()
    }

    pub(in crate::ledger) fn all(&self) -> impl Iterator<Item = Image> {
        let stored = self.stored.iter().flat_map(rendered);
        self.made.iter().cloned().chain(stored)
    }

    /// What they are called, once for each of their names.
    pub(in crate::ledger) fn names(&self) -> impl Iterator<Item = ImageName> {
        let made = self.made.iter().map(|image| image.name.clone());
        made.chain(self.stored.iter().flat_map(names_of))
    }

    /// The one that is called just so.
    pub(in crate::ledger) fn called(&self, name: &ImageName) -> Option<Image> {
        if let Some(made) = self.made.iter().find(|image| image.name == *name) {
            return Some(made.clone());
        }
        let stored = self.find(name)?;
        rendered(stored)
            .into_iter()
            .find(|image| image.name == *name)
    }

    pub(super) fn find(&self, image: &ImageName) -> Option<&StoredImage> {
        find(&self.stored, image)
    }
}

pub(super) fn find<'a>(images: &'a [StoredImage], name: &ImageName) -> Option<&'a StoredImage> {
    let whole = tagged(name).unwrap_or_else(|_| name.clone());
    images
        .iter()
        .find(|image| image.id.as_str() == name.as_str() || image.names.contains(&whole))
}

/// A name with its tag: `latest` where none is given. Refuses what could not be told from something
/// else.
pub(super) fn tagged(name: &ImageName) -> Result<ImageName, Failure> {
    let refuse = |why: &str| {
        Err(Failure::new(
            FailureCode::Invalid,
            format!("an image cannot be called {name}: {why}"),
        )
        .field("name")
        .stage(Stage::Request))
    };
    let text = name.as_str();
    if text.starts_with(Digest::PREFIX) {
        return refuse("what begins so is a digest");
    }
    if ["host", "busybox"].contains(&text) {
        return refuse("that is an image of Porthole's own; give it a tag");
    }
    let (path, last) = text.rsplit_once('/').unwrap_or(("", text));
    if text.ends_with('/') || text.contains("//") {
        return refuse("a part of it is empty");
    }
    match last.split_once(':') {
        None => match format!("{text}:latest").parse() {
            Ok(name) => Ok(name),
            Err(_) => refuse("it is too long"),
        },
        Some((repository, tag)) => {
            if repository.is_empty() || path.matches(':').count() > 1 {
                return refuse("it is repository:tag");
            }
            let begins = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            if begins && tag.len() <= 128 && !tag.contains(':') {
                Ok(name.clone())
            } else {
                refuse("a tag has letters, digits, '_', '.' and '-', at most 128")
            }
        }
    }
}

/// An image as others are told of it: once for each of its names.
pub(super) fn rendered(image: &StoredImage) -> Vec<Image> {
    let count = image.layers.len();
    let description = format!(
        "Imported from {}{}",
        image.format.words(),
        match count {
            1 => String::new(),
            _ => format!(" of {count} layers"),
        }
    );
    let words = image.config.entrypoint.iter().chain(&image.config.command);
    let command: Vec<Argument> = words.cloned().collect();
    names_of(image)
        .into_iter()
        .map(|name| Image {
            name,
            description: description.clone(),
            command: command.clone(),
            unavailable: None,
            stored: Some(Box::new(image.clone())),
        })
        .collect()
}

/// Its names, or its digest where it has none.
pub(super) fn names_of(image: &StoredImage) -> Vec<ImageName> {
    if image.names.is_empty() {
        image.id.as_str().parse().into_iter().collect()
    } else {
        image.names.clone()
    }
}

pub(super) fn layers_of(images: &[StoredImage]) -> BTreeMap<&Digest, u64> {
    let layers = images.iter().flat_map(|image| &image.layers);
    layers.map(|layer| (&layer.digest, layer.size)).collect()
}

pub(super) fn not_found(name: &ImageName) -> Failure {
    Failure::new(
        FailureCode::ImageNotFound,
        format!("there is no imported image {name}"),
    )
    .field("image")
}

/// Gives an image of the list a name, which another one loses.
pub(super) fn give_name(
    images: &mut [StoredImage],
    id: &Digest,
    name: &ImageName,
) -> Result<Reply, Failure> {
    let mut answer = None;
    for image in images {
        image.names.retain(|other| other != name);
        if image.id != *id {
            continue;
        }
        if image.names.len() >= NAMES {
            return Err(Failure::new(
                FailureCode::Exhausted,
                format!("the image has {NAMES} names already; remove one of them"),
            )
            .field("name"));
        }
        image.names.push(name.clone());
        answer = rendered(image).pop();
    }
    let answer = answer.ok_or_else(|| not_found(name))?;
    Ok(Reply::Image(Box::new(answer)))
}
