//! Signing in and out, and what ends sign-ins.

use std::time::Instant;

use axum::http::StatusCode;
use porthole_protocol::container::Owner;
use serde_json::json;

use super::{own_login, require};
use crate::access::gate::Whence;
use crate::access::secret::Secret;
use crate::access::{Account, Identity, Via};
use crate::store::{Act, Actor, Note, Outcome, Stored};
use crate::{AppState, Refusal};

/// Signs a browser in: the account, and the secret for its cookie. `before` is the login that the
/// same browser had.
pub async fn sign_in(
    state: &AppState,
    from: Whence,
    name: &str,
    password: String,
    before: Option<&Via>,
) -> Result<(Account, Secret), Refusal> {
    state.access.attempt(name, from.address)?;
    let stored = state.store.account(name)?;
    let kept = stored.as_ref().map(|stored| stored.password.clone());
    let right = state.access.passwords.verify(password, kept).await?;
    let known = stored.as_ref().map(|stored| stored.account.name.clone());
    let Some(Stored { account, .. }) = stored.filter(|_| right) else {
        refused_sign_in(state, known.as_ref(), &from, "wrong password");
        return Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "wrong_password",
            "The name or the password is wrong.",
        ));
    };
    state.access.succeeded(name, from.address);
    if account.disabled_at.is_some() {
        // Who knows the password may know that; nobody else is told.
        refused_sign_in(state, known.as_ref(), &from, "disabled");
        return Err(Refusal::forbidden(
            "This account is disabled. An administrator can enable it again.",
        ));
    }
    let secret = log_in(state, &account, Act::SignIn, from, before).await?;
    Ok((account, secret))
}

/// Writes down a sign-in that was refused; nobody waits for that. A name that no account has is left
/// out: some type their password there. Of a flood some are written down, and how many were not.
fn refused_sign_in(state: &AppState, name: Option<&Owner>, from: &Whence, why: &'static str) {
    tracing::info!(from = ?from.address, why, "a sign-in was refused");
    let Some(unwritten) = state.access.refused.one(Instant::now()) else {
        return;
    };
    let by = Actor {
        account: name.map(ToString::to_string).unwrap_or_default(),
        via: "login",
        address: from.address.map(|ip| ip.to_string()).unwrap_or_default(),
    };
    let note = Note {
        outcome: Outcome::Refused,
        ..Note::asked(&by, Act::SignInRefused, by.account.clone())
    };
    let note = note.with(json!({"why": why, "unwritten_before": unwritten}));
    let store = state.store.clone();
    tokio::spawn(async move {
        if let Err(error) = store.record(note).await {
            tracing::error!(%error, "the audit trail");
        }
    });
}

/// Makes a login for an account, and its secret.
pub(super) async fn log_in(
    state: &AppState,
    account: &Account,
    act: Act,
    from: Whence,
    before: Option<&Via>,
) -> Result<Secret, Refusal> {
    let secret = Secret::new();
    let instead_of = match before {
        Some(Via::Login(hash)) => Some(*hash),
        _ => None,
    };
    let identity = Identity {
        account: account.clone(),
        via: Via::Login(secret.hash()),
        from: from.address,
    };
    let note = Note::done(&Actor::from(&identity), act, account.name.as_str());
    let added = state
        .store
        .add_login(account.id, secret.hash(), instead_of, from, note);
    added.await?;
    state.access.standing.look(&state.store);
    Ok(secret)
}

/// Ends the login that a request came with.
pub async fn sign_out(state: &AppState, identity: &Identity) -> Result<(), Refusal> {
    let Via::Login(hash) = identity.via else {
        return Err(Refusal::malformed(
            "There is no sign-in to end: the request came with a token or over the local socket.",
        ));
    };
    state.store.delete_login(hash, identity.into()).await?;
    state.access.standing.look(&state.store);
    Ok(())
}

/// Ends one of one's own sign-ins.
pub async fn end_sign_in(state: &AppState, identity: &Identity, id: &str) -> Result<(), Refusal> {
    let account = identity.account.clone();
    let ended = state
        .store
        .end_login(account, id.to_owned(), identity.into());
    if !ended.await? {
        return Err(Refusal::not_found(
            "sign_in_not_found",
            "You have no such sign-in. It may have ended already.",
        ));
    }
    state.access.standing.look(&state.store);
    Ok(())
}

/// Ends one's own sign-ins but the one that asks; how many.
pub async fn end_other_sign_ins(state: &AppState, identity: &Identity) -> Result<usize, Refusal> {
    let (account, keep) = (identity.account.clone(), own_login(identity));
    let ended = state.store.end_logins(account, keep, identity.into());
    let ended = ended.await?;
    state.access.standing.look(&state.store);
    Ok(ended)
}

/// Ends all sign-ins and tokens of an account.
pub async fn end_access(state: &AppState, identity: &Identity, name: &str) -> Result<(), Refusal> {
    let account = require(state, name)?;
    state.store.end_access(account, identity.into()).await?;
    state.access.standing.look(&state.store);
    Ok(())
}
