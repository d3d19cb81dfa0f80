//! Work on images, each in a child: importing takes minutes, and even writing a list down waits for
//! the disk.
//!
//! The keeper never reads an archive. An importer, root, has the confined unpacker do that
//! ([`porthole_runtime::unpack`]) and tells how far it has come.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use porthole_protocol::container::ImageName;
use porthole_protocol::id::{ContainerId, ImportId};
use porthole_protocol::image::{Digest, ImportStage, Importing, StoredImage};
use porthole_protocol::keeper::{Event, Failure, FailureCode, Reply, Stage};
use porthole_runtime::unpack::{self, Imported, Progress};
use porthole_sys::packet::Packet;
use porthole_sys::process::{Child, Clone, SingleThreaded};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use super::effects::fill_random;
use super::journals::is_plain_file;
use super::{Broker, Source};
use crate::ledger::{Import, Ticket, cancelled};
use crate::log::log;
use crate::monitor::{Ground, io_failure};
use crate::poll::READ;
use crate::store;

/// A word of a child's is shorter.
const WORD_LIMIT: usize = 256 * 1024;

/// What is going on.
#[derive(Debug, Default)]
pub(super) struct ImageWork {
    /// Archives that came with requests whose import has not begun.
    pub(super) archives: HashMap<Ticket, OwnedFd>,
    jobs: HashMap<u64, Job>,
}

/// A child at work.
#[derive(Debug)]
struct Job {
    errand: Errand,
    packet: Packet,
    /// It is reaped by its number; this keeps that from being another's.
    child: Child,
    /// Somebody has ended it: whatever it says, nothing comes of it.
    cancelled: bool,
}

#[derive(Debug)]
enum Errand {
    Import(Box<Import>),
    Save,
    Sweep,
}

/// What a child says.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Progress(Progress),
    Imported(Box<Imported>),
    Done,
    Failed(Box<Failure>),
}

impl Broker {
    /// Takes an archive that came with a request: a plain file of whoever sent it.
    pub(super) fn take_archive(
        &mut self,
        ticket: Ticket,
        archive: OwnedFd,
        owner: Option<u32>,
    ) -> Result<(), Failure> {
        if !is_plain_file(&archive, owner) || self.images.archives.contains_key(&ticket) {
            return Err(Failure::new(
                FailureCode::BadRequest,
                "an archive must be a regular file of the server's own on a disk, and its request have a number of its own",
            ));
        }
        self.images.archives.insert(ticket, archive);
        Ok(())
    }

    /// What earlier keepers have imported.
    pub(super) fn take_over_images(&mut self) {
        match store::read::<Vec<StoredImage>>(&self.index()) {
            Ok(images) => {
                let mut images = images.unwrap_or_default();
                images.retain(|image| {
                    let sound = image.is_sound();
                    if !sound {
                        log!(
                            "keeper",
                            "the record of the image {} is damaged: it is not used",
                            image.id
                        );
                    }
                    sound
                });
                let effects = self.ledger.stock(images);
                self.perform(effects);
            }
            Err(error) => log!(
                "keeper",
                "{}: {error}; no imported image can be used, and their layers are kept",
                self.index().display()
            ),
        }
    }

    fn index(&self) -> PathBuf {
        self.ground.images.directory().join("index.json")
    }

    pub(super) fn import_image(&mut self, import: Box<Import>) {
        if let Err(failure) = self.begin_import(&import) {
            let effects = self.ledger.imported(&import, Err(failure));
            self.queue.extend(effects);
        }
    }

    fn begin_import(&mut self, import: &Import) -> Result<(), Failure> {
        let archive = self.images.archives.remove(&import.ticket).ok_or_else(|| {
            Failure::new(
                FailureCode::BadRequest,
                "the archive did not come with the request",
            )
        })?;
        let ids = porthole_runtime::allocate_ids(&self.ledger.used_ids())?;
        let mut random = [0; 34];
        fill_random(&mut random)?;
        let digits: String = random[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let key: ContainerId = format!("import-{digits}")
            .parse()
            .map_err(|_| Failure::new(FailureCode::Internal, "no name for an import"))?;
        let bounds = self.policy.images;
        let import = import.clone();
        let errand = Errand::Import(Box::new(import.clone()));
        self.job(errand, Some(archive), move |ground, archive, packet| {
            let archive = archive.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
            let archive = archive.map_err(|error| io_failure(&error, "the archive"))?;
            let imported = unpack::import(
                &unpack::Import {
                    archive: archive.as_fd(),
                    directory: ground.images.directory(),
                    key: &key,
                    ids,
                    known: &import.known,
                    wanted: import.name.as_ref(),
                    bounds,
                    cgroups: &ground.cgroups,
                },
                |progress| {
                    say(packet, &Word::Progress(progress));
                },
            )?;
            Ok(Word::Imported(Box::new(imported)))
        })
        .map_err(|error| io_failure(&error, "no process can be started"))
    }

    /// Kills the child that makes an image; what it leaves is deleted with what nobody needs.
    pub(super) fn cancel_import(&mut self, id: &ImportId) {
        for job in self.images.jobs.values_mut() {
            if matches!(&job.errand, Errand::Import(import) if import.id == *id) {
                job.cancelled = true;
                // One that has just ended has said what came of it, which counts no more.
                let _ = porthole_sys::signals::send(&job.child.pidfd, 9);
            }
        }
    }

    pub(super) fn save_images(&mut self, images: Vec<StoredImage>) {
        let path = self.index();
        let begun = self.job(Errand::Save, None, move |_, _, _| {
            store::write(&path, &images)
                .map(|()| Word::Done)
                .map_err(|error| io_failure(&error, &format!("writing {} failed", path.display())))
        });
        if let Err(error) = begun {
            let failure = io_failure(&error, "no process can be started");
            let effects = self.ledger.images_saved(Err(failure));
            self.queue.extend(effects);
        }
    }

    pub(super) fn sweep_images(&mut self, kept: BTreeSet<Digest>) {
        let begun = self.job(Errand::Sweep, None, move |ground, _, _| {
            let images = ground.images.directory();
            unpack::clear_staging(images, &ground.cgroups)?;
            unpack::sweep(images, &kept)?;
            Ok(Word::Done)
        });
        if let Err(error) = begun {
            log!(
                "keeper",
                "layers that nothing needs cannot be deleted: {error}"
            );
            let effects = self.ledger.images_swept(false);
            self.queue.extend(effects);
        }
    }

    /// Forks a child that does this and says what came of it.
    fn job(
        &mut self,
        errand: Errand,
        archive: Option<OwnedFd>,
        body: impl FnOnce(&Ground, Option<&OwnedFd>, &Packet) -> Result<Word, Failure>,
    ) -> io::Result<()> {
        let alone = SingleThreaded::verify()?;
        let (packet, its) = Packet::pair(true)?;
        let keeper = rustix::process::getpid();
        let ground = &self.ground;
        let child = porthole_sys::process::clone(alone, &Clone::default(), |forked| {
            // The next keeper deletes what is half done, and must be alone with it.
            let _ = set_parent_process_death_signal(Some(Signal::KILL));
            if rustix::process::getppid() != Some(keeper) {
                porthole_sys::process::exit(1);
            }
            let mut kept = ground.cgroups.descriptors();
            kept.push(its.as_fd());
            kept.extend(archive.as_ref().map(AsFd::as_fd));
            let _ = forked.close_all_but(&kept);
            let _ = rustix::thread::set_name(c"porthole-images");
            let word = body(ground, archive.as_ref(), &its);
            let word = word.unwrap_or_else(|failure| Word::Failed(Box::new(failure)));
            // What came of it is waited for.
            let said = its.set_nonblocking(false).is_ok() && say(&its, &word);
            porthole_sys::process::exit(i32::from(!said))
        })?;
        let number = self.number(Source::Images(self.next_number + 1));
        self.poll.add(&packet, number, READ)?;
        let job = Job {
            errand,
            packet,
            child,
            cancelled: false,
        };
        self.images.jobs.insert(number, job);
        Ok(())
    }

    /// A child that works on images has said something.
    pub(super) fn hear_images(&mut self, number: u64) {
        let Some(job) = self.images.jobs.get(&number) else {
            return;
        };
        let word = match job.packet.receive(WORD_LIMIT) {
            Err(error) if error.is_would_block() => return,
            Ok(Some((bytes, _))) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                Word::Failed(Box::new(io_failure(&error.into(), "its word")))
            }),
            Ok(None) | Err(_) => Word::Failed(Box::new(Failure::new(
                FailureCode::Internal,
                "the process that worked on the image has ended; try again",
            ))),
        };
        if let Word::Progress(progress) = word {
            if let Errand::Import(import) = &job.errand {
                let event = Event::Importing(importing(import, progress));
                self.tell(&event);
            }
            return;
        }
        let Some(job) = self.images.jobs.remove(&number) else {
            return;
        };
        self.poll.remove(&job.packet);
        self.sources.remove(&number);
        let effects = match (job.errand, word) {
            (Errand::Import(import), _) if job.cancelled => {
                self.ledger.imported(&import, Err(cancelled()))
            }
            (Errand::Import(import), Word::Imported(imported)) => {
                let outcome = stored(*imported, &import);
                if outcome.is_ok() {
                    let last = Progress {
                        stage: ImportStage::Done,
                        done: 1,
                        total: 1,
                    };
                    self.tell(&Event::Importing(importing(&import, last)));
                }
                self.ledger.imported(&import, outcome)
            }
            (Errand::Import(import), word) => self.ledger.imported(&import, Err(failed(word))),
            (Errand::Save, Word::Done) => self.ledger.images_saved(Ok(())),
            (Errand::Save, word) => self.ledger.images_saved(Err(failed(word))),
            (Errand::Sweep, word) => {
                let swept = matches!(word, Word::Done);
                if let Word::Failed(failure) = word {
                    log!("keeper", "deleting layers that nothing needs: {failure}");
                }
                self.ledger.images_swept(swept)
            }
        };
        self.perform(effects);
    }

    /// An archive whose request was answered is needed no longer.
    pub(super) fn drop_archive(&mut self, ticket: Ticket, reply: &Reply) {
        if matches!(reply, Reply::Failed(_)) {
            self.images.archives.remove(&ticket);
        }
    }
}

fn say(packet: &Packet, word: &Word) -> bool {
    serde_json::to_vec(word).is_ok_and(|bytes| packet.send(&bytes, &[]).is_ok())
}

fn failed(word: Word) -> Failure {
    match word {
        Word::Failed(failure) => *failure,
        _ => Failure::new(FailureCode::Internal, "a child answered something else"),
    }
}

fn importing(import: &Import, progress: Progress) -> Importing {
    Importing {
        id: import.id.clone(),
        name: import.name.clone(),
        owner: import.owner.clone(),
        stage: progress.stage,
        done: progress.done,
        total: progress.total,
    }
}

/// An image as it is kept, without a name yet, and what its archive calls it. It came from a process
/// that has read a stranger's archive: what would not be believed when it is read back from the disk is
/// not believed now.
fn stored(
    imported: Imported,
    import: &Import,
) -> Result<(StoredImage, Option<ImageName>), Failure> {
    let image = StoredImage {
        id: imported.id,
        names: Vec::new(),
        config: imported.config,
        layers: imported.layers,
        created_at: imported.created_at,
        imported_at: crate::clock::wall(),
        owner: import.owner.clone(),
        format: imported.format,
        devices_left_out: imported.devices_left_out,
    };
    if !image.is_sound() {
        return Err(Failure::new(
            FailureCode::Invalid,
            "what the archive says of its image is too much: more layers, words or variables than an image may have here",
        )
        .stage(Stage::Image));
    }
    Ok((image, imported.name))
}

#[cfg(test)]
mod tests {
    use porthole_protocol::image::{Digest, Format, ImageConfig, Layer};

    use super::*;

    #[test]
    fn what_would_not_be_read_back_is_not_stored() {
        let import = Import {
            id: ImportId::from_bytes([1; 16]),
            ticket: Ticket {
                connection: 1,
                id: 1,
            },
            name: None,
            owner: "admin".parse().expect("an owner"),
            known: std::collections::BTreeMap::new(),
        };
        let layer = |number: usize| Layer {
            digest: Digest::from_bytes([u8::try_from(number % 256).expect("a byte"); 32]),
            size: 1,
            entries: 1,
        };
        let imported = |layers: usize, word: &str| Imported {
            id: Digest::from_bytes([9; 32]),
            config: ImageConfig {
                command: vec![word.parse().expect("a word")],
                ..ImageConfig::default()
            },
            layers: (0..layers).map(layer).collect(),
            created_at: None,
            format: Format::OciArchive,
            name: None,
            devices_left_out: 0,
        };
        assert!(stored(imported(1, "sh"), &import).is_ok(), "the control");
        assert!(stored(imported(StoredImage::LAYERS, "sh"), &import).is_ok());
        let long = "\u{1}".repeat(20_000);
        for bad in [
            imported(0, "sh"),
            imported(StoredImage::LAYERS + 1, "sh"),
            imported(1, &long),
        ] {
            let refused = stored(bad, &import).expect_err("it is unsound");
            assert_eq!(refused.code, FailureCode::Invalid);
        }
    }
}
