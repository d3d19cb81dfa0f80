//! Follows one engine for as long as the broker runs.
//!
//! Events say which container has changed, never what it is now: that is asked anew, so that the
//! order of events does not matter. Events are asked for from a moment before the list, so that
//! nothing falls between the two. A list now and then finds what events have not told.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use porthole_protocol::engine::Engine;
use porthole_protocol::engines::EngineContainer;
use porthole_protocol::id::ContainerId;

use crate::Broker;
use crate::client::{CallError, Client, PULSE_PATIENCE, STREAM};
use crate::inspect::Listed;

/// The first wait after trouble, doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How often it is looked whether the engine still answers.
const PULSE: Duration = Duration::from_secs(5);

/// How often everything is compared with a list.
const COMPARE: Duration = Duration::from_secs(30);

/// Containers that are asked about at once.
const AT_ONCE: usize = 8;

/// Events are asked for from so many seconds before the list: they are told in whole seconds.
const OVERLAP: u64 = 2;

pub(crate) async fn run(client: Client, broker: Arc<Broker>) {
    let mut wait = FIRST_WAIT;
    loop {
        let mut answered = false;
        let why = tokio::select! {
            why = follow(&client, &broker, &mut answered) => why,
            why = pulse(&client) => why,
        };
        if answered {
            wait = FIRST_WAIT;
        }
        let trouble = sentence(&client, &why);
        if broker.board.engine(client.id, Err(trouble.clone())) {
            tracing::warn!(engine = %client.endpoint.engine, %trouble, "an engine");
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// What is wrong with an engine, and what to do, for people.
fn sentence(client: &Client, why: &CallError) -> String {
    let name = match client.endpoint.engine {
        Engine::Podman => "Podman",
        _ => "Docker",
    };
    let socket = &client.endpoint.socket;
    match why {
        CallError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => format!(
            "There is no {socket}: {name} does not run, or listens at another place, which the table [engines] of Porthole's policy can name."
        ),
        CallError::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            format!("Nobody listens at {socket}: {name} has ended, and left its socket behind.")
        }
        CallError::Io(error) if error.kind() == std::io::ErrorKind::WouldBlock => format!(
            "{name} takes no more connections at {socket}: too many wait there, it seems to hang."
        ),
        CallError::Io(error) => format!("{name} cannot be reached at {socket}: {error}."),
        CallError::Late(time) => format!(
            "{name} has not answered at {socket} within {} seconds: it hangs, or is very busy.",
            time.as_secs()
        ),
        CallError::Answer { message, .. } => {
            format!(
                "{name} refuses at {socket}: {}",
                message.trim_end_matches('.')
            ) + "."
        }
        CallError::Garbage(what) => {
            format!("What listens at {socket} does not speak Docker's interface: {what}.")
        }
        CallError::HungUp => format!("{name} has hung up at {socket}."),
        CallError::TooMuch => {
            format!("What listens at {socket} sends without end, and was cut off.")
        }
    }
}

/// Ends when the engine no longer answers.
async fn pulse(client: &Client) -> CallError {
    loop {
        tokio::time::sleep(PULSE).await;
        if let Err(why) = client.ping().await {
            return why;
        }
    }
}

/// What is asked of the engine beside its events.
enum Found {
    List(Result<Vec<Listed>, CallError>),
    Container(ContainerId, Result<Box<EngineContainer>, CallError>),
}

type Asking = FuturesUnordered<Pin<Box<dyn Future<Output = Found> + Send>>>;

/// Which containers are to be asked about, each once at a time.
#[derive(Debug, Default)]
struct Wanted {
    /// Not asked yet.
    waiting: Vec<ContainerId>,
    /// Being asked; whether it has changed since.
    asked: BTreeMap<ContainerId, bool>,
}

impl Wanted {
    fn want(&mut self, id: ContainerId) {
        if let Some(again) = self.asked.get_mut(&id) {
            *again = true;
        } else if !self.waiting.contains(&id) {
            self.waiting.push(id);
        }
    }

    /// The next to be asked about.
    fn next(&mut self) -> Option<ContainerId> {
        if self.asked.len() >= AT_ONCE {
            return None;
        }
        let id = self.waiting.pop()?;
        self.asked.insert(id.clone(), false);
        Some(id)
    }

    /// It has been answered.
    fn answered(&mut self, id: ContainerId) {
        if self.asked.remove(&id) == Some(true) {
            self.waiting.push(id);
        }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }
}

struct Follower<'a> {
    client: &'a Client,
    broker: &'a Broker,
    wanted: Wanted,
    asking: Asking,
}

async fn follow(client: &Client, broker: &Broker, answered: &mut bool) -> CallError {
    match Box::pin(followed(client, broker, answered)).await {
        Ok(never) => match never {},
        Err(why) => why,
    }
}

async fn followed(
    client: &Client,
    broker: &Broker,
    answered: &mut bool,
) -> Result<std::convert::Infallible, CallError> {
    let version = client.version().await?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let since = now.unwrap_or_default().as_secs().saturating_sub(OVERLAP);
    let mut events = client.events(since)?;
    let mut follower = Follower {
        client,
        broker,
        wanted: Wanted::default(),
        asking: Asking::new(),
    };
    follower.list();
    let mut listed = false;
    let mut compare = tokio::time::interval(COMPARE);
    compare.reset();
    loop {
        follower.ask();
        tokio::select! {
            event = events.items.next() => {
                events.allowance.renew(STREAM);
                if let Some(id) = touched(event.ok_or(CallError::HungUp)??) {
                    follower.wanted.want(id);
                }
            }
            Some(found) = follower.asking.next() => match found {
                Found::List(list) => {
                    // The first time nothing that was known before is taken for granted.
                    follower.compare(list?, listed);
                    listed = true;
                }
                Found::Container(id, result) => follower.learn(id, result)?,
            },
            _ = compare.tick() => follower.list(),
        }
        if listed && !*answered && follower.wanted.is_empty() {
            *answered = true;
            if broker.board.engine(client.id, Ok(version.clone())) {
                tracing::info!(engine = %client.endpoint.engine, %version, "an engine answers");
            }
        }
    }
}

/// The container that an event is about.
fn touched(event: bollard::models::EventMessage) -> Option<ContainerId> {
    use bollard::models::EventMessageTypeEnum::{CONTAINER, NETWORK};
    let actor = event.actor?;
    let action = event.action?;
    // What runs beside the container's own command changes nothing of it.
    let beside = [
        "exec_", "top", "attach", "detach", "resize", "copy", "export", "commit",
    ];
    let id = match event.typ? {
        CONTAINER if !beside.iter().any(|other| action.starts_with(other)) => actor.id?,
        NETWORK => actor.attributes?.remove("container")?,
        _ => return None,
    };
    id.parse().ok()
}

impl Follower<'_> {
    fn list(&mut self) {
        let client = self.client.clone();
        self.asking
            .push(Box::pin(async move { Found::List(client.list().await) }));
    }

    fn ask(&mut self) {
        while let Some(id) = self.wanted.next() {
            let client = self.client.clone();
            self.asking.push(Box::pin(async move {
                let result = client.read(&id).await.map(Box::new);
                Found::Container(id, result)
            }));
        }
    }

    /// Asks about every container that is not known as the list has it, or about all.
    fn compare(&mut self, list: Vec<Listed>, only_new: bool) {
        let endpoint = self.client.id;
        let mut known: BTreeMap<_, _> = self
            .broker
            .board
            .of(endpoint)
            .into_iter()
            .map(|container| (container.id.clone(), container))
            .collect();
        for listed in list {
            let Some(id) = listed.id() else { continue };
            let before = known.remove(&id);
            if !only_new || !before.is_some_and(|before| listed.agrees(&before)) {
                self.wanted.want(id);
            }
        }
        // Not at once forgotten: one may be newer than the list.
        for id in known.into_keys() {
            self.wanted.want(id);
        }
    }

    fn learn(
        &mut self,
        id: ContainerId,
        result: Result<Box<EngineContainer>, CallError>,
    ) -> Result<(), CallError> {
        let board = &self.broker.board;
        let endpoint = self.client.id;
        match result {
            Ok(container) => board.put(*container),
            Err(why) if why.is_not_found() => board.remove(endpoint, &id),
            // One whose answer is not understood is shown as it was last; the others as they are.
            Err(CallError::Garbage(why)) => {
                tracing::warn!(container = %id, why, "what the engine says of a container");
            }
            Err(CallError::Answer { message, .. }) => {
                tracing::warn!(container = %id, why = message, "the engine tells nothing");
            }
            Err(why) => return Err(why),
        }
        self.wanted.answered(id);
        Ok(())
    }
}

// The pulse must notice a hanging engine before a second one could have begun.
const _: () = assert!(PULSE.as_secs() >= PULSE_PATIENCE.as_secs());

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ContainerId {
        text.parse().expect("an id")
    }

    #[test]
    fn a_container_is_asked_about_once_at_a_time_and_again_when_it_has_changed() {
        let mut wanted = Wanted::default();
        wanted.want(id("a"));
        wanted.want(id("a"));
        assert_eq!(wanted.next(), Some(id("a")));
        assert_eq!(wanted.next(), None, "once");
        wanted.want(id("a"));
        assert_eq!(wanted.next(), None, "it is being asked");
        wanted.answered(id("a"));
        assert_eq!(wanted.next(), Some(id("a")), "it changed meanwhile");
        wanted.answered(id("a"));
        assert!(wanted.is_empty());
    }

    #[test]
    fn so_many_are_asked_about_at_once_and_no_more() {
        let mut wanted = Wanted::default();
        for number in 0..20 {
            wanted.want(id(&format!("c{number}")));
        }
        let asked: Vec<_> = std::iter::from_fn(|| wanted.next()).collect();
        assert_eq!(asked.len(), AT_ONCE);
        wanted.answered(asked[0].clone());
        assert!(wanted.next().is_some());
        assert!(wanted.next().is_none());
    }
}
