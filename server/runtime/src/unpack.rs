//! An archive becomes an image: unpacked by a process that can reach nothing but the directory that
//! it unpacks into.
//!
//! ```text
//! importer            root; reads nothing of the archive
//!   makes a group, a directory, the unpacker ─┐
//!   maps its ids, clones the directory's      │ unpacker: user, mount, network, PID … namespaces of
//!   mount with them ───────── go ───────────> │ its own; its root is the directory; no privilege, a
//!   <──────────────── how far it has come ─── │ system call filter, limits; decompresses, verifies,
//!   <────────── what is in the archive ────── ┘ unpacks each layer into a directory of its own
//!   writes all to the disk, moves each layer to where its digest says
//! ```
//! Nothing is an image's before its layers are verified: until then they lie in
//! `<images>/staging/<key>`, which is deleted whatever happens, and at the latest by
//! [`clear_staging`].
//!
//! Layers belong to the machine's ids 0 to 65,535 on the disk, as if unpacked by its root, so that a
//! container's id-mapped mount makes them its own. The unpacker's ids are mapped there and back in
//! the same way.

mod archive;
mod attributes;
mod config;
mod confine;
mod entries;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod layout;
mod refusal;
mod saved;
mod source;
mod store;
mod tree;
mod unpacker;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use porthole_protocol::container::{IdRange, ImageName, Limits, Timestamp};
use porthole_protocol::id::{ContainerId, HostPid};
use porthole_protocol::image::{Digest, Format, ImageBounds, ImageConfig, ImportStage, Layer};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::trace::Actor;
use porthole_sys::mount::{Attributes, set_attributes};
use porthole_sys::packet::Packet;
use porthole_sys::process::{Child, Clone, SingleThreaded};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use serde::{Deserialize, Serialize};

use crate::cgroup::Entrance;
use crate::recorder::Recorder;
use crate::step::{Step, StepError};
use crate::{Cgroups, launch, wire};

pub(crate) use store::tree_of;
pub use store::{clear_staging, sweep};

/// An archive that is to be imported.
#[derive(Debug)]
pub struct Import<'a> {
    /// The archive: a regular file, read by position.
    pub archive: BorrowedFd<'a>,
    /// `ROOT/keeper/images`.
    pub directory: &'a Path,
    /// Unique among imports: names its directory and its control group.
    pub key: &'a ContainerId,
    /// A block of ids that nobody else has.
    pub ids: IdRange,
    /// Layers that are there already.
    pub known: &'a BTreeMap<Digest, Layer>,
    /// The name that was asked for: chooses among several images in one archive.
    pub wanted: Option<&'a ImageName>,
    /// The most that is taken.
    pub bounds: ImageBounds,
    /// The instance's groups.
    pub cgroups: &'a Cgroups,
}

/// What an archive held; its layers are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The digest of the image's configuration.
    pub id: Digest,
    /// What the image wants.
    pub config: ImageConfig,
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// When its maker made it.
    pub created_at: Option<Timestamp>,
    /// What it came as.
    pub format: Format,
    /// What the archive calls it.
    pub name: Option<ImageName>,
    /// Device nodes that were left out.
    pub devices_left_out: u64,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub stage: ImportStage,
    /// Bytes of the archive that have been gone through.
    pub done: u64,
    /// Bytes of the archive.
    pub total: u64,
}

/// What the unpacker says.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    /// It waits for its directory.
    Waiting,
    Progress(Progress),
    Finished(Box<Unpacked>),
    Failed(Box<Failure>),
}

/// What the unpacker has made.
#[derive(Debug, Serialize, Deserialize)]
struct Unpacked {
    imported: Imported,
    /// For each layer, lowest first, the number of the directory that it was unpacked into; `None`
    /// for those that were known.
    places: Vec<Option<usize>>,
}

/// Memory of an unpacker: the largest dictionaries that are taken need a quarter of it.
const MEMORY: u64 = 512 << 20;

/// How long it may say nothing.
const SILENCE: Duration = Duration::from_secs(600);

/// How long it may take.
const DEADLINE: Duration = Duration::from_secs(3600);

/// A message of the unpacker's is shorter: a configuration is bounded.
const SAID_LIMIT: usize = 256 * 1024;

/// `CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWNET`. Of processes it sees none, having no
/// `/proc`, and signals none, by its filter; with a PID namespace it would look like a container.
const NAMESPACES: u64 =
    0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x4000_0000;

/// Imports an archive. Called in a process of its own, which has one thread and is root.
///
/// What cannot be used is refused in words ([`FailureCode::Invalid`], field `archive`), and nothing
/// of it stays.
pub fn import(import: &Import<'_>, mut tell: impl FnMut(Progress)) -> Result<Imported, Failure> {
    let staging = store::Staging::make(import.directory, import.key)?;
    let group = Group::make(import.cgroups, import.key)?;
    let unpacked = unpack(import, &staging, &group, &mut tell)?;
    drop(group);
    let size = rustix::fs::fstat(import.archive).map_or(0, |status| status.st_size.cast_unsigned());
    tell(Progress {
        stage: ImportStage::Storing,
        done: size,
        total: size,
    });
    staging.publish(&unpacked)?;
    Ok(unpacked.imported)
}

/// The unpacker's control groups.
struct Group<'a> {
    cgroups: &'a Cgroups,
    key: &'a ContainerId,
    entrance: Entrance,
}

impl<'a> Group<'a> {
    fn make(cgroups: &'a Cgroups, key: &'a ContainerId) -> Result<Self, Failure> {
        let limits = Limits {
            memory: Some(MEMORY),
            swap: Some(0),
            cpus: Some(1.0),
            pids: Some(4),
        };
        cgroups.create(key, &limits)?;
        match cgroups.entrance(key, None) {
            Ok(entrance) => Ok(Self {
                cgroups,
                key,
                entrance,
            }),
            Err(error) => {
                let _ = cgroups.remove(key);
                Err(error.into())
            }
        }
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        // What stays is removed with the staging directory of its name.
        let _ = self.cgroups.remove(self.key);
    }
}

fn unpack(
    import: &Import<'_>,
    staging: &store::Staging,
    group: &Group<'_>,
    tell: &mut impl FnMut(Progress),
) -> Result<Unpacked, Failure> {
    let mut trace = Recorder::new(Actor::Monitor);
    let alone = SingleThreaded::verify().map_err(|e| StepError::new(Step::CountThreads, e))?;
    let (ours, theirs) =
        Packet::pair(false).map_err(|error| StepError::new(Step::MakeChannel, error))?;
    let job = unpacker::Job {
        archive: import.archive,
        known: import.known,
        wanted: import.wanted,
        bounds: import.bounds,
        // Its root directory, once it has changed that.
        into: rustix::fs::CWD,
    };
    let how = Clone {
        namespaces: NAMESPACES,
        cgroup: Some(group.entrance.unified.as_fd()),
        ..Clone::default()
    };
    let child = porthole_sys::process::clone(alone, &how, |forked| {
        unpacker::run(&job, &group.entrance, &forked, &theirs)
    })
    .map_err(|error| StepError::new(Step::Clone, error))?;
    drop(theirs);
    let answer = converse(import, staging.inside(), &child, &ours, &mut trace, tell);
    if matches!(answer, Err(None)) {
        // It is ending; what has ended it is known once it has.
        let patience = rustix::event::Timespec {
            tv_sec: 5,
            tv_nsec: 0,
        };
        let mut ended = [PollFd::new(&child.pidfd, PollFlags::IN)];
        let _ = rustix::event::poll(&mut ended, Some(&patience));
    }
    let signal = launch::end(&child);
    answer.map_err(|failure| match (failure, signal) {
        (Some(failure), _) => failure,
        (None, Some(SIGKILL | SIGABRT)) => refusal::too_hungry(),
        (None, _) => refusal::vanished(),
    })
}

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// The importer's side of the conversation. `None`: the unpacker has ended without a word.
fn converse(
    import: &Import<'_>,
    inside: &Path,
    child: &Child,
    channel: &Packet,
    trace: &mut Recorder,
    tell: &mut impl FnMut(Progress),
) -> Result<Unpacked, Option<Failure>> {
    let until = Instant::now() + DEADLINE;
    launch::map_ids(HostPid(child.pid), import.ids, trace).map_err(|e| Some(e.into()))?;
    let mount = mapped(inside, HostPid(child.pid)).map_err(|e| Some(e.into()))?;
    let mut given = false;
    loop {
        let patience = until.min(Instant::now() + SILENCE);
        wire::await_message(channel, patience).map_err(|_| Some(refusal::late()))?;
        let broken = |what: String| Some(refusal::broken(&what));
        let Some((bytes, _)) = channel
            .receive(SAID_LIMIT)
            .map_err(|error| broken(error.to_string()))?
        else {
            return Err(None);
        };
        let said = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        match said {
            Said::Waiting if !given => {
                given = true;
                wire::go(channel, &[mount.as_fd()]).map_err(|e| Some(e.into()))?;
            }
            Said::Progress(progress) => tell(progress),
            Said::Finished(unpacked) => return Ok(*unpacked),
            Said::Failed(failure) => return Err(Some(*failure)),
            Said::Waiting => return Err(broken("it waits twice".to_owned())),
        }
    }
}

/// The directory's mount with the unpacker's ids: what it writes as its root is the machine's root's
/// on the disk.
fn mapped(directory: &Path, pid: HostPid) -> Result<OwnedFd, StepError> {
    let path = format!("/proc/{pid}/ns/user");
    let users = rustix::fs::open(
        path.as_str(),
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(|errno| StepError::new((Step::OpenUserNamespace, path), errno))?;
    let mount = open_tree(
        CWD,
        directory,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
    .map_err(|errno| StepError::new((Step::CloneLayer, directory.display()), errno))?;
    let quiet = rustix::mount::MountAttrFlags::MOUNT_ATTR_NOSUID
        | rustix::mount::MountAttrFlags::MOUNT_ATTR_NODEV
        | rustix::mount::MountAttrFlags::MOUNT_ATTR_NOEXEC;
    set_attributes(
        &mount,
        &Attributes {
            set: u64::from(quiet.bits()),
            idmap: Some(users.as_fd()),
            ..Attributes::default()
        },
    )
    .map_err(|error| StepError::new((Step::MapLayer, directory.display()), error))?;
    Ok(mount)
}

/// A failure about the archive.
fn unusable(message: impl Into<String>) -> Failure {
    Failure::new(FailureCode::Invalid, message)
        .field("archive")
        .stage(Stage::Image)
}

/// Where an import's directory is.
fn staging_of(images: &Path, key: &ContainerId) -> PathBuf {
    images.join("staging").join(key.as_str())
}
