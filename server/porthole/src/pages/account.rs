//! Settings: one's password and tokens; for administrators, accounts.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path};
use axum::http::StatusCode;
use axum::response::Response;
use porthole_protocol::container::Owner;
use serde::Deserialize;

use super::view::settings::{SettingsPage, TokenRow, Trouble, UserRow};
use super::view::words::{sentence, visible};
use super::{Visit, page};
use crate::Refusal;
use crate::access::Role;
use crate::access::gate::ClientAddress;
use crate::actions::accounts;

/// What is said above the page after something was done.
const PASSWORD_CHANGED: &str = "Your password is another now. Your other sign-ins have ended.";

fn fill(visit: &Visit) -> Result<SettingsPage, Refusal> {
    let mut settings = SettingsPage::new(visit.scene(), visit.shell("settings"));
    let tokens = visit.state.store.tokens(visit.who.account.id)?;
    settings.tokens = tokens
        .iter()
        .map(|token| TokenRow {
            id: token.id,
            name: visible(&token.name),
            created: token.created_at.into(),
        })
        .collect();
    if visit.who.is_admin() {
        let accounts = visit.state.store.accounts()?;
        settings.users = accounts
            .iter()
            .map(|account| UserRow {
                name: account.name.to_string(),
                role: account.role.name(),
                created: account.created_at.into(),
                own: account.name == *visit.who.name(),
            })
            .collect();
    }
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

fn trouble(visit: &Visit, form: &'static str, typed: &str, refusal: Refusal) -> Response {
    show(visit, refusal.status, |settings| {
        settings.trouble = Trouble {
            form,
            field: refusal.field.unwrap_or_default().into(),
            message: sentence(&refusal.message),
            typed: typed.to_owned(),
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
    ClientAddress(from): ClientAddress,
    form: Result<Form<PasswordForm>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(why) => return visit.refuse(Refusal::malformed(why.body_text())),
    };
    match accounts::change_password(&visit.state, &visit.who, from, form.old, form.new).await {
        Ok(()) => show(&visit, StatusCode::OK, |s| s.done = PASSWORD_CHANGED),
        Err(refusal) => trouble(&visit, "password", "", refusal),
    }
}

/// A token's name.
#[derive(Deserialize)]
pub(super) struct TokenForm {
    name: String,
}

/// Makes a token and shows it, this once.
pub(super) async fn make_token(
    visit: Visit,
    form: Result<Form<TokenForm>, FormRejection>,
) -> Response {
    let name = match form {
        Ok(Form(form)) => form.name.trim().to_owned(),
        Err(why) => return visit.refuse(Refusal::malformed(why.body_text())),
    };
    match accounts::create_token(&visit.state, &visit.who, name.clone()).await {
        Ok((_, secret)) => show(&visit, StatusCode::OK, |settings| {
            secret.reveal().clone_into(&mut settings.fresh_token);
        }),
        Err(refusal) => trouble(&visit, "token", &name, refusal),
    }
}

/// Ends one of one's own tokens.
pub(super) async fn delete_token(visit: Visit, Path(token): Path<i64>) -> Response {
    let done = accounts::delete_token(&visit.state, &visit.who, token).await;
    visit.done(done, "/settings")
}

/// An account to be made.
#[derive(Deserialize)]
pub(super) struct UserForm {
    name: String,
    password: String,
    role: String,
}

/// Makes an account.
pub(super) async fn make_user(
    visit: Visit,
    form: Result<Form<UserForm>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(why) => return visit.refuse(Refusal::malformed(why.body_text())),
    };
    let typed = form.name.trim().to_owned();
    match made(&visit, &typed, form).await {
        Ok(()) => visit.go("/settings#users"),
        Err(refusal) => trouble(&visit, "user", &typed, refusal),
    }
}

async fn made(visit: &Visit, name: &str, form: UserForm) -> Result<(), Refusal> {
    let name: Owner = name
        .parse()
        .map_err(|why| Refusal::unusable("name", format!("{why}")))?;
    let role: Role = form
        .role
        .parse()
        .map_err(|why| Refusal::unusable("role", format!("{why}")))?;
    accounts::create(&visit.state, &visit.who, name, role, form.password).await?;
    Ok(())
}

/// An account's new role.
#[derive(Deserialize)]
pub(super) struct RoleForm {
    role: String,
}

/// Gives an account another role.
pub(super) async fn change_role(
    visit: Visit,
    Path(user): Path<String>,
    form: Result<Form<RoleForm>, FormRejection>,
) -> Response {
    let role = match form.map(|Form(form)| form.role.parse::<Role>()) {
        Ok(Ok(role)) => role,
        Ok(Err(why)) => return visit.refuse(Refusal::unusable("role", format!("{why}"))),
        Err(why) => return visit.refuse(Refusal::malformed(why.body_text())),
    };
    match accounts::change(&visit.state, &visit.who, &user, Some(role), None).await {
        Ok(_) => visit.go("/settings#users"),
        Err(refusal) => trouble(&visit, "users", "", refusal),
    }
}

/// Gives an account a password that is made up, and shows it, this once.
pub(super) async fn reset_password(visit: Visit, Path(user): Path<String>) -> Response {
    match accounts::reset_password(&visit.state, &visit.who, &user).await {
        Ok(password) => show(&visit, StatusCode::OK, |settings| {
            settings.fresh_password = Some((visible(&user), password));
        }),
        Err(refusal) => trouble(&visit, "users", "", refusal),
    }
}

/// Removes an account.
pub(super) async fn delete_user(visit: Visit, Path(user): Path<String>) -> Response {
    match accounts::delete(&visit.state, &visit.who, &user).await {
        Ok(()) => visit.go("/settings#users"),
        Err(refusal) => trouble(&visit, "users", "", refusal),
    }
}
