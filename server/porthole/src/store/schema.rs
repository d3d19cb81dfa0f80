//! The tables, and how an older version's become this one's.

use std::path::Path;

use rusqlite::Connection;
use rusqlite_migration::{Error, M, MigrationDefinitionError, Migrations};

use super::StoreError;

/// One for each version that was ever released; never changed, only added to.
const STEPS: &[M<'static>] = &[M::up(FIRST), M::up(PEOPLE)];
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

/// Accounts that are disabled and have limits; where sign-ins come from; tokens that end by
/// themselves; in the audit trail from where something was asked for, how it ended, and checkpoints.
const PEOPLE: &str = "
ALTER TABLE accounts ADD COLUMN disabled_at INTEGER;
-- Grows with every change by an administrator, so that of two who change one thing the second notices.
ALTER TABLE accounts ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
ALTER TABLE accounts ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';
DROP TRIGGER role_changed;
CREATE TRIGGER rights_changed AFTER UPDATE OF role, password, disabled_at ON accounts
    BEGIN UPDATE revocations SET number = number + 1; END;

ALTER TABLE logins ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE logins ADD COLUMN agent TEXT NOT NULL DEFAULT '';

ALTER TABLE tokens ADD COLUMN expires_at INTEGER;
ALTER TABLE tokens ADD COLUMN used_at INTEGER;

ALTER TABLE audit ADD COLUMN format INTEGER NOT NULL DEFAULT 1;
ALTER TABLE audit ADD COLUMN via TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN result TEXT NOT NULL DEFAULT 'asked';
-- The entry that this one tells the outcome of; 0 where it is about itself.
ALTER TABLE audit ADD COLUMN of INTEGER NOT NULL DEFAULT 0;
CREATE INDEX audit_by_of ON audit (of) WHERE of != 0;
CREATE INDEX audit_by_account ON audit (account, number);
CREATE INDEX audit_by_act ON audit (act, number);
DROP TRIGGER audit_is_not_shortened;
-- What a checkpoint has closed may go: it is in a file then.
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
    WHEN OLD.number > coalesce(
        (SELECT max(CAST(json_extract(detail, '$.to') AS INTEGER)) FROM audit WHERE act = 'checkpoint'), 0)
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
    use super::*;

    #[test]
    fn migrations_are_valid() {
        assert_eq!(MIGRATIONS.validate(), Ok(()));
    }

    /// Two entries as the first version wrote them.
    const OLD: &str = "
        INSERT INTO accounts (name, role, password, created_at) VALUES ('ann', 'admin', 'x', 5);
        INSERT INTO logins VALUES (x'01', 1, 5, 5);
        INSERT INTO audit VALUES (1, 5, 'ann', 'sign_in', 'ann', '{}', x'', x'%1');
        INSERT INTO audit VALUES (2, 6, 'ann', 'sign_out', 'ann', '{}', x'%1', x'%2');
    ";

    #[tokio::test]
    async fn an_older_versions_accounts_and_trail_are_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("porthole.db");
        let mut db = Connection::open(&path).expect("opens");
        MIGRATIONS
            .to_version(&mut db, 1)
            .expect("the first version");
        let hashes = old_hashes();
        db.execute_batch(&OLD.replace("%1", &hashes[0]).replace("%2", &hashes[1]))
            .expect("filled");
        drop(db);
        let store = super::super::Store::open(&path).expect("migrated");
        let account = store.account("ann").expect("read").expect("there").account;
        assert_eq!(account.revision, 1);
        assert_eq!(account.disabled_at, None);
        let verified = store.audit_verify().await.expect("read").expect("whole");
        assert_eq!(verified.head.map(|head| head.number), Some(2));
        let by = crate::store::Actor::server();
        let note = crate::store::Note::done(&by, crate::store::Act::SignIn, "ann");
        store.record(note).await.expect("added");
        let verified = store.audit_verify().await.expect("read").expect("goes on");
        assert_eq!(verified.head.map(|head| head.number), Some(3));
    }

    /// SHA-256 over the fields with their lengths, written down a second time.
    fn old_hashes() -> [String; 2] {
        use sha2::{Digest as _, Sha256};
        let entry = |previous: &[u8], number: i64, at: i64, act: &str| {
            let mut bytes = Vec::new();
            bytes.extend((previous.len() as u64).to_be_bytes());
            bytes.extend(previous);
            bytes.extend(number.to_be_bytes());
            bytes.extend(at.to_be_bytes());
            for text in ["ann", act, "ann", "{}"] {
                bytes.extend((text.len() as u64).to_be_bytes());
                bytes.extend(text.as_bytes());
            }
            Sha256::digest(&bytes).to_vec()
        };
        let one = entry(&[], 1, 5, "sign_in");
        let two = entry(&one, 2, 6, "sign_out");
        [one, two].map(|hash| crate::access::secret::hex(&hash))
    }
}
