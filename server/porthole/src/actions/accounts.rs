//! Accounts: first start, sign in and out, passwords, roles, tokens.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use porthole_protocol::container::Owner;
use serde::Deserialize;
use serde_json::json;

use super::{containers, sessions};
use crate::access::gate::Whence;
use crate::access::identity::SecretHash;
use crate::access::password::make_up;
use crate::access::secret::Secret;
use crate::access::{Account, Identity, Role, Via, limits};
use crate::settings::Password;
use crate::store::{
    AccountChange, Act, Actor, NewAccount, NewToken, Note, Outcome, StoreError, Stored, Token,
};
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
    from: Whence,
    code: &str,
    name: Owner,
    password: String,
) -> Result<(Account, Secret), Refusal> {
    if !state.store.is_new()? {
        return Err(StoreError::NotFirst.into());
    }
    check_name("user", &name)?;
    // All who try share one count: there is one code.
    state.access.attempt("\0setup", from.address)?;
    if !state.access.setup.is(code, Instant::now()) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "wrong_code",
            "This is not the code, or it has run out. It stands in the address that Porthole printed when it started, behind the #, or in the file setup-code beside its sockets.",
        )
        .field("code"));
    }
    state.access.succeeded("\0setup", from.address);
    let account = create_first(state, name, password).await?;
    state.access.setup.end();
    let secret = log_in(state, &account, Act::SetUp, from, None).await?;
    Ok((account, secret))
}

async fn create_first(state: &AppState, name: Owner, password: String) -> Result<Account, Refusal> {
    let first = NewAccount {
        name,
        role: Role::Admin,
        password: state.access.passwords.hash(password).await?,
    };
    let by = Actor::server();
    Ok(state.store.create_first_account(first, by).await?)
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

async fn log_in(
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

/// The login that is not to end with the others: the one that asks.
fn own_login(identity: &Identity) -> Option<SecretHash> {
    match identity.via {
        Via::Login(hash) => Some(hash),
        Via::Token(_) | Via::Local => None,
    }
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
    check_name("user", &name)?;
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

/// What happens to an account's containers when it is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Containers {
    /// Where it owns any, the account stays.
    #[default]
    Keep,
    /// They are removed, also while they run.
    Remove,
}

/// How long what is being made of an account's waits to be there, before the account is deleted.
const BEING_MADE: Duration = Duration::from_secs(30);

/// Removes an account; another of its name would inherit its containers, so these are to be gone,
/// or go with it. Its sessions end and are forgotten with what they wrote.
pub async fn delete(
    state: &AppState,
    identity: &Identity,
    name: &str,
    what: Containers,
) -> Result<(), Refusal> {
    let account = require(state, name)?;
    if name == identity.name().as_str() {
        return Err(Refusal::conflict(
            "own_account",
            "This is your own account: another administrator deletes it.",
        ));
    }
    let owner = account.name.clone();
    // What it owns is known only where the keeper is.
    if !state.world.keeper().present {
        return Err(Refusal::keeper_away());
    }
    if what == Containers::Keep {
        refuse_owner_of_containers(state, &owner)?;
    }
    if account.disabled_at.is_none() {
        // From here on it makes nothing new.
        let wish = Wish {
            disabled: Some(true),
            ..Wish::default()
        };
        change(state, identity, name, wish, None).await?;
    }
    let begun = tokio::time::Instant::now();
    while state.making.any_of(&owner) && begun.elapsed() < BEING_MADE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if what == Containers::Remove {
        for container in state.world.containers() {
            if container.owner == owner {
                containers::remove(state, identity, &container, true).await?;
            }
        }
    }
    refuse_owner_of_containers(state, &owner)?;
    // Before the account goes: where one cannot be ended, the account stays to be tried again.
    sessions::end_all(state, &owner).await?;
    let deleted = state.store.delete_account(name.to_owned(), identity.into());
    deleted.await?;
    state.access.secret_changed(name);
    state.access.standing.look(&state.store);
    // What is left after that keeps the name from being used.
    sessions::end_all(state, &owner).await
}

fn refuse_owner_of_containers(state: &AppState, owner: &Owner) -> Result<(), Refusal> {
    match containers::owned(state, owner) {
        0 => Ok(()),
        owned => Err(Refusal::conflict(
            "owns_containers",
            format!(
                "The account owns {owned} containers. Remove them first, or with it: an account made later under this name would own them."
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

/// The longest that a token lasts by itself: ten years.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Makes a token for machines, with the rights of its account, for this long or until it is ended.
/// Its secret is shown this once.
pub async fn create_token(
    state: &AppState,
    identity: &Identity,
    name: String,
    life: Option<Duration>,
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
    if life.is_some_and(|life| !(Duration::from_secs(1)..=LONGEST_LIFE).contains(&life)) {
        return Err(Refusal::unusable(
            "expires_in",
            "A token lasts between a second and ten years, or until it is ended where nothing is said.",
        ));
    }
    // A token that ends is no way to one that does not.
    let left = state.store.ends_in(&identity.via)?;
    let left = left.map(|left| Duration::from_millis(left.unsigned_abs()));
    let life = match (life, left) {
        (Some(life), Some(left)) => Some(life.min(left)),
        (life, left) => life.or(left),
    };
    let secret = Secret::new();
    let new = NewToken {
        account: identity.account.id,
        name,
        hash: secret.hash(),
        life,
    };
    let token = state.store.add_token(new, identity.into()).await?;
    Ok((token, secret))
}

/// Ends one of one's own tokens.
pub async fn delete_token(state: &AppState, identity: &Identity, id: i64) -> Result<(), Refusal> {
    let ended = state
        .store
        .delete_token(identity.account.id, id, identity.into());
    if !ended.await? {
        return Err(Refusal::not_found(
            "token_not_found",
            "You have no token of this number.",
        ));
    }
    state.access.standing.look(&state.store);
    Ok(())
}
