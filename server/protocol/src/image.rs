//! Images that were imported: what is known of them, and what their makers want run.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::container::{
    AbsolutePath, Argument, EnvName, ImageName, Invalid, Owner, Signal, Timestamp, UserSpec,
};
use crate::id::ImportId;

/// A SHA-256 as images write it: `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// What it begins with. No image's name does.
    pub const PREFIX: &str = "sha256:";

    /// The digest that these bytes are.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{}{digits}", Self::PREFIX))
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hexadecimal digits.
    pub fn digits(&self) -> &str {
        &self.0[Self::PREFIX.len()..]
    }
}

impl FromStr for Digest {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.strip_prefix(Self::PREFIX).unwrap_or_default();
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() == 64 && digits.bytes().all(hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid(
                "a digest is \"sha256:\" and 64 hexadecimal digits in small letters",
            ))
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an image wants for its containers, where these ask for nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageConfig {
    /// What its command is handed to.
    pub entrypoint: Vec<Argument>,
    /// Its command.
    pub command: Vec<Argument>,
    /// Its variables.
    pub env: BTreeMap<EnvName, Argument>,
    /// Whom its command runs as.
    pub user: Option<UserSpec>,
    /// Where its command starts; made where it is not there.
    pub workdir: Option<AbsolutePath>,
    /// What asks its command to end.
    pub stop_signal: Option<Signal>,
    /// What its maker says of it. It is shown, and nothing is done by it: not by those of other
    /// engines' labels that name commands, hooks, devices or files either.
    pub labels: BTreeMap<String, String>,
    /// Labels that were too many or too long to be kept.
    pub labels_left_out: usize,
}

impl ImageConfig {
    /// The most labels that are kept of an image, those with the first names.
    pub const LABELS: usize = 64;

    /// Bytes that a label's name may have.
    const LABEL_NAME: usize = 255;

    /// Bytes of JSON that its labels have together, beside [`Self::JSON`].
    const LABELS_JSON: usize = 8 * 1024;

    /// Its words and variables together may be this long, so that a container of it can have some of
    /// its own ([`crate::container::ContainerSpec::WORDS`]).
    pub const WORDS: usize = 32 * 1024;

    /// And this long in JSON, where some characters take six bytes: every message about the image
    /// fits its limit then.
    const JSON: usize = 40 * 1024;

    /// Whether it is short enough.
    pub fn fits(&self) -> bool {
        let words = self.entrypoint.iter().chain(&self.command);
        let words: usize = words.map(|word| word.as_str().len() + 1).sum();
        let variables = self.env.iter();
        let variables: usize = variables
            .map(|(name, value)| name.as_str().len() + value.as_str().len() + 2)
            .sum();
        let json = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        let labels = labels_length(&self.labels);
        words + variables <= Self::WORDS
            && json.saturating_sub(labels) <= Self::JSON
            && labels <= Self::LABELS_JSON
            && self.labels.len() <= Self::LABELS
    }

    /// Keeps as many labels as fit, in the order of their names; none of them is worth an image.
    #[must_use]
    pub fn labelled(mut self, labels: BTreeMap<String, String>) -> Self {
        let mut length = 2;
        for (name, value) in labels {
            // Quotes, colon and comma among it.
            let one = labels_length(&BTreeMap::from([(&name, &value)]));
            let fits = !name.is_empty()
                && name.len() <= Self::LABEL_NAME
                && self.labels.len() < Self::LABELS
                && length + one <= Self::LABELS_JSON;
            if fits {
                length += one;
                self.labels.insert(name, value);
            } else {
                self.labels_left_out += 1;
            }
        }
        self
    }
}

fn labels_length<T: Serialize>(labels: &T) -> usize {
    serde_json::to_vec(labels).map_or(usize::MAX / 2, |json| json.len())
}

/// One of an image's layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Of its tar, uncompressed: what images call its diff id.
    pub digest: Digest,
    /// Bytes that it takes on the disk.
    pub size: u64,
    /// Files, directories and links in it.
    pub entries: u64,
}

/// An image that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredImage {
    /// The digest of its configuration, as other engines have it.
    pub id: Digest,
    /// Its names; none where they are another image's by now.
    pub names: Vec<ImageName>,
    /// What it wants.
    pub config: ImageConfig,
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// When its maker made it.
    pub created_at: Option<Timestamp>,
    /// When it was imported.
    pub imported_at: Timestamp,
    /// Who imported it.
    pub owner: Owner,
    /// What it came as.
    pub format: Format,
    /// Device nodes that were left out: containers have a `/dev` of their own.
    pub devices_left_out: u64,
}

impl StoredImage {
    /// The most layers that an image has here.
    pub const LAYERS: usize = 127;

    /// Checks what no single field can check, as it is read back from the disk.
    pub fn is_sound(&self) -> bool {
        (1..=Self::LAYERS).contains(&self.layers.len()) && self.config.fits()
    }
}

/// The most that is taken of one archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageBounds {
    /// Bytes that it has.
    pub archive: u64,
    /// Bytes that all its layers have, uncompressed.
    pub unpacked: u64,
    /// Files, directories and links in it.
    pub entries: u64,
}

impl Default for ImageBounds {
    fn default() -> Self {
        Self {
            archive: 8 << 30,
            unpacked: 16 << 30,
            entries: 500_000,
        }
    }
}

/// What an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A root file system.
    Rootfs,
    /// What `docker save` writes.
    DockerArchive,
    /// An OCI image layout.
    OciArchive,
}

impl Format {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Rootfs => "a root file system",
            Self::DockerArchive => "a docker-archive",
            Self::OciArchive => "an OCI image layout",
        }
    }
}

/// How far an import has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Importing {
    /// Which import.
    pub id: ImportId,
    /// The name that the image is to have, where one was given.
    pub name: Option<ImageName>,
    /// Who imports it.
    pub owner: Owner,
    /// What is being done.
    pub stage: ImportStage,
    /// Bytes of the archive that have been gone through.
    pub done: u64,
    /// Bytes of the archive.
    pub total: u64,
}

/// What an import is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportStage {
    /// Its archive is being sent.
    Receiving,
    /// What was compressed as a whole is being decompressed.
    Decompressing,
    /// Its layers are being unpacked.
    Unpacking,
    /// What was unpacked is being written to the disk for good.
    Storing,
    /// The image is there.
    Done,
    /// It came to nothing.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_too_long_for_a_message_does_not_fit() {
        let with = |word: &str| ImageConfig {
            command: vec![word.parse().expect("a word")],
            ..ImageConfig::default()
        };
        assert!(with(&"x".repeat(30_000)).fits());
        assert!(
            !with(&"\u{1}".repeat(30_000)).fits(),
            "180,000 bytes in JSON"
        );
        let mut much = with(&"x".repeat(30_000));
        much.entrypoint = much.command.clone();
        assert!(!much.fits());
    }

    #[test]
    fn of_labels_as_many_are_kept_as_fit_and_the_rest_is_counted() {
        let labels = |count: usize, length: usize| {
            let one = |n| (format!("label{n:04}"), "x".repeat(length));
            ImageConfig::default().labelled((0..count).map(one).collect())
        };
        let some = labels(3, 100);
        assert_eq!((some.labels.len(), some.labels_left_out), (3, 0));
        let many = labels(100, 1);
        assert_eq!((many.labels.len(), many.labels_left_out), (64, 36));
        let long = labels(4, 4000);
        assert_eq!((long.labels.len(), long.labels_left_out), (2, 2));
        let escaped = BTreeMap::from([("x".to_owned(), "\u{1}".repeat(2000))]);
        assert_eq!(ImageConfig::default().labelled(escaped).labels_left_out, 1);
        for all in [some, many, long] {
            assert!(all.fits());
        }
        let mut unsound = labels(1, 1);
        unsound.labels.insert("y".to_owned(), "y".repeat(9000));
        assert!(!unsound.fits(), "read back it is not believed");
    }

    #[test]
    fn a_digest_is_one_and_nothing_else() {
        let digest = Digest::from_bytes([0xab; 32]);
        assert_eq!(digest.digits(), "ab".repeat(32));
        assert_eq!(digest.as_str().parse::<Digest>(), Ok(digest));
        let long = format!("sha256:{}", "a".repeat(65));
        let traversal = format!("sha256:../{}", "a".repeat(61));
        for bad in ["", "sha256:", "sha256:AB", "sha512:ab", &long, &traversal] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
