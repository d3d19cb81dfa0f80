//! What is done with a container, whoever made it: with Porthole's own by the keeper, with another
//! engine's by that engine, where root's policy lets it be asked.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use porthole_protocol::container::{Container, Signal};
use porthole_protocol::engines::{LogPart, Timeout, Verb};
use serde_json::{Value, json};

use super::{audited, containers};
use crate::access::Identity;
use crate::engines::Logs;
use crate::store::Act;
use crate::world::{AnyContainer, Foreign, Unmanaged, does_not_answer};
use crate::{AppState, Refusal};

/// What can be done with a container that goes on existing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Start it.
    Start,
    /// End it: its stop signal, and SIGKILL after this time, ten seconds where none is given.
    Stop(Option<Duration>),
    /// The same, and start it.
    Restart(Option<Duration>),
    /// Send its first process this signal.
    Kill(u8),
    /// Freeze its processes.
    Pause,
    /// Let them run again.
    Unpause,
}

impl From<Unmanaged> for Refusal {
    fn from(why: Unmanaged) -> Self {
        let message = why.to_string();
        match why {
            Unmanaged::NotAsked(..) | Unmanaged::LookOnly(_) => Self::forbidden(message),
            Unmanaged::NoEngine(_) | Unmanaged::Unknown(_) => Self::conflict("not_own", message),
            Unmanaged::Unconfirmed(_) => Self::conflict("unconfirmed", message),
            Unmanaged::Trouble(..) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let mut refusal = Self::new(status, "engine_unreachable", message);
                refusal.retry_after = Some(1);
                refusal
            }
        }
    }
}

/// Does it, and answers with the container as it is then.
pub async fn act(
    state: &AppState,
    identity: &Identity,
    container: &AnyContainer,
    deed: Deed,
) -> Result<AnyContainer, Refusal> {
    match container {
        AnyContainer::Own(own) => {
            let now = act_on_own(state, identity, own, deed).await?;
            Ok(AnyContainer::Own(now))
        }
        AnyContainer::Foreign(foreign) => {
            let (verb, act, detail) = asked(deed)?;
            ask(state, identity, foreign, (verb, act, detail)).await?;
            let now = state.world.any_container(&foreign.id);
            Ok(now.unwrap_or_else(|| container.clone()))
        }
    }
}

async fn act_on_own(
    state: &AppState,
    identity: &Identity,
    container: &Container,
    deed: Deed,
) -> Result<Arc<Container>, Refusal> {
    match deed {
        Deed::Start => containers::start(state, identity, container).await,
        Deed::Stop(timeout) => containers::stop(state, identity, container, timeout).await,
        Deed::Restart(timeout) => containers::restart(state, identity, container, timeout).await,
        Deed::Kill(signal) => containers::kill(state, identity, container, signal).await,
        Deed::Pause => containers::pause(state, identity, container).await,
        Deed::Unpause => containers::unpause(state, identity, container).await,
    }
}

/// What an engine is asked for this, and what the audit trail says of it.
fn asked(deed: Deed) -> Result<(Verb, Act, Value), Refusal> {
    Ok(match deed {
        Deed::Start => (Verb::Start, Act::ContainerStart, json!({})),
        Deed::Stop(given) => {
            let timeout = whole_seconds(given)?;
            let detail = json!({"timeout": timeout.get()});
            (Verb::Stop { timeout }, Act::ContainerStop, detail)
        }
        Deed::Restart(given) => {
            let timeout = whole_seconds(given)?;
            let detail = json!({"timeout": timeout.get()});
            (Verb::Restart { timeout }, Act::ContainerRestart, detail)
        }
        Deed::Kill(number) => {
            let signal = Signal::try_from(u32::from(number))
                .map_err(|why| Refusal::unusable("signal", why.to_string()))?;
            let detail = json!({"signal": number});
            (Verb::Kill { signal }, Act::ContainerKill, detail)
        }
        Deed::Pause => (Verb::Pause, Act::ContainerPause, json!({})),
        Deed::Unpause => (Verb::Unpause, Act::ContainerUnpause, json!({})),
    })
}

/// Engines count whole seconds: a part of one is one.
fn whole_seconds(given: Option<Duration>) -> Result<Timeout, Refusal> {
    let given = given.unwrap_or(containers::STOP_TIMEOUT);
    let part = u64::from(given.subsec_nanos() > 0);
    u32::try_from(given.as_secs().saturating_add(part))
        .ok()
        .and_then(|seconds| Timeout::try_from(seconds).ok())
        .ok_or_else(|| Refusal::unusable("timeout", "A timeout has at most 3600 seconds."))
}

async fn ask(
    state: &AppState,
    identity: &Identity,
    container: &Foreign,
    (verb, act, mut detail): (Verb, Act, Value),
) -> Result<(), Refusal> {
    let known = state.world.managed(container)?;
    detail["engine"] = json!(container.engine);
    detail["name"] = json!(container.name);
    let acted = async { Ok(state.engines.act(known, verb).await?) };
    audited(state, identity, act, container.id.as_str(), detail, acted).await
}

/// Removes a container; `force` kills it first where it runs.
pub async fn remove(
    state: &AppState,
    identity: &Identity,
    container: &AnyContainer,
    force: bool,
) -> Result<(), Refusal> {
    match container {
        AnyContainer::Own(own) => containers::remove(state, identity, own, force).await,
        AnyContainer::Foreign(foreign) => {
            let detail = json!({"force": force});
            let asked = (Verb::Remove { force }, Act::ContainerRemove, detail);
            ask(state, identity, foreign, asked).await
        }
    }
}

/// What another engine's container wrote, from that engine. Where that listens and what it says of
/// itself is for administrators.
pub async fn logs(
    state: &AppState,
    identity: &Identity,
    container: &Foreign,
    part: LogPart,
) -> Result<Logs, Refusal> {
    let asked = async {
        let known = state.world.known_to_engine(container)?;
        Ok(state.engines.logs(known, part).await?)
    };
    asked.await.map_err(|mut refusal: Refusal| {
        let of_engine = matches!(
            refusal.status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        if of_engine && !identity.is_admin() {
            refusal.message = format!("{}.", does_not_answer(container.engine.words()));
        }
        refusal
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_whole_seconds_and_never_shorter_than_asked_for() {
        let seconds = |given| whole_seconds(given).map(Timeout::get);
        assert_eq!(seconds(None), Ok(10));
        assert_eq!(seconds(Some(Duration::from_millis(300))), Ok(1));
        assert_eq!(seconds(Some(Duration::from_secs(3600))), Ok(3600));
        let late = seconds(Some(Duration::from_millis(3_600_001)));
        assert_eq!(
            late.expect_err("too long").field.as_deref(),
            Some("timeout")
        );
    }
}
