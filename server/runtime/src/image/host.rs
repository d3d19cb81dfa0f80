//! The image `host`: the machine's own programs.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};

use super::skeleton::{Digest, Draft, ROOT};
use super::{Answer, OVERLAYFS, Unavailable, etc};
use crate::step::{Step, StepError};

/// The layer that is laid over the machine's `/usr`.
pub(super) const MASK: &str = "mask";

const USR: &str = "/usr";

/// Hidden whoever may read it, relative to [`USR`].
const CONFIGURATION: &str = "local/etc";

/// Links into `/usr` that a machine may have at its root.
const LINKS: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"];

/// Makes the layers, or finds them made; their name.
pub(super) fn make(directory: &Path) -> Answer {
    usable(USR)?;
    let links = links(Path::new("/"))?;
    let machine = Path::new("/etc");
    let mut digest = Digest::new();
    digest.add(&links);
    let secrets = secrets(Path::new(USR));
    digest.add(&secrets);
    let entries = etc::list(machine, &mut digest);
    let name = digest.name("host");
    if let Some(draft) = Draft::begin(directory, &name)? {
        draft.base("/bin/bash")?;
        for (link, target) in &links {
            draft.link(Path::new(ROOT).join(link), target)?;
        }
        etc::copy(machine, &entries, &draft)?;
        mask(&draft, &secrets)?;
        draft.publish(&name)?;
    }
    Ok(name)
}

fn usable(usr: &str) -> Result<(), Unavailable> {
    match rustix::fs::statfs(usr) {
        Ok(found) if found.f_type == OVERLAYFS => Err(Unavailable(
            "This machine's /usr is on an overlay file system (is Porthole inside a container?), whose ids cannot be mapped: use the image busybox."
                .to_owned(),
        )),
        Ok(_) => Ok(()),
        Err(errno) => Err(Unavailable(format!("/usr cannot be looked at: {errno}."))),
    }
}

/// The links into `/usr` at a machine's root, with their targets.
fn links(root: &Path) -> Result<Vec<(&'static str, String)>, Unavailable> {
    let mut found = Vec::new();
    for name in LINKS {
        let path = root.join(name);
        match fs::read_link(&path) {
            Ok(target) => {
                let target = target.to_string_lossy().into_owned();
                if target.trim_start_matches('/').starts_with("usr/") {
                    found.push((name, target));
                }
            }
            Err(_) if path.exists() => {
                return Err(Unavailable(format!(
                    "{} is not merged into /usr on this machine (install the package usrmerge), so that /usr alone does not hold its programs: use the image busybox.",
                    path.display()
                )));
            }
            Err(_) => {}
        }
    }
    Ok(found)
}

/// What people installed themselves and keep to themselves: the first directory or file on the way
/// down `/usr/local` that not every account of the machine may read. Relative to `usr`, in order.
///
/// A container's root would have the rights of the machine's to them.
fn secrets(usr: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from("local")];
    while let Some(directory) = directories.pop() {
        // One that cannot be listed has nothing that could be shown.
        let entries = fs::read_dir(usr.join(&directory)).into_iter().flatten();
        for entry in entries.flatten() {
            let path = directory.join(entry.file_name());
            // Hidden as a whole.
            if path == Path::new(CONFIGURATION) {
                continue;
            }
            let Ok(status) = entry.metadata() else {
                continue;
            };
            let needed = if status.is_dir() { 0o005 } else { 0o004 };
            if status.is_symlink() {
                continue;
            } else if status.mode() & needed != needed {
                found.push(path);
            } else if status.is_dir() {
                directories.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Hides `/usr/local/etc`, where people keep the configuration, and secrets, of what they installed
/// themselves, by an opaque directory, and each other secret by a whiteout: see "whiteouts and
/// opaque directories" in the kernel's overlayfs.rst.
fn mask(draft: &Draft, secrets: &[PathBuf]) -> Result<(), StepError> {
    let configuration = Path::new(CONFIGURATION);
    above(draft, configuration)?;
    draft.directory(Path::new(MASK).join(configuration), 0o755)?;
    let path = draft.path(Path::new(MASK).join(configuration));
    let failed = |path: &Path, errno| StepError::new((Step::MakeSkeleton, path.display()), errno);
    rustix::fs::setxattr(
        &path,
        "trusted.overlay.opaque",
        b"y",
        rustix::fs::XattrFlags::empty(),
    )
    .map_err(|errno| failed(&path, errno))?;
    for secret in secrets {
        above(draft, secret)?;
        let path = draft.path(Path::new(MASK).join(secret));
        rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0)
            .map_err(|errno| failed(&path, errno))?;
    }
    Ok(())
}

/// Makes the directories above something in the mask as they are on the machine: the mask's are
/// the ones that a container sees.
fn above(draft: &Draft, path: &Path) -> Result<(), StepError> {
    let mut ancestors: Vec<_> = path.ancestors().skip(1).collect();
    ancestors.reverse();
    for directory in ancestors {
        let machine = Path::new(USR).join(directory);
        let failed = |error| StepError::new((Step::MakeSkeleton, machine.display()), error);
        let place = Path::new(MASK).join(directory);
        let (mode, uid, gid) = match fs::metadata(&machine) {
            Ok(status) => (status.mode() & 0o7777, status.uid(), status.gid()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (0o755, 0, 0),
            Err(error) => return Err(failed(error)),
        };
        draft.directory(&place, mode)?;
        chown(draft.path(&place), Some(uid), Some(gid)).map_err(failed)?;
        // Which a change of owner may have taken bits of.
        draft.directory(&place, mode)?;
    }
    Ok(())
}
