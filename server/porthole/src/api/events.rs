//! What happens, as it happens: as JSON for programs, as pieces of pages for browsers.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::Stream;
use futures_util::stream::unfold;
use porthole_protocol::observation::Process;
use porthole_protocol::session::Session;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;

use super::body::Asked;
use super::namespaces::NamespaceView;
use super::{foreign, images, view};
use crate::access::Identity;
use crate::pages::live::{Follower, Subject, shows_usage};
use crate::server::sse;
use crate::usage::Looking;
use crate::world::{Change, Numbered, Replay};
use crate::{AppState, Refusal};

/// The shortest time between two updates of a page. What happens meanwhile is sent together.
const PACE: Duration = Duration::from_millis(100);
/// More changes than this are told to a page as "look at everything anew".
const GATHERED: usize = 256;
/// Processes that one event tells of.
const PROCESSES: usize = 200;

/// `GET /api/v1/events`. Goes on behind `Last-Event-ID`; where that is too long ago, or was
/// another server's, an event `resync` says that everything is to be read anew.
pub async fn json(
    State(state): State<AppState>,
    identity: Identity,
    headers: HeaderMap,
) -> Response {
    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let (missed, receiver) = resume(&state, last);
    let follower = Json {
        state: state.clone(),
        identity: identity.clone(),
        receiver,
        ready: VecDeque::new(),
    };
    sse::response(&state, &identity, follower.stream(missed))
}

fn resume(state: &AppState, last: Option<&str>) -> (Replay, Receiver<Numbered>) {
    let changes = state.world.changes();
    match last {
        None => (Replay::Missed(Vec::new()), changes.subscribe().1),
        Some(last) => match changes.number_of(last) {
            Some(number) => changes.resume(number),
            None => (Replay::TooOld, changes.subscribe().1),
        },
    }
}

struct Json {
    state: AppState,
    identity: Identity,
    receiver: Receiver<Numbered>,
    ready: VecDeque<Bytes>,
}

impl Json {
    fn stream(mut self, missed: Replay) -> impl Stream<Item = Bytes> + Send {
        match missed {
            Replay::Missed(changes) => changes.iter().for_each(|change| self.write(change)),
            Replay::TooOld => self.resync(),
        }
        unfold(self, |mut follower| async move {
            while follower.ready.is_empty() {
                match follower.receiver.recv().await {
                    Ok(numbered) => follower.write(&numbered),
                    Err(RecvError::Lagged(_)) => follower.resync(),
                    Err(RecvError::Closed) => return None,
                }
            }
            let event = follower.ready.pop_front()?;
            Some((event, follower))
        })
    }

    fn resync(&mut self) {
        self.ready.push_back(sse::event(Some("resync"), None, "{}"));
    }

    fn write(&mut self, numbered: &Numbered) {
        let id = self.state.world.changes().id(numbered.number);
        let mut events = self.events(&numbered.change);
        let last = events.pop();
        for (name, data) in events {
            self.ready
                .push_back(sse::event(Some(name), None, &data.to_string()));
        }
        // Only the last of a change's events has its number: none is missed by going on behind it.
        if let Some((name, data)) = last {
            self.ready
                .push_back(sse::event(Some(name), Some(&id), &data.to_string()));
        }
    }

    fn session(&self, session: &Session) -> Value {
        value(&view::session(&self.state, session, &self.identity))
    }

    fn processes(&self, processes: &[std::sync::Arc<Process>]) -> Value {
        processes
            .iter()
            .map(|process| value(&view::process(&self.state, process, &self.identity, true)))
            .collect()
    }

    fn events(&self, change: &Change) -> Vec<(&'static str, Value)> {
        match change {
            Change::Container(container) => vec![(
                "container",
                value(&view::container(container, &self.identity)),
            )],
            Change::ContainerGone(container) => vec![(
                "container",
                json!({"id": container.id, "name": container.name, "state": "removed"}),
            )],
            Change::Foreign(container) => {
                vec![(
                    "container",
                    value(&foreign::foreign(container, &self.identity)),
                )]
            }
            Change::ForeignGone(container) => vec![(
                "container",
                json!({"id": container.id, "name": container.name, "state": "removed"}),
            )],
            Change::Session(session) => vec![("session", self.session(session))],
            Change::SessionGone(session) => vec![(
                "session",
                json!({"id": session.id, "container": session.container, "state": "removed"}),
            )],
            Change::Viewers(id) => match self.state.world.session(id) {
                Some(session) => vec![("session", self.session(&session))],
                None => Vec::new(),
            },
            // For the drawing alone, which is read anew then.
            Change::Wires => Vec::new(),
            Change::Image(image) => vec![("image", images::view_of(&self.state, &image.name))],
            Change::ImageGone(name) => vec![("image", json!({"name": name, "state": "removed"}))],
            Change::Importing(importing) => vec![("import", json!(importing))],
            Change::Processes { changed, gone, .. } => {
                let gone: Vec<_> = gone.iter().map(|process| process.host_pid).collect();
                let mut events: Vec<_> = changed
                    .chunks(PROCESSES)
                    .map(|some| {
                        (
                            "process",
                            json!({"changed": self.processes(some), "gone": []}),
                        )
                    })
                    .collect();
                if !gone.is_empty() {
                    events.push(("process", json!({"changed": [], "gone": gone})));
                }
                events
            }
            Change::Namespaces { changed, gone } => {
                let changed: Value = changed
                    .iter()
                    .map(|namespace| value(&NamespaceView::of(namespace, &self.state.world, None)))
                    .collect();
                vec![("namespace", json!({"changed": changed, "gone": **gone}))]
            }
            // Programs ask for a container's own.
            Change::Usage => Vec::new(),
            Change::Engines => vec![(
                "engines",
                json!(self.state.world.engine_states(&self.identity)),
            )],
            Change::Keeper => {
                let present = self.state.world.keeper().present;
                vec![("keeper", json!({"present": present}))]
            }
        }
    }
}

fn value(view: &impl serde::Serialize) -> Value {
    // What fails to be written is logged where it does.
    view::value(view).unwrap_or(Value::Null)
}

/// `GET /events`: pieces of the page that asks, whenever they look different.
pub async fn pages(
    State(state): State<AppState>,
    identity: Identity,
    headers: HeaderMap,
    Asked(mut subject): Asked<Subject>,
) -> Result<Response, Refusal> {
    // A page that comes back has been changed since it was made.
    if headers.contains_key("last-event-id") {
        subject.have.clear();
    }
    let looking = shows_usage(&subject.at).then(|| Looking::new(&state));
    let page = Page {
        _looking: looking,
        follower: Follower::new(subject),
        receiver: state.world.changes().subscribe().1,
        state: state.clone(),
        identity: identity.clone(),
        drawn: None,
    };
    let events = unfold(page, |mut page| async move {
        let html = page.next().await?;
        Some((sse::event(None, None, &html), page))
    });
    Ok(sse::response(&state, &identity, events))
}

struct Page {
    /// Where it shows what containers use.
    _looking: Option<Looking>,
    follower: Follower,
    receiver: Receiver<Numbered>,
    state: AppState,
    identity: Identity,
    /// When it was last looked at; never before the first time.
    drawn: Option<Instant>,
}

impl Page {
    async fn next(&mut self) -> Option<String> {
        loop {
            let changes = match self.drawn {
                None => None,
                Some(drawn) => self.gather(drawn + PACE).await?,
            };
            self.drawn = Some(Instant::now());
            let html = self
                .follower
                .render(&self.state, &self.identity, changes.as_deref());
            if html.is_some() {
                return html;
            }
        }
    }

    /// The next change, and what else happens until then. `Some(None)` where that is too much to
    /// look at one by one; `None` where nothing will ever happen again.
    async fn gather(&mut self, until: Instant) -> Option<Option<Vec<Change>>> {
        let mut changes = match self.receiver.recv().await {
            Ok(numbered) => Some(vec![numbered.change]),
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => return None,
        };
        tokio::time::sleep_until(until).await;
        loop {
            match self.receiver.try_recv() {
                Ok(numbered) => {
                    if let Some(some) = &mut changes {
                        some.push(numbered.change);
                        if some.len() > GATHERED {
                            changes = None;
                        }
                    }
                }
                Err(TryRecvError::Lagged(_)) => changes = None,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Some(changes),
            }
        }
    }
}
