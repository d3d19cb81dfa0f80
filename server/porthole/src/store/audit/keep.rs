//! How long entries are kept in the database, and where they go after that.
//!
//! Nothing is ever dropped in silence. Where there are more than are to be kept in the database,
//! the oldest are written to a file of their own beside it, `audit/<first>-<last>.jsonl`, on disk
//! before anything else; then one transaction adds a checkpoint, which names the last of them and
//! its hash, and takes them out. The chain goes on from the file into the database. A file that its
//! operator takes away leaves a gap that the checkpoint has closed, which is said and no fault.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, params};
use serde_json::json;

use super::chain::{Broken, Chain, Head, Record, Verified};
use super::{Act, Actor, COLUMNS, Note, record};
use crate::access::secret::hex;
use crate::store::{Store, StoreError};

/// How many entries stay in the database where nothing else is set: some 500 MB.
pub const KEPT: u64 = 1_000_000;

/// Where entries of this database go that are not kept in it.
fn archive(database: &Path) -> PathBuf {
    database.with_file_name("audit")
}

fn read_failed(path: &Path, error: &io::Error) -> StoreError {
    StoreError::File(format!("{}: {error}", path.display()))
}

impl Store {
    /// Puts the oldest entries into a file where there are more than `kept` by a tenth. Whether
    /// that was done.
    pub async fn archive_audit(&self, kept: u64) -> Result<bool, StoreError> {
        let kept = i64::try_from(kept).unwrap_or(i64::MAX);
        // What a run that was killed has left: entries that a checkpoint has closed are in a file,
        // a file that no checkpoint names is written anew.
        let closed = self.closed()?;
        self.take_out(closed).await?;
        for path in archives(&self.path)? {
            if ends(&path).is_none_or(|(_, last)| last > closed) {
                fs::remove_file(&path).map_err(|e| read_failed(&path, &e))?;
            }
        }
        let ends = self.read(|db| {
            db.query_row(
                "SELECT coalesce(min(number), 0), coalesce(max(number), 0) FROM audit",
                [],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
            )
        })?;
        let (first, last) = ends;
        let to = last.saturating_sub(kept);
        if last - first < kept.saturating_add(kept / 10) || to < first {
            return Ok(false);
        }
        let path = self.path.clone();
        let closed = tokio::task::spawn_blocking(move || write_archive(&path, first, to))
            .await
            .map_err(|_| StoreError::Ending)??;
        let detail = json!({
            "from": first,
            "to": to,
            "hash": hex(&closed.hash.0),
            "file": file_name(first, to),
        });
        let note = Note::done(&Actor::server(), Act::Checkpoint, "audit").with(detail);
        self.record(note).await?;
        self.take_out(to).await?;
        Ok(true)
    }

    /// The last entry that a checkpoint has closed.
    fn closed(&self) -> Result<i64, StoreError> {
        self.read(|db| {
            db.query_row(
                "SELECT coalesce(max(CAST(json_extract(detail, '$.to') AS INTEGER)), 0)
                 FROM audit WHERE act = 'checkpoint'",
                [],
                |row| row.get(0),
            )
        })
    }

    /// The database itself lets go only of what a checkpoint has closed.
    async fn take_out(&self, to: i64) -> Result<(), StoreError> {
        self.write(move |db| {
            db.execute("DELETE FROM audit WHERE number <= ?1", params![to])?;
            Ok(())
        })
        .await
    }
}

/// The files of a database's older entries, in their order.
fn archives(database: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let directory = archive(database);
    let mut files: Vec<PathBuf> = match fs::read_dir(&directory) {
        Ok(found) => found.flatten().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(read_failed(&directory, &error)),
    };
    files.retain(|path| path.extension().is_some_and(|e| e == "jsonl"));
    files.sort();
    Ok(files)
}

/// The first and last entry that a file is named by.
fn ends(path: &Path) -> Option<(i64, i64)> {
    let (first, last) = path.file_stem()?.to_str()?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn file_name(first: i64, last: i64) -> String {
    format!("{first:012}-{last:012}.jsonl")
}

/// Writes entries into their file, and returns the last one's place and hash.
pub(super) fn write_archive(database: &Path, first: i64, to: i64) -> Result<Head, StoreError> {
    let directory = archive(database);
    let path = directory.join(file_name(first, to));
    let failed = |error: &io::Error| read_failed(&path, error);
    fs::create_dir_all(&directory).map_err(|e| failed(&e))?;
    let begun = path.with_extension("part");
    let mut out = BufWriter::new(File::create(&begun).map_err(|e| failed(&e))?);
    let mut last = None;
    entries(database, Some(to), &mut |record| {
        last = Some(record.head());
        serde_json::to_writer(&mut out, &record)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .map_err(|e| failed(&e))
    })?;
    let file = out.into_inner().map_err(|e| failed(e.error()))?;
    file.sync_all().map_err(|e| failed(&e))?;
    fs::rename(&begun, &path).map_err(|e| failed(&e))?;
    let synced = File::open(&directory).and_then(|directory| directory.sync_all());
    synced.map_err(|e| failed(&e))?;
    last.ok_or_else(|| failed(&io::ErrorKind::UnexpectedEof.into()))
}

/// A connection that only reads, for what takes long.
pub(super) fn reading(database: &Path) -> Result<Connection, StoreError> {
    // Of a database in use SQLite's index beside it is written to when it is read.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(database, flags)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// Every entry of a database, oldest first, up to this number.
fn entries(
    database: &Path,
    to: Option<i64>,
    each: &mut dyn FnMut(Record) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let db = reading(database)?;
    let mut statement = db.prepare(&format!(
        "SELECT {COLUMNS} FROM audit WHERE number <= ?1 ORDER BY number"
    ))?;
    let rows = statement.query_map([to.unwrap_or(i64::MAX)], record)?;
    for row in rows {
        each(row?)?;
    }
    Ok(())
}

/// Follows the whole trail of a database: its files, then itself. These heads are known from
/// elsewhere.
pub fn verify(database: &Path, heads: Vec<Head>) -> Result<Result<Verified, Broken>, StoreError> {
    let mut chain = Chain::with_heads(heads);
    let mut last = 0;
    for path in archives(database)? {
        match follow_file(&mut chain, &path)? {
            Ok(number) if ends(&path).is_none_or(|(_, named)| named == number) => last = number,
            Ok(number) => {
                return Ok(Err(Broken {
                    number: number + 1,
                    why: format!("is missing at the end of {}", path.display()),
                }));
            }
            Err(broken) => return Ok(Err(broken)),
        }
    }
    let mut begins = true;
    let mut wrong = None;
    entries(database, None, &mut |record| {
        // Killed between the checkpoint and taking them out: they are in both.
        if wrong.is_some() || record.number <= last {
            return Ok(());
        }
        wrong = chain.follow(&record, begins).err();
        begins = false;
        Ok(())
    })?;
    Ok(match wrong {
        Some(broken) => Err(broken),
        None => chain.finish(),
    })
}

/// Every session that was asked for, in the files of older entries too.
pub fn opened_sessions(database: &Path) -> Result<BTreeSet<String>, StoreError> {
    let mut opened = BTreeSet::new();
    let mut note = |record: Record| {
        if record.act == Act::SessionOpen.name() {
            opened.insert(record.object);
        }
    };
    for path in archives(database)? {
        let file = File::open(&path).map_err(|e| read_failed(&path, &e))?;
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|e| read_failed(&path, &e))?;
            if let Ok(record) = serde_json::from_str(&line) {
                note(record);
            }
        }
    }
    entries(database, None, &mut |record| {
        note(record);
        Ok(())
    })?;
    Ok(opened)
}

/// Follows a file of lines: an archive or an export of everything.
pub fn verify_file(path: &Path, heads: Vec<Head>) -> Result<Result<Verified, Broken>, StoreError> {
    let mut chain = Chain::with_heads(heads);
    Ok(match follow_file(&mut chain, path)? {
        Ok(_) => chain.finish(),
        Err(broken) => Err(broken),
    })
}

fn follow_file(chain: &mut Chain, path: &Path) -> Result<Result<i64, Broken>, StoreError> {
    let file = File::open(path).map_err(|e| read_failed(path, &e))?;
    let mut last = chain.last();
    for (at, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|e| read_failed(path, &e))?;
        let Ok(record) = serde_json::from_str::<Record>(&line) else {
            return Ok(Err(Broken {
                number: last + 1,
                why: format!(
                    "is not readable: line {} of {} is no entry",
                    at + 1,
                    path.display()
                ),
            }));
        };
        if let Err(broken) = chain.follow(&record, at == 0) {
            return Ok(Err(broken));
        }
        last = record.number;
    }
    Ok(Ok(last))
}
