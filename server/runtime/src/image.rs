//! Images that need no network: the machine's own programs, and busybox.
//!
//! ```text
//! <directory>/host-<digest>/root      skeleton: top directories, a generated /etc
//!                           mask      laid over the machine's /usr: an empty local/etc, and
//!                                     whiteouts of what not everybody may read below local
//!             busybox-<digest>/root   busybox and its links
//! ```
//! What is there belongs to root and is shared by all containers as an id-mapped lower layer, so
//! it is never changed once it has been made: where its sources have changed, another is made
//! beside it, and one that no container was made of any more is deleted.

mod busybox;
mod etc;
mod host;
mod skeleton;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use porthole_protocol::container::{Argument, Image, ImageName};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};

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
    /// The root directory's, one.
    pub(crate) root: PathBuf,
    /// `/usr`'s, topmost first, where it has an overlay of its own.
    pub(crate) usr: Option<[PathBuf; 2]>,
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

    /// The name of the layers that a new container of this image is made of.
    pub(crate) fn generation(&self, name: &ImageName) -> Result<&str, Failure> {
        let refuse = |code, message: String| {
            Err(Failure::new(code, message)
                .field("image")
                .stage(Stage::Image))
        };
        match self.get(name) {
            None => refuse(
                FailureCode::ImageNotFound,
                format!("there is no image {name}; there are host and busybox"),
            ),
            Some(Image {
                unavailable: Some(why),
                ..
            }) => refuse(
                FailureCode::Unsupported,
                format!("the image {name} cannot be used on this machine. {why}"),
            ),
            Some(_) => match self.made.iter().find(|made| made.name == name.as_str()) {
                Some(made) => Ok(&made.generation),
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
        let generation = fs::read_to_string(&file)
            .map_err(|error| StepError::new((Step::OpenLayer, file.display()), error))?;
        let layers = self.directory.join(generation.trim());
        let mask = layers.join(host::MASK);
        Ok(Layers {
            root: layers.join(skeleton::ROOT),
            usr: generation
                .starts_with("host-")
                .then(|| [mask, PathBuf::from("/usr")]),
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
