//! The image `busybox`: one static program under three hundred names.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::skeleton::{Digest, Draft, ROOT};
use super::{Answer, Unavailable};
use crate::program::is_static;
use crate::step::{Step, StepError};

/// Where Debian's busybox-static puts it.
pub(super) const PROGRAMS: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];

/// Makes the layers, or finds them made; their name.
pub(super) fn make(directory: &Path, programs: &[&str]) -> Answer {
    let Some(program) = programs.iter().find(|path| is_static(path)) else {
        return Err(Unavailable(
            "There is no static busybox on this machine: install the package busybox-static (apt-get install busybox-static) and restart Porthole."
                .to_owned(),
        ));
    };
    let failed = |error| StepError::new((Step::ReadSkeletonSource, program), error);
    let status = fs::metadata(program).map_err(failed)?;
    let mut digest = Digest::new();
    digest.add((status.size(), status.mtime(), status.mtime_nsec()));
    let name = digest.name("busybox");
    if let Some(draft) = Draft::begin(directory, &name)? {
        draft.base("/bin/sh")?;
        let root = Path::new(ROOT);
        for place in ["bin", "sbin", "usr/bin", "usr/sbin"] {
            draft.directory(root.join(place), 0o755)?;
        }
        draft.file(
            root.join("bin/busybox"),
            0o755,
            fs::read(program).map_err(failed)?,
        )?;
        for applet in applets(program)? {
            let place = root.join(&applet);
            if draft.path(&place).symlink_metadata().is_err() {
                draft.link(place, "/bin/busybox")?;
            }
        }
        draft.file(root.join("etc/profile"), 0o644, PROFILE)?;
        draft.publish(&name)?;
    }
    Ok(name)
}

/// Paths of its applets, relative to the root directory.
fn applets(program: &str) -> Result<Vec<String>, StepError> {
    let failed = |error| StepError::new((Step::ListApplets, program), error);
    let output = Command::new(program)
        .arg("--list-full")
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .filter(|line| {
            let mut parts = line.rsplitn(2, '/');
            let (name, place) = (parts.next(), parts.next());
            name.is_some_and(|name| !name.is_empty() && name != "busybox")
                && place.is_some_and(|p| ["bin", "sbin", "usr/bin", "usr/sbin"].contains(&p))
        })
        .map(str::to_owned)
        .collect())
}

const PROFILE: &str = "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
    export PS1='\\u@\\h:\\w\\$ '\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_static_program_will_do() {
        let directory = tempfile::tempdir().expect("directory");
        let answer = make(directory.path(), &["/no/such", "/usr/bin/env"]);
        let Err(Unavailable(why)) = answer else {
            panic!("env is no static program");
        };
        assert!(why.contains("apt-get install busybox-static"), "{why}");
    }
}
