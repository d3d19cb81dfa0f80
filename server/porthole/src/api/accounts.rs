//! Accounts, sign-in, tokens.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use porthole_protocol::container::Owner;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::{Asked, Sent};
use crate::access::gate::Whence;
use crate::access::limits::{Ceiling, Kind};
use crate::access::origin::Address;
use crate::access::secret::Secret;
use crate::access::{Account, Identity, Role, cookie};
use crate::actions::accounts::{self, Containers, Wish};
use crate::actions::limits;
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
    from: Whence,
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
    from: Whence,
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

/// An account as the API tells of it: with what it has and may have.
fn told(state: &AppState, account: &Account) -> Value {
    let used = limits::used(&state.world, &account.name);
    let allowed = limits::allowed(state, account);
    let mut usage = serde_json::Map::new();
    for kind in Kind::ALL {
        let limit = match allowed.get(kind) {
            Some(Ceiling::Most(most)) => Value::Number(kind.json(most)),
            Some(Ceiling::Unlimited) | None => Value::Null,
        };
        let used = kind.json(used.get(kind));
        usage.insert(
            kind.name().to_owned(),
            json!({"used": used, "limit": limit}),
        );
    }
    let mut value = json!(account);
    value["usage"] = Value::Object(usage);
    value
}

/// The same with its revision as a tag, for `If-Match`.
fn tagged(state: &AppState, account: &Account) -> Response {
    let tag = format!("\"{}\"", account.revision);
    let headers = [(header::ETAG, tag)];
    (headers, Json(told(state, account))).into_response()
}

/// The revision that a change is for; any where nothing is said.
fn if_match(headers: &HeaderMap) -> Result<Option<i64>, Refusal> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    match value.to_str().unwrap_or_default().trim() {
        "*" => Ok(None),
        tag => {
            let revision = tag.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
            let revision = revision.and_then(|text| text.parse().ok());
            revision.map(Some).ok_or_else(|| {
                Refusal::malformed("If-Match names no revision: it is the ETag of the account.")
            })
        }
    }
}

/// One's own account.
pub async fn own(State(state): State<AppState>, identity: Identity) -> Json<Value> {
    Json(told(&state, &identity.account))
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
    identity: Identity,
    Sent(body): Sent<NewPassword>,
) -> Done {
    accounts::change_password(&state, &identity, body.current, body.new).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All accounts.
pub async fn list(State(state): State<AppState>) -> Result<Json<Value>, Refusal> {
    let accounts = state.store.accounts()?;
    let items: Vec<_> = accounts.iter().map(|a| told(&state, a)).collect();
    Ok(Json(json!({"items": items, "next": null})))
}

/// One account.
pub async fn one(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let account = accounts::require(&state, &name)?;
    Ok(tagged(&state, &account))
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
) -> Result<Response, Refusal> {
    let account = accounts::create(&state, &identity, body.user, body.role, body.password).await?;
    Ok((StatusCode::CREATED, tagged(&state, &account)).into_response())
}

/// Changes an account; with `If-Match` only the one that was looked at.
pub async fn change(
    State(state): State<AppState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    identity: Identity,
    Sent(wish): Sent<Wish>,
) -> Result<Response, Refusal> {
    let revision = if_match(&headers)?;
    let account = accounts::change(&state, &identity, &name, wish, revision).await?;
    Ok(tagged(&state, &account))
}

/// How an account is to be removed.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Removal {
    containers: Containers,
}

/// Removes an account.
pub async fn delete(
    State(state): State<AppState>,
    Path(name): Path<String>,
    Asked(removal): Asked<Removal>,
    identity: Identity,
) -> Done {
    accounts::delete(&state, &identity, &name, removal.containers).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all sign-ins and tokens of an account.
pub async fn end_access(
    State(state): State<AppState>,
    Path(name): Path<String>,
    identity: Identity,
) -> Done {
    accounts::end_access(&state, &identity, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One's own sign-ins.
pub async fn sign_ins(
    State(state): State<AppState>,
    identity: Identity,
) -> Result<Json<Value>, Refusal> {
    let logins = state.store.logins(identity.account.id, &identity.via)?;
    Ok(Json(json!({"items": logins, "next": null})))
}

/// Ends one of them.
pub async fn end_sign_in(
    State(state): State<AppState>,
    Path(id): Path<String>,
    identity: Identity,
) -> Done {
    accounts::end_sign_in(&state, &identity, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all of them but the one that asks.
pub async fn end_other_sign_ins(
    State(state): State<AppState>,
    identity: Identity,
) -> Result<Json<Value>, Refusal> {
    let ended = accounts::end_other_sign_ins(&state, &identity).await?;
    Ok(Json(json!({"ended": ended})))
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
    /// Seconds after which it ends by itself.
    expires_in: Option<f64>,
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
    let life = body.expires_in.map(|seconds| {
        // What is no time at all is refused as too short.
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    });
    let (made, secret) = accounts::create_token(&state, &identity, body.name, life).await?;
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
