//! Who is attached to the bridge: one file each, locked by the container's monitor for as long as
//! that lives.
//!
//! The kernel gives a lock back with the process that holds it, so that an attachment whose monitor
//! was killed is told from one that lives without anybody remembering anything: whoever comes next
//! takes it away.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use porthole_protocol::container::{ContainerName, Owner, Publish};
use porthole_protocol::id::ContainerId;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What the bridge's other side has to know of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Which container.
    pub id: ContainerId,
    /// What the same owner's containers call it.
    pub name: ContainerName,
    /// What it calls itself.
    pub hostname: String,
    /// Whose it is.
    pub owner: Owner,
    /// Its number in the pool.
    pub number: u32,
    /// Ports of the machine that lead to it.
    pub publish: Vec<Publish>,
}

impl Attachment {
    /// The name of its port of the bridge. Interface names have at most 15 bytes.
    pub(super) fn port(&self) -> String {
        port_of(&self.id)
    }
}

pub(super) fn port_of(id: &ContainerId) -> String {
    format!("pv{}", id.short())
}

/// Everything that changes the bridge, its table or what is written of them holds this.
#[derive(Debug)]
pub(super) struct Lock(pub(super) File);

impl Lock {
    pub(super) fn take(directory: &Path) -> io::Result<Self> {
        let file = open(&directory.join("lock"))?;
        rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
        Ok(Self(file))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// An attachment that lives as long as this.
#[derive(Debug)]
pub(super) struct Entry {
    _locked: File,
}

impl Entry {
    /// Writes it down. What an earlier run left of it is gone before.
    pub(super) fn write(
        _lock: &Lock,
        directory: &Path,
        attachment: &Attachment,
    ) -> io::Result<Self> {
        let path = directory.join("ports").join(attachment.id.as_str());
        let _ = fs::remove_file(&path);
        let mut file = open(&path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.write_all(&serde_json::to_vec(attachment)?)?;
        Ok(Self { _locked: file })
    }
}

/// Everybody who is attached, and what was left by those that are gone.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) alive: Vec<Attachment>,
    pub(super) stale: Vec<Stale>,
}

/// What is left of a container whose monitor is gone.
#[derive(Debug)]
pub(super) struct Stale {
    pub(super) id: ContainerId,
    /// `None` where its monitor went before it was written.
    pub(super) number: Option<u32>,
}

/// Whether there is any trace of this container.
pub(super) fn is_there(directory: &Path, id: &ContainerId) -> bool {
    directory.join("ports").join(id.as_str()).exists()
}

pub(super) fn read(_lock: &Lock, directory: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    for entry in fs::read_dir(directory.join("ports"))? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let mut file = File::open(entry.path())?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Attachment>();
        let attachment = values.next().and_then(Result::ok);
        match (
            flock(&file, FlockOperation::NonBlockingLockShared),
            attachment,
        ) {
            (Err(Errno::WOULDBLOCK), Some(attachment)) => found.alive.push(attachment),
            (Err(Errno::WOULDBLOCK), None) => {}
            (Err(errno), _) => return Err(errno.into()),
            (Ok(()), attachment) => found.stale.push(Stale {
                id,
                number: attachment.map(|one| one.number),
            }),
        }
    }
    found.alive.sort_by_key(|one| one.number);
    Ok(found)
}

/// Writes down what has changed of one that lives: in the file that its monitor holds.
pub(super) fn rewrite(_lock: &Lock, directory: &Path, attachment: &Attachment) -> io::Result<()> {
    let path = directory.join("ports").join(attachment.id.as_str());
    let file = OpenOptions::new().write(true).open(path)?;
    let bytes = serde_json::to_vec(attachment)?;
    // Whole at any moment: what may be left behind it is not read.
    file.write_all_at(&bytes, 0)?;
    file.set_len(bytes.len() as u64)
}

/// Forgets what a monitor that is gone has left.
pub(super) fn forget(_lock: &Lock, directory: &Path, id: &ContainerId) {
    let _ = fs::remove_file(directory.join("ports").join(id.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(digit: u8) -> Attachment {
        Attachment {
            id: ContainerId::from_bytes([digit; 32]),
            name: "web".parse().expect("a name"),
            hostname: "web".to_owned(),
            owner: "ann".parse().expect("a name"),
            number: digit.into(),
            publish: Vec::new(),
        }
    }

    #[test]
    fn an_attachment_lives_as_long_as_who_holds_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = directory.path();
        fs::create_dir(directory.join("ports")).expect("a directory");
        let lock = Lock::take(directory).expect("the lock");
        let held = Entry::write(&lock, directory, &attachment(3)).expect("an entry");
        let killed = Entry::write(&lock, directory, &attachment(2)).expect("an entry");
        let both = read(&lock, directory).expect("entries");
        assert_eq!(both.alive, [attachment(2), attachment(3)]);
        let mut renamed = attachment(3);
        for name in ["another-name", "web"] {
            renamed.name = name.parse().expect("a name");
            rewrite(&lock, directory, &renamed).expect("rewritten");
            let now = read(&lock, directory).expect("entries");
            assert_eq!(now.alive[1], renamed);
        }
        // As the kernel does it when the process ends.
        drop(killed);
        let now = read(&lock, directory).expect("entries");
        assert_eq!(now.alive, [attachment(3)]);
        assert_eq!(now.stale[0].number, Some(2));
        forget(&lock, directory, &now.stale[0].id);
        drop(held);
        let left = read(&lock, directory).expect("entries");
        assert!(left.alive.is_empty() && left.stale.len() == 1);
        forget(&lock, directory, &left.stale[0].id);
        let none = read(&lock, directory).expect("entries");
        assert!(none.alive.is_empty() && none.stale.is_empty());
    }
}
