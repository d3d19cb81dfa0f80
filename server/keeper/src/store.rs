//! Files that are whole whatever happens: written beside their place and renamed.
//!
//! [`write`] also waits for the disk, so that a power cut loses nothing: for what a container is
//! and how it ended. [`replace`] does not, which a killed process cannot notice: for what runs,
//! since nothing runs any more after a power cut.
//!
//! Everything lies below `ROOT/keeper`, which root alone can enter, so paths are safe here.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// No record is nearly as long.
const SIZE_LIMIT: u64 = 16 * 1024 * 1024;

/// Writes a record durably. Afterwards the file is the old one or the new one.
pub(crate) fn write(path: &Path, record: &impl Serialize) -> io::Result<()> {
    put(path, record, true)?;
    sync_directory(path)
}

/// Writes a record, durable against everything but a power cut.
pub(crate) fn replace(path: &Path, record: &impl Serialize) -> io::Result<()> {
    put(path, record, false)
}

fn put(path: &Path, record: &impl Serialize, sync: bool) -> io::Result<()> {
    let mut text = serde_json::to_vec(record)?;
    text.push(b'\n');
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(&text)?;
    if sync {
        file.sync_all()?;
    }
    std::fs::rename(&beside, path)
}

/// Reads a record; `None` where there is no file. A file that is no such record is `InvalidData`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(SIZE_LIMIT).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Deletes a file, durably. It is no error that there is none.
pub(crate) fn delete(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_directory(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_replaces_another_as_a_whole() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("state.json");
        assert_eq!(read::<Vec<u32>>(&path).expect("none"), None);
        write(&path, &vec![1, 2, 3]).expect("write");
        // What a crash leaves beside it is no record, and in nobody's way.
        std::fs::write(path.with_extension("new"), "[4,").expect("write");
        assert_eq!(read(&path).expect("read"), Some(vec![1, 2, 3]));
        replace(&path, &vec![4]).expect("replace");
        assert_eq!(read(&path).expect("read"), Some(vec![4]));
        std::fs::write(&path, "[4,").expect("write");
        assert_eq!(
            read::<Vec<u32>>(&path).expect_err("half").kind(),
            io::ErrorKind::InvalidData
        );
        delete(&path).expect("delete");
        delete(&path).expect("again");
        assert_eq!(read::<Vec<u32>>(&path).expect("none"), None);
    }
}
