//! The audit trail, for administrators.

use askama::Template;
use serde::{Deserialize, Serialize};

use super::Tab;
use crate::pages::view::list::query;
use crate::pages::view::live::Region;
use crate::pages::view::shell::Shell;
use crate::pages::view::words::{moment, visible};
use crate::store::audit::search::Found;

/// What is looked for, as the address has it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Listing {
    /// Who.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub who: String,
    /// What.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub act: String,
    /// On what.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// From this day on, as `2026-11-25`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// Up to this day.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub until: String,
    /// Entries before this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
}

/// An entry.
pub struct AuditRow {
    /// Its number.
    pub number: i64,
    /// When, RFC 3339.
    pub machine: String,
    /// When.
    pub at: String,
    /// Who.
    pub who: String,
    /// From where: address and way.
    pub from: String,
    /// What.
    pub act: String,
    /// On what.
    pub object: String,
    /// Its page, where it has one.
    pub link: Option<String>,
    /// How it ended.
    pub result: String,
    /// Why it was refused.
    pub why: String,
    /// More of it; nothing where there is none.
    pub detail: String,
    /// Its hash.
    pub hash: String,
}

impl AuditRow {
    /// What came of it, where something did.
    pub fn made(found: &Found) -> Option<&str> {
        found.ended.as_ref()?.made.as_deref()
    }

    /// An entry; `link` is the page of what it is about.
    pub fn new(found: &Found, link: Option<String>) -> Self {
        let record = &found.record;
        let (result, why) = match &found.ended {
            Some(ended) => (ended.result.clone(), ended.why.clone()),
            None => {
                let why = record.detail["why"].as_str().unwrap_or_default();
                (record.result.clone(), why.to_owned())
            }
        };
        let detail = match &record.detail {
            serde_json::Value::Object(map) if map.is_empty() => String::new(),
            detail => detail.to_string(),
        };
        Self {
            number: record.number,
            machine: record.at.to_string(),
            at: moment(record.at),
            who: if record.account.is_empty() {
                "Porthole".to_owned()
            } else {
                visible(&record.account)
            },
            from: visible(&[&*record.address, &*record.via].join(" ")),
            act: record.act.replace('_', " "),
            object: visible(match (&*record.object, Self::made(found)) {
                ("", Some(made)) => made,
                (object, _) => object,
            }),
            link,
            result: visible(&result),
            why: visible(&why),
            detail: visible(&detail),
            hash: record.hash.clone().into(),
        }
    }
}

/// What verifying has found.
pub struct Verdict {
    /// It holds together.
    pub holds: bool,
    /// What was found.
    pub message: String,
}

/// The page.
#[derive(Template)]
#[template(path = "settings_audit.html")]
pub struct AuditPage {
    /// The frame.
    pub shell: Shell,
    /// The parts of the settings.
    pub tabs: Vec<Tab>,
    /// What is looked for.
    pub listing: Listing,
    /// Everything that was ever done.
    pub acts: Vec<String>,
    /// The entries.
    pub rows: Vec<AuditRow>,
    /// Query of the page with older ones.
    pub older: Option<String>,
    /// Query of the same as lines of JSON.
    pub export: String,
    /// Something is looked for.
    pub narrowed: bool,
    /// The last entry's place and hash.
    pub head: String,
    /// What verifying has found.
    pub verdict: Option<Verdict>,
    /// Why what is looked for cannot be.
    pub error: String,
    /// Nothing here is live.
    pub region: Region,
}

impl AuditPage {
    /// The query of the newest of these.
    fn newest(&self) -> String {
        query(&Listing {
            before: None,
            ..self.listing.clone()
        })
    }
}
