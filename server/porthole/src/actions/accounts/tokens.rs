//! Tokens for machines.

use std::time::Duration;

use crate::access::secret::Secret;
use crate::access::{Identity, Via};
use crate::store::{NewToken, Token};
use crate::{AppState, Refusal};

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
    let end = state.store.ends_at(&identity.via)?;
    let secret = Secret::new();
    let new = NewToken {
        account: identity.account.id,
        name,
        hash: secret.hash(),
        life,
    };
    let token = state.store.add_token_until(new, end, identity.into());
    let token = token.await?;
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
