//! The tables, and how an older version's become this one's.

use std::path::Path;

use rusqlite::Connection;
use rusqlite_migration::{Error, M, MigrationDefinitionError, Migrations};

use super::StoreError;

/// One for each version that was ever released; never changed, only added to.
const STEPS: &[M<'static>] = &[M::up(FIRST)];
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

const FIRST: &str = "
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'user', 'admin')),
    password TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE logins (
    hash BLOB PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX logins_by_account ON logins (account);

CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,
    account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX tokens_by_account ON tokens (account);

-- Grows with everything that somebody loses, so that open sockets notice, whoever took it away.
CREATE TABLE revocations (number INTEGER NOT NULL) STRICT;
INSERT INTO revocations VALUES (0);
CREATE TRIGGER role_changed AFTER UPDATE OF role, password ON accounts
    BEGIN UPDATE revocations SET number = number + 1; END;
CREATE TRIGGER account_gone AFTER DELETE ON accounts
    BEGIN UPDATE revocations SET number = number + 1; END;
CREATE TRIGGER login_gone AFTER DELETE ON logins
    BEGIN UPDATE revocations SET number = number + 1; END;
CREATE TRIGGER token_gone AFTER DELETE ON tokens
    BEGIN UPDATE revocations SET number = number + 1; END;

CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    account TEXT NOT NULL,
    act TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END;
";

pub(super) fn bring_up_to_date(db: &mut Connection, path: &Path) -> Result<(), StoreError> {
    match MIGRATIONS.to_latest(db) {
        Ok(()) => Ok(()),
        Err(Error::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead)) => {
            Err(StoreError::Newer(path.display().to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn migrations_are_valid() {
        assert_eq!(super::MIGRATIONS.validate(), Ok(()));
    }
}
