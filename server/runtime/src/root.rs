//! What a container has on disk.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use porthole_protocol::container::{ContainerName, ContainerSpec, IdRange, NamespaceChoice};
use porthole_protocol::id::ContainerId;
use porthole_protocol::image::Digest;
use porthole_protocol::keeper::Failure;
use porthole_protocol::namespace::NamespaceType;

use crate::Images;
use crate::deletion::delete_tree;
use crate::image::GENERATION;
use crate::step::{Step, StepError};

/// Upper layers: `upper/root` and, where the image has one, `upper/usr`.
pub(crate) const UPPER: &str = "upper";
/// Overlay's working directories, beside them.
pub(crate) const WORK: &str = "work";
/// The overlay of the root directory.
pub(crate) const ROOT: &str = "root";
/// The overlay of `/usr`.
pub(crate) const USR: &str = "usr";

/// Makes a container's writable layer in `directory` (which exists, 0700, root's): `upper`, `work`
/// and what its image needs beside them, with `/etc/hostname`, `/etc/hosts` and
/// `/etc/resolv.conf`. Fails for an image that is not known (`ImageNotFound`) or unavailable
/// (`Unsupported`); what it had made is gone then.
pub fn create_root(
    directory: &Path,
    id: &ContainerId,
    name: &ContainerName,
    spec: &ContainerSpec,
    ids: IdRange,
    images: &Images,
    image: Option<&Digest>,
) -> Result<(), Failure> {
    let generation = images.generation(&spec.image, image)?;
    let made = write_root(directory, id, name, spec, ids, &generation);
    if made.is_err() {
        // The failure that is told is the first one.
        let _ = remove_root(directory);
    }
    Ok(made?)
}

fn write_root(
    directory: &Path,
    id: &ContainerId,
    name: &ContainerName,
    spec: &ContainerSpec,
    ids: IdRange,
    generation: &str,
) -> Result<(), StepError> {
    for overlay in [ROOT, USR] {
        for part in [UPPER, WORK] {
            make_directory(&directory.join(part).join(overlay), 0o755)?;
        }
        give(&directory.join(UPPER).join(overlay), ids)?;
    }
    let etc = directory.join(UPPER).join(ROOT).join("etc");
    make_directory(&etc, 0o755)?;
    give(&etc, ids)?;
    let hostname = hostname(id, name, spec);
    for (file, content) in [
        ("hostname", format!("{hostname}\n")),
        ("hosts", hosts(&hostname)),
        ("resolv.conf", resolver(spec)),
    ] {
        let path = etc.join(file);
        fs::write(&path, content)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)))
            .map_err(|error| StepError::new((Step::MakeLayer, path.display()), error))?;
        give(&path, ids)?;
    }
    let path = directory.join(GENERATION);
    fs::write(&path, generation)
        .map_err(|error| StepError::new((Step::MakeLayer, path.display()), error))
}

fn make_directory(path: &Path, mode: u32) -> Result<(), StepError> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(|error| StepError::new((Step::MakeLayer, path.display()), error))
}

/// The upper layer is not id-mapped: what is the container's root's in it is its first id's.
fn give(path: &Path, ids: IdRange) -> Result<(), StepError> {
    chown(path, Some(ids.1), Some(ids.1))
        .map_err(|error| StepError::new((Step::GiveLayer, path.display()), error))
}

/// A container's host name: what was asked for, else its name, else the first digits of its id.
pub fn hostname(id: &ContainerId, name: &ContainerName, spec: &ContainerSpec) -> String {
    if let Some(hostname) = &spec.hostname {
        return hostname.as_str().to_owned();
    }
    let usable = porthole_protocol::container::Hostname::try_from(name.as_str().to_owned());
    usable.map_or_else(
        |_| id.short().to_owned(),
        |hostname| hostname.as_str().to_owned(),
    )
}

fn hosts(hostname: &str) -> String {
    format!(
        "127.0.0.1\tlocalhost {hostname}\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
    )
}

fn resolver(spec: &ContainerSpec) -> String {
    if spec.namespace(NamespaceType::Net) == NamespaceChoice::Own {
        return "# This container has no network but its loopback interface.\n".to_owned();
    }
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut kept = String::new();
    for line in text.lines() {
        if ["nameserver", "search", "domain", "options"]
            .iter()
            .any(|word| line.starts_with(word))
        {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Deletes what [`create_root`] made and everything the container wrote there, without following
/// a link. `directory` itself stays. It is no error that there is nothing.
pub fn remove_root(directory: &Path) -> Result<(), Failure> {
    for part in [UPPER, WORK] {
        let path = directory.join(part);
        delete_tree(&path)
            .map_err(|error| StepError::new((Step::RemoveLayer, path.display()), error))?;
    }
    let path = directory.join(GENERATION);
    absent_is_well(fs::remove_file(&path))
        .map_err(|error| StepError::new((Step::RemoveLayer, path.display()), error))?;
    Ok(())
}

fn absent_is_well(answer: io::Result<()>) -> io::Result<()> {
    match answer {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_always_one() {
        let id = ContainerId::from_bytes([0xab; 32]);
        let named = |name: &str, json: &str| {
            let spec: ContainerSpec = serde_json::from_str(json).expect("a spec");
            hostname(&id, &name.parse().expect("a name"), &spec)
        };
        assert_eq!(named("web", r#"{"image":"host"}"#), "web");
        assert_eq!(named("web_1", r#"{"image":"host"}"#), "abababababab");
        assert_eq!(named("web", r#"{"image":"host","hostname":"box"}"#), "box");
    }
}
