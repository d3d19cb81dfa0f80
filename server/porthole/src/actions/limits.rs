//! How much an account may have in all, enforced where something comes to be.
//!
//! What is being made counts before the world knows it, so that of two who ask at once for the last
//! place one is refused. A container counts with what it may use, whether it runs or not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use porthole_protocol::container::{Container, Limits, Owner};
use porthole_protocol::id::{ContainerId, SessionId};
use tokio::sync::OwnedMutexGuard;

use super::ceilings;
use crate::access::limits::{Amounts, Ceiling, Kind, Said};
use crate::access::{Account, Identity, Role, Via};
use crate::pages::view::words::bytes;
use crate::world::World;
use crate::{AppState, Refusal};

/// Containers that one account may have where nothing else is said, but for administrators.
pub const CONTAINERS: u64 = 64;
/// Sessions that one account may have running at once where nothing else is said.
pub const SESSIONS: u64 = 32;

/// What holds for who is no administrator where neither their account nor the settings say
/// anything: what all their containers have together is no more than the machine's memory.
fn built_in() -> Said {
    Said::default()
        .with(Kind::Containers, Some(Ceiling::Most(CONTAINERS)))
        .with(Kind::Sessions, Some(Ceiling::Most(SESSIONS)))
        .with(Kind::Memory, ceilings::machine_memory().map(Ceiling::Most))
}

/// What holds where nothing is set for an account: by root's settings, and built in. Administrators
/// have no default but that of sessions, which bounds what one browser can open.
pub fn defaults(configured: Said, role: Role) -> Said {
    let all = configured.or(built_in());
    match role {
        Role::Admin => Said::default().with(Kind::Sessions, all.get(Kind::Sessions)),
        Role::User | Role::Viewer => all,
    }
}

/// What holds for an account.
pub fn allowed(state: &AppState, account: &Account) -> Said {
    let defaults = defaults(state.settings.user_limits, account.role);
    account.limits.or(defaults)
}

/// What somebody has.
pub fn used(world: &World, owner: &Owner) -> Amounts {
    let mut sum = Amounts::default();
    for container in world.containers().iter().filter(|c| c.owner == *owner) {
        sum += Amounts::of_container(&container.spec.limits);
    }
    let sessions = world.sessions();
    let theirs = sessions.iter().filter(|s| s.owner == *owner);
    for _ in theirs.filter(|s| s.exit.is_none()) {
        sum += Amounts::of_session();
    }
    sum
}

/// Counts a container that is to be made, until the answer is dropped.
pub(super) fn container<'a>(
    state: &'a AppState,
    identity: &Identity,
    limits: &Limits,
) -> Result<OneMore<'a>, Refusal> {
    let account = current(state, identity)?;
    begin(state, &account, Amounts::of_container(limits), None)
}

/// Counts a session that is to be opened, until the answer is dropped.
pub(super) fn session<'a>(
    state: &'a AppState,
    identity: &Identity,
    id: &SessionId,
) -> Result<OneMore<'a>, Refusal> {
    let account = current(state, identity)?;
    begin(state, &account, Amounts::of_session(), Some(id.to_string()))
}

/// Counts what a container is to be given more, until the answer is dropped. It is its owner's,
/// whoever gives it. What is not given stays as it is.
pub(super) fn change<'a>(
    state: &'a AppState,
    container: &Container,
    limits: &Limits,
) -> Result<Option<OneMore<'a>>, Refusal> {
    let Some(owner) = state.store.account(container.owner.as_str())? else {
        return Ok(None);
    };
    // As it is now: the request may have seen it long ago.
    let seen = state.world.container(&container.id);
    let now = &seen.as_deref().unwrap_or(container).spec.limits;
    let then = Limits {
        memory: limits.memory.or(now.memory),
        swap: limits.swap.or(now.swap),
        cpus: limits.cpus.or(now.cpus),
        pids: limits.pids.or(now.pids),
    };
    let more = Amounts::of_container(&then).beyond(&Amounts::of_container(now));
    begin(state, &owner.account, more, None).map(Some)
}

/// The account as it is now: the request may have been on its way for long.
fn current(state: &AppState, identity: &Identity) -> Result<Account, Refusal> {
    match state.store.current(&identity.via)? {
        Some(account) if account.role == identity.role() => Ok(account),
        None if identity.via == Via::Local => Ok(identity.account.clone()),
        _ => Err(Refusal::not_signed_in()),
    }
}

fn begin<'a>(
    state: &'a AppState,
    account: &Account,
    wanted: Amounts,
    id: Option<String>,
) -> Result<OneMore<'a>, Refusal> {
    let (allowed, owner) = (allowed(state, account), &account.name);
    let mut entries = state.making.entries();
    // Counted under the lock: what has just come to be is in one of the two at least.
    let mut sum = used(&state.world, owner);
    for entry in entries.iter().filter(|entry| entry.owner == *owner) {
        if !entry.is_there(&state.world) {
            sum += entry.wanted;
        }
    }
    check(allowed, sum, wanted)?;
    let number = entries.last().map_or(0, |entry| entry.number) + 1;
    entries.push(Entry {
        number,
        owner: owner.clone(),
        wanted,
        id,
    });
    Ok(OneMore {
        making: &state.making,
        number,
    })
}

/// Refuses what is more than is allowed, with what is used and what is allowed.
fn check(allowed: Said, used: Amounts, wanted: Amounts) -> Result<(), Refusal> {
    for kind in Kind::ALL {
        let Some(Ceiling::Most(most)) = allowed.get(kind) else {
            continue;
        };
        let (has, asks) = (used.get(kind), wanted.get(kind));
        if asks == 0 || has.saturating_add(asks) <= most {
            continue;
        }
        let message = sentence(kind, has, asks, most);
        return Err(match kind {
            Kind::Containers | Kind::Sessions => Refusal::too_many(message, 5),
            _ => {
                let field = format!("limits.{}", kind.name());
                // What is more than can ever be had is not worth another try.
                if asks > most {
                    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "too_much", message).field(field)
                } else {
                    Refusal::too_many(message, 5).field(field)
                }
            }
        });
    }
    Ok(())
}

/// An amount as people read it.
pub fn shown(kind: Kind, amount: u64) -> String {
    match kind {
        Kind::Memory => bytes(amount),
        Kind::Cpus => kind.json(amount).to_string(),
        Kind::Containers | Kind::Sessions | Kind::Pids => amount.to_string(),
    }
}

fn sentence(kind: Kind, has: u64, asks: u64, most: u64) -> String {
    let amount = |amount| shown(kind, amount);
    let (has, asks, left, most) = (
        amount(has),
        amount(asks),
        amount(most.saturating_sub(has)),
        amount(most),
    );
    let what = match kind {
        Kind::Containers => {
            return format!(
                "You have {has} of the {most} containers that you may have. Remove one first, or ask an administrator for more."
            );
        }
        Kind::Sessions => {
            return format!(
                "You have {has} of the {most} sessions running that you may have. End one first, or ask an administrator for more."
            );
        }
        Kind::Memory => "of memory and swap",
        Kind::Cpus => "cores",
        Kind::Pids => "processes",
    };
    format!(
        "Your containers may have {most} {what} together, whether they run or not, and have {has}; this one asks for {asks}. {left} are left: ask for no more, remove a container, or ask an administrator for more."
    )
}

struct Entry {
    /// Greater than those before.
    number: u64,
    owner: Owner,
    wanted: Amounts,
    /// What it is called, as soon as that is known.
    id: Option<String>,
}

impl Entry {
    /// Whether the world has it, and it is counted there.
    fn is_there(&self, world: &World) -> bool {
        let Some(id) = &self.id else {
            return false;
        };
        let session = id.parse::<SessionId>();
        let container = id.parse::<ContainerId>();
        session.is_ok_and(|id| world.session(&id).is_some())
            || container.is_ok_and(|id| world.container(&id).is_some())
    }
}

/// What is being made, by whom, and what is being changed.
#[derive(Default)]
pub struct Making {
    entries: Mutex<Vec<Entry>>,
    /// Containers that are being changed, or that somebody waits to change.
    turns: Mutex<HashMap<ContainerId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Making {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else changes this container, in the order of those who ask, and keeps
    /// others from it until the answer is dropped. What is counted for a change is right only while
    /// no other one is between its count and the keeper's answer.
    pub(super) async fn turn(&self, id: &ContainerId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(id.clone()).or_default())
        };
        turn.lock_owned().await
    }

    /// Whether something of somebody's is being made.
    pub(super) fn any_of(&self, owner: &Owner) -> bool {
        self.entries().iter().any(|entry| entry.owner == *owner)
    }
}

/// One that is being made.
pub(super) struct OneMore<'a> {
    making: &'a Making,
    number: u64,
}

impl OneMore<'_> {
    /// It is called so: from when the world has it, it counts there.
    pub(super) fn is_called(&self, id: &ContainerId) {
        let mut entries = self.making.entries();
        if let Some(entry) = entries.iter_mut().find(|e| e.number == self.number) {
            entry.id = Some(id.to_string());
        }
    }
}

impl Drop for OneMore<'_> {
    fn drop(&mut self) {
        self.making.entries().retain(|e| e.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: &str) -> Said {
        serde_json::from_str(json).expect("limits")
    }

    #[test]
    fn a_limit_is_reached_and_not_passed() {
        let allowed = said(r#"{"containers":2,"memory":1073741824,"cpus":1.5,"pids":300}"#);
        let asks = |memory: u64, cpus: f64, pids: u32| {
            Amounts::of_container(&Limits {
                memory: Some(memory),
                cpus: Some(cpus),
                pids: Some(pids),
                ..Limits::default()
            })
        };
        let half = asks(512 << 20, 0.75, 150);
        assert_eq!(check(allowed, half, half), Ok(()), "to the last byte");
        for (wanted, field, status, words) in [
            (
                asks((512 << 20) + 1, 0.1, 1),
                "limits.memory",
                429,
                "1 GiB of memory",
            ),
            (
                asks(2 << 30, 0.1, 1),
                "limits.memory",
                422,
                "asks for 2 GiB",
            ),
            (asks(1 << 20, 0.76, 1), "limits.cpus", 429, "have 0.75"),
            (asks(1 << 20, 0.1, 151), "limits.pids", 429, "300 processes"),
        ] {
            let refusal = check(allowed, half, wanted).expect_err(field);
            assert_eq!(refusal.field.as_deref(), Some(field));
            assert_eq!(refusal.status.as_u16(), status, "{refusal}");
            assert!(refusal.message.contains(words), "{refusal}");
        }
        let mut two = half;
        two += asks(0, 0.01, 0);
        let refusal = check(allowed, two, asks(0, 0.01, 0)).expect_err("a third");
        assert_eq!(refusal.status.as_u16(), 429);
        assert!(
            refusal.message.contains("2 of the 2 containers"),
            "{refusal}"
        );
        let unlimited = said(r#"{"containers":"unlimited"}"#);
        assert_eq!(check(unlimited, two, asks(1 << 40, 99.0, 9)), Ok(()));
        // Somebody who has more than they may by now can still do what needs none of it.
        assert_eq!(
            check(said(r#"{"memory":1}"#), two, Amounts::of_session()),
            Ok(())
        );
    }

    #[test]
    fn an_accounts_own_limit_goes_before_the_settings_and_these_before_what_is_built_in() {
        let configured = said(r#"{"containers":5,"cpus":2}"#);
        let user = said(r#"{"containers":"unlimited"}"#).or(defaults(configured, Role::User));
        assert_eq!(user.get(Kind::Containers), Some(Ceiling::Unlimited));
        assert_eq!(user.get(Kind::Cpus), Some(Ceiling::Most(2000)));
        assert_eq!(user.get(Kind::Sessions), Some(Ceiling::Most(SESSIONS)));
        assert!(user.get(Kind::Memory).is_some());
        let admin = said(r#"{"memory":1}"#).or(defaults(configured, Role::Admin));
        assert_eq!(admin.get(Kind::Containers), None);
        assert_eq!(admin.get(Kind::Sessions), Some(Ceiling::Most(SESSIONS)));
        assert_eq!(
            admin.get(Kind::Memory),
            Some(Ceiling::Most(1)),
            "its own holds"
        );
    }
}
