//! Looking for entries.

use rusqlite::{Connection, ToSql};

use super::chain::Record;
use super::keep::reading;
use super::{COLUMNS, record};
use crate::store::{Store, StoreError};

/// What is looked for. What is empty says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Who.
    pub account: String,
    /// What was done.
    pub act: String,
    /// Letters that stand somewhere in the object or the detail.
    pub object: String,
    /// Milliseconds since 1970, this one among them.
    pub since: Option<i64>,
    /// Milliseconds since 1970, this one not among them.
    pub until: Option<i64>,
    /// Entries before this number.
    pub before: Option<i64>,
    /// Entries behind this number, the oldest first: for an export.
    pub after: Option<i64>,
    /// Also outcomes, which else stand with what they are the outcome of.
    pub outcomes: bool,
}

/// An entry as it is looked at, with how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The entry.
    pub record: Record,
    /// How it ended, where another entry says that.
    pub ended: Option<Ended>,
}

/// How something ended that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// `done`, `refused` or `failed`.
    pub result: String,
    /// Why it was not done.
    pub why: String,
    /// What it is called since then, where it was called otherwise: something that was made.
    pub made: Option<String>,
}

impl Wanted {
    /// At most so many entries, the newest first, or the oldest where `after` is asked for.
    fn find(&self, db: &Connection, limit: u32) -> rusqlite::Result<Vec<Found>> {
        let wanted = self;
        let mut sql = format!(
            "SELECT {COLUMNS},
                {}, {}, {}
             FROM audit WHERE 1",
            ended("result"),
            ended("detail"),
            ended("object"),
        );
        let mut values: Vec<&dyn ToSql> = Vec::new();
        let pattern = format!("%{}%", escaped(&wanted.object));
        let mut add = |condition: &str, value| {
            values.push(value);
            let place = values.len().to_string();
            sql.push_str(" AND ");
            sql.push_str(&condition.replace('?', &format!("?{place}")));
        };
        if !wanted.account.is_empty() {
            add("account = ?", &wanted.account);
        }
        if !wanted.act.is_empty() {
            add("act = ?", &wanted.act);
        }
        if !wanted.object.is_empty() {
            // What was made was asked for by another name, or by none.
            let condition = format!(
                "(object LIKE ? ESCAPE '\\' OR detail LIKE ? ESCAPE '\\' OR {} LIKE ? ESCAPE '\\')",
                ended("object")
            );
            add(&condition, &pattern);
        }
        for (condition, value) in [
            ("at >= ?", &wanted.since),
            ("at < ?", &wanted.until),
            ("number < ?", &wanted.before),
            ("number > ?", &wanted.after),
        ] {
            if let Some(value) = value {
                add(condition, value);
            }
        }
        if !wanted.outcomes {
            sql.push_str(" AND of = 0");
        }
        let order = if wanted.after.is_some() {
            "ASC"
        } else {
            "DESC"
        };
        sql.push_str(&format!(" ORDER BY number {order} LIMIT {limit}"));
        db.prepare_cached(&sql)?
            .query_map(&*values, |row| {
                let record = record(row)?;
                let result: Option<String> = row.get(13)?;
                let ended = match result {
                    None => None,
                    Some(result) => Some(Ended {
                        result,
                        why: why(&row.get::<_, String>(14)?),
                        made: Some(row.get(15)?).filter(|object| *object != record.object),
                    }),
                };
                Ok(Found { record, ended })
            })?
            .collect()
    }
}

impl Store {
    /// At most so many entries, the newest first, or the oldest where `after` is asked for. A long
    /// trail takes its time to be searched: on a thread and a connection of its own.
    pub async fn audit_entries(
        &self,
        wanted: &Wanted,
        limit: u32,
    ) -> Result<Vec<Found>, StoreError> {
        let (path, wanted) = (self.path.clone(), wanted.clone());
        tokio::task::spawn_blocking(move || Ok(wanted.find(&reading(&path)?, limit)?))
            .await
            .map_err(|_| StoreError::Ending)?
    }

    /// The same at once, for tests.
    #[cfg(test)]
    pub(crate) fn audit_entries_now(&self, wanted: &Wanted, limit: u32) -> Vec<Found> {
        self.read(|db| wanted.find(db, limit)).expect("read")
    }
}

impl Store {
    /// Everything that was ever done, by its word. Looked up one after the other, so that no entry
    /// is read for it.
    pub fn audit_acts(&self) -> Result<Vec<String>, StoreError> {
        self.read(|db| {
            db.prepare_cached(
                "WITH RECURSIVE acts (act) AS (
                    SELECT min(act) FROM audit
                    UNION ALL
                    SELECT (SELECT min(act) FROM audit WHERE act > acts.act) FROM acts WHERE act IS NOT NULL
                 ) SELECT act FROM acts WHERE act IS NOT NULL",
            )?
            .query_map([], |row| row.get(0))?
            .collect()
        })
    }
}

/// A column of the entry that tells an entry's outcome.
fn ended(column: &str) -> String {
    format!(
        "(SELECT {column} FROM audit AS later WHERE later.of = audit.number AND later.of != 0 LIMIT 1)"
    )
}

/// Why something was refused, as its outcome tells it.
fn why(detail: &str) -> String {
    let detail: serde_json::Value = serde_json::from_str(detail).unwrap_or_default();
    detail["why"].as_str().unwrap_or_default().to_owned()
}

/// What is looked for by its letters, percent signs among them.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
