//! An OCI image layout in a tar: umoci's, skopeo's, buildah's `oci-archive`, Docker's since 25.

use std::collections::BTreeMap;

use porthole_protocol::container::ImageName;
use porthole_protocol::image::{Digest, Format, StoredImage};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::archive::{Described, Index, check_document};
use super::config;
use super::refusal::Refusal;

/// Indexes in indexes that are followed.
const DEPTH: usize = 3;

/// What an image is called in an index.
const NAME: &str = "org.opencontainers.image.ref.name";
/// What containerd and Docker call it, with its repository.
const WHOLE_NAME: &str = "io.containerd.image.name";

const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];
/// How a layer is compressed is seen by its first bytes.
const LAYERS: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutFile {
    image_layout_version: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

#[derive(Debug, Deserialize)]
struct ImageIndex {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

pub(super) fn describe<'f>(
    index: &Index<'f>,
    wanted: Option<&ImageName>,
) -> Result<Described<'f>, Refusal> {
    let layout: LayoutFile = parse("oci-layout", &index.document("oci-layout")?)?;
    if !layout.image_layout_version.starts_with("1.") {
        let version = layout.image_layout_version;
        return Err(Refusal::MediaType("oci-layout".to_owned(), version));
    }
    let all: ImageIndex = parse("index.json", &index.document("index.json")?)?;
    let mut chosen = choose("index.json", &all, wanted)?;
    let name = chosen
        .annotations
        .get(WHOLE_NAME)
        .or_else(|| chosen.annotations.get(NAME))
        // A bare tag says nothing of what it is a tag of.
        .filter(|name| name.contains([':', '/']))
        .and_then(|name| name.parse().ok());
    for _ in 0..DEPTH {
        if !INDEXES.contains(&chosen.media_type.as_str()) {
            break;
        }
        let inner: ImageIndex = parse(&chosen.digest, &blob(index, &chosen)?)?;
        chosen = choose(&chosen.digest, &inner, None)?;
    }
    expect(&chosen, &MANIFESTS)?;
    let manifest: Manifest = parse(&chosen.digest, &blob(index, &chosen)?)?;
    expect(&manifest.config, &CONFIGS)?;
    let text = blob(index, &manifest.config)?;
    if !(1..=StoredImage::LAYERS).contains(&manifest.layers.len()) {
        return Err(Refusal::Layers(manifest.layers.len()));
    }
    let layers = manifest
        .layers
        .iter()
        .map(|layer| {
            expect(layer, &LAYERS)?;
            let (path, digest) = path_of(layer)?;
            Ok((path.clone(), index.get(&path)?, Some(digest)))
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    Ok(Described {
        format: Format::OciArchive,
        name,
        id: path_of(&manifest.config)?.1,
        config: config::read(&manifest.config.digest, &text)?,
        layers,
    })
}

/// The one image that is meant: for this machine, and of the wanted name where there are more.
fn choose(
    place: &str,
    index: &ImageIndex,
    wanted: Option<&ImageName>,
) -> Result<Descriptor, Refusal> {
    let fits = |descriptor: &&Descriptor| match &descriptor.platform {
        Some(platform) => config::check_platform(&platform.os, &platform.architecture).is_ok(),
        None => true,
    };
    let fitting: Vec<&Descriptor> = index.manifests.iter().filter(fits).collect();
    if let [only] = fitting[..] {
        return Ok(only.clone());
    }
    if fitting.is_empty() {
        let Some(platform) = index.manifests.iter().find_map(|d| d.platform.as_ref()) else {
            return Err(Refusal::Missing(format!("an image that {place} names")));
        };
        config::check_platform(&platform.os, &platform.architecture)?;
    }
    let names = |descriptor: &Descriptor| -> Vec<String> {
        [WHOLE_NAME, NAME]
            .iter()
            .filter_map(|key| descriptor.annotations.get(*key).cloned())
            .collect()
    };
    let is_wanted = |descriptor: &&&Descriptor| {
        let Some(wanted) = wanted.map(ImageName::as_str) else {
            return false;
        };
        let tag = wanted.rsplit(':').next();
        let named = names(descriptor);
        named
            .iter()
            .any(|name| name == wanted || Some(name.as_str()) == tag)
    };
    match fitting.iter().find(is_wanted) {
        Some(found) => Ok((*found).clone()),
        None => {
            let all: Vec<String> = fitting.iter().flat_map(|d| names(d)).collect();
            Err(Refusal::Several(all.join(", ")))
        }
    }
}

fn expect(descriptor: &Descriptor, types: &[&str]) -> Result<(), Refusal> {
    if types.contains(&descriptor.media_type.as_str()) {
        return Ok(());
    }
    let (digest, kind) = (&descriptor.digest, &descriptor.media_type);
    Err(Refusal::MediaType(digest.clone(), kind.clone()))
}

fn path_of(descriptor: &Descriptor) -> Result<(String, Digest), Refusal> {
    let digest: Digest = descriptor.digest.parse().map_err(|_| {
        let why = "only SHA-256 is read".to_owned();
        Refusal::BadDocument(format!("the digest {:?}", descriptor.digest), why)
    })?;
    Ok((format!("blobs/sha256/{}", digest.digits()), digest))
}

/// A document among the blobs, verified.
fn blob(index: &Index<'_>, descriptor: &Descriptor) -> Result<Vec<u8>, Refusal> {
    let (path, digest) = path_of(descriptor)?;
    let text = index.document(&path)?;
    check_document(&path, &text, &digest)?;
    Ok(text)
}

fn parse<T: DeserializeOwned>(name: &str, text: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(text)
        .map_err(|error| Refusal::BadDocument(name.to_owned(), error.to_string()))
}
