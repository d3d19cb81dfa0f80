//! Settings: the theme, one's password and tokens, and, for administrators, accounts.

use askama::Template;

use super::Scene;
use super::live::Region;
use super::shell::Shell;
use super::words::When;

/// A token of a machine.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// Its number.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// When it was made.
    pub created: When,
}

/// An account.
#[derive(Debug, Clone)]
pub struct UserRow {
    /// Its name.
    pub name: String,
    /// Its role's word.
    pub role: &'static str,
    /// When it was made.
    pub created: When,
    /// It is the reader's own.
    pub own: bool,
}

/// What was wrong with a form, and what was typed into it.
#[derive(Debug, Clone, Default)]
pub struct Trouble {
    /// `password`, `token`, `user` or `users`.
    pub form: &'static str,
    /// The field.
    pub field: String,
    /// Why.
    pub message: String,
    /// The name that was typed.
    pub typed: String,
}

/// The page.
#[derive(Template)]
#[template(path = "settings.html")]
pub struct SettingsPage {
    /// The frame.
    pub shell: Shell,
    /// The reader's account.
    pub name: String,
    /// Its role.
    pub role: &'static str,
    /// The reader administers.
    pub admin: bool,
    /// Tokens.
    pub tokens: Vec<TokenRow>,
    /// A token that was just made: shown once.
    pub fresh_token: String,
    /// Whose password was just made up, and the password: shown once.
    pub fresh_password: Option<(String, String)>,
    /// Accounts, for administrators.
    pub users: Vec<UserRow>,
    /// What was wrong.
    pub trouble: Trouble,
    /// What was done.
    pub done: &'static str,
    /// Nothing here is live.
    pub region: Region,
}

impl SettingsPage {
    /// The page without tokens and accounts.
    pub fn new(scene: Scene<'_>, shell: Shell) -> Self {
        Self {
            shell,
            name: scene.who.name().to_string(),
            role: scene.who.role().name(),
            admin: scene.who.is_admin(),
            tokens: Vec::new(),
            fresh_token: String::new(),
            fresh_password: None,
            users: Vec::new(),
            trouble: Trouble::default(),
            done: "",
            region: Region::default(),
        }
    }
}
