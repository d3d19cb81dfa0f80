//! Settings: one's own password, sign-ins and tokens; accounts and the audit trail, for
//! administrators, in the modules below.

pub(super) mod audit;
pub(super) mod users;

use std::time::Duration;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::view::settings::usage;
use super::view::settings::{LIVES, LoginRow, SettingsPage, TokenRow, Trouble};
use super::view::words::sentence;
use super::{Visit, page};
use crate::Refusal;
use crate::actions::{accounts, limits};

/// What is said above the page after something was done.
const PASSWORD_CHANGED: &str =
    "Your password is another now. Your other sign-ins and your tokens have ended.";
const OTHERS_ENDED: &str = "Your other sign-ins have ended, and their connections are closed.";

fn fill(visit: &Visit) -> Result<SettingsPage, Refusal> {
    let mut settings = SettingsPage::new(visit.scene(), visit.shell("settings"));
    let (state, account) = (&visit.state, &visit.who.account);
    let tokens = state.store.tokens(account.id)?;
    settings.tokens = tokens.iter().map(TokenRow::from).collect();
    let logins = state.store.logins(account.id, &visit.who.via)?;
    settings.logins = logins.iter().map(LoginRow::from).collect();
    let used = limits::used(&state.world, &account.name);
    settings.usage = usage::all(&used, &limits::allowed(state, account));
    Ok(settings)
}

fn show(visit: &Visit, status: StatusCode, change: impl FnOnce(&mut SettingsPage)) -> Response {
    match fill(visit) {
        Ok(mut settings) => {
            change(&mut settings);
            page(status, &settings)
        }
        Err(refusal) => visit.refuse(refusal),
    }
}

fn trouble(visit: &Visit, refusal: Refusal, trouble: Trouble) -> Response {
    show(visit, refusal.status, |settings| {
        settings.trouble = Trouble {
            field: refusal.field.unwrap_or_default().into(),
            message: sentence(&refusal.message),
            ..trouble
        };
    })
}

/// `/settings`.
pub(super) async fn settings(visit: Visit) -> Response {
    show(&visit, StatusCode::OK, |_| ())
}

/// One's own password.
#[derive(Deserialize)]
pub(super) struct PasswordForm {
    old: String,
    new: String,
}

/// Changes one's own password.
pub(super) async fn change_password(
    visit: Visit,
    form: Result<Form<PasswordForm>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(why) => return visit.refuse(Refusal::malformed(why.body_text())),
    };
    match accounts::change_password(&visit.state, &visit.who, form.old, form.new).await {
        Ok(()) => show(&visit, StatusCode::OK, |s| s.done = PASSWORD_CHANGED),
        Err(refusal) => {
            let form = "password";
            let at = Trouble {
                form,
                ..Trouble::default()
            };
            trouble(&visit, refusal, at)
        }
    }
}

/// Ends one of one's own sign-ins.
pub(super) async fn end_sign_in(visit: Visit, Path(id): Path<String>) -> Response {
    match accounts::end_sign_in(&visit.state, &visit.who, &id).await {
        Ok(()) => visit.go("/settings#sign-ins"),
        Err(refusal) => visit.refuse(refusal),
    }
}

/// Ends all of them but the one that asks.
pub(super) async fn end_other_sign_ins(visit: Visit) -> Response {
    match accounts::end_other_sign_ins(&visit.state, &visit.who).await {
        Ok(_) => show(&visit, StatusCode::OK, |s| s.done = OTHERS_ENDED),
        Err(refusal) => visit.refuse(refusal),
    }
}

/// A token's name, and the days that it lasts.
#[derive(Deserialize)]
pub(super) struct TokenForm {
    name: String,
    #[serde(default)]
    life: String,
}

/// Makes a token and shows it, this once.
pub(super) async fn make_token(
    visit: Visit,
    form: Result<Form<TokenForm>, FormRejection>,
) -> Response {
    let (name, life) = match form {
        Ok(Form(form)) => (form.name.trim().to_owned(), form.life),
        Err(why) => return visit.refuse(Refusal::malformed(why.body_text())),
    };
    if !LIVES.iter().any(|(days, _)| *days == life) {
        return visit.refuse(Refusal::malformed(
            "A token lasts as long as one of the choices says.",
        ));
    }
    let days = life.parse::<u64>().ok();
    let lasts = days.map(|days| Duration::from_secs(days * 24 * 3600));
    match accounts::create_token(&visit.state, &visit.who, name.clone(), lasts).await {
        Ok((_, secret)) => show(&visit, StatusCode::OK, |settings| {
            secret.reveal().clone_into(&mut settings.fresh_token);
        }),
        Err(refusal) => {
            let at = Trouble {
                form: "token",
                typed: name,
                chosen: life,
                ..Trouble::default()
            };
            trouble(&visit, refusal, at)
        }
    }
}

/// Ends one of one's own tokens.
pub(super) async fn delete_token(visit: Visit, Path(token): Path<i64>) -> Response {
    match accounts::delete_token(&visit.state, &visit.who, token).await {
        Ok(()) => visit.go("/settings#tokens"),
        Err(refusal) => visit.refuse(refusal),
    }
}
