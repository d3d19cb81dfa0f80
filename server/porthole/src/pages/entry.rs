//! First start, sign-in, sign-out.

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use porthole_protocol::container::Owner;
use serde::Deserialize;

use super::view::gate::{LoginPage, SetupPage, safe_next};
use super::view::shell::Shell;
use super::view::words::sentence;
use super::{page, refused};
use crate::access::gate::Whence;
use crate::access::origin::Address;
use crate::access::{Identity, cookie};
use crate::actions::accounts;
use crate::{AppState, Refusal};

/// `/`: to the containers, which send on to where one signs in.
pub(super) async fn first(State(state): State<AppState>) -> Response {
    Redirect::to(&format!("{}/containers", state.settings.base_path)).into_response()
}

/// What was typed at the first start.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct SetupForm {
    code: String,
    user: String,
    password: String,
}

fn setup_page(
    state: &AppState,
    done: bool,
    typed: &SetupForm,
    refusal: Option<&Refusal>,
) -> Response {
    let status = refusal.map_or(StatusCode::OK, |refusal| refusal.status);
    let setup = SetupPage {
        shell: Shell::outside(&state.settings.base_path),
        done,
        code: typed.code.clone(),
        user: typed.user.clone(),
        field: refusal
            .and_then(|refusal| refusal.field.clone())
            .unwrap_or_default()
            .into(),
        error: refusal.map_or_else(String::new, |refusal| sentence(&refusal.message)),
    };
    page(status, &setup)
}

/// `/setup`.
pub(super) async fn setup(State(state): State<AppState>, uri: Uri, headers: HeaderMap) -> Response {
    match accounts::is_new(&state) {
        Ok(new) => setup_page(&state, !new, &SetupForm::default(), None),
        Err(refusal) => refused(&state, None, &uri, &headers, refusal),
    }
}

/// Makes the first administrator and signs them in.
pub(super) async fn set_up(
    State(state): State<AppState>,
    from: Whence,
    address: Address,
    form: Result<Form<SetupForm>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(why) => {
            let refusal = Refusal::malformed(why.body_text());
            return setup_page(&state, false, &SetupForm::default(), Some(&refusal));
        }
    };
    let name = match form.user.trim().parse::<Owner>() {
        Ok(name) => name,
        Err(why) => {
            let refusal = Refusal::unusable("user", why.to_string());
            return setup_page(&state, false, &form, Some(&refusal));
        }
    };
    let made = accounts::set_up(&state, from, form.code.trim(), name, form.password.clone()).await;
    match made {
        Ok((_, secret)) => {
            let to = format!("{}/containers", state.settings.base_path);
            let cookie = [(header::SET_COOKIE, cookie::give(&address, &secret))];
            (cookie, Redirect::to(&to)).into_response()
        }
        Err(refusal) => {
            let done = !accounts::is_new(&state).unwrap_or(true);
            setup_page(&state, done, &form, Some(&refusal))
        }
    }
}

/// Where to go after signing in.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Next {
    next: String,
}

/// `/login`.
pub(super) async fn login(
    State(state): State<AppState>,
    identity: Option<Identity>,
    next: Result<Query<Next>, QueryRejection>,
) -> Response {
    let Query(Next { next }) = next.unwrap_or_default();
    let base = &state.settings.base_path;
    if identity.is_some() {
        return Redirect::to(&format!("{base}{}", safe_next(&next))).into_response();
    }
    if accounts::is_new(&state).unwrap_or(false) {
        return Redirect::to(&format!("{base}/setup")).into_response();
    }
    login_page(&state, StatusCode::OK, "", "", &next)
}

fn login_page(
    state: &AppState,
    status: StatusCode,
    user: &str,
    error: &str,
    next: &str,
) -> Response {
    let login = LoginPage {
        shell: Shell::outside(&state.settings.base_path),
        user: user.to_owned(),
        error: error.to_owned(),
        next: safe_next(next).to_owned(),
    };
    page(status, &login)
}

/// What was typed to sign in.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct LoginForm {
    user: String,
    password: String,
    next: String,
}

/// Signs in.
pub(super) async fn sign_in(
    State(state): State<AppState>,
    identity: Option<Identity>,
    from: Whence,
    address: Address,
    form: Result<Form<LoginForm>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(why) => return login_page(&state, StatusCode::BAD_REQUEST, "", &why.body_text(), ""),
    };
    let before = identity.map(|identity| identity.via);
    let name = form.user.trim();
    match accounts::sign_in(&state, from, name, form.password, before.as_ref()).await {
        Ok((_, secret)) => {
            let to = format!("{}{}", state.settings.base_path, safe_next(&form.next));
            let cookie = [(header::SET_COOKIE, cookie::give(&address, &secret))];
            (cookie, Redirect::to(&to)).into_response()
        }
        Err(refusal) => login_page(
            &state,
            refusal.status,
            name,
            &sentence(&refusal.message),
            &form.next,
        ),
    }
}

/// Signs out.
pub(super) async fn sign_out(
    State(state): State<AppState>,
    identity: Identity,
    address: Address,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    match accounts::sign_out(&state, &identity).await {
        Ok(()) => {
            let to = format!("{}/login", state.settings.base_path);
            let cookie = [(header::SET_COOKIE, cookie::take_away(&address))];
            (cookie, Redirect::to(&to)).into_response()
        }
        Err(refusal) => refused(&state, Some(&identity), &uri, &headers, refusal),
    }
}
