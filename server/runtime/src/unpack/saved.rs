//! What `docker save` writes, and buildah's, skopeo's and podman's `docker-archive`.

use porthole_protocol::container::ImageName;
use porthole_protocol::image::{Digest, Format};
use serde::Deserialize;

use super::archive::{Described, Index, check_document, digest_of};
use super::config;
use super::refusal::Refusal;

const MANIFEST: &str = "manifest.json";

/// One of its images.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Its images; `None` where the archive is of another kind. A root file system may have a file of
/// the same name.
pub(super) fn manifest(index: &Index<'_>) -> Result<Option<Vec<Saved>>, Refusal> {
    if !index.has(MANIFEST) {
        return Ok(None);
    }
    let images: Option<Vec<Saved>> = serde_json::from_slice(&index.document(MANIFEST)?).ok();
    Ok(images.filter(|images| !images.is_empty()))
}

pub(super) fn describe<'f>(
    index: &Index<'f>,
    images: &[Saved],
    wanted: Option<&ImageName>,
) -> Result<Described<'f>, Refusal> {
    let image = choose(images, wanted)?;
    let text = index.document(&image.config)?;
    // Docker names it by its digest; others need not.
    if let Some(digest) = digest_in(&image.config) {
        check_document(&image.config, &text, &digest)?;
    }
    let layers = image
        .layers
        .iter()
        .map(|name| {
            // Of a blob that is named by its digest, that of what is there, compressed or not.
            let digest = name
                .starts_with("blobs/")
                .then(|| digest_in(name))
                .flatten();
            Ok((name.clone(), index.get(name)?, digest))
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    let tags = image.repo_tags.iter().flatten();
    Ok(Described {
        format: Format::DockerArchive,
        name: tags.clone().find_map(|tag| tag.parse().ok()),
        id: digest_of(&text),
        config: config::read(&image.config, &text)?,
        layers,
    })
}

fn choose<'a>(images: &'a [Saved], wanted: Option<&ImageName>) -> Result<&'a Saved, Refusal> {
    if let [only] = images {
        return Ok(only);
    }
    let tags = |image: &'a Saved| image.repo_tags.iter().flatten();
    let named = wanted.and_then(|wanted| {
        images
            .iter()
            .find(|image| tags(image).any(|tag| tag == wanted.as_str()))
    });
    named.ok_or_else(|| {
        let all: Vec<&str> = images.iter().flat_map(tags).map(String::as_str).collect();
        Refusal::Several(all.join(", "))
    })
}

/// The digest that a file is called by.
fn digest_in(path: &str) -> Option<Digest> {
    let name = path.rsplit('/').next()?;
    let digits = name.strip_suffix(".json").unwrap_or(name);
    format!("{}{digits}", Digest::PREFIX).parse().ok()
}
