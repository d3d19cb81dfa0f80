//! What an archive is, and taking it apart. Its content says so, never a name that it came with.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use porthole_protocol::container::Argument;
use porthole_protocol::image::{Digest, Format, ImageConfig, ImportStage, Layer};
use porthole_protocol::keeper::Failure;
use porthole_sys::packet::Packet;
use rustix::fs::{Mode, OFlags, fstat, openat};
use sha2::{Digest as _, Sha256};

use super::entries::{self, Kind};
use super::refusal::Refusal;
use super::source::{Compression, Digested, Section, decoded, unreadable};
use super::tree::{Budget, Tree};
use super::unpacker::{Job, say};
use super::{Imported, Progress, Said, Unpacked, layout, saved};
use crate::step::{Step, StepError};

/// The longest JSON document that is read out of an archive.
const DOCUMENT: u64 = 4 << 20;

/// Entries that are remembered of an archive: an image's has a few for each layer.
const REMEMBERED: usize = 4096;

/// Links that are followed from one entry to another.
const LINKS: usize = 8;

/// How often it is told how far it has come.
const PACE: Duration = Duration::from_millis(250);

/// What a root file system's containers run that ask for nothing: it has no configuration.
const SHELL: &str = "/bin/sh";

/// Takes the archive apart. The caller is confined, its root is the directory to unpack into.
pub(super) fn unpack(job: &Job<'_>, channel: &Packet) -> Result<Unpacked, Failure> {
    let read = Cell::new(0);
    let mut work = Work {
        job,
        told: Told {
            channel,
            read: &read,
            last: None,
            total: 0,
        },
        budget: Budget::new(job.bounds),
        made: 0,
    };
    Ok(work.run()?)
}

/// Tells how far it has come.
struct Told<'a> {
    channel: &'a Packet,
    read: &'a Cell<u64>,
    last: Option<Instant>,
    total: u64,
}

impl Told<'_> {
    fn tell(&mut self, stage: ImportStage) {
        if self.last.is_some_and(|last| last.elapsed() < PACE) {
            return;
        }
        self.last = Some(Instant::now());
        let progress = Progress {
            stage,
            done: self.read.get().min(self.total),
            total: self.total,
        };
        // Whoever does not hear it any more has ended this process.
        let _ = say(self.channel, &Said::Progress(progress));
    }
}

/// The work on one archive.
pub(super) struct Work<'a> {
    job: &'a Job<'a>,
    told: Told<'a>,
    budget: Budget,
    /// Layers that were unpacked.
    made: usize,
}

/// Something in the archive.
#[derive(Debug, Clone)]
enum Member {
    File {
        at: u64,
        size: u64,
    },
    /// To another place, from the archive's root.
    Link(Vec<u8>),
}

/// The archive's entries by their names.
pub(super) struct Index<'f> {
    file: BorrowedFd<'f>,
    members: BTreeMap<Vec<u8>, Member>,
}

/// An image as its archive describes it.
pub(super) struct Described<'f> {
    pub(super) format: Format,
    pub(super) name: Option<porthole_protocol::container::ImageName>,
    /// The configuration's digest and text.
    pub(super) id: Digest,
    pub(super) config: super::config::Read,
    /// Lowest first: what it is called, where it is, and its digest as it is there.
    pub(super) layers: Vec<(String, Section<'f>, Option<Digest>)>,
}

impl<'a> Work<'a> {
    fn run(&mut self) -> Result<Unpacked, Refusal> {
        let file = self.job.archive;
        let size = fstat(file)
            .map_err(|errno| Refusal::Unreadable(errno.into()))?
            .st_size
            .cast_unsigned();
        if size == 0 {
            return Err(Refusal::Empty);
        }
        self.told.total = size;
        let whole = Section::new(file, 0, size);
        if Compression::of(&whole)? == Compression::None {
            return self.take_apart(file, size);
        }
        // What is in an archive is found by its place, which only one that is not compressed has.
        let (plain, size) = self.decompress(whole)?;
        self.told.total = size;
        self.take_apart(plain.as_fd(), size)
    }

    /// Decompresses the whole archive into a file without a name.
    fn decompress(&mut self, whole: Section<'_>) -> Result<(OwnedFd, u64), Refusal> {
        let failed = |error: std::io::Error| {
            Refusal::Step(StepError::new(
                (Step::UnpackFile, "the decompressed archive"),
                error,
            ))
        };
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let plain = openat(self.job.into, ".", flags, Mode::from_bits_truncate(0o600))
            .map_err(|errno| failed(errno.into()))?;
        let mut plain = File::from(plain);
        let read = Cell::new(0);
        let mut decoder = decoded(whole.counted(&read))?;
        let mut piece = vec![0; 256 * 1024];
        let mut size = 0;
        loop {
            let more = decoder.read(&mut piece).map_err(unreadable)?;
            if more == 0 {
                break;
            }
            size += more as u64;
            if size > self.job.bounds.unpacked {
                return Err(Refusal::TooLarge(self.job.bounds.unpacked));
            }
            plain.write_all(&piece[..more]).map_err(failed)?;
            self.told.read.set(read.get());
            self.told.tell(ImportStage::Decompressing);
        }
        Ok((plain.into(), size))
    }

    fn take_apart(&mut self, file: BorrowedFd<'_>, size: u64) -> Result<Unpacked, Refusal> {
        let (index, digest) = self.index(file, size)?;
        let described = if index.has("oci-layout") && index.has("index.json") {
            layout::describe(&index, self.job.wanted)?
        } else if let Some(images) = saved::manifest(&index)? {
            saved::describe(&index, &images, self.job.wanted)?
        } else {
            return self.root_file_system(file, size, digest);
        };
        self.layers(described)
    }

    /// Looks through an archive, without unpacking anything.
    fn index<'f>(
        &mut self,
        file: BorrowedFd<'f>,
        size: u64,
    ) -> Result<(Index<'f>, Digest), Refusal> {
        self.told.read.set(0);
        let section = Section::new(file, 0, size);
        let mut reader = Digested::new(std::io::BufReader::with_capacity(256 * 1024, section));
        let mut members = BTreeMap::new();
        let told = &mut self.told;
        entries::each(&mut reader, self.job.bounds.entries, |item, _| {
            told.tell(ImportStage::Unpacking);
            let Some(path) = inside(&item.path, b"") else {
                return Ok(());
            };
            let member = match item.kind {
                Kind::File => Member::File {
                    at: item.at,
                    size: item.size,
                },
                Kind::Symlink => match inside(&item.link, parent(&path)) {
                    Some(target) => Member::Link(target),
                    None => return Ok(()),
                },
                Kind::Link => match inside(&item.link, b"") {
                    Some(target) => Member::Link(target),
                    None => return Ok(()),
                },
                _ => return Ok(()),
            };
            if members.len() < REMEMBERED {
                members.insert(path, member);
            }
            Ok(())
        })?;
        let digest = reader.finish().map_err(unreadable)?;
        Ok((Index { file, members }, digest))
    }

    /// A tar that describes no image is one layer.
    fn root_file_system(
        &mut self,
        file: BorrowedFd<'_>,
        size: u64,
        digest: Digest,
    ) -> Result<Unpacked, Refusal> {
        let section = Section::new(file, 0, size);
        let (layer, place) = self.layer(WHOLE, section, &digest)?;
        if layer.entries == 0 {
            return Err(Refusal::Empty);
        }
        let id = Sha256::digest(format!("{{\"rootfs\":\"{digest}\"}}"));
        let command = Argument::try_from(SHELL.to_owned());
        Ok(Unpacked {
            imported: Imported {
                id: Digest::from_bytes(id.into()),
                config: ImageConfig {
                    command: command.into_iter().collect(),
                    ..ImageConfig::default()
                },
                layers: vec![layer],
                created_at: None,
                format: Format::Rootfs,
                name: None,
                devices_left_out: self.budget.devices,
            },
            places: vec![place],
        })
    }

    fn layers(&mut self, image: Described<'_>) -> Result<Unpacked, Refusal> {
        let diff_ids = &image.config.diff_ids;
        if diff_ids.len() != image.layers.len() {
            return Err(Refusal::LayerCount(diff_ids.len(), image.layers.len()));
        }
        self.told.read.set(0);
        self.told.total = image
            .layers
            .iter()
            .map(|(_, section, _)| section.length())
            .sum();
        let mut layers: Vec<Layer> = Vec::new();
        let mut places = Vec::new();
        for ((name, section, digest), diff_id) in image.layers.into_iter().zip(diff_ids) {
            // Of two that are the same one is unpacked.
            if let Some(same) = layers.iter().find(|layer| layer.digest == *diff_id) {
                layers.push(same.clone());
                places.push(None);
                continue;
            }
            if let Some(expected) = digest.filter(|_| !self.job.known.contains_key(diff_id)) {
                verify(&name, section, &expected)?;
            }
            let (layer, place) = self.layer(&name, section, diff_id)?;
            layers.push(layer);
            places.push(place);
        }
        Ok(Unpacked {
            imported: Imported {
                id: image.id,
                config: image.config.config,
                layers,
                created_at: image.config.created_at,
                format: image.format,
                name: image.name,
                devices_left_out: self.budget.devices,
            },
            places,
        })
    }

    /// Unpacks a layer, unless it is there already, and makes sure that it is what it is said to be.
    fn layer(
        &mut self,
        name: &str,
        section: Section<'_>,
        expected: &Digest,
    ) -> Result<(Layer, Option<usize>), Refusal> {
        if let Some(known) = self.job.known.get(expected) {
            let read = &self.told.read;
            read.set(read.get() + section.length());
            return Ok((known.clone(), None));
        }
        let number = self.made;
        self.made += 1;
        let mut tree = Tree::make(self.job.into, &number.to_string())?;
        let read = Cell::new(0);
        let before = self.told.read.get();
        let mut reader = Digested::new(decoded(section.counted(&read))?);
        let (told, budget) = (&mut self.told, &mut self.budget);
        entries::each(&mut reader, self.job.bounds.entries, |item, data| {
            told.read.set(before + read.get());
            told.tell(ImportStage::Unpacking);
            tree.put(item, data, budget)
        })
        .or_else(|refusal| match refusal {
            // An image may have a layer in which nothing is.
            Refusal::Empty if name != WHOLE => Ok(()),
            refusal => Err(refusal),
        })?;
        let found = reader.finish().map_err(unreadable)?;
        if found != *expected {
            return Err(Refusal::Digest {
                what: name.to_owned(),
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
        let layer = Layer {
            digest: found,
            size: tree.size,
            entries: tree.entries,
        };
        tree.finish()?;
        Ok((layer, Some(number)))
    }
}

/// What a root file system's only layer is called.
const WHOLE: &str = "the archive";

fn verify(name: &str, section: Section<'_>, expected: &Digest) -> Result<(), Refusal> {
    let found = Digested::new(section).finish().map_err(unreadable)?;
    if found == *expected {
        return Ok(());
    }
    Err(Refusal::Digest {
        what: name.to_owned(),
        expected: expected.to_string(),
        found: found.to_string(),
    })
}

fn parent(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => &path[..at],
        None => b"",
    }
}

/// A name in the archive, from its root, worked out by its letters alone; `None` where it leads out.
pub(super) fn inside(path: &[u8], from: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let from = if path.starts_with(b"/") { b"" } else { from };
    for part in from.split(|b| *b == b'/').chain(path.split(|b| *b == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

impl<'f> Index<'f> {
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Where a file is.
    pub(super) fn find(&self, name: &str) -> Option<Section<'f>> {
        let mut path = inside(name.as_bytes(), b"")?;
        for _ in 0..LINKS {
            match self.members.get(&path)? {
                Member::File { at, size } => return Some(Section::new(self.file, *at, *size)),
                Member::Link(target) => path.clone_from(target),
            }
        }
        None
    }

    pub(super) fn get(&self, name: &str) -> Result<Section<'f>, Refusal> {
        self.find(name)
            .ok_or_else(|| Refusal::Missing(name.to_owned()))
    }

    /// A whole file that is short.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>, Refusal> {
        let mut section = self.get(name)?;
        if section.length() > DOCUMENT {
            return Err(Refusal::LongDocument(name.to_owned(), DOCUMENT));
        }
        let mut text = Vec::new();
        section.read_to_end(&mut text).map_err(unreadable)?;
        Ok(text)
    }
}

/// The digest of a document.
pub(super) fn digest_of(text: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(text).into())
}

/// Makes sure that a document is what its digest says.
pub(super) fn check_document(name: &str, text: &[u8], expected: &Digest) -> Result<(), Refusal> {
    let found = digest_of(text);
    if found == *expected {
        return Ok(());
    }
    Err(Refusal::Digest {
        what: name.to_owned(),
        expected: expected.to_string(),
        found: found.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_between_entries_are_worked_out_by_their_letters() {
        let at = |path: &str, from: &str| {
            inside(path.as_bytes(), from.as_bytes())
                .map(|path| String::from_utf8(path).expect("text"))
        };
        assert_eq!(at("./a/b", "").as_deref(), Some("a/b"));
        assert_eq!(at("../b/layer.tar", "a").as_deref(), Some("b/layer.tar"));
        assert_eq!(at("/b", "a").as_deref(), Some("b"));
        assert_eq!(at("../../etc/passwd", "a"), None);
        assert_eq!(parent(b"a/layer.tar"), b"a");
    }
}
