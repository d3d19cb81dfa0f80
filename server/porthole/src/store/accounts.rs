//! Accounts.

use porthole_protocol::container::Owner;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{Store, StoreError, now, timestamp};
use crate::access::{Account, Role};

/// An account with what its password is checked against.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The account.
    pub account: Account,
    /// argon2id in PHC form.
    pub password: String,
}

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its name.
    pub name: Owner,
    /// What it may do.
    pub role: Role,
    /// argon2id in PHC form.
    pub password: String,
}

pub(super) const COLUMNS: &str = "accounts.id, accounts.name, accounts.role, accounts.created_at";

pub(super) fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let impossible = |column, error: porthole_protocol::container::Invalid| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    };
    Ok(Account {
        id: row.get(0)?,
        name: Owner::try_from(row.get::<_, String>(1)?).map_err(|e| impossible(1, e))?,
        role: row
            .get::<_, String>(2)?
            .parse()
            .map_err(|e| impossible(2, e))?,
        created_at: timestamp(row.get(3)?),
    })
}

fn by_name(db: &Connection, name: &str) -> rusqlite::Result<Option<Stored>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS}, password FROM accounts WHERE name = ?1"
    ))?
    .query_row([name], |row| {
        Ok(Stored {
            account: account(row)?,
            password: row.get(4)?,
        })
    })
    .optional()
}

fn count(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("SELECT count(*) FROM accounts")?
        .query_row([], |row| row.get(0))
}

fn insert(db: &Transaction<'_>, new: &NewAccount) -> Result<Account, StoreError> {
    if by_name(db, new.name.as_str())?.is_some() {
        return Err(StoreError::NameTaken(new.name.to_string()));
    }
    let created_at = now();
    db.execute(
        "INSERT INTO accounts (name, role, password, created_at) VALUES (?1, ?2, ?3, ?4)",
        params![new.name.as_str(), new.role.name(), new.password, created_at],
    )?;
    Ok(Account {
        id: db.last_insert_rowid(),
        name: new.name.clone(),
        role: new.role,
        created_at: timestamp(created_at),
    })
}

fn require(db: &Connection, name: &str) -> Result<Account, StoreError> {
    by_name(db, name)?
        .map(|stored| stored.account)
        .ok_or_else(|| StoreError::NoAccount(name.to_owned()))
}

/// Fails where nobody but this account is an administrator.
fn another_administrator(db: &Connection, than: &Account) -> Result<(), StoreError> {
    let others: i64 = db.query_row(
        "SELECT count(*) FROM accounts WHERE role = 'admin' AND id != ?1",
        [than.id],
        |row| row.get(0),
    )?;
    if others == 0 && than.role == Role::Admin {
        Err(StoreError::LastAdministrator)
    } else {
        Ok(())
    }
}

impl Store {
    /// All accounts, by name.
    pub fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.read(|db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM accounts ORDER BY name"))?
                .query_map([], account)?
                .collect()
        })
    }

    /// The account of this name, with what its password is checked against.
    pub fn account(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        self.read(|db| by_name(db, name))
    }

    /// Whether there is no account yet.
    pub fn is_new(&self) -> Result<bool, StoreError> {
        self.read(|db| Ok(count(db)? == 0))
    }

    /// Makes the first account. Of two who try at once one fails.
    pub async fn create_first_account(&self, new: NewAccount) -> Result<Account, StoreError> {
        self.write(move |db| {
            if count(db)? != 0 {
                return Err(StoreError::NotFirst);
            }
            insert(db, &new)
        })
        .await
    }

    /// Makes an account.
    pub async fn create_account(&self, new: NewAccount) -> Result<Account, StoreError> {
        self.write(move |db| insert(db, &new)).await
    }

    /// Gives an account another role.
    pub async fn set_role(&self, name: String, role: Role) -> Result<Account, StoreError> {
        self.write(move |db| {
            let mut account = require(db, &name)?;
            if account.role != role {
                another_administrator(db, &account)?;
                db.execute(
                    "UPDATE accounts SET role = ?2 WHERE id = ?1",
                    params![account.id, role.name()],
                )?;
                account.role = role;
            }
            Ok(account)
        })
        .await
    }

    /// Gives an account another password, and ends all its tokens, and its logins but the one that
    /// asks.
    pub async fn set_password(
        &self,
        name: String,
        password: String,
        keep: Option<crate::access::identity::SecretHash>,
    ) -> Result<Account, StoreError> {
        self.write(move |db| set_password(db, &name, &password, keep.as_ref()))
            .await
    }

    /// The same, for the command line.
    pub fn set_password_now(&self, name: &str, password: &str) -> Result<Account, StoreError> {
        self.write_now(|db| {
            let account = set_password(db, name, password, None)?;
            super::audit::add(db, "root@local", super::Act::PasswordReset, name, "{}")?;
            Ok(account)
        })
    }

    /// Removes an account with its logins and tokens.
    pub async fn delete_account(&self, name: String) -> Result<(), StoreError> {
        self.write(move |db| {
            let account = require(db, &name)?;
            another_administrator(db, &account)?;
            db.execute("DELETE FROM accounts WHERE id = ?1", [account.id])?;
            Ok(())
        })
        .await
    }
}

fn set_password(
    db: &Transaction<'_>,
    name: &str,
    password: &str,
    keep: Option<&crate::access::identity::SecretHash>,
) -> Result<Account, StoreError> {
    let account = require(db, name)?;
    db.execute(
        "UPDATE accounts SET password = ?2 WHERE id = ?1",
        params![account.id, password],
    )?;
    db.execute(
        "DELETE FROM logins WHERE account = ?1 AND hash IS NOT ?2",
        params![account.id, keep.map(|hash| &hash[..])],
    )?;
    // Who knew the old password could have made one.
    db.execute("DELETE FROM tokens WHERE account = ?1", [account.id])?;
    Ok(account)
}
