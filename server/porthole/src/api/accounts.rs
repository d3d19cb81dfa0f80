//! Accounts, sign-in, tokens.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use porthole_protocol::container::Owner;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::Sent;
use crate::access::gate::ClientAddress;
use crate::access::origin::Address;
use crate::access::secret::Secret;
use crate::access::{Account, Identity, Role, cookie};
use crate::actions::accounts;
use crate::store::Token;
use crate::{AppState, Refusal};

type Done = Result<StatusCode, Refusal>;

fn with_cookie(cookie: HeaderValue) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::SET_COOKIE, cookie);
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn signed_in(address: &Address, secret: &Secret) -> Response {
    with_cookie(cookie::give(address, secret))
}

/// Whether the first account has still to be made.
pub async fn is_new(State(state): State<AppState>) -> Result<Json<Value>, Refusal> {
    Ok(Json(json!({"needed": accounts::is_new(&state)?})))
}

/// The first account.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetUp {
    code: String,
    user: Owner,
    password: String,
}

/// Makes the first account and signs it in.
pub async fn set_up(
    State(state): State<AppState>,
    address: Address,
    ClientAddress(from): ClientAddress,
    Sent(body): Sent<SetUp>,
) -> Result<Response, Refusal> {
    let (_, secret) = accounts::set_up(&state, from, &body.code, body.user, body.password).await?;
    Ok(signed_in(&address, &secret))
}

/// A sign-in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    user: String,
    password: String,
}

/// Signs a browser in.
pub async fn sign_in(
    State(state): State<AppState>,
    address: Address,
    ClientAddress(from): ClientAddress,
    before: Option<Identity>,
    Sent(body): Sent<SignIn>,
) -> Result<Response, Refusal> {
    let before = before.as_ref().map(|identity| &identity.via);
    let (_, secret) = accounts::sign_in(&state, from, &body.user, body.password, before).await?;
    Ok(signed_in(&address, &secret))
}

/// Signs a browser out.
pub async fn sign_out(
    State(state): State<AppState>,
    address: Address,
    identity: Identity,
) -> Result<Response, Refusal> {
    accounts::sign_out(&state, &identity).await?;
    Ok(with_cookie(cookie::take_away(&address)))
}

/// One's own account.
pub async fn own(identity: Identity) -> Json<Account> {
    Json(identity.account)
}

/// A new password of one's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    current: String,
    new: String,
}

/// Changes one's own password.
pub async fn change_password(
    State(state): State<AppState>,
    ClientAddress(from): ClientAddress,
    identity: Identity,
    Sent(body): Sent<NewPassword>,
) -> Done {
    accounts::change_password(&state, &identity, from, body.current, body.new).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All accounts.
pub async fn list(State(state): State<AppState>) -> Result<Json<Value>, Refusal> {
    Ok(Json(
        json!({"items": state.store.accounts()?, "next": null}),
    ))
}

/// An account to be made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    user: Owner,
    role: Role,
    password: String,
}

/// Makes an account.
pub async fn create(
    State(state): State<AppState>,
    identity: Identity,
    Sent(body): Sent<NewAccount>,
) -> Result<(StatusCode, Json<Account>), Refusal> {
    let account = accounts::create(&state, &identity, body.user, body.role, body.password).await?;
    Ok((StatusCode::CREATED, Json(account)))
}

/// What of an account is to be changed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountChange {
    role: Option<Role>,
    password: Option<String>,
}

/// Changes an account.
pub async fn change(
    State(state): State<AppState>,
    Path(name): Path<String>,
    identity: Identity,
    Sent(body): Sent<AccountChange>,
) -> Result<Json<Account>, Refusal> {
    let account = accounts::change(&state, &identity, &name, body.role, body.password).await?;
    Ok(Json(account))
}

/// Removes an account.
pub async fn delete(
    State(state): State<AppState>,
    Path(name): Path<String>,
    identity: Identity,
) -> Done {
    accounts::delete(&state, &identity, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One's own tokens.
pub async fn tokens(
    State(state): State<AppState>,
    identity: Identity,
) -> Result<Json<Value>, Refusal> {
    let tokens = state.store.tokens(identity.account.id)?;
    Ok(Json(json!({"items": tokens, "next": null})))
}

/// A token to be made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    name: String,
}

/// A token that was made. The only time that its secret is shown.
#[derive(Serialize)]
pub struct ShownToken {
    #[serde(flatten)]
    made: Token,
    token: String,
}

/// Makes a token.
pub async fn create_token(
    State(state): State<AppState>,
    identity: Identity,
    Sent(body): Sent<NewToken>,
) -> Result<(StatusCode, Json<ShownToken>), Refusal> {
    let (made, secret) = accounts::create_token(&state, &identity, body.name).await?;
    let token = secret.reveal().to_owned();
    Ok((StatusCode::CREATED, Json(ShownToken { made, token })))
}

/// Ends a token.
pub async fn delete_token(
    State(state): State<AppState>,
    Path(id): Path<String>,
    identity: Identity,
) -> Done {
    // What is no number is no token's.
    let id = id.parse().unwrap_or(0);
    accounts::delete_token(&state, &identity, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
