//! Pages for nobody yet: first start, sign-in; and the page that says why something was refused.

use askama::Template;

use super::shell::Shell;

/// First start: the one-time code makes the first administrator.
#[derive(Template)]
#[template(path = "setup.html")]
pub struct SetupPage {
    /// The frame.
    pub shell: Shell,
    /// Somebody has made the account already.
    pub done: bool,
    /// The code as it was typed.
    pub code: String,
    /// The name as it was typed.
    pub user: String,
    /// The field that is wrong.
    pub field: String,
    /// Why.
    pub error: String,
}

/// Sign-in.
#[derive(Template)]
#[template(path = "login.html")]
pub struct LoginPage {
    /// The frame.
    pub shell: Shell,
    /// The name as it was typed.
    pub user: String,
    /// Why it was refused.
    pub error: String,
    /// Where to go afterwards: a path below the base path.
    pub next: String,
}

/// Something was refused.
#[derive(Template)]
#[template(path = "refused.html")]
pub struct RefusedPage {
    /// The frame.
    pub shell: Shell,
    /// The status as a number.
    pub status: u16,
    /// It in a few words.
    pub title: &'static str,
    /// What happened, why, what to try.
    pub message: String,
}

/// The same where only a piece of a page was asked for.
#[derive(Template)]
#[template(path = "partials/toast.html")]
pub struct Toast {
    /// It in a few words.
    pub title: &'static str,
    /// What happened, why, what to try.
    pub message: String,
    /// The shells that were looked for, and what the kernel answered.
    pub tried: Vec<(String, String)>,
}

/// A status in the words of a page's heading.
pub const fn title(status: u16) -> &'static str {
    match status {
        400 => "This request makes no sense",
        401 => "Sign in first",
        403 => "Not allowed",
        404 => "Not here",
        405 => "Not done this way",
        409 => "Not now",
        413 => "Too large",
        422 => "This cannot be used",
        429 => "Too many",
        503 => "The keeper is away",
        507 => "No space is left",
        _ => "Porthole failed",
    }
}

/// A path that may be gone to after signing in: one of this site, never another's.
pub fn safe_next(next: &str) -> &str {
    let local = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && !next.chars().any(char::is_control)
        && !next.starts_with("/login")
        && !next.starts_with("/setup");
    if local { next } else { "/containers" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        assert_eq!(safe_next("/containers?q=web"), "/containers?q=web");
        for bad in [
            "",
            "//evil",
            "https://evil",
            "/\\evil",
            "/a\nb",
            "/login?next=/",
        ] {
            assert_eq!(safe_next(bad), "/containers", "{bad:?}");
        }
    }
}
