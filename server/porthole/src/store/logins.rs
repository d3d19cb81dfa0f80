//! Logins of browsers and tokens of machines. Only hashes of the secrets are kept.

use std::time::Duration;

use porthole_protocol::container::Timestamp;
use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::accounts::{COLUMNS, account};
use super::{Store, StoreError, now, timestamp};
use crate::access::Account;
use crate::access::identity::SecretHash;

/// How long a login lasts at most.
pub const LOGIN_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a login lasts that nobody uses.
pub const LOGIN_IDLE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How exactly it is known when a login was last used.
const SEEN_EXACT: i64 = 10 * 60 * 1000;

/// How long after it was used that is written down.
const SEEN_LATER: Duration = Duration::from_secs(1);

#[expect(clippy::cast_possible_truncation, reason = "both are a few weeks")]
const fn millis(duration: Duration) -> i64 {
    duration.as_millis() as i64
}

/// A machine's token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// What it is for, in the words of who made it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Store {
    /// Whose login this is, where it is still good.
    pub fn login(&self, hash: &SecretHash) -> Result<Option<Account>, StoreError> {
        let now = now();
        let found = self.read(|db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS}, seen_at FROM logins JOIN accounts ON accounts.id = account
                 WHERE hash = ?1 AND logins.created_at > ?2 AND seen_at > ?3"
            ))?
            .query_row(
                params![
                    &hash[..],
                    now - millis(LOGIN_LIFE),
                    now - millis(LOGIN_IDLE)
                ],
                |row| Ok((account(row)?, row.get::<_, i64>(4)?)),
            )
            .optional()
        })?;
        if let Some((_, seen)) = &found
            && now - seen > SEEN_EXACT
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (store, hash) = (self.clone(), *hash);
            runtime.spawn(async move {
                // What was asked for with this login is written first: nobody waits for this.
                tokio::time::sleep(SEEN_LATER).await;
                if let Err(error) = store.see(hash, now).await {
                    tracing::warn!(%error, "a login's last use was not written down");
                }
            });
        }
        Ok(found.map(|(account, _)| account))
    }

    async fn see(&self, hash: SecretHash, at: i64) -> Result<(), StoreError> {
        self.write(move |db| {
            db.execute(
                "UPDATE logins SET seen_at = ?2 WHERE hash = ?1 AND seen_at < ?3",
                // Of several at once one writes.
                params![&hash[..], at, at - SEEN_EXACT],
            )?;
            Ok(())
        })
        .await
    }

    /// A new login, in place of the one that the same browser had, and of all that are over.
    pub async fn add_login(
        &self,
        account: i64,
        hash: SecretHash,
        instead_of: Option<SecretHash>,
    ) -> Result<(), StoreError> {
        self.write(move |db| {
            let now = now();
            db.execute(
                "DELETE FROM logins WHERE hash IS ?1 OR created_at <= ?2 OR seen_at <= ?3",
                params![
                    instead_of.as_ref().map(|hash| &hash[..]),
                    now - millis(LOGIN_LIFE),
                    now - millis(LOGIN_IDLE)
                ],
            )?;
            db.execute(
                "INSERT INTO logins (hash, account, created_at, seen_at) VALUES (?1, ?2, ?3, ?3)",
                params![&hash[..], account, now],
            )?;
            Ok(())
        })
        .await
    }

    /// Ends a login.
    pub async fn delete_login(&self, hash: SecretHash) -> Result<(), StoreError> {
        self.write(move |db| {
            db.execute("DELETE FROM logins WHERE hash = ?1", [&hash[..]])?;
            Ok(())
        })
        .await
    }

    /// Whose token this is.
    pub fn token(&self, hash: &SecretHash) -> Result<Option<Account>, StoreError> {
        self.read(|db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM tokens JOIN accounts ON accounts.id = account WHERE hash = ?1"
            ))?
            .query_row([&hash[..]], account)
            .optional()
        })
    }

    /// An account's tokens, the oldest first.
    pub fn tokens(&self, account: i64) -> Result<Vec<Token>, StoreError> {
        self.read(|db| {
            db.prepare_cached(
                "SELECT id, name, created_at FROM tokens WHERE account = ?1 ORDER BY id",
            )?
            .query_map([account], |row| {
                Ok(Token {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    created_at: timestamp(row.get(2)?),
                })
            })?
            .collect()
        })
    }

    /// A new token.
    pub async fn add_token(
        &self,
        account: i64,
        name: String,
        hash: SecretHash,
    ) -> Result<Token, StoreError> {
        self.write(move |db| {
            let created_at = now();
            db.execute(
                "INSERT INTO tokens (hash, account, name, created_at) VALUES (?1, ?2, ?3, ?4)",
                params![&hash[..], account, name, created_at],
            )?;
            Ok(Token {
                id: db.last_insert_rowid(),
                name,
                created_at: timestamp(created_at),
            })
        })
        .await
    }

    /// Ends one of an account's tokens; whether there was one.
    pub async fn delete_token(&self, account: i64, id: i64) -> Result<bool, StoreError> {
        self.write(move |db| {
            let gone = db.execute(
                "DELETE FROM tokens WHERE id = ?1 AND account = ?2",
                [id, account],
            )?;
            Ok(gone != 0)
        })
        .await
    }
}
