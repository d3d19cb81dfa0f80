//! The first account, made by who holds the one-time code or by the settings.

use std::time::Instant;

use axum::http::StatusCode;
use porthole_protocol::container::Owner;

use super::check_name;
use super::sign_in::log_in;
use crate::access::gate::Whence;
use crate::access::secret::Secret;
use crate::access::{Account, Role};
use crate::settings::Password;
use crate::store::{Act, Actor, NewAccount, StoreError};
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
    check_name(&name)?;
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

async fn create_first(state: &AppState, name: Owner, password: String) -> Result<Account, Refusal> {
    let first = NewAccount {
        name,
        role: Role::Admin,
        password: state.access.passwords.hash(password).await?,
    };
    let by = Actor::server();
    Ok(state.store.create_first_account(first, by).await?)
}
