//! The audit trail: who did what to what, when, from where, and how it ended.
//!
//! Entries are only added. Each holds the hash of the one before it ([`chain`]), so that one that
//! was changed, taken out, moved or put in between shows. Entries cut off at the very end show to
//! whoever knows a later one: each entry's place and hash go into the server's log, which the
//! server cannot take back. What asks the keeper for something is written before it is asked
//! (`asked`), and how it ended after it; a change of the database, together with it.

pub mod chain;
pub mod keep;
pub mod search;

use std::fmt;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Value, json};

use super::{Store, StoreError, now, timestamp};
use crate::access::{Identity, Via};
use chain::{Broken, FORMAT, Hash, Head, Record, Verified};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// The first account was made.
    SetUp,
    /// Somebody signed in.
    SignIn,
    /// Somebody tried to sign in, with a wrong password or into a disabled account.
    SignInRefused,
    /// Somebody signed out.
    SignOut,
    /// Sign-ins were ended from elsewhere.
    SignInsEnded,
    /// An account was made.
    AccountCreated,
    /// An account got another role.
    RoleChanged,
    /// An account was disabled: nobody signs in to it.
    AccountDisabled,
    /// A disabled account was enabled.
    AccountEnabled,
    /// An account got other limits.
    LimitsChanged,
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
    /// A container was to be stopped and started.
    ContainerRestart,
    /// A container's processes were to be frozen.
    ContainerPause,
    /// They were to run again.
    ContainerUnpause,
    /// A container was to have another name, other limits or another restart policy.
    ContainerChange,
    /// A container was to be removed.
    ContainerRemove,
    /// An archive was to become an image.
    ImageImport,
    /// An import was to be ended before its image is there.
    ImportCancel,
    /// An image was to have another name.
    ImageTag,
    /// An image, or a name of it, was to be removed.
    ImageRemove,
    /// Images that nothing uses were to be removed.
    ImagePrune,
    /// A session was to be opened. On disk before its shell exists.
    SessionOpen,
    /// A session was to be ended.
    SessionEnd,
    /// Somebody attached to a session.
    SessionAttach,
    /// Older entries were put into a file: which, and the hash of the last of them.
    Checkpoint,
}

impl Act {
    /// Its word in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SetUp => "set_up",
            Self::SignIn => "sign_in",
            Self::SignInRefused => "sign_in_refused",
            Self::SignOut => "sign_out",
            Self::SignInsEnded => "sign_ins_ended",
            Self::AccountCreated => "account_created",
            Self::RoleChanged => "role_changed",
            Self::AccountDisabled => "account_disabled",
            Self::AccountEnabled => "account_enabled",
            Self::LimitsChanged => "limits_changed",
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
            Self::ContainerChange => "container_change",
            Self::ContainerRemove => "container_remove",
            Self::ImageImport => "image_import",
            Self::ImportCancel => "import_cancel",
            Self::ImageTag => "image_tag",
            Self::ImageRemove => "image_remove",
            Self::ImagePrune => "image_prune",
            Self::SessionOpen => "session_open",
            Self::SessionEnd => "session_end",
            Self::SessionAttach => "session_attach",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// Who does something, by which way, from where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Actor {
    /// The account; empty: Porthole itself.
    pub account: String,
    /// `login`, `token`, `socket`, `command` or `server`.
    pub via: &'static str,
    /// The address; empty where there is none.
    pub address: String,
}

impl Actor {
    /// Porthole itself.
    pub fn server() -> Self {
        Self {
            account: String::new(),
            via: "server",
            address: String::new(),
        }
    }

    /// Root, on the command line.
    pub fn command() -> Self {
        Self {
            account: "root@local".to_owned(),
            via: "command",
            address: String::new(),
        }
    }
}

impl From<&Identity> for Actor {
    fn from(identity: &Identity) -> Self {
        Self {
            account: identity.name().to_string(),
            via: match identity.via {
                Via::Login(_) => "login",
                Via::Token(_) => "token",
                Via::Local => "socket",
            },
            address: identity.from.map(|ip| ip.to_string()).unwrap_or_default(),
        }
    }
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked for. Where no other entry says more, nobody knows what became of it.
    Asked,
    /// It was done.
    Done,
    /// It was refused.
    Refused,
    /// It was tried and failed.
    Failed,
}

impl Outcome {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is to be written down.
#[derive(Debug, Clone)]
pub struct Note {
    /// Who.
    pub by: Actor,
    /// What.
    pub act: Act,
    /// To what.
    pub object: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The entry whose outcome this is; 0 where it is about itself.
    pub of: i64,
    /// More of it.
    pub detail: Value,
}

impl Note {
    /// Something that is about to be asked for.
    pub fn asked(by: &Actor, act: Act, object: impl Into<String>) -> Self {
        Self {
            by: by.clone(),
            act,
            object: object.into(),
            outcome: Outcome::Asked,
            of: 0,
            detail: json!({}),
        }
    }

    /// Something that is done in the same transaction.
    pub fn done(by: &Actor, act: Act, object: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Done,
            ..Self::asked(by, act, object)
        }
    }

    /// The same, with more of it.
    #[must_use]
    pub fn with(self, detail: Value) -> Self {
        Self { detail, ..self }
    }
}

pub(super) const COLUMNS: &str =
    "number, format, at, account, via, address, act, object, result, of, detail, previous, hash";

pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let detail: String = row.get(10)?;
    Ok(Record {
        number: row.get(0)?,
        format: row.get(1)?,
        at: timestamp(row.get(2)?),
        account: row.get(3)?,
        via: row.get(4)?,
        address: row.get(5)?,
        act: row.get(6)?,
        object: row.get(7)?,
        result: row.get(8)?,
        of: row.get(9)?,
        // What is no JSON was not written by us: as a text it does not have the hash.
        detail: serde_json::from_str(&detail).unwrap_or(Value::String(detail)),
        previous: Hash(row.get(11)?),
        hash: Hash(row.get(12)?),
    })
}

/// Adds an entry within the transaction that this connection is in.
pub(super) fn add(db: &Connection, note: &Note) -> Result<Record, StoreError> {
    let last: Option<(i64, Vec<u8>)> = db
        .prepare_cached("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (last, previous) = last.unwrap_or_default();
    let mut record = Record {
        number: last + 1,
        format: FORMAT,
        at: timestamp(now()),
        account: note.by.account.clone(),
        via: note.by.via.to_owned(),
        address: note.by.address.clone(),
        act: note.act.name().to_owned(),
        object: note.object.clone(),
        result: note.outcome.name().to_owned(),
        of: note.of,
        detail: note.detail.clone(),
        previous: Hash(previous),
        hash: Hash::default(),
    };
    record.hash = record.digest();
    db.prepare_cached(&format!(
        "INSERT INTO audit ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
    ))?
    .execute(params![
        record.number,
        record.format,
        i64::try_from(record.at.0).unwrap_or(i64::MAX),
        record.account,
        record.via,
        record.address,
        record.act,
        record.object,
        record.result,
        record.of,
        record.detail.to_string(),
        record.previous.0,
        record.hash.0,
    ])?;
    Ok(record)
}

/// Into the server's log, which goes to whoever started it: what is written there the server cannot
/// take back. A tail that is cut off the trail is missed by it.
pub(super) fn tell(record: &Record) {
    tracing::info!(
        account = record.account,
        act = record.act,
        object = record.object,
        result = record.result,
        head = %record.head(),
        "audit"
    );
}

impl Store {
    /// Adds an entry. It is on disk when this returns.
    pub async fn record(&self, note: Note) -> Result<Record, StoreError> {
        self.write_told(move |_| Ok(((), vec![note])))
            .await
            .map(|((), mut records)| records.remove(0))
    }

    /// Writes, and with it what is to be said of that in the trail: all or nothing.
    pub(super) async fn write_told<T: Send + 'static>(
        &self,
        write: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<(T, Vec<Note>), StoreError>
        + Send
        + 'static,
    ) -> Result<(T, Vec<Record>), StoreError> {
        let written = self.write(move |db| with_notes(db, write)).await?;
        written.1.iter().for_each(tell);
        Ok(written)
    }

    /// The same at once, for the command line.
    pub(super) fn write_told_now<T>(
        &self,
        write: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<(T, Vec<Note>), StoreError>,
    ) -> Result<T, StoreError> {
        let (value, _) = self.write_now(|db| with_notes(db, write))?;
        Ok(value)
    }

    /// Reads the whole trail, what was put into files with it: what holds together, or the first
    /// entry that does not. On a connection and a thread of its own: nobody waits for it.
    pub async fn audit_verify(&self) -> Result<Result<Verified, Broken>, StoreError> {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || keep::verify(&path, Vec::new()))
            .await
            .map_err(|_| StoreError::Ending)?
    }

    /// The last entry's place and hash.
    pub fn audit_head(&self) -> Result<Option<Head>, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")?
                .query_row([], |row| {
                    Ok(Head {
                        number: row.get(0)?,
                        hash: Hash(row.get(1)?),
                    })
                })
                .optional()
        })
    }
}

fn with_notes<T>(
    db: &rusqlite::Transaction<'_>,
    write: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<(T, Vec<Note>), StoreError>,
) -> Result<(T, Vec<Record>), StoreError> {
    let (value, notes) = write(db)?;
    let records = notes
        .iter()
        .map(|note| add(db, note))
        .collect::<Result<_, _>>()?;
    Ok((value, records))
}

#[cfg(test)]
mod tests;
