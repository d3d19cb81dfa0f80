//! Images: the machine's own programs, busybox, and what was imported.
//!
//! ```text
//! <directory>/layers/sha256-<digits>/tree   an imported layer
//!                                   layer.json   how large it is
//! <directory>/host-<digest>/root      skeleton: top directories, a generated /etc
//!                           mask      laid over the machine's /usr: an empty local/etc, and
//!                                     whiteouts of what not everybody may read below local
//!             busybox-<digest>/root   busybox and its links
//! ```
//! Imported layers are made by [`crate::unpack`]. What is there belongs to root and is shared by all containers as an id-mapped lower layer, so
//! it is never changed once it has been made: where its sources have changed, another is made
//! beside it, and one that no container was made of any more is deleted.

mod busybox;
mod etc;
mod host;
mod skeleton;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use porthole_protocol::container::{AbsolutePath, Argument, Image, ImageName};
use porthole_protocol::image::{Digest, StoredImage};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use serde::{Deserialize, Serialize};

use crate::foreign::toolbox::DIRECTORY as TOOLBOX;
use crate::step::{Step, StepError};

/// The file in a container's directory that says which layers it was made of.
pub(crate) const GENERATION: &str = "generation";

/// An overlay file system's magic number (statfs(2)).
const OVERLAYFS: i64 = 0x794c_7630;

/// The images that containers can be made of.
#[derive(Debug)]
pub struct Images {
    directory: PathBuf,
    made: Vec<Made>,
    list: Vec<Image>,
    stored: Vec<StoredImage>,
}

/// An image whose layers are there.
#[derive(Debug)]
struct Made {
    name: &'static str,
    generation: String,
}

/// The lower layers of a container's root directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layers {
    /// The root directory's, topmost first.
    pub(crate) root: Vec<PathBuf>,
    /// `/usr`'s, topmost first, where it has an overlay of its own.
    pub(crate) usr: Option<[PathBuf; 2]>,
    /// Whether they were imported: what they say to overlay is in `user.overlay.*`.
    pub(crate) imported: bool,
    /// A directory that the image wants to be there.
    pub(crate) workdir: Option<AbsolutePath>,
}

/// What the file [`GENERATION`] says of an imported image.
#[derive(Debug, Serialize, Deserialize)]
struct Imported {
    /// Lowest first.
    layers: Vec<Digest>,
    workdir: Option<AbsolutePath>,
}

/// Why an image cannot be made here; `None` within where it was made.
type Answer = Result<String, Unavailable>;

/// Why not, in a sentence.
#[derive(Debug)]
pub(crate) struct Unavailable(String);

impl From<StepError> for Unavailable {
    fn from(error: StepError) -> Self {
        Self(format!("It could not be made: {error}."))
    }
}

impl Images {
    /// Makes, or finds made, the layers below `directory` (`ROOT/keeper/images`). What cannot be
    /// made is listed as unavailable with the reason; nothing here fails as a whole.
    pub fn prepare(directory: &Path) -> Self {
        // Forked monitors and joiners have it then.
        crate::confinement::prepare();
        let mut images = Self {
            directory: directory.to_owned(),
            made: Vec::new(),
            list: Vec::new(),
            stored: Vec::new(),
        };
        let ready = ready(directory);
        images.add(
            "host",
            "The programs of this machine: its /usr, with nothing of its data",
            "/bin/bash",
            ready
                .clone()
                .map_err(Unavailable)
                .and_then(|()| host::make(directory)),
        );
        images.add(
            "busybox",
            "One small program that is a shell and three hundred others",
            "/bin/sh",
            ready
                .clone()
                .map_err(Unavailable)
                .and_then(|()| busybox::make(directory, &busybox::PROGRAMS)),
        );
        images.forget_unused();
        images
    }

    fn add(&mut self, name: &'static str, description: &str, command: &str, answer: Answer) {
        let unavailable = match answer {
            Ok(generation) => {
                self.made.push(Made { name, generation });
                None
            }
            Err(Unavailable(why)) => Some(why),
        };
        let (Ok(image), Ok(command)) = (
            ImageName::try_from(name.to_owned()),
            Argument::try_from(command.to_owned()),
        ) else {
            return;
        };
        self.list.push(Image {
            name: image,
            description: description.to_owned(),
            command: vec![command],
            unavailable,
            stored: None,
        });
    }

    /// All of them, those that are unavailable too.
    pub fn list(&self) -> Vec<Image> {
        self.list.clone()
    }

    /// One of them by its name.
    pub fn get(&self, name: &ImageName) -> Option<&Image> {
        self.list.iter().find(|image| image.name == *name)
    }

    /// From now on containers are made of these too.
    pub fn hold(&mut self, stored: Vec<StoredImage>) {
        self.stored = stored;
    }

    /// Where all images have their layers.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What a new container's file [`GENERATION`] says of the layers that it is made of. `id` is the
    /// imported image's that is meant, whatever has its name by now.
    pub(crate) fn generation(
        &self,
        name: &ImageName,
        id: Option<&Digest>,
    ) -> Result<String, Failure> {
        let refuse = |code, message: String| {
            Err(Failure::new(code, message)
                .field("image")
                .stage(Stage::Image))
        };
        if let Some(id) = id {
            let Some(image) = self.stored.iter().find(|image| image.id == *id) else {
                return refuse(
                    FailureCode::ImageNotFound,
                    format!("there is no image {name} any more"),
                );
            };
            let imported = Imported {
                layers: image.layers.iter().map(|l| l.digest.clone()).collect(),
                workdir: image.config.workdir.clone(),
            };
            return serde_json::to_string(&imported)
                .map_err(|error| Failure::new(FailureCode::Internal, error.to_string()));
        }
        match self.get(name) {
            None => refuse(
                FailureCode::ImageNotFound,
                format!("there is no image {name}"),
            ),
            Some(Image {
                unavailable: Some(why),
                ..
            }) => refuse(
                FailureCode::Unsupported,
                format!("the image {name} cannot be used on this machine. {why}"),
            ),
            Some(_) => match self.made.iter().find(|made| made.name == name.as_str()) {
                Some(made) => Ok(made.generation.clone()),
                None => refuse(
                    FailureCode::ImageNotFound,
                    format!("there is no image {name}"),
                ),
            },
        }
    }

    /// The layers that a container's directory says it was made of.
    pub(crate) fn layers(&self, container: &Path) -> Result<Layers, StepError> {
        let file = container.join(GENERATION);
        let failed = |error| StepError::new((Step::OpenLayer, file.display()), error);
        let generation = fs::read_to_string(&file).map_err(failed)?;
        let generation = generation.trim();
        if generation.starts_with('{') {
            let imported: Imported =
                serde_json::from_str(generation).map_err(|error| failed(error.into()))?;
            return Ok(Layers {
                root: stack(&imported.layers)
                    .map(|layer| crate::unpack::tree_of(&self.directory, layer))
                    .collect(),
                usr: None,
                imported: true,
                workdir: imported.workdir,
            });
        }
        let layers = self.directory.join(generation);
        let mask = layers.join(host::MASK);
        Ok(Layers {
            root: vec![layers.join(skeleton::ROOT)],
            usr: generation
                .starts_with("host-")
                .then(|| [mask, PathBuf::from("/usr")]),
            imported: false,
            workdir: None,
        })
    }

    /// Deletes layers that are neither current nor any container's.
    fn forget_unused(&self) {
        let mut used: BTreeSet<String> = self
            .made
            .iter()
            .map(|made| made.generation.clone())
            .collect();
        let containers = self.directory.with_file_name("containers");
        let containers = fs::read_dir(containers).into_iter().flatten().flatten();
        let sessions = self.directory.with_file_name("sessions");
        let sessions = fs::read_dir(sessions).into_iter().flatten().flatten();
        let toolboxes = sessions.map(|session| session.path().join(TOOLBOX));
        for directory in containers.map(|c| c.path()).chain(toolboxes) {
            if let Ok(generation) = fs::read_to_string(directory.join(GENERATION)) {
                used.insert(generation.trim().to_owned());
            }
        }
        for entry in fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = name.starts_with("host-") || name.starts_with("busybox-");
            if ours && !used.contains(&name) {
                // What stays is tried again at the next start.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Layers as overlay takes them: topmost first, and each once. Of one that an image has twice only
/// the upper place counts, since it holds the same; overlay would refuse it.
fn stack(layers: &[Digest]) -> impl Iterator<Item = &Digest> {
    let mut seen = BTreeSet::new();
    layers.iter().rev().filter(move |layer| seen.insert(*layer))
}

/// Whether containers can have their layers below this directory; a sentence why not.
fn ready(directory: &Path) -> Result<(), String> {
    let place = directory.display();
    fs::create_dir_all(directory).map_err(|error| format!("{place} cannot be made: {error}."))?;
    match rustix::fs::statfs(directory) {
        Ok(found) if found.f_type == OVERLAYFS => Err(format!(
            "{place} is on an overlay file system, which cannot carry another one: set PORTHOLE_ROOT to a directory on ext4, xfs, btrfs or tmpfs."
        )),
        Ok(_) => Ok(()),
        Err(errno) => Err(format!("{place} cannot be looked at: {errno}.")),
    }
}
