//! Accounts: first start, sign in and out, passwords, roles, tokens.

use std::net::IpAddr;
use std::time::Instant;

use axum::http::StatusCode;
use porthole_protocol::container::Owner;
use serde_json::json;

use super::{audit, containers, sessions};
use crate::access::password::make_up;
use crate::access::secret::{Secret, hash};
use crate::access::{Account, Identity, Role, Via};
use crate::settings::Password;
use crate::store::{Act, NewAccount, Token};
use crate::{AppState, Refusal};

/// The name that `PORTHOLE_ADMIN_PASSWORD` is for.
pub const ADMIN: &str = "admin";

/// Whether there is no account yet, so that `/setup` is the only page.
pub fn is_new(state: &AppState) -> Result<bool, Refusal> {
    Ok(state.store.is_new()?)
}

/// Makes the first account, an administrator's, for who holds the one-time code. Returns the
/// secret for the browser's cookie.
pub async fn set_up(
    state: &AppState,
    from: Option<IpAddr>,
    code: &str,
    name: Owner,
    password: String,
) -> Result<(Account, Secret), Refusal> {
    if !state.store.is_new()? {
        return Err(crate::store::StoreError::NotFirst.into());
    }
    check_name("user", &name)?;
    // All who try share one count: there is one code.
    state.access.attempt("\0setup", from)?;
    if !state.access.setup.is(code, Instant::now()) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "wrong_code",
            "This is not the code, or it has run out. It stands in the address that Porthole printed when it started, behind the #, or in the file setup-code beside its sockets.",
        )
        .field("code"));
    }
    state.access.succeeded("\0setup", from);
    let account = create_first(state, name, password).await?;
    state.access.setup.end();
    let secret = log_in(state, &account, Act::SetUp, None).await?;
    Ok((account, secret))
}

async fn create_first(state: &AppState, name: Owner, password: String) -> Result<Account, Refusal> {
    let first = NewAccount {
        name,
        role: Role::Admin,
        password: state.access.passwords.hash(password).await?,
    };
    Ok(state.store.create_first_account(first).await?)
}

fn check_name(field: &str, name: &Owner) -> Result<(), Refusal> {
    if name.as_str().ends_with("@local") {
        return Err(Refusal::unusable(
            field,
            "Names that end in \"@local\" are those of the socket's users.",
        ));
    }
    Ok(())
}

/// Makes the account `admin` with the password that was set, where there is no account yet.
pub async fn set_up_admin(state: &AppState, password: &Password) -> Result<(), Refusal> {
    if !state.store.is_new()? {
        return Ok(());
    }
    let name = Owner::try_from(ADMIN.to_owned()).map_err(|_| Refusal::internal())?;
    let account = create_first(state, name, password.0.clone()).await?;
    tracing::info!(account = %account.name, "made with the password that was set");
    Ok(())
}

/// Signs a browser in: the account, and the secret for its cookie. `before` is the login that the
/// same browser had.
pub async fn sign_in(
    state: &AppState,
    from: Option<IpAddr>,
    name: &str,
    password: String,
    before: Option<&Via>,
) -> Result<(Account, Secret), Refusal> {
    state.access.attempt(name, from)?;
    let stored = state.store.account(name)?;
    let kept = stored.as_ref().map(|stored| stored.password.clone());
    let right = state.access.passwords.verify(password, kept).await?;
    let Some(stored) = stored.filter(|_| right) else {
        tracing::info!(?from, "a sign-in with a wrong name or password");
        return Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "wrong_password",
            "The name or the password is wrong.",
        ));
    };
    state.access.succeeded(name, from);
    let secret = log_in(state, &stored.account, Act::SignIn, before).await?;
    Ok((stored.account, secret))
}

async fn log_in(
    state: &AppState,
    account: &Account,
    act: Act,
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
    };
    audit(state, &identity, act, account.name.as_str(), json!({})).await?;
    state
        .store
        .add_login(account.id, secret.hash(), instead_of)
        .await?;
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
    state.store.delete_login(hash).await?;
    state.access.standing.look(&state.store);
    audit(
        state,
        identity,
        Act::SignOut,
        identity.name().as_str(),
        json!({}),
    )
    .await
}

/// Changes one's own password. All other logins and all tokens of the account end.
pub async fn change_password(
    state: &AppState,
    identity: &Identity,
    from: Option<IpAddr>,
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
    state.access.attempt(name.as_str(), from)?;
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
    state.access.succeeded(name.as_str(), from);
    let new = state
        .access
        .passwords
        .hash(new)
        .await
        .map_err(|mut refusal| {
            refusal.field = refusal.field.map(|_| "new".into());
            refusal
        })?;
    audit(
        state,
        identity,
        Act::PasswordChanged,
        name.as_str(),
        json!({}),
    )
    .await?;
    let keep = match identity.via {
        Via::Login(hash) => Some(hash),
        Via::Token(_) | Via::Local => None,
    };
    state
        .store
        .set_password(name.to_string(), new, keep)
        .await?;
    state.access.secret_changed(name.as_str());
    state.access.standing.look(&state.store);
    Ok(())
}

/// Makes an account.
pub async fn create(
    state: &AppState,
    identity: &Identity,
    name: Owner,
    role: Role,
    password: String,
) -> Result<Account, Refusal> {
    check_name("user", &name)?;
    refuse_inheritance(state, &name)?;
    let password = state.access.passwords.hash(password).await?;
    let detail = json!({"role": role});
    audit(state, identity, Act::AccountCreated, name.as_str(), detail).await?;
    let new = NewAccount {
        name,
        role,
        password,
    };
    Ok(state.store.create_account(new).await?)
}

/// Gives an account another role, another password, or both. With another password its logins and
/// tokens end.
pub async fn change(
    state: &AppState,
    identity: &Identity,
    name: &str,
    role: Option<Role>,
    password: Option<String>,
) -> Result<Account, Refusal> {
    let stored = state
        .store
        .account(name)?
        .ok_or_else(|| Refusal::from(crate::store::StoreError::NoAccount(name.to_owned())))?;
    let password = match password {
        Some(password) => Some(state.access.passwords.hash(password).await?),
        None => None,
    };
    let mut account = stored.account;
    if let Some(role) = role {
        audit(
            state,
            identity,
            Act::RoleChanged,
            name,
            json!({"role": role}),
        )
        .await?;
        account = state.store.set_role(name.to_owned(), role).await?;
    }
    if let Some(password) = password {
        audit(state, identity, Act::PasswordReset, name, json!({})).await?;
        account = state
            .store
            .set_password(name.to_owned(), password, None)
            .await?;
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
            "This is your own account: change its password above, where the one that you have now is asked for.",
        ));
    }
    let password = make_up();
    change(state, identity, name, None, Some(password.clone())).await?;
    Ok(password)
}

/// Removes an account that owns no container: another of its name would inherit them. Its sessions
/// end and are forgotten with what they wrote.
pub async fn delete(state: &AppState, identity: &Identity, name: &str) -> Result<(), Refusal> {
    let stored = state
        .store
        .account(name)?
        .ok_or_else(|| Refusal::from(crate::store::StoreError::NoAccount(name.to_owned())))?;
    let owner = stored.account.name;
    // What it owns is known only where the keeper is.
    if !state.world.keeper().present {
        return Err(Refusal::keeper_away());
    }
    refuse_owner_of_containers(state, &owner)?;
    audit(state, identity, Act::AccountDeleted, name, json!({})).await?;
    // Before the account goes: where one cannot be ended, the account stays to be tried again.
    sessions::end_all(state, &owner).await?;
    state.store.delete_account(name.to_owned()).await?;
    state.access.secret_changed(name);
    state.access.standing.look(&state.store);
    // What it began to open meanwhile. What is left after that keeps the name from being used.
    sessions::end_all(state, &owner).await
}

fn refuse_owner_of_containers(state: &AppState, owner: &Owner) -> Result<(), Refusal> {
    match containers::owned(state, owner) {
        0 => Ok(()),
        owned => Err(Refusal::conflict(
            "owns_containers",
            format!(
                "The account owns {owned} containers. Remove them first: an account made later under this name would own them."
            ),
        )),
    }
}

/// Refuses a new account a name that something is left of: it would own that.
fn refuse_inheritance(state: &AppState, owner: &Owner) -> Result<(), Refusal> {
    let containers = containers::owned(state, owner);
    let sessions = sessions::owned(state, owner).len();
    if containers + sessions == 0 {
        return Ok(());
    }
    Err(Refusal::conflict(
        "name_owns",
        format!(
            "An earlier account of this name has left {containers} containers and {sessions} sessions. Remove them first, or take another name."
        ),
    )
    .field("user"))
}

/// Makes a token for machines, with the rights of its account. Its secret is shown this once.
pub async fn create_token(
    state: &AppState,
    identity: &Identity,
    name: String,
) -> Result<(Token, Secret), Refusal> {
    if identity.via == Via::Local {
        return Err(Refusal::conflict(
            "no_account",
            "Local users of the socket have no account that a token could belong to, and need none.",
        ));
    }
    if name.is_empty() || name.len() > 100 || name.contains(char::is_control) {
        return Err(Refusal::unusable(
            "name",
            "A token's name says what it is for, in 1 to 100 bytes.",
        ));
    }
    let secret = Secret::new();
    audit(state, identity, Act::TokenCreated, &name, json!({})).await?;
    let token = state
        .store
        .add_token(identity.account.id, name, hash(secret.reveal()))
        .await?;
    Ok((token, secret))
}

/// Ends one of one's own tokens.
pub async fn delete_token(state: &AppState, identity: &Identity, id: i64) -> Result<(), Refusal> {
    audit(
        state,
        identity,
        Act::TokenDeleted,
        &id.to_string(),
        json!({}),
    )
    .await?;
    if !state.store.delete_token(identity.account.id, id).await? {
        return Err(Refusal::not_found(
            "token_not_found",
            "You have no token of this number.",
        ));
    }
    state.access.standing.look(&state.store);
    Ok(())
}
