//! Images to be imported: archives made of busybox.

use std::fs;
use std::path::Path;

use anyhow::Context;
use porthole_tests::engines::busybox_root;
use serde_json::json;
use sha2::{Digest, Sha256};

/// A root file system as a tar.
pub(crate) fn plain() -> anyhow::Result<Vec<u8>> {
    let directory = tempfile::tempdir()?;
    busybox_root(directory.path()).context("busybox (apt-get install busybox-static)")?;
    packed(directory.path())
}

/// What `docker save` would write of an image with so many layers, the first of them busybox.
pub(crate) fn layered(name: &str, layers: usize) -> anyhow::Result<Vec<u8>> {
    let all = tempfile::tempdir()?;
    let (mut names, mut digests) = (Vec::new(), Vec::new());
    for number in 0..layers {
        let layer = if number == 0 {
            plain()?
        } else {
            let directory = tempfile::tempdir()?;
            fs::create_dir(directory.path().join("srv"))?;
            fs::write(
                directory.path().join(format!("srv/{number}")),
                "a layer's own\n",
            )?;
            packed(directory.path())?
        };
        let digits: String = Sha256::digest(&layer)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let name = format!("{number}.tar");
        fs::write(all.path().join(&name), layer)?;
        names.push(name);
        digests.push(format!("sha256:{digits}"));
    }
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": digests},
    });
    fs::write(all.path().join("config.json"), config.to_string())?;
    let tag = format!("{name}:latest");
    let manifest = json!([{"Config": "config.json", "RepoTags": [tag], "Layers": names}]);
    fs::write(all.path().join("manifest.json"), manifest.to_string())?;
    packed(all.path())
}

fn packed(directory: &Path) -> anyhow::Result<Vec<u8>> {
    let mut tape = tar::Builder::new(Vec::new());
    tape.follow_symlinks(false);
    tape.append_dir_all(".", directory)?;
    Ok(tape.into_inner()?)
}
