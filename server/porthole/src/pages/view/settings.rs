//! Settings: what concerns the reader alone; for administrators, accounts and the audit trail.

pub mod audit;
pub mod usage;
pub mod users;

use askama::Template;

use super::Scene;
use super::live::Region;
use super::shell::Shell;
use super::words::{When, visible};
use crate::store::{Login, TOKENS, Token};
use usage::Use;

/// A part of the settings.
pub struct Tab {
    /// Its words.
    pub title: &'static str,
    /// Its address below the base path.
    pub path: &'static str,
    /// It is this one.
    pub now: bool,
}

/// The parts that somebody gets to see; `at` is the one that is shown.
pub fn tabs(scene: Scene<'_>, at: &str) -> Vec<Tab> {
    let all = [
        ("You", "/settings"),
        ("Accounts", "/settings/users"),
        ("Audit", "/settings/audit"),
    ];
    let seen = if scene.who.is_admin() { 3 } else { 1 };
    let tab = |(title, path)| Tab {
        title,
        path,
        now: path == at,
    };
    all.into_iter().take(seen).map(tab).collect()
}

/// A token of a machine.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// Its number.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// When it was made.
    pub created: When,
    /// When it ends by itself.
    pub expires: Option<When>,
    /// When it was last used.
    pub used: Option<When>,
}

impl From<&Token> for TokenRow {
    fn from(token: &Token) -> Self {
        Self {
            id: token.id,
            name: visible(&token.name),
            created: token.created_at.into(),
            expires: token.expires_at.map(When::from),
            used: token.used_at.map(When::from),
        }
    }
}

/// A browser that is signed in.
#[derive(Debug, Clone)]
pub struct LoginRow {
    /// Names it.
    pub id: String,
    /// The browser and the system that it says it is.
    pub browser: String,
    /// All that it says.
    pub agent: String,
    /// From which address.
    pub address: String,
    /// When it began.
    pub created: When,
    /// When it was last used.
    pub seen: When,
    /// It is the reader's own.
    pub current: bool,
}

impl From<&Login> for LoginRow {
    fn from(login: &Login) -> Self {
        Self {
            id: login.id.clone(),
            browser: browser(&login.agent),
            agent: visible(&login.agent),
            address: visible(&login.address),
            created: login.created_at.into(),
            seen: login.seen_at.into(),
            current: login.current,
        }
    }
}

/// The few words of a browser's name for itself that tell it from another: `Firefox on Linux`.
fn browser(agent: &str) -> String {
    // Each of these also says the names that stand behind it.
    let browsers = ["Edg", "OPR", "Firefox", "Chrome", "Safari"];
    let systems = ["Android", "iPhone", "iPad", "Windows", "Mac OS", "Linux"];
    let named = |names: &[&'static str]| names.iter().copied().find(|name| agent.contains(name));
    let browser = match named(&browsers) {
        Some("Edg") => Some("Edge"),
        Some("OPR") => Some("Opera"),
        browser => browser,
    };
    match (browser, named(&systems)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => match agent.split_whitespace().next() {
            Some(word) => visible(word),
            None => "Unknown".to_owned(),
        },
    }
}

/// What was wrong with a form, and what was typed into it.
#[derive(Debug, Clone, Default)]
pub struct Trouble {
    /// `password`, `token` or `user`.
    pub form: &'static str,
    /// The field.
    pub field: String,
    /// Why.
    pub message: String,
    /// The name that was typed.
    pub typed: String,
    /// What was chosen beside it.
    pub chosen: String,
}

impl Trouble {
    /// Why this field of this form is wrong; nothing where it is right.
    pub fn at(&self, form: &str, field: &str) -> &str {
        if self.form == form && self.field == field {
            &self.message
        } else {
            ""
        }
    }

    /// Why this form was refused, where it is about none of these fields.
    pub fn beside(&self, form: &str, fields: &[&str]) -> &str {
        if self.form == form && !fields.contains(&self.field.as_str()) {
            &self.message
        } else {
            ""
        }
    }
}

/// How long a token lasts: days, as a form has them, and the words.
pub const LIVES: [(&str, &str); 5] = [
    ("", "until it is deleted"),
    ("1", "a day"),
    ("30", "30 days"),
    ("90", "90 days"),
    ("365", "a year"),
];

/// The reader's own part.
#[derive(Template)]
#[template(path = "settings.html")]
pub struct SettingsPage {
    /// The frame.
    pub shell: Shell,
    /// The parts of the settings.
    pub tabs: Vec<Tab>,
    /// The reader's account.
    pub name: String,
    /// Its role.
    pub role: &'static str,
    /// It has a password and may sign in.
    pub local: bool,
    /// What it has and may have.
    pub usage: Vec<Use>,
    /// Where it is signed in.
    pub logins: Vec<LoginRow>,
    /// Its tokens.
    pub tokens: Vec<TokenRow>,
    /// A token that was just made: shown once.
    pub fresh_token: String,
    /// What was wrong.
    pub trouble: Trouble,
    /// What was done.
    pub done: &'static str,
    /// Nothing here is live.
    pub region: Region,
}

impl SettingsPage {
    /// The page without anything of the store.
    pub fn new(scene: Scene<'_>, shell: Shell) -> Self {
        Self {
            shell,
            tabs: tabs(scene, "/settings"),
            name: scene.who.name().to_string(),
            role: scene.who.role().name(),
            local: scene.who.via == crate::access::Via::Local,
            usage: Vec::new(),
            logins: Vec::new(),
            tokens: Vec::new(),
            fresh_token: String::new(),
            trouble: Trouble::default(),
            done: "",
            region: Region::default(),
        }
    }

    fn others(&self) -> usize {
        self.logins.iter().filter(|login| !login.current).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_told_by_few_words() {
        for (agent, words) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/604.1",
                "Safari on iPhone",
            ),
            ("curl/8.14", "curl/8.14"),
            ("\u{202e}x", "⟨U+202E⟩x"),
            ("", "Unknown"),
        ] {
            assert_eq!(browser(agent), words, "{agent}");
        }
    }
}
