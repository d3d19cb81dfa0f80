//! Accounts, for administrators: the list, one of them, and the question before it is deleted.

use std::collections::BTreeMap;

use askama::Template;
use porthole_protocol::container::Timestamp;
use serde::Deserialize;

use super::usage::{Use, title};
use super::{Tab, Trouble};
use crate::access::limits::{Ceiling, Kind, Said, UNLIMITED};
use crate::access::{Account, Role};
use crate::actions::limits::shown;
use crate::pages::view::live::Region;
use crate::pages::view::shell::Shell;
use crate::pages::view::words::{When, parse_bytes};

/// An account in the list.
#[derive(Debug, Clone)]
pub struct UserRow {
    /// Its name.
    pub name: String,
    /// Its role's word.
    pub role: &'static str,
    /// Nobody signs in to it.
    pub disabled: bool,
    /// What it has.
    pub containers: Use,
    /// What it has.
    pub sessions: Use,
    /// What it has.
    pub memory: Use,
    /// When it was last signed in.
    pub seen: Option<When>,
    /// When it was made.
    pub created: When,
    /// It is the reader's own.
    pub own: bool,
}

/// The list.
#[derive(Template)]
#[template(path = "settings_users.html")]
pub struct UsersPage {
    /// The frame.
    pub shell: Shell,
    /// The parts of the settings.
    pub tabs: Vec<Tab>,
    /// What is searched for.
    pub q: String,
    /// How many there are.
    pub total: usize,
    /// Those that are looked for.
    pub users: Vec<UserRow>,
    /// What was wrong with the form for a new one.
    pub trouble: Trouble,
    /// What was done.
    pub done: String,
    /// Nothing here is live.
    pub region: Region,
}

/// What was typed into the form of one account. Every field is text, so that nothing is lost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields of an account by their names")]
pub struct Typed {
    pub revision: String,
    pub role: String,
    pub disabled: String,
    pub containers: String,
    pub sessions: String,
    pub memory: String,
    pub cpus: String,
    pub pids: String,
}

impl Typed {
    /// What the form shows of an account as it is.
    pub fn of(account: &Account) -> Self {
        let text = |kind| match account.limits.get(kind) {
            None => String::new(),
            Some(Ceiling::Unlimited) => UNLIMITED.to_owned(),
            Some(Ceiling::Most(most)) => exact(kind, most),
        };
        Self {
            revision: account.revision.to_string(),
            role: account.role.name().to_owned(),
            disabled: match account.disabled_at {
                Some(_) => "on".to_owned(),
                None => String::new(),
            },
            containers: text(Kind::Containers),
            sessions: text(Kind::Sessions),
            memory: text(Kind::Memory),
            cpus: text(Kind::Cpus),
            pids: text(Kind::Pids),
        }
    }

    /// What was typed for a limit.
    pub fn limit(&self, kind: Kind) -> &str {
        match kind {
            Kind::Containers => &self.containers,
            Kind::Sessions => &self.sessions,
            Kind::Memory => &self.memory,
            Kind::Cpus => &self.cpus,
            Kind::Pids => &self.pids,
        }
    }

    /// The limits, or what is wrong with them by field.
    pub fn limits(&self) -> Result<Said, BTreeMap<&'static str, String>> {
        let mut said = Said::default();
        let mut wrong = BTreeMap::new();
        for kind in Kind::ALL {
            match parse(kind, self.limit(kind).trim()) {
                Ok(ceiling) => said = said.with(kind, ceiling),
                Err(why) => {
                    wrong.insert(kind.name(), why.to_owned());
                }
            }
        }
        if wrong.is_empty() {
            Ok(said)
        } else {
            Err(wrong)
        }
    }
}

/// An amount in the fewest letters that mean exactly it.
fn exact(kind: Kind, amount: u64) -> String {
    let short = shown(kind, amount);
    if kind == Kind::Memory && parse_bytes(&short) != Some(amount) {
        return amount.to_string();
    }
    short
}

fn parse(kind: Kind, text: &str) -> Result<Option<Ceiling>, &'static str> {
    const MOST: u64 = 1 << 53;
    let amount = match (text, kind) {
        ("", _) => return Ok(None),
        (text, _) if text.eq_ignore_ascii_case(UNLIMITED) => return Ok(Some(Ceiling::Unlimited)),
        (text, Kind::Memory) => {
            parse_bytes(text).ok_or("Write a size as “4 GiB”, “512m” or a number of bytes.")
        }
        (text, Kind::Cpus) => {
            let cores = text.replace(',', ".").parse::<f64>().ok();
            let cores = cores.filter(|cores| (0.0..=65_536.0).contains(cores));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked to be between 0 and 65536"
            )]
            cores
                .map(|cores| (cores * 1000.0).round() as u64)
                .ok_or("Write a number of cores: 1, 0.5, 2.")
        }
        (text, _) => text.parse().map_err(|_| "Write a whole number."),
    }?;
    if amount > MOST {
        return Err("This is more than can be counted. Write “unlimited”.");
    }
    Ok(Some(Ceiling::Most(amount)))
}

/// A limit's field.
pub struct LimitField {
    /// What.
    pub title: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What stands in it.
    pub value: String,
    /// What holds where nothing does.
    pub default: String,
    /// How much there is.
    pub used: String,
    /// Why it cannot be used.
    pub error: String,
    /// What it is now, where somebody else has set it meanwhile.
    pub now: Option<String>,
}

/// What is wrong with the form.
#[derive(Debug, Clone, Default)]
pub struct Wrong {
    /// By field.
    pub fields: BTreeMap<&'static str, String>,
    /// Of the whole.
    pub message: String,
    /// Somebody else has changed the account: it is shown what it is now.
    pub meanwhile: bool,
}

/// One account.
#[derive(Template)]
#[template(path = "settings_user.html")]
pub struct UserPage {
    /// The frame.
    pub shell: Shell,
    /// The parts of the settings.
    pub tabs: Vec<Tab>,
    /// Its name.
    pub name: String,
    /// What the form shows.
    pub typed: Typed,
    /// The roles with their words.
    pub roles: [(Role, &'static str); 3],
    /// The role that it has now, where somebody else has given it another one meanwhile.
    pub role_now: Option<&'static str>,
    /// Whether it is disabled now, where that was changed meanwhile.
    pub disabled_now: Option<&'static str>,
    /// Its limits.
    pub limits: Vec<LimitField>,
    /// What is wrong.
    pub wrong: Wrong,
    /// What was done.
    pub done: String,
    /// A password that was just made up: shown once.
    pub fresh_password: String,
    /// Since when nobody signs in to it.
    pub disabled: Option<When>,
    /// When it was made.
    pub created: When,
    /// Where it is signed in.
    pub logins: usize,
    /// When it was last signed in.
    pub seen: Option<When>,
    /// How many tokens it has.
    pub tokens: usize,
    /// What of its runs on.
    pub runs: String,
    /// It is the reader's own.
    pub own: bool,
    /// Nothing here is live.
    pub region: Region,
}

/// What each role may do.
pub const ROLES: [(Role, &str); 3] = [
    (Role::Viewer, "viewer: looks, changes nothing"),
    (Role::User, "user: own containers"),
    (Role::Admin, "admin: everything"),
];

/// The fields of the limits: what was typed, beside what is so.
pub fn limit_fields(
    typed: &Typed,
    account: &Account,
    defaults: &Said,
    used: &[Use],
    wrong: &Wrong,
) -> Vec<LimitField> {
    let now = Typed::of(account);
    let of = |(kind, used): (Kind, &Use)| LimitField {
        title: title(kind),
        name: kind.name(),
        value: typed.limit(kind).to_owned(),
        default: match defaults.get(kind) {
            Some(Ceiling::Most(most)) => shown(kind, most),
            Some(Ceiling::Unlimited) | None => UNLIMITED.to_owned(),
        },
        used: used.used.clone(),
        error: wrong.fields.get(kind.name()).cloned().unwrap_or_default(),
        now: (wrong.meanwhile && now.limit(kind) != typed.limit(kind)).then(|| {
            let set = now.limit(kind);
            if set.is_empty() { "the default" } else { set }.to_owned()
        }),
    };
    Kind::ALL.into_iter().zip(used).map(of).collect()
}

/// The question before an account is deleted.
#[derive(Template)]
#[template(path = "settings_delete.html")]
pub struct DeletePage {
    /// The frame.
    pub shell: Shell,
    /// The parts of the settings.
    pub tabs: Vec<Tab>,
    /// Its name.
    pub name: String,
    /// Its containers: name, address, state.
    pub containers: Vec<(String, String, &'static str)>,
    /// How many there are.
    pub owned: usize,
    /// How many of them run.
    pub running: usize,
    /// How many sessions run.
    pub sessions: usize,
    /// How many have ended.
    pub ended: usize,
    /// It is disabled already.
    pub disabled: bool,
    /// Why it was not deleted.
    pub error: String,
    /// Nothing here is live.
    pub region: Region,
}

/// When an account was last signed in, of what the store tells.
pub fn seen(seen: &std::collections::HashMap<i64, Timestamp>, account: &Account) -> Option<When> {
    seen.get(&account.id).copied().map(When::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_limits_and_back() {
        let typed = Typed {
            containers: " 3 ".to_owned(),
            memory: "1.5 GiB".to_owned(),
            cpus: "0,5".to_owned(),
            pids: "Unlimited".to_owned(),
            ..Typed::default()
        };
        let limits = typed.limits().expect("valid");
        assert_eq!(limits.get(Kind::Containers), Some(Ceiling::Most(3)));
        assert_eq!(limits.get(Kind::Sessions), None);
        assert_eq!(limits.get(Kind::Cpus), Some(Ceiling::Most(500)));
        let name = "ann".parse().expect("a name");
        let mut account = Account::new(1, name, Role::User, Timestamp::default());
        account.limits = limits;
        let again = Typed::of(&account);
        assert_eq!(again.memory, "1.5 GiB");
        assert_eq!(again.limits().expect("valid"), limits);
        let odd = account
            .limits
            .with(Kind::Memory, Some(Ceiling::Most((1 << 30) + 1)));
        account.limits = odd;
        assert_eq!(
            Typed::of(&account).limits().expect("valid"),
            odd,
            "to the byte"
        );
        let bad = Typed {
            containers: "-1".to_owned(),
            sessions: "1.5".to_owned(),
            memory: "much".to_owned(),
            cpus: "NaN".to_owned(),
            pids: "99999999999999999999".to_owned(),
            ..Typed::default()
        };
        assert_eq!(bad.limits().expect_err("invalid").len(), 5);
    }
}
