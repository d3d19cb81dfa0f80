//! Why an archive is not taken, in words for whoever sent it.

use std::fmt;
use std::io;

use porthole_protocol::keeper::{Failure, FailureCode, Stage};

use super::unusable;
use crate::step::StepError;

/// A name out of an archive, as far as people can read it.
#[derive(Debug, Clone)]
pub(super) struct Name(Vec<u8>);

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_owned())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 120;
        let text = String::from_utf8_lossy(&self.0);
        let mut shown: String = text.chars().take(SHOWN).collect();
        if text.chars().count() > SHOWN {
            shown.push('…');
        }
        // Escaped, so that no control character reaches a terminal.
        write!(f, "{shown:?}")
    }
}

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("it ends in the middle: it was cut off on its way, or is not whole")]
    Truncated,
    #[error("it holds no file at all")]
    Empty,
    #[error("it is neither a tar nor compressed by gzip, zstd or xz{0}")]
    Unknown(&'static str),
    #[error("{0} leads out of the image")]
    LeavesRoot(Name),
    #[error("{0} lies below a symbolic link, or below something that is no directory")]
    BelowLink(Name),
    #[error("{0} is no name for a file")]
    BadName(Name),
    #[error(
        "{0} is a hard link to {1}, which is no file that was unpacked before it in the same layer"
    )]
    LinkOut(Name, Name),
    #[error("{0} takes the place of a directory that has something in it")]
    OverDirectory(Name),
    #[error("{0} belongs to {1}; users and groups have numbers from 0 to 65535 here")]
    Owner(Name, u64),
    #[error("{0} says in two places how long it is, and not the same")]
    TwoSizes(Name),
    #[error("{0} is stored sparse, which is not read: make the archive without --sparse")]
    Sparse(Name),
    #[error("{0} is of a kind ({1:?}) that is not known")]
    Kind(Name, char),
    #[error("the description of {0} is longer than {limit} bytes", limit = super::entries::HEADER_LIMIT)]
    LongHeader(Name),
    #[error("the description of {0} cannot be understood")]
    BadHeader(Name),
    #[error("it holds more than {0} files, directories and links")]
    TooMany(u64),
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    #[error(
        "it unpacks to more than {0} times its size, as only archives do that are made to fill disks"
    )]
    Bomb(u64),
    #[error(
        "{what} has the digest {found} and not {expected}: it was damaged, or is not what it says"
    )]
    Digest {
        what: String,
        expected: String,
        found: String,
    },
    #[error("{0} is not in it")]
    Missing(String),
    #[error("{0} is longer than {1} bytes")]
    LongDocument(String, u64),
    #[error("{0} cannot be understood: {1}")]
    BadDocument(String, String),
    #[error("{0} is of the type {1:?}, which is not known")]
    MediaType(String, String),
    #[error("it is for {0}, this machine is {1}")]
    Platform(String, String),
    #[error("it holds several images ({0}): give the name of one of them")]
    Several(String),
    #[error("it has {0} layers; an image has between 1 and {most} here", most = porthole_protocol::image::StoredImage::LAYERS)]
    Layers(usize),
    #[error("its configuration names {0} layers, and it holds {1}")]
    LayerCount(usize, usize),
    #[error("its configuration says for {0}: {1}")]
    Config(&'static str, String),
    #[error("{0}")]
    Step(#[from] StepError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            // The machine's fault, not the archive's.
            Refusal::Step(error) => {
                let mut failure = Self::from(error);
                failure.message = format!("The image could not be unpacked: {}", failure.message);
                failure.stage(Stage::Image)
            }
            refusal => {
                let why = shown(&refusal.to_string());
                unusable(format!("The archive is no image that can be used: {why}."))
            }
        }
    }
}

/// What an archive says of itself, as far as it fits a message and harms no terminal.
fn shown(text: &str) -> String {
    const SHOWN: usize = 600;
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}

pub(super) fn too_hungry() -> Failure {
    unusable(format!(
        "The archive is no image that can be used: unpacking it takes more than {} MiB of memory.",
        super::MEMORY >> 20
    ))
}

pub(super) fn late() -> Failure {
    Failure::new(
        FailureCode::Late,
        format!(
            "Unpacking the archive took longer than {} minutes, or came to a stand. Try again when the machine is less busy.",
            super::DEADLINE.as_secs() / 60
        ),
    )
    .stage(Stage::Image)
}

pub(super) fn vanished() -> Failure {
    Failure::new(
        FailureCode::Internal,
        "the process that was unpacking the archive ended without a word; try again",
    )
    .stage(Stage::Image)
}

pub(super) fn broken(what: &str) -> Failure {
    Failure::new(
        FailureCode::Internal,
        format!("the process that was unpacking the archive answered badly: {what}"),
    )
    .stage(Stage::Image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_archive_says_is_short_and_harms_no_terminal() {
        let long = format!("\u{1b}[31m{}", "x".repeat(1 << 20));
        let failure = Failure::from(Refusal::Several(long));
        assert!(failure.message.len() < 4096);
        assert!(!failure.message.contains('\u{1b}'));
        assert!(failure.message.contains("several images"));
    }
}
