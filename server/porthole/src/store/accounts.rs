//! Accounts.

use porthole_protocol::container::Owner;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde_json::json;

use super::{Act, Actor, Note, Store, StoreError, now, timestamp};
use crate::access::identity::SecretHash;
use crate::access::limits::{Change, Said};
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

/// What an administrator changes of an account.
#[derive(Debug, Clone, Default)]
pub struct AccountChange {
    /// Another role.
    pub role: Option<Role>,
    /// Whether nobody is to sign in to it.
    pub disabled: Option<bool>,
    /// Other limits.
    pub limits: Change,
    /// Another password: argon2id in PHC form.
    pub password: Option<String>,
    /// The revision that was looked at, where it matters: another one refuses the change.
    pub revision: Option<i64>,
}

/// The columns that [`account`] reads, and how many they are.
pub(super) const COLUMNS: &str = "accounts.id, accounts.name, accounts.role, accounts.created_at,
    accounts.disabled_at, accounts.revision, accounts.limits";
pub(super) const WIDTH: usize = 7;

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
        disabled_at: row.get::<_, Option<i64>>(4)?.map(timestamp),
        revision: row.get(5)?,
        limits: serde_json::from_str::<Said>(&row.get::<_, String>(6)?).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(6, Type::Text, Box::new(error))
        })?,
    })
}

fn by_name(db: &Connection, name: &str) -> rusqlite::Result<Option<Stored>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS}, password FROM accounts WHERE name = ?1"
    ))?
    .query_row([name], |row| {
        Ok(Stored {
            account: account(row)?,
            password: row.get(WIDTH)?,
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
    Ok(Account::new(
        db.last_insert_rowid(),
        new.name.clone(),
        new.role,
        timestamp(created_at),
    ))
}

fn require(db: &Connection, name: &str) -> Result<Account, StoreError> {
    by_name(db, name)?
        .map(|stored| stored.account)
        .ok_or_else(|| StoreError::NoAccount(name.to_owned()))
}

/// Fails where nobody but this account is an administrator who can sign in.
fn another_administrator(db: &Connection, than: &Account) -> Result<(), StoreError> {
    let others: i64 = db.query_row(
        "SELECT count(*) FROM accounts WHERE role = 'admin' AND disabled_at IS NULL AND id != ?1",
        [than.id],
        |row| row.get(0),
    )?;
    if others == 0 && than.role == Role::Admin && than.disabled_at.is_none() {
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
    pub async fn create_first_account(
        &self,
        new: NewAccount,
        by: Actor,
    ) -> Result<Account, StoreError> {
        self.write_told(move |db| {
            if count(db)? != 0 {
                return Err(StoreError::NotFirst);
            }
            made(db, &new, &by)
        })
        .await
        .map(|(account, _)| account)
    }

    /// Makes an account.
    pub async fn create_account(&self, new: NewAccount, by: Actor) -> Result<Account, StoreError> {
        let made = self.write_told(move |db| made(db, &new, &by)).await;
        made.map(|(account, _)| account)
    }

    /// Changes an account, all of it or nothing. With another password, and where it is disabled,
    /// its logins and tokens end.
    pub async fn change_account(
        &self,
        name: String,
        change: AccountChange,
        by: Actor,
    ) -> Result<Account, StoreError> {
        self.write_told(move |db| change_account(db, &name, &change, &by))
            .await
            .map(|(account, _)| account)
    }

    /// Gives an account the password that its owner has chosen, and ends all its tokens, and its
    /// logins but the one that asks.
    pub async fn set_own_password(
        &self,
        name: String,
        password: String,
        keep: Option<SecretHash>,
        by: Actor,
    ) -> Result<(), StoreError> {
        self.write_told(move |db| {
            let account = require(db, &name)?;
            set_password(db, &account, &password, keep.as_ref())?;
            Ok(((), vec![Note::done(&by, Act::PasswordChanged, name)]))
        })
        .await
        .map(|_| ())
    }

    /// Another password, for the command line; the account is enabled where it was not.
    pub fn set_password_now(&self, name: &str, password: &str) -> Result<Account, StoreError> {
        let change = AccountChange {
            password: Some(password.to_owned()),
            disabled: Some(false),
            ..AccountChange::default()
        };
        self.write_told_now(|db| change_account(db, name, &change, &Actor::command()))
    }

    /// Removes an account with its logins and tokens.
    pub async fn delete_account(&self, name: String, by: Actor) -> Result<(), StoreError> {
        self.write_told(move |db| {
            let account = require(db, &name)?;
            another_administrator(db, &account)?;
            db.execute("DELETE FROM accounts WHERE id = ?1", [account.id])?;
            Ok(((), vec![Note::done(&by, Act::AccountDeleted, name)]))
        })
        .await
        .map(|_| ())
    }
}

type Told<T> = Result<(T, Vec<Note>), StoreError>;

fn made(db: &Transaction<'_>, new: &NewAccount, by: &Actor) -> Told<Account> {
    let account = insert(db, new)?;
    let note = Note::done(by, Act::AccountCreated, new.name.as_str());
    Ok((account, vec![note.with(json!({"role": new.role}))]))
}

fn change_account(
    db: &Transaction<'_>,
    name: &str,
    change: &AccountChange,
    by: &Actor,
) -> Told<Account> {
    let mut account = require(db, name)?;
    if change.revision.is_some_and(|seen| seen != account.revision) {
        return Err(StoreError::Revised(Box::new(account)));
    }
    let mut notes = Vec::new();
    let mut note = |act, detail| notes.push(Note::done(by, act, name).with(detail));
    if let Some(role) = change.role.filter(|role| *role != account.role) {
        another_administrator(db, &account)?;
        note(
            Act::RoleChanged,
            json!({"role": role, "before": account.role}),
        );
        account.role = role;
    }
    match (change.disabled, account.disabled_at) {
        (Some(true), None) => {
            another_administrator(db, &account)?;
            account.disabled_at = Some(timestamp(now()));
            end_everything(db, &account, None)?;
            note(Act::AccountDisabled, json!({}));
        }
        (Some(false), Some(_)) => {
            account.disabled_at = None;
            note(Act::AccountEnabled, json!({}));
        }
        _ => {}
    }
    let limits = change.limits.apply(account.limits);
    if limits != account.limits {
        note(
            Act::LimitsChanged,
            json!({"limits": limits, "before": account.limits}),
        );
        account.limits = limits;
    }
    if let Some(password) = &change.password {
        set_password(db, &account, password, None)?;
        note(Act::PasswordReset, json!({}));
    }
    if !notes.is_empty() {
        account.revision += 1;
        let limits = serde_json::to_string(&account.limits).unwrap_or_default();
        db.execute(
            "UPDATE accounts SET role = ?2, disabled_at = ?3, limits = ?4, revision = ?5 WHERE id = ?1",
            params![
                account.id,
                account.role.name(),
                account.disabled_at.map(|at| i64::try_from(at.0).unwrap_or(i64::MAX)),
                limits,
                account.revision,
            ],
        )?;
    }
    Ok((account, notes))
}

fn set_password(
    db: &Transaction<'_>,
    account: &Account,
    password: &str,
    keep: Option<&SecretHash>,
) -> Result<(), StoreError> {
    db.execute(
        "UPDATE accounts SET password = ?2 WHERE id = ?1",
        params![account.id, password],
    )?;
    end_everything(db, account, keep)
}

/// Ends an account's logins but this one, and its tokens: who knew the password could have made one.
pub(super) fn end_everything(
    db: &Transaction<'_>,
    account: &Account,
    keep: Option<&SecretHash>,
) -> Result<(), StoreError> {
    db.execute(
        "DELETE FROM logins WHERE account = ?1 AND hash IS NOT ?2",
        params![account.id, keep.map(|hash| &hash[..])],
    )?;
    db.execute("DELETE FROM tokens WHERE account = ?1", [account.id])?;
    Ok(())
}
