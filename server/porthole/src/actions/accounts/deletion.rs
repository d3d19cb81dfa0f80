//! Deleting an account, and what it would leave to another of its name.

use std::time::Duration;

use porthole_protocol::container::Owner;
use serde::Deserialize;

use super::{Wish, change, require};
use crate::access::Identity;
use crate::actions::{containers, sessions};
use crate::{AppState, Refusal};

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
pub(super) fn refuse_inheritance(state: &AppState, owner: &Owner) -> Result<(), Refusal> {
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
