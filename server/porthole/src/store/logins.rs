//! Logins of browsers and tokens of machines. Only hashes of the secrets are kept.

use std::collections::HashMap;
use std::time::Duration;

use porthole_protocol::container::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use serde::Serialize;
use serde_json::json;

use super::accounts::{COLUMNS, WIDTH, account, end_everything};
use super::{Act, Actor, Note, Store, StoreError, now, timestamp};
use crate::access::gate::Whence;
use crate::access::identity::SecretHash;
use crate::access::secret::hex;
use crate::access::{Account, Via};

/// How long a login lasts at most.
pub const LOGIN_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a login lasts that nobody uses.
pub const LOGIN_IDLE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many tokens an account may have: each is a way in that nobody may remember.
pub const TOKENS: u32 = 50;

/// How exactly it is known when a login or a token was last used.
const SEEN_EXACT: i64 = 60 * 1000;

/// How long after it was used that is written down.
const SEEN_LATER: Duration = Duration::from_secs(1);

#[expect(clippy::cast_possible_truncation, reason = "at most some years")]
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
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub used_at: Option<Timestamp>,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose.
    pub account: i64,
    /// What it is for.
    pub name: String,
    /// Its secret's hash.
    pub hash: SecretHash,
    /// How long it lasts; until it is ended where there is none.
    pub life: Option<Duration>,
}

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Login {
    /// Names it; no secret.
    pub id: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub seen_at: Timestamp,
    /// From which address it began.
    pub address: String,
    /// What the browser called itself.
    pub agent: String,
    /// It is the one that asks.
    pub current: bool,
}

/// What a login is called: the beginning of its secret's hash, which gives nothing away.
fn login_id(hash: &[u8]) -> String {
    hex(hash.get(..8).unwrap_or(hash))
}

/// Where secrets that are used are noted.
#[derive(Clone, Copy)]
enum Used {
    Login,
    Token,
}

impl Store {
    /// Whose login this is, where it is still good.
    pub fn login(&self, hash: &SecretHash) -> Result<Option<Account>, StoreError> {
        let now = now();
        let found = self.read(|db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS}, seen_at FROM logins JOIN accounts ON accounts.id = account
                 WHERE hash = ?1 AND logins.created_at > ?2 AND seen_at > ?3 AND disabled_at IS NULL"
            ))?
            .query_row(
                params![
                    &hash[..],
                    now - millis(LOGIN_LIFE),
                    now - millis(LOGIN_IDLE)
                ],
                |row| Ok((account(row)?, row.get::<_, i64>(WIDTH)?)),
            )
            .optional()
        })?;
        if let Some((_, seen)) = &found {
            self.used(Used::Login, *hash, *seen, now);
        }
        Ok(found.map(|(account, _)| account))
    }

    /// Whose token this is, where it is still good.
    pub fn token(&self, hash: &SecretHash) -> Result<Option<Account>, StoreError> {
        let now = now();
        let found = self.read(|db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS}, coalesce(used_at, 0) FROM tokens JOIN accounts ON accounts.id = account
                 WHERE hash = ?1 AND (expires_at IS NULL OR expires_at > ?2) AND disabled_at IS NULL"
            ))?
            .query_row(params![&hash[..], now], |row| {
                Ok((account(row)?, row.get::<_, i64>(WIDTH)?))
            })
            .optional()
        })?;
        if let Some((_, used)) = &found {
            self.used(Used::Token, *hash, *used, now);
        }
        Ok(found.map(|(account, _)| account))
    }

    /// Notes that a secret was used, where that was longer ago than it is known exactly.
    fn used(&self, what: Used, hash: SecretHash, before: i64, at: i64) {
        if at - before <= SEEN_EXACT {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let store = self.clone();
        runtime.spawn(async move {
            // What was asked for with it is written first: nobody waits for this.
            tokio::time::sleep(SEEN_LATER).await;
            if let Err(error) = store.note_used(what, hash, at).await {
                tracing::warn!(%error, "a secret's last use was not written down");
            }
        });
    }

    async fn note_used(&self, what: Used, hash: SecretHash, at: i64) -> Result<(), StoreError> {
        // Of several at once one writes.
        let sql = match what {
            Used::Login => "UPDATE logins SET seen_at = ?2 WHERE hash = ?1 AND seen_at < ?3",
            Used::Token => {
                "UPDATE tokens SET used_at = ?2 WHERE hash = ?1 AND coalesce(used_at, 0) < ?3"
            }
        };
        self.write(move |db| {
            db.execute(sql, params![&hash[..], at, at - SEEN_EXACT])?;
            Ok(())
        })
        .await
    }

    /// In how many milliseconds this proof ends by itself; `None`: not by itself.
    pub fn ends_in(&self, via: &Via) -> Result<Option<i64>, StoreError> {
        let ends = self.ends_at(via)?;
        Ok(ends.map(|at| (kept(at) - now()).max(0)))
    }

    /// When this proof ends by itself; `None`: not by itself.
    pub fn ends_at(&self, via: &Via) -> Result<Option<Timestamp>, StoreError> {
        let Via::Token(hash) = via else {
            return Ok(None);
        };
        let ends: Option<i64> = self.read(|db| {
            db.prepare_cached("SELECT expires_at FROM tokens WHERE hash = ?1")?
                .query_row([&hash[..]], |row| row.get(0))
                .optional()
                .map(Option::flatten)
        })?;
        Ok(ends.map(timestamp))
    }

    /// A new login, in place of the one that the same browser had, and of all that are over.
    pub async fn add_login(
        &self,
        account: i64,
        hash: SecretHash,
        instead_of: Option<SecretHash>,
        whence: Whence,
        note: Note,
    ) -> Result<(), StoreError> {
        self.write_told(move |db| {
            let now = now();
            db.execute(
                "DELETE FROM logins WHERE hash IS ?1 OR created_at <= ?2 OR seen_at <= ?3",
                params![
                    instead_of.as_ref().map(|hash| &hash[..]),
                    now - millis(LOGIN_LIFE),
                    now - millis(LOGIN_IDLE)
                ],
            )?;
            let address = whence.address.map(|ip| ip.to_string()).unwrap_or_default();
            db.execute(
                "INSERT INTO logins (hash, account, created_at, seen_at, address, agent)
                 VALUES (?1, ?2, ?3, ?3, ?4, ?5)",
                params![&hash[..], account, now, address, whence.agent],
            )?;
            Ok(((), vec![note]))
        })
        .await
        .map(|_| ())
    }

    /// An account's browsers that are signed in, the one that asks first, then by their last use.
    pub fn logins(&self, account: i64, asks: &Via) -> Result<Vec<Login>, StoreError> {
        let now = now();
        let mut logins = self.read(|db| {
            db.prepare_cached(
                "SELECT hash, created_at, seen_at, address, agent FROM logins
                 WHERE account = ?1 AND created_at > ?2 AND seen_at > ?3 ORDER BY seen_at DESC",
            )?
            .query_map(
                params![account, now - millis(LOGIN_LIFE), now - millis(LOGIN_IDLE)],
                |row| {
                    let hash: Vec<u8> = row.get(0)?;
                    Ok(Login {
                        id: login_id(&hash),
                        created_at: timestamp(row.get(1)?),
                        seen_at: timestamp(row.get(2)?),
                        address: row.get(3)?,
                        agent: row.get(4)?,
                        current: matches!(asks, Via::Login(own) if own[..] == hash[..]),
                    })
                },
            )?
            .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        logins.sort_by_key(|login| !login.current);
        Ok(logins)
    }

    /// When each account was last signed in, by its number.
    pub fn last_seen(&self) -> Result<HashMap<i64, Timestamp>, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT account, max(seen_at) FROM logins GROUP BY account")?
                .query_map([], |row| Ok((row.get(0)?, timestamp(row.get(1)?))))?
                .collect()
        })
    }

    /// Ends a login, signing out of it.
    pub async fn delete_login(&self, hash: SecretHash, by: Actor) -> Result<(), StoreError> {
        self.write_told(move |db| {
            db.execute("DELETE FROM logins WHERE hash = ?1", [&hash[..]])?;
            let note = Note::done(&by, Act::SignOut, by.account.clone());
            Ok(((), vec![note]))
        })
        .await
        .map(|_| ())
    }

    /// Ends one of an account's logins; whether there was one.
    pub async fn end_login(
        &self,
        account: Account,
        id: String,
        by: Actor,
    ) -> Result<bool, StoreError> {
        self.write_told(move |db| {
            let hashes: Vec<Vec<u8>> = db
                .prepare_cached("SELECT hash FROM logins WHERE account = ?1")?
                .query_map([account.id], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            let Some(hash) = hashes.into_iter().find(|hash| login_id(hash) == id) else {
                return Ok((false, Vec::new()));
            };
            db.execute("DELETE FROM logins WHERE hash = ?1", [hash])?;
            let note = Note::done(&by, Act::SignInsEnded, account.name.as_str());
            Ok((true, vec![note.with(json!({"sign_in": id}))]))
        })
        .await
        .map(|(ended, _)| ended)
    }

    /// Ends all of an account's logins but this one; how many.
    pub async fn end_logins(
        &self,
        account: Account,
        keep: Option<SecretHash>,
        by: Actor,
    ) -> Result<usize, StoreError> {
        self.write_told(move |db| {
            let ended = db.execute(
                "DELETE FROM logins WHERE account = ?1 AND hash IS NOT ?2",
                params![account.id, keep.as_ref().map(|hash| &hash[..])],
            )?;
            let note = Note::done(&by, Act::SignInsEnded, account.name.as_str());
            Ok((ended, vec![note.with(json!({"ended": ended}))]))
        })
        .await
        .map(|(ended, _)| ended)
    }

    /// Ends all of an account's logins and tokens.
    pub async fn end_access(&self, account: Account, by: Actor) -> Result<(), StoreError> {
        self.write_told(move |db| {
            end_everything(db, &account, None)?;
            let note = Note::done(&by, Act::SignInsEnded, account.name.as_str());
            Ok(((), vec![note.with(json!({"tokens": true}))]))
        })
        .await
        .map(|_| ())
    }

    /// An account's tokens that are good, the oldest first.
    pub fn tokens(&self, account: i64) -> Result<Vec<Token>, StoreError> {
        let now = now();
        self.read(|db| {
            db.prepare_cached(
                "SELECT id, name, created_at, expires_at, used_at FROM tokens
                 WHERE account = ?1 AND (expires_at IS NULL OR expires_at > ?2) ORDER BY id",
            )?
            .query_map([account, now], |row| {
                Ok(Token {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    created_at: timestamp(row.get(2)?),
                    expires_at: row.get::<_, Option<i64>>(3)?.map(timestamp),
                    used_at: row.get::<_, Option<i64>>(4)?.map(timestamp),
                })
            })?
            .collect()
        })
    }

    /// A new token, where the account has fewer than [`TOKENS`]. All that are over go.
    pub async fn add_token(&self, new: NewToken, by: Actor) -> Result<Token, StoreError> {
        self.add_token_until(new, None, by).await
    }

    /// The same, which ends no later than then.
    pub async fn add_token_until(
        &self,
        new: NewToken,
        end: Option<Timestamp>,
        by: Actor,
    ) -> Result<Token, StoreError> {
        self.write_told(move |db| {
            let token = insert_token(db, &new, end)?;
            let detail = json!({"token": token.id, "expires_at": token.expires_at});
            let note = Note::done(&by, Act::TokenCreated, new.name).with(detail);
            Ok((token, vec![note]))
        })
        .await
        .map(|(token, _)| token)
    }

    /// Ends one of an account's tokens; whether there was one.
    pub async fn delete_token(&self, account: i64, id: i64, by: Actor) -> Result<bool, StoreError> {
        self.write_told(move |db| {
            let name: Option<String> = db
                .query_row(
                    "DELETE FROM tokens WHERE id = ?1 AND account = ?2 RETURNING name",
                    [id, account],
                    |row| row.get(0),
                )
                .optional()?;
            let note = |name| Note::done(&by, Act::TokenDeleted, name).with(json!({"token": id}));
            Ok((name.is_some(), name.map(note).into_iter().collect()))
        })
        .await
        .map(|(ended, _)| ended)
    }
}

/// As the database keeps it.
fn kept(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

fn insert_token(
    db: &Transaction<'_>,
    new: &NewToken,
    end: Option<Timestamp>,
) -> Result<Token, StoreError> {
    let created_at = now();
    db.execute("DELETE FROM tokens WHERE expires_at <= ?1", [created_at])?;
    let count = "SELECT count(*) FROM tokens WHERE account = ?1";
    let has: u32 = db.query_row(count, [new.account], |row| row.get(0))?;
    if has >= TOKENS {
        return Err(StoreError::TooManyTokens);
    }
    let life = new.life.map(millis);
    let by_itself = life.map(|life| created_at.saturating_add(life));
    let expires_at = by_itself.into_iter().chain(end.map(kept)).min();
    db.execute(
        "INSERT INTO tokens (hash, account, name, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![&new.hash[..], new.account, new.name, created_at, expires_at],
    )?;
    Ok(Token {
        id: db.last_insert_rowid(),
        name: new.name.clone(),
        created_at: timestamp(created_at),
        expires_at: expires_at.map(timestamp),
        used_at: None,
    })
}
