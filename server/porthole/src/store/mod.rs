//! What outlives the process: accounts, logins, tokens, the audit trail. One SQLite database.
//!
//! Writing happens on threads made for waiting, one at a time; each write is on disk before it is
//! said to be done. Reading uses a connection of its own, takes microseconds and never waits for a
//! writer (write-ahead log), so it is not asynchronous.

mod accounts;
pub mod audit;
mod logins;
mod schema;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use porthole_protocol::container::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

pub use accounts::{AccountChange, NewAccount, Stored};
pub use audit::{Act, Actor, Note, Outcome};
pub use logins::{LOGIN_IDLE, LOGIN_LIFE, Login, NewToken, TOKENS, Token};

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused.
    #[error("the database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Its tables could not be brought up to date.
    #[error("the database's tables: {0}")]
    Migration(#[from] rusqlite_migration::Error),
    /// A newer version of Porthole has written it.
    #[error(
        "{0} was written by a newer version of Porthole. Use that version, or another PORTHOLE_ROOT."
    )]
    Newer(String),
    /// An account of this name exists already.
    #[error("There is an account \"{0}\" already.")]
    NameTaken(String),
    /// No account has this name.
    #[error("There is no account \"{0}\".")]
    NoAccount(String),
    /// It is the last administrator.
    #[error("This is the only administrator. Make another account an administrator first.")]
    LastAdministrator,
    /// Somebody else has changed it since it was looked at.
    #[error(
        "Somebody else has changed the account \"{}\" meanwhile. Look at what it is now, and change it again where you still want to.", .0.name
    )]
    Revised(Box<crate::access::Account>),
    /// The account has as many tokens as it may have.
    #[error(
        "You have {TOKENS} tokens already, which is as many as one account may have. Delete one that is not used any more."
    )]
    TooManyTokens,
    /// A file beside the database.
    #[error("{0}")]
    File(String),
    /// Accounts exist already, so the first one cannot be made.
    #[error("There is an account already. Sign in, or ask an administrator for an account.")]
    NotFirst,
    /// The thread that was to do it is gone: the server is ending.
    #[error("the server is ending")]
    Ending,
}

/// Pages that the write-ahead log has when they are moved into the database: about a megabyte.
const LOG_PAGES: u32 = 256;
/// The log's own header, and a page with its header, see SQLite's "WAL-mode File Format".
const LOG_HEADER: u64 = 32;
/// See [`LOG_HEADER`].
const LOG_PAGE: u64 = 24 + 4096;

/// The database.
#[derive(Clone)]
pub struct Store {
    path: PathBuf,
    writer: Arc<Mutex<Connection>>,
    reader: Arc<Mutex<Connection>>,
}

impl Store {
    /// Opens the database in this file, makes it where there is none, and brings its tables up to
    /// date.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut writer = Connection::open(path)?;
        writer.busy_timeout(Duration::from_secs(5))?;
        writer.pragma_update(None, "journal_mode", "WAL")?;
        // Each commit reaches the disk before it is said to be done: a session's start is in the
        // audit trail before its shell exists, whatever happens to the machine.
        writer.pragma_update(None, "synchronous", "FULL")?;
        writer.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        writer.pragma_update(None, "foreign_keys", true)?;
        schema::bring_up_to_date(&mut writer, path)?;
        // Nobody else writes into the log meanwhile.
        let alone = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Err(error) = make_room(path) {
            tracing::warn!(%error, "no room was made for the database's log; writing to it is slower");
        }
        alone.rollback()?;
        let reader = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        reader.busy_timeout(Duration::from_secs(1))?;
        reader.pragma_update(None, "query_only", true)?;
        Ok(Self {
            path: path.to_owned(),
            writer: Arc::new(Mutex::new(writer)),
            reader: Arc::new(Mutex::new(reader)),
        })
    }

    /// Reads, at once.
    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let connection = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(read(&connection)?)
    }

    /// Writes, all or nothing, where waiting holds nobody else up.
    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.write_now(write))
            .await
            .map_err(|_| StoreError::Ending)?
    }

    /// Writes, all or nothing, and waits for the disk.
    fn write_now<T>(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = write(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    /// A number that grows whenever an account loses something that it had: a login, a token, a
    /// role, itself; whichever process took it away.
    pub fn revocations(&self) -> Result<i64, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT number FROM revocations")?
                .query_row([], |row| row.get(0))
        })
    }

    /// Whether the database answers.
    pub fn check(&self) -> Result<(), StoreError> {
        self.revocations().map(|_| ())
    }
}

/// Now, in the form in which times are kept: milliseconds since 1970.
fn now() -> i64 {
    i64::try_from(Timestamp::from_system(SystemTime::now()).0).unwrap_or(i64::MAX)
}

fn timestamp(kept: i64) -> Timestamp {
    Timestamp(kept.try_into().unwrap_or(0))
}

/// Gives the write-ahead log the size that it will grow to. A write into a file that grows waits
/// for the file system's own journal too, which takes several times as long.
fn make_room(path: &Path) -> io::Result<()> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = File::options().write(true).open(log)?;
    let size = log.metadata()?.len();
    let wanted = LOG_HEADER + u64::from(LOG_PAGES) * LOG_PAGE;
    // SQLite reads up to the first page whose checksum is wrong.
    if let Some(lacking) = wanted.checked_sub(size) {
        let zeros = vec![0; usize::try_from(lacking).unwrap_or(0)];
        log.write_all_at(&zeros, size)?;
        log.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A new database that is gone with the directory.
    pub(crate) fn new_store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(&directory.path().join("porthole.db")).expect("a new database");
        (directory, store)
    }

    #[test]
    fn a_database_of_a_newer_version_is_refused_in_words() {
        let (directory, store) = new_store();
        drop(store);
        let path = directory.path().join("porthole.db");
        let db = Connection::open(&path).expect("opens");
        db.pragma_update(None, "user_version", 999).expect("set");
        drop(db);
        let Err(error) = Store::open(&path) else {
            panic!("a newer database was opened");
        };
        assert!(error.to_string().contains("newer version"), "{error}");
    }

    #[tokio::test]
    async fn the_log_has_its_room_from_the_start_and_is_read_after_a_power_cut() {
        let (directory, store) = new_store();
        let length = |directory: &Path| {
            let log = std::fs::metadata(directory.join("porthole.db-wal"));
            log.expect("the log").len()
        };
        let whole = LOG_HEADER + u64::from(LOG_PAGES) * LOG_PAGE;
        assert_eq!(length(directory.path()), whole);
        let note =
            |object: &str| store.record(Note::asked(&Actor::server(), Act::SessionOpen, object));
        note("one").await.expect("written");
        note("two").await.expect("written");
        assert_eq!(length(directory.path()), whole, "it did not grow");
        // What a machine finds that lost its power: the files as they are, and nothing in memory.
        let after = tempfile::tempdir().expect("a temporary directory");
        for name in ["porthole.db", "porthole.db-wal"] {
            std::fs::copy(directory.path().join(name), after.path().join(name)).expect("copied");
        }
        let found = Store::open(&after.path().join("porthole.db")).expect("opens");
        let verified = found.audit_verify().await.expect("read").expect("whole");
        assert_eq!(verified.read, 2);
        assert_eq!(length(after.path()), whole);
    }
}
