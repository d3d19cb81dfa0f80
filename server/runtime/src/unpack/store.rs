//! Where layers lie, and how they get there.
//!
//! ```text
//! staging/<key>/inside/<n>   the unpacker's, one directory a layer
//!              /out-<n>/tree, layer.json   verified, not in its place yet
//! layers/sha256-<digits>/tree, layer.json
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use porthole_protocol::id::ContainerId;
use porthole_protocol::image::Digest;
use porthole_protocol::keeper::Failure;

use super::{Unpacked, refusal, staging_of};
use crate::step::{Step, StepError};
use crate::{Cgroups, delete_tree};

const INSIDE: &str = "inside";
const TREE: &str = "tree";

/// A layer's files.
pub(crate) fn tree_of(images: &Path, layer: &Digest) -> PathBuf {
    place_of(images, layer).join(TREE)
}

fn place_of(images: &Path, layer: &Digest) -> PathBuf {
    images
        .join("layers")
        .join(format!("sha256-{}", layer.digits()))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> StepError {
    let path = path.display().to_string();
    move |error| StepError::new((Step::StoreLayer, &path), error)
}

/// An import's directory; it is deleted with everything in it when this is dropped.
pub(super) struct Staging {
    images: PathBuf,
    path: PathBuf,
    inside: PathBuf,
}

impl Staging {
    pub(super) fn make(images: &Path, key: &ContainerId) -> Result<Self, StepError> {
        let path = staging_of(images, key);
        let staging = Self {
            images: images.to_owned(),
            inside: path.join(INSIDE),
            path,
        };
        for directory in [&images.join("layers"), &staging.inside] {
            fs::create_dir_all(directory).map_err(failed(directory))?;
        }
        Ok(staging)
    }

    /// What the unpacker has for its root.
    pub(super) fn inside(&self) -> &Path {
        &self.inside
    }

    /// Moves what was unpacked to where its digest says, once it is on the disk for good.
    pub(super) fn publish(&self, unpacked: &Unpacked) -> Result<(), Failure> {
        let layers = &unpacked.imported.layers;
        if layers.len() != unpacked.places.len() {
            return Err(refusal::broken("layers without places"));
        }
        let mut ready = Vec::new();
        for (layer, number) in layers.iter().zip(&unpacked.places) {
            let place = place_of(&self.images, &layer.digest);
            let Some(number) = number else {
                continue;
            };
            // Another import was faster, or the image has it twice.
            if place.exists() || ready.iter().any(|(_, other)| *other == place) {
                continue;
            }
            let out = self.path.join(format!("out-{number}"));
            fs::create_dir(&out).map_err(failed(&out))?;
            let from = self.inside.join(number.to_string());
            // A link would be followed by whoever mounts it, to where the unpacker never was. Nobody
            // changes it any more: its process has ended.
            if !fs::symlink_metadata(&from).is_ok_and(|found| found.is_dir()) {
                return Err(refusal::broken("a layer that is no directory"));
            }
            fs::rename(&from, out.join(TREE)).map_err(failed(&from))?;
            let text = serde_json::to_vec(layer).map_err(|e| failed(&out)(e.into()))?;
            fs::write(out.join("layer.json"), text).map_err(failed(&out))?;
            ready.push((out, place));
        }
        let directory = self.images.join("layers");
        let opened = fs::File::open(&directory).map_err(failed(&directory))?;
        rustix::fs::syncfs(&opened).map_err(|errno| failed(&directory)(errno.into()))?;
        for (out, place) in ready {
            match fs::rename(&out, &place) {
                Err(_) if place.exists() => {}
                answer => answer.map_err(failed(&place))?,
            }
        }
        opened.sync_all().map_err(failed(&directory))?;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What stays is deleted at the keeper's next start.
        let _ = delete_tree(&self.path);
    }
}

/// Deletes what imports have left that were killed, and their control groups. Only while none is
/// under way.
pub fn clear_staging(images: &Path, cgroups: &Cgroups) -> Result<(), Failure> {
    let directory = images.join("staging");
    for (name, path) in entries(&directory)? {
        if let Ok(key) = name.parse::<ContainerId>() {
            let _ = cgroups.remove(&key);
        }
        delete_tree(&path).map_err(failed(&path))?;
    }
    Ok(())
}

/// Deletes every layer but these. Only while nothing is imported and no container is made.
pub fn sweep(images: &Path, kept: &BTreeSet<Digest>) -> Result<(), Failure> {
    let kept: BTreeSet<PathBuf> = kept.iter().map(|layer| place_of(images, layer)).collect();
    // Those of containers whose image nobody knows any more stay as long as they do.
    let containers = images.with_file_name("containers");
    let used: Vec<String> = entries(&containers)?
        .into_iter()
        .filter_map(|(_, path)| fs::read_to_string(path.join(crate::image::GENERATION)).ok())
        .collect();
    for (name, path) in entries(&images.join("layers"))? {
        let digits = name.strip_prefix("sha256-").unwrap_or(&name);
        if kept.contains(&path) || used.iter().any(|text| text.contains(digits)) {
            continue;
        }
        // First out of its place, so that half of it is never taken for a layer.
        let aside = images.join("staging").join(format!("gone-{digits}"));
        let moved = fs::create_dir_all(images.join("staging"))
            .and_then(|()| fs::rename(&path, &aside))
            .and_then(|()| delete_tree(&aside));
        moved.map_err(failed(&path))?;
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<(String, PathBuf)>, StepError> {
    let listed = match fs::read_dir(directory) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(directory)(error)),
    };
    Ok(listed
        .flatten()
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            )
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use porthole_protocol::image::{Format, Layer};

    use super::super::Imported;
    use super::*;

    #[test]
    fn a_layer_that_leads_elsewhere_is_not_stored() {
        let directory = tempfile::tempdir().expect("a directory");
        let images = directory.path();
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().expect("one");
        let layer: Layer = serde_json::from_value(serde_json::json!({
            "digest": digest, "size": 1, "entries": 1,
        }))
        .expect("a layer");
        let unpacked = Unpacked {
            imported: Imported {
                id: digest.clone(),
                config: Default::default(),
                layers: vec![layer.clone()],
                created_at: None,
                format: Format::Rootfs,
                name: None,
                devices_left_out: 0,
            },
            places: vec![Some(0)],
        };
        let publish = |make: &dyn Fn(&Path)| {
            let key = "import-1".parse().expect("a key");
            let staging = Staging::make(images, &key).expect("made");
            make(&staging.inside().join("0"));
            staging.publish(&unpacked).is_ok()
        };
        assert!(!publish(&|at| symlink("/etc", at).expect("a link")));
        assert!(!publish(&|at| fs::write(at, "").expect("a file")));
        assert!(!tree_of(images, &digest).exists());
        assert!(publish(&|at| fs::create_dir(at).expect("made")), "control");
        assert!(tree_of(images, &digest).is_dir());
    }
}
