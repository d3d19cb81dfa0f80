//! A toolbox's layers: what the monitor makes of an image before the joiner goes.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::chown;
use std::path::Path;

use porthole_protocol::container::ImageName;
use porthole_protocol::id::HostPid;
use porthole_protocol::keeper::Failure;
use porthole_sys::process::SingleThreaded;
use rustix::fs::{Mode, OFlags, open};

use super::facts::Facts;
use crate::Images;
use crate::deletion::delete_tree;
use crate::image::GENERATION;
use crate::layers::{Home, Overlays, overlays};
use crate::recorder::Recorder;
use crate::root::{ROOT, UPPER, USR, WORK};
use crate::step::{Step, StepError};

pub(crate) use crate::filesystem::toolbox::TARGET;

/// The directory of a toolbox's layers in its session's.
pub(crate) const DIRECTORY: &str = "toolbox";

/// Makes the overlays of an image's tools for a container's root: what is written into them goes to
/// `session`, and belongs to the container's users.
pub(crate) fn make(
    alone: SingleThreaded,
    image: &ImageName,
    images: &Images,
    session: &Path,
    (pid, facts): (HostPid, &Facts),
    own_users: bool,
    trace: &mut Recorder,
) -> Result<(Overlays, Home), Failure> {
    let directory = session.join(DIRECTORY);
    let generation = images.generation(image, None)?;
    let outside = |map: &[porthole_protocol::container::IdRange]| {
        map.iter().find_map(|range| range.outside(0)).unwrap_or(0)
    };
    let owner = (outside(&facts.uid_map), outside(&facts.gid_map));
    for overlay in [ROOT, USR] {
        for part in [UPPER, WORK] {
            let path = directory.join(part).join(overlay);
            fs::create_dir_all(&path)
                .map_err(|error| StepError::new((Step::MakeLayer, path.display()), error))?;
        }
        let path = directory.join(UPPER).join(overlay);
        chown(&path, Some(owner.0), Some(owner.1))
            .and_then(|()| {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            })
            .map_err(|error| StepError::new((Step::GiveLayer, path.display()), error))?;
    }
    let file = directory.join(GENERATION);
    fs::write(&file, generation)
        .map_err(|error| StepError::new((Step::MakeLayer, file.display()), error))?;
    let layers = images.layers(&directory)?;
    let users = if own_users {
        let path = format!("/proc/{pid}/ns/user");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let users = open(path.as_str(), flags, Mode::empty())
            .map_err(|errno| StepError::new((Step::OpenUserNamespace, path), errno))?;
        Some(users)
    } else {
        None
    };
    let users = users.as_ref().map(AsFd::as_fd);
    Ok(overlays(alone, &directory, &layers, users, trace)?)
}

/// Whether a session's directory holds what a toolbox has written.
pub fn is_there(session: &Path) -> bool {
    session.join(DIRECTORY).exists()
}

/// Deletes what a toolbox has written.
pub fn remove(session: &Path) {
    let _ = delete_tree(&session.join(DIRECTORY));
}
