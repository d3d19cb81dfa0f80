//! The audit trail: who did what to what, and when.
//!
//! Rows are only added. Each holds the SHA-256 over the row before it and itself, so that a row
//! that was changed, taken out or put in between shows, but for rows cut off at the very end.

use porthole_protocol::container::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::{Store, StoreError, now, timestamp};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// The first account was made.
    SetUp,
    /// Somebody signed in.
    SignIn,
    /// Somebody signed out.
    SignOut,
    /// An account was made.
    AccountCreated,
    /// An account got another role.
    RoleChanged,
    /// An account was removed.
    AccountDeleted,
    /// Somebody changed a password.
    PasswordChanged,
    /// An administrator reset another's password, here or from the command line.
    PasswordReset,
    /// A token was made.
    TokenCreated,
    /// A token was ended.
    TokenDeleted,
    /// A container was asked for.
    ContainerCreate,
    /// A container was to be started.
    ContainerStart,
    /// A container was to be stopped.
    ContainerStop,
    /// A container was to be sent a signal.
    ContainerKill,
    /// Another engine's container was to be stopped and started.
    ContainerRestart,
    /// A container's processes were to be frozen.
    ContainerPause,
    /// They were to run again.
    ContainerUnpause,
    /// A container was to be removed.
    ContainerRemove,
    /// A session was to be opened. On disk before its shell exists.
    SessionOpen,
    /// A session was to be ended.
    SessionEnd,
    /// Somebody attached to a session.
    SessionAttach,
}

impl Act {
    /// Its word in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SetUp => "set_up",
            Self::SignIn => "sign_in",
            Self::SignOut => "sign_out",
            Self::AccountCreated => "account_created",
            Self::RoleChanged => "role_changed",
            Self::AccountDeleted => "account_deleted",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::TokenCreated => "token_created",
            Self::TokenDeleted => "token_deleted",
            Self::ContainerCreate => "container_create",
            Self::ContainerStart => "container_start",
            Self::ContainerStop => "container_stop",
            Self::ContainerKill => "container_kill",
            Self::ContainerRestart => "container_restart",
            Self::ContainerPause => "container_pause",
            Self::ContainerUnpause => "container_unpause",
            Self::ContainerRemove => "container_remove",
            Self::SessionOpen => "session_open",
            Self::SessionEnd => "session_end",
            Self::SessionAttach => "session_attach",
        }
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 1 without a gap.
    pub number: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub account: String,
    /// What was done.
    pub act: String,
    /// To what.
    pub object: String,
    /// How, as JSON.
    pub detail: String,
}

/// Where the chain does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit trail was changed: entry {0} does not follow from the one before it")]
pub struct Broken(pub i64);

struct Row {
    number: i64,
    at: i64,
    account: String,
    act: String,
    object: String,
    detail: String,
    previous: Vec<u8>,
    hash: Vec<u8>,
}

/// Each field with its length before it, so that no two rows have the same bytes.
fn digest(previous: &[u8], number: i64, at: i64, texts: [&str; 4]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update((previous.len() as u64).to_be_bytes());
    hasher.update(previous);
    hasher.update(number.to_be_bytes());
    hasher.update(at.to_be_bytes());
    for text in texts {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().into()
}

/// Adds a row within the transaction that this connection is in.
pub(super) fn add(
    db: &Connection,
    account: &str,
    act: Act,
    object: &str,
    detail: &str,
) -> Result<(), StoreError> {
    let last: Option<(i64, Vec<u8>)> = db
        .prepare_cached("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (last, previous) = last.unwrap_or_default();
    let (number, at) = (last + 1, now());
    let hash = digest(&previous, number, at, [account, act.name(), object, detail]);
    db.prepare_cached("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            number,
            at,
            account,
            act.name(),
            object,
            detail,
            previous,
            &hash[..]
        ])?;
    Ok(())
}

impl Store {
    /// Adds a row. It is on disk when this returns.
    pub async fn audit(
        &self,
        account: String,
        act: Act,
        object: String,
        detail: String,
    ) -> Result<(), StoreError> {
        self.write(move |db| add(db, &account, act, &object, &detail))
            .await
    }

    /// The last rows, the newest first.
    pub fn audit_entries(&self, limit: u32) -> Result<Vec<Entry>, StoreError> {
        self.read(|db| {
            db.prepare_cached(
                "SELECT number, at, account, act, object, detail FROM audit
                 ORDER BY number DESC LIMIT ?1",
            )?
            .query_map([limit], |row| {
                Ok(Entry {
                    number: row.get(0)?,
                    at: timestamp(row.get(1)?),
                    account: row.get(2)?,
                    act: row.get(3)?,
                    object: row.get(4)?,
                    detail: row.get(5)?,
                })
            })?
            .collect()
        })
    }

    /// Reads the whole trail: how many rows hold together, or the first that does not.
    pub fn audit_verify(&self) -> Result<Result<i64, Broken>, StoreError> {
        self.read(|db| {
            let mut statement = db.prepare(
                "SELECT number, at, account, act, object, detail, previous, hash FROM audit
                 ORDER BY number",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(Row {
                    number: row.get(0)?,
                    at: row.get(1)?,
                    account: row.get(2)?,
                    act: row.get(3)?,
                    object: row.get(4)?,
                    detail: row.get(5)?,
                    previous: row.get(6)?,
                    hash: row.get(7)?,
                })
            })?;
            let (mut last, mut previous) = (0, Vec::new());
            for row in rows {
                let row = row?;
                let texts = [&*row.account, &*row.act, &*row.object, &*row.detail];
                let expected = digest(&previous, last + 1, row.at, texts);
                if row.number != last + 1 || row.previous != previous || row.hash != expected {
                    return Ok(Err(Broken(last + 1)));
                }
                (last, previous) = (row.number, row.hash);
            }
            Ok(Ok(last))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::new_store;

    async fn filled() -> (tempfile::TempDir, Store) {
        let (directory, store) = new_store();
        for object in ["one", "two", "three"] {
            let written = store.audit("ann".into(), Act::SessionOpen, object.into(), "{}".into());
            written.await.expect("written");
        }
        (directory, store)
    }

    /// What somebody with the database file and SQLite can do.
    fn tamper(directory: &tempfile::TempDir, sql: &str) -> rusqlite::Result<()> {
        let db = Connection::open(directory.path().join("porthole.db"))?;
        db.execute_batch(sql)
    }

    #[tokio::test]
    async fn an_untouched_trail_holds() {
        let (_directory, store) = filled().await;
        assert_eq!(store.audit_verify().expect("read"), Ok(3));
        assert_eq!(store.audit_entries(2).expect("read")[0].object, "three");
    }

    #[tokio::test]
    async fn the_database_itself_refuses_changes() {
        let (directory, store) = filled().await;
        for sql in ["UPDATE audit SET account = 'bob'", "DELETE FROM audit"] {
            let error = tamper(&directory, sql).expect_err("refused");
            assert!(error.to_string().contains("only added to"), "{error}");
        }
        assert_eq!(store.audit_verify().expect("read"), Ok(3));
    }

    #[tokio::test]
    async fn a_changed_row_shows() {
        for (sql, broken) in [
            ("UPDATE audit SET account = 'bob' WHERE number = 2", 2),
            ("UPDATE audit SET at = at + 1 WHERE number = 1", 1),
            ("DELETE FROM audit WHERE number = 1", 1),
            ("DELETE FROM audit WHERE number = 2", 2),
            // A field's end moved into the next one leaves the same letters.
            (
                "UPDATE audit SET object = 'tw', detail = 'o{}' WHERE number = 2",
                2,
            ),
        ] {
            let (directory, store) = filled().await;
            let unlocked = format!(
                "DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_shortened; {sql}"
            );
            tamper(&directory, &unlocked).expect("the triggers are gone");
            assert_eq!(
                store.audit_verify().expect("read"),
                Err(Broken(broken)),
                "{sql}"
            );
        }
    }
}
