//! Accounts: first start, sign in and out, passwords, roles, tokens.

mod deletion;
mod first;
mod sign_in;
mod tokens;

use axum::http::StatusCode;
use porthole_protocol::container::Owner;
use serde::Deserialize;

use crate::access::identity::SecretHash;
use crate::access::password::make_up;
use crate::access::{Account, Identity, Role, Via, limits};
use crate::store::{AccountChange, NewAccount, StoreError};
use crate::{AppState, Refusal};

pub use deletion::{Containers, delete};
pub use first::{ADMIN, is_new, set_up, set_up_admin};
pub use sign_in::{end_access, end_other_sign_ins, end_sign_in, sign_in, sign_out};
pub use tokens::{create_token, delete_token};

use deletion::refuse_inheritance;

/// The account of this name.
pub fn require(state: &AppState, name: &str) -> Result<Account, Refusal> {
    match state.store.account(name)? {
        Some(stored) => Ok(stored.account),
        None => Err(StoreError::NoAccount(name.to_owned()).into()),
    }
}

/// Makes an account.
pub async fn create(
    state: &AppState,
    identity: &Identity,
    name: Owner,
    role: Role,
    password: String,
) -> Result<Account, Refusal> {
    check_name(&name)?;
    refuse_inheritance(state, &name)?;
    let password = state.access.passwords.hash(password).await?;
    let new = NewAccount {
        name,
        role,
        password,
    };
    Ok(state.store.create_account(new, identity.into()).await?)
}

/// What of an account is to be changed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wish {
    /// Another role.
    pub role: Option<Role>,
    /// Another password; the account's logins and tokens end.
    pub password: Option<String>,
    /// Whether nobody is to sign in to it; its logins and tokens end, what it runs goes on.
    pub disabled: Option<bool>,
    /// Other limits.
    pub limits: limits::Change,
}

/// Changes an account: everything or nothing. Where a `revision` is given and the account was
/// changed since, nothing is done.
pub async fn change(
    state: &AppState,
    identity: &Identity,
    name: &str,
    wish: Wish,
    revision: Option<i64>,
) -> Result<Account, Refusal> {
    require(state, name)?;
    if wish.disabled == Some(true) && name == identity.name().as_str() {
        return Err(Refusal::conflict(
            "own_account",
            "This is your own account: another administrator disables it.",
        ));
    }
    let password = match wish.password {
        Some(password) => Some(state.access.passwords.hash(password).await?),
        None => None,
    };
    let change = AccountChange {
        role: wish.role,
        disabled: wish.disabled,
        limits: wish.limits,
        password,
        revision,
    };
    let new_password = change.password.is_some();
    let changed = state
        .store
        .change_account(name.to_owned(), change, identity.into());
    let account = changed.await?;
    if new_password {
        state.access.secret_changed(name);
    }
    state.access.standing.look(&state.store);
    Ok(account)
}

/// Gives another person's account a password that is made up, for who has lost theirs, and returns
/// it: nobody sees it again. The account's logins and tokens end.
pub async fn reset_password(
    state: &AppState,
    identity: &Identity,
    name: &str,
) -> Result<String, Refusal> {
    if name == identity.name().as_str() {
        return Err(Refusal::conflict(
            "own_password",
            "This is your own account: change its password under Settings, where the one that you have now is asked for.",
        ));
    }
    let password = make_up();
    let wish = Wish {
        password: Some(password.clone()),
        ..Wish::default()
    };
    change(state, identity, name, wish, None).await?;
    Ok(password)
}

/// Changes one's own password. All other logins and all tokens of the account end.
pub async fn change_password(
    state: &AppState,
    identity: &Identity,
    current: String,
    new: String,
) -> Result<(), Refusal> {
    let name = identity.name();
    let Some(stored) = state.store.account(name.as_str())? else {
        return Err(Refusal::conflict(
            "no_password",
            "Local users of the socket have no password.",
        ));
    };
    state.access.attempt(name.as_str(), identity.from)?;
    let right = state
        .access
        .passwords
        .verify(current, Some(stored.password))
        .await?;
    if !right {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "wrong_password",
            "The current password is wrong.",
        )
        .field("current"));
    }
    state.access.succeeded(name.as_str(), identity.from);
    let new = state
        .access
        .passwords
        .hash(new)
        .await
        .map_err(|mut refusal| {
            refusal.field = refusal.field.map(|_| "new".into());
            refusal
        })?;
    let keep = own_login(identity);
    let set = state
        .store
        .set_own_password(name.to_string(), new, keep, identity.into());
    set.await?;
    state.access.secret_changed(name.as_str());
    state.access.standing.look(&state.store);
    Ok(())
}

/// The login that is not to end with the others: the one that asks.
fn own_login(identity: &Identity) -> Option<SecretHash> {
    match identity.via {
        Via::Login(hash) => Some(hash),
        Via::Token(_) | Via::Local => None,
    }
}

fn check_name(name: &Owner) -> Result<(), Refusal> {
    if name.as_str().ends_with("@local") {
        return Err(Refusal::unusable(
            "user",
            "Names that end in \"@local\" are those of the socket's users.",
        ));
    }
    Ok(())
}
