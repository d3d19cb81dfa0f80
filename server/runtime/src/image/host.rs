//! The image `host`: the machine's own programs.

use std::fs;
use std::path::Path;

use super::skeleton::{Digest, Draft, ROOT};
use super::{Answer, OVERLAYFS, Unavailable, etc};
use crate::step::{Step, StepError};

/// The layer that is laid over the machine's `/usr`.
pub(super) const MASK: &str = "mask";

/// Links into `/usr` that a machine may have at its root.
const LINKS: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"];

/// Makes the layers, or finds them made; their name.
pub(super) fn make(directory: &Path) -> Answer {
    usable("/usr")?;
    let links = links(Path::new("/"))?;
    let machine = Path::new("/etc");
    let mut digest = Digest::new();
    digest.add(&links);
    let entries = etc::list(machine, &mut digest);
    let name = digest.name("host");
    if let Some(draft) = Draft::begin(directory, &name)? {
        draft.base("/bin/bash")?;
        for (link, target) in &links {
            draft.link(Path::new(ROOT).join(link), target)?;
        }
        etc::copy(machine, &entries, &draft)?;
        mask(&draft)?;
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

/// An opaque directory in an upper layer hides the one below: `/usr/local/etc`, where people keep
/// the configuration, and secrets, of what they installed themselves.
fn mask(draft: &Draft) -> Result<(), StepError> {
    draft.directory(Path::new(MASK).join("local/etc"), 0o755)?;
    let path = draft.path(Path::new(MASK).join("local/etc"));
    rustix::fs::setxattr(
        &path,
        "trusted.overlay.opaque",
        b"y",
        rustix::fs::XattrFlags::empty(),
    )
    .map_err(|errno| StepError::new((Step::MakeSkeleton, path.display()), errno))
}
