//! The images: those that are made here, and those that were imported.
//!
//! What was imported is one list, which is changed by one alteration at a time: it is worked out,
//! written to the disk by a child, and only then in force. Layers are deleted once no image has them,
//! while nothing is being imported and no container is being made.

mod shelf;

use std::collections::{BTreeMap, BTreeSet};

use porthole_protocol::container::{ContainerSpec, Image, ImageName, Owner};
use porthole_protocol::id::ImportId;
use porthole_protocol::image::{Digest, ImportStage, Importing, Layer, StoredImage};
use porthole_protocol::keeper::{Event, Failure, FailureCode, Reply};

pub(super) use self::shelf::Shelf;
use self::shelf::{
    Alteration, Saving, find, give_name, layers_of, names_of, not_found, rendered, tagged,
};
use super::record::Standing;
use super::{Effect, Ledger, Ticket, check_waiting, wrong_state};

/// Imports at once.
const IMPORTS: usize = 2;

/// Images that there may be.
const IMAGES: usize = 256;

/// An archive that is to become an image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Import {
    pub(crate) id: ImportId,
    pub(crate) ticket: Ticket,
    /// As it was asked for, with its tag; where nothing was, the archive says.
    pub(crate) name: Option<ImageName>,
    pub(crate) owner: Owner,
    /// Layers that are there already.
    pub(crate) known: BTreeMap<Digest, Layer>,
}

/// How an import ends that somebody has ended.
pub(crate) fn cancelled() -> Failure {
    Failure::new(
        FailureCode::Cancelled,
        "the import was ended before the image was there",
    )
}

impl Ledger {
    /// What was imported by earlier keepers.
    pub(crate) fn stock(&mut self, images: Vec<StoredImage>) -> Vec<Effect> {
        self.images.stored.clone_from(&images);
        self.images.litter = true;
        vec![Effect::UseImages(images)]
    }

    /// Fills in what an image says of its containers, as far as nothing else was asked for.
    pub(super) fn check_image(&self, spec: &mut ContainerSpec) -> Result<Option<Digest>, Failure> {
        let made = self.images.made.iter().find(|i| i.name == spec.image);
        if let Some(image) = made {
            if let Some(why) = &image.unavailable {
                return Err(Failure::new(FailureCode::Unsupported, why.clone()).field("image"));
            }
            if spec.command.is_empty() && spec.entrypoint.is_empty() {
                spec.command.clone_from(&image.command);
            }
            return Ok(None);
        }
        let Some(image) = self.images.find(&spec.image) else {
            let known: Vec<_> = self.images.all().map(|i| i.name.to_string()).collect();
            return Err(Failure::new(
                FailureCode::ImageNotFound,
                format!(
                    "there is no image {}; there are: {}",
                    spec.image,
                    known.join(", ")
                ),
            )
            .field("image"));
        };
        let config = &image.config;
        // As docker does: who gives an entry point gets none of the image's command.
        if spec.entrypoint.is_empty() {
            if spec.command.is_empty() {
                spec.command.clone_from(&config.command);
            }
            spec.entrypoint.clone_from(&config.entrypoint);
        }
        if spec.entrypoint.is_empty() && spec.command.is_empty() {
            return Err(Failure::new(
                FailureCode::Invalid,
                format!("the image {} names no command: give one", spec.image),
            )
            .field("command"));
        }
        for (name, value) in &config.env {
            let variable = spec.env.entry(name.clone());
            variable.or_insert_with(|| value.clone());
        }
        spec.user = spec.user.take().or_else(|| config.user.clone());
        spec.workdir = spec.workdir.take().or_else(|| config.workdir.clone());
        spec.stop_signal = spec.stop_signal.or(config.stop_signal);
        spec.check().map_err(|(field, why)| {
            Failure::new(
                FailureCode::Invalid,
                format!("with what the image {} says: {why}", spec.image),
            )
            .field(field)
        })?;
        Ok(Some(image.id.clone()))
    }

    pub(super) fn import_image(
        &mut self,
        ticket: Ticket,
        id: ImportId,
        name: Option<ImageName>,
        owner: Owner,
    ) -> Result<Vec<Effect>, Failure> {
        let name = name.as_ref().map(tagged).transpose()?;
        if self.images.importing.contains(&id) {
            return Err(wrong_state("an import of this identifier goes on already").field("import"));
        }
        if self.images.importing.len() >= IMPORTS {
            return Err(Failure::new(
                FailureCode::Exhausted,
                format!("{IMPORTS} images are being imported already; try again when one is done"),
            ));
        }
        if self.images.stored.len() >= IMAGES {
            return Err(Failure::new(
                FailureCode::Exhausted,
                format!("there are {IMAGES} imported images already; remove some"),
            ));
        }
        self.images.importing.push(id.clone());
        let layers = self.images.stored.iter().flat_map(|image| &image.layers);
        let known = layers
            .map(|layer| (layer.digest.clone(), layer.clone()))
            .collect();
        let effect = Effect::Import(Box::new(Import {
            id,
            ticket,
            name,
            owner,
            known,
        }));
        if self.images.sweeping {
            self.images.held.push(effect);
            return Ok(Vec::new());
        }
        Ok(vec![effect])
    }

    /// Ends an import, be it that it has not begun yet. One whose image is being written down has
    /// ended by itself.
    pub(super) fn cancel_import(
        &mut self,
        ticket: Ticket,
        id: &ImportId,
    ) -> Result<Vec<Effect>, Failure> {
        if !self.images.importing.contains(id) {
            return Err(Failure::new(
                FailureCode::ImportNotFound,
                "no such import goes on: it has ended, or there never was one",
            ));
        }
        let is_it = |effect: &Effect| matches!(effect, Effect::Import(import) if import.id == *id);
        let held = self.images.held.iter().position(is_it);
        let mut effects = match held.map(|at| self.images.held.remove(at)) {
            Some(Effect::Import(import)) => self.imported(&import, Err(cancelled())),
            _ => vec![Effect::CancelImport(id.clone())],
        };
        effects.push(Effect::Reply(ticket, Reply::Done));
        Ok(effects)
    }

    /// An import has ended. What the archive calls the image counts where no name was asked for.
    pub(crate) fn imported(
        &mut self,
        import: &Import,
        outcome: Result<(StoredImage, Option<ImageName>), Failure>,
    ) -> Vec<Effect> {
        self.images.importing.retain(|id| *id != import.id);
        let named = outcome.and_then(|(image, own)| {
            let name = match (&import.name, own) {
                (Some(name), _) => Ok(name.clone()),
                (None, Some(own)) => tagged(&own),
                (None, None) => Err(Failure::new(
                    FailureCode::Invalid,
                    "the archive does not say what its image is called: give it a name",
                )
                .field("name")),
            };
            name.map(|name| (image, name))
        });
        let mut effects = Vec::new();
        match named {
            Ok((image, name)) => {
                let alteration = Alteration::Add(Box::new(image), name);
                self.images
                    .alterations
                    .push_back((import.ticket, alteration));
                effects.extend(self.alter());
            }
            Err(failure) => {
                // What was stored before it came to this is nobody's.
                self.images.litter = true;
                effects.push(Effect::Tell(Event::Importing(Importing {
                    id: import.id.clone(),
                    name: import.name.clone(),
                    owner: import.owner.clone(),
                    stage: ImportStage::Failed,
                    done: 0,
                    total: 0,
                })));
                effects.push(Effect::Reply(import.ticket, Reply::Failed(failure)));
            }
        }
        effects
    }

    pub(super) fn tag_image(
        &mut self,
        ticket: Ticket,
        image: ImageName,
        name: &ImageName,
    ) -> Result<Vec<Effect>, Failure> {
        let name = tagged(name)?;
        self.queue(ticket, Alteration::Tag(image, name))
    }

    pub(super) fn remove_image(
        &mut self,
        ticket: Ticket,
        image: ImageName,
    ) -> Result<Vec<Effect>, Failure> {
        self.queue(ticket, Alteration::Remove(image))
    }

    pub(super) fn prune_images(
        &mut self,
        ticket: Ticket,
        all: bool,
    ) -> Result<Vec<Effect>, Failure> {
        self.queue(ticket, Alteration::Prune { all })
    }

    fn queue(&mut self, ticket: Ticket, alteration: Alteration) -> Result<Vec<Effect>, Failure> {
        check_waiting(self.images.alterations.len())?;
        self.images.alterations.push_back((ticket, alteration));
        Ok(self.alter())
    }

    /// Goes on to the next alteration, unless one is being written down.
    fn alter(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.images.saving.is_none() {
            let Some((ticket, alteration)) = self.images.alterations.pop_front() else {
                break;
            };
            match self.altered(alteration) {
                Ok((images, reply)) => {
                    effects.push(Effect::SaveImages(images.clone()));
                    self.images.saving = Some(Saving {
                        ticket,
                        images,
                        reply,
                    });
                }
                Err(failure) => {
                    self.images.litter = true;
                    effects.push(Effect::Reply(ticket, Reply::Failed(failure)));
                }
            }
        }
        effects
    }

    /// The list as it is to be, and the answer.
    fn altered(&self, alteration: Alteration) -> Result<(Vec<StoredImage>, Reply), Failure> {
        let mut images = self.images.stored.clone();
        match alteration {
            Alteration::Add(mut image, name) => {
                if let Some(at) = images.iter().position(|known| known.id == image.id) {
                    let known = images.remove(at);
                    image.names = known.names;
                    // Of layers that were there already nothing is counted.
                    image.devices_left_out = image.devices_left_out.max(known.devices_left_out);
                }
                images.push(*image.clone());
                let reply = give_name(&mut images, &image.id, &name)?;
                Ok((images, reply))
            }
            Alteration::Tag(image, name) => {
                let id = find(&images, &image)
                    .ok_or_else(|| not_found(&image))?
                    .id
                    .clone();
                let reply = give_name(&mut images, &id, &name)?;
                Ok((images, reply))
            }
            Alteration::Remove(name) => self.without(images, &name),
            Alteration::Prune { all } => {
                let gone = |image: &StoredImage| {
                    (all || image.names.is_empty()) && self.made_of(&image.id).is_empty()
                };
                let names = images
                    .iter()
                    .filter(|i| gone(i))
                    .flat_map(names_of)
                    .collect();
                images.retain(|image| !gone(image));
                let freed = self.freed(&images);
                Ok((images, Reply::ImagesGone { names, freed }))
            }
        }
    }

    /// The list without a name, or without the image that it is the last name of.
    fn without(
        &self,
        mut images: Vec<StoredImage>,
        name: &ImageName,
    ) -> Result<(Vec<StoredImage>, Reply), Failure> {
        if self.images.made.iter().any(|image| image.name == *name) {
            return Err(wrong_state(format!(
                "{name} is made by Porthole itself and cannot be removed"
            )));
        }
        let found = find(&images, name).ok_or_else(|| not_found(name))?;
        let (id, by_id) = (found.id.clone(), found.id.as_str() == name.as_str());
        let mut names = names_of(found);
        if by_id || names.len() == 1 {
            let users = self.made_of(&id);
            if let Some(first) = users.first() {
                let others = match users.len() {
                    1 => String::new(),
                    more => format!(" and {} more", more - 1),
                };
                return Err(wrong_state(format!(
                    "the image {name} is used by the container {first}{others}: remove what is made of it first"
                )));
            }
            images.retain(|image| image.id != id);
        } else {
            let whole = tagged(name)?;
            for image in images.iter_mut().filter(|image| image.id == id) {
                image.names.retain(|name| *name != whole);
            }
            names = vec![whole];
        }
        let freed = self.freed(&images);
        Ok((images, Reply::ImagesGone { names, freed }))
    }

    /// Names of the containers that are made of an image.
    fn made_of(&self, id: &Digest) -> Vec<String> {
        let containers = self.containers.values();
        containers
            .filter(|held| held.config.image_id.as_ref() == Some(id))
            .map(|held| held.config.name.to_string())
            .collect()
    }

    /// Bytes of layers that no image of this list has any more.
    fn freed(&self, images: &[StoredImage]) -> u64 {
        let left = layers_of(images);
        let before = layers_of(&self.images.stored);
        let gone = before
            .iter()
            .filter(|(digest, _)| !left.contains_key(*digest));
        gone.map(|(_, size)| size).sum()
    }

    /// The list is on the disk, or could not be written.
    pub(crate) fn images_saved(&mut self, outcome: Result<(), Failure>) -> Vec<Effect> {
        let Some(saving) = self.images.saving.take() else {
            return Vec::new();
        };
        self.images.litter = true;
        let mut effects = Vec::new();
        match outcome {
            Ok(()) => {
                let shown = |images: &[StoredImage]| -> BTreeMap<ImageName, Image> {
                    let images = images.iter().flat_map(rendered);
                    images.map(|image| (image.name.clone(), image)).collect()
                };
                let before = shown(&self.images.stored);
                let now = shown(&saving.images);
                self.images.stored = saving.images.clone();
                effects.push(Effect::UseImages(saving.images));
                let gone = before.keys().filter(|name| !now.contains_key(name));
                effects.extend(
                    gone.cloned()
                        .map(|name| Effect::Tell(Event::ImageGone(name))),
                );
                let changed = now
                    .into_iter()
                    .filter(|(name, image)| before.get(name) != Some(image));
                effects
                    .extend(changed.map(|(_, image)| Effect::Tell(Event::Image(Box::new(image)))));
                effects.push(Effect::Reply(saving.ticket, saving.reply));
            }
            Err(failure) => effects.push(Effect::Reply(saving.ticket, Reply::Failed(failure))),
        }
        effects.extend(self.alter());
        effects
    }

    /// Has layers deleted that no image has, where that is in nobody's way.
    pub(super) fn sweep_images(&mut self) -> Vec<Effect> {
        let shelf = &self.images;
        let making = |held: &super::Held| matches!(held.standing, Standing::Making(_));
        let busy = shelf.sweeping
            || !shelf.importing.is_empty()
            || shelf.saving.is_some()
            || self.containers.values().any(making);
        if !shelf.litter || busy {
            return Vec::new();
        }
        self.images.litter = false;
        self.images.sweeping = true;
        let kept: BTreeSet<Digest> = layers_of(&self.images.stored)
            .into_keys()
            .cloned()
            .collect();
        vec![Effect::SweepImages(kept)]
    }

    /// They are deleted, or could not be.
    pub(crate) fn images_swept(&mut self, swept: bool) -> Vec<Effect> {
        self.images.sweeping = false;
        self.images.missed = !swept;
        std::mem::take(&mut self.images.held)
    }
}
