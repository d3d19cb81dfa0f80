//! What is done with several containers at once, and what a container is changed to.

use axum::extract::Form;
use axum::extract::rejection::FormRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use porthole_protocol::container::{Change, ContainerName, ContainerState, Limits};
use serde::Deserialize;

use super::view::containers::{SomeFailedPage, SurePage};
use super::view::gate::Toast;
use super::view::typed::{Typed, policy};
use super::view::words::{sentence, visible};
use super::{Visit, page, view};
use crate::Refusal;
use crate::access::TheContainer;
use crate::actions::containers;
use crate::actions::foreign::{self as actions, Deed};
use crate::world::AnyContainer;

/// So many can be chosen; as many as a list can show.
const MOST: usize = 5000;

/// The form: `do=stop&of=web&of=db`.
type Fields = Vec<(String, String)>;

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Deed(Deed),
    Remove,
}

fn asked(fields: &Fields) -> Option<What> {
    let (_, verb) = fields.iter().find(|(name, _)| name == "do")?;
    Some(match verb.as_str() {
        "start" => What::Deed(Deed::Start),
        "stop" => What::Deed(Deed::Stop(None)),
        "pause" => What::Deed(Deed::Pause),
        "unpause" => What::Deed(Deed::Unpause),
        "remove" => What::Remove,
        _ => return None,
    })
}

/// Does it with one, whose rights are looked at like those of its own page.
async fn act(visit: &Visit, container: &AnyContainer, what: What) -> Result<(), Refusal> {
    if !visit.who.may_change_any(container) {
        return Err(Refusal::forbidden(
            "It is somebody else's: only its owner and administrators change it.",
        ));
    }
    match what {
        What::Deed(deed) => actions::act(&visit.state, &visit.who, container, deed)
            .await
            .map(drop),
        What::Remove => actions::remove(&visit.state, &visit.who, container, true).await,
    }
}

/// `POST /containers`: start, stop, pause, unpause or remove those that were chosen, all at once.
/// What fails of it is told for each.
pub(super) async fn many(visit: Visit, sent: Result<Form<Fields>, FormRejection>) -> Response {
    let fields = match sent {
        Ok(Form(fields)) => fields,
        Err(why) => return visit.refuse(Refusal::malformed(why.body_text())),
    };
    let Some(what) = asked(&fields) else {
        let why = "The form says nothing that can be done with containers.";
        return visit.refuse(Refusal::malformed(why));
    };
    let chosen = fields.iter().filter(|(name, _)| name == "of");
    let chosen: Vec<&str> = chosen.map(|(_, of)| of.as_str()).take(MOST).collect();
    if chosen.is_empty() {
        let why = "No container was chosen. Choose some in the list first.";
        return visit.refuse(Refusal::unusable("of", why));
    }
    let mut failed: Vec<(String, String)> = Vec::new();
    let mut found = Vec::new();
    for reference in chosen {
        match visit.state.world.find_any(reference) {
            Ok(container) => found.push(container),
            Err(why) => failed.push((visible(reference), sentence(&why.to_string()))),
        }
    }
    let sure = fields.iter().any(|(name, _)| name == "sure");
    // A browser with scripts has asked.
    if what == What::Remove && !sure && !visit.by_htmx() {
        return ask(&visit, &found);
    }
    let done = found.iter().map(|container| async {
        let done = act(&visit, container, what).await;
        done.err()
            .map(|why| (visible(container.name()), sentence(&why.message)))
    });
    let done = futures_util::future::join_all(done).await;
    let all = done.len() + failed.len();
    failed.extend(done.into_iter().flatten());
    answer(&visit, all, failed)
}

fn ask(visit: &Visit, found: &[AnyContainer]) -> Response {
    let chosen = found.iter().map(|container| {
        let running = matches!(
            container.state(),
            ContainerState::Running | ContainerState::Paused
        );
        let at = view::reference(&visit.state.world, container);
        (at, visible(container.name()), running)
    });
    let sure = SurePage {
        shell: visit.shell("containers"),
        chosen: chosen.collect(),
    };
    page(StatusCode::OK, &sure)
}

fn answer(visit: &Visit, all: usize, failed: Vec<(String, String)>) -> Response {
    if failed.is_empty() {
        return visit.done(Ok(()), "/containers");
    }
    let words = format!("Not done with {} of {all}", failed.len());
    let status = StatusCode::CONFLICT;
    if visit.by_htmx() {
        let toast = Toast {
            title: "Not all was done",
            message: format!("{words}:"),
            tried: failed,
        };
        let to = [("hx-retarget", "#toasts"), ("hx-reswap", "beforeend")];
        return (to, page(status, &toast)).into_response();
    }
    let some = SomeFailedPage {
        shell: visit.shell("containers"),
        title: words,
        failed,
    };
    page(status, &some)
}

/// The form on a container's page.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Changed {
    name: String,
    memory: String,
    cpus: String,
    pids: String,
    restart: String,
    times: String,
}

impl Changed {
    /// What it asks for, or what is wrong with it.
    fn parse(self) -> Result<Change, Refusal> {
        let typed = Typed {
            memory: self.memory,
            cpus: self.cpus,
            pids: self.pids,
            ..Typed::default()
        };
        let limits: Limits = typed
            .only_limits()
            .map_err(|(field, why)| Refusal::unusable(field, why))?;
        let name = self.name.trim();
        let name = (!name.is_empty()).then(|| name.parse::<ContainerName>());
        // One that is removed when it ends is not asked.
        let restart = (!self.restart.is_empty()).then(|| policy(&self.restart, &self.times));
        Ok(Change {
            name: name
                .transpose()
                .map_err(|why| Refusal::unusable("name", why.to_string()))?,
            limits,
            restart: restart
                .transpose()
                .map_err(|(field, why)| Refusal::unusable(field, why))?,
        })
    }
}

/// `POST /containers/{container}/change`: another name, other limits, another restart policy.
pub(super) async fn change(
    visit: Visit,
    TheContainer(container): TheContainer,
    sent: Result<Form<Changed>, FormRejection>,
) -> Response {
    let changed = match sent {
        Ok(Form(form)) => form.parse(),
        Err(why) => Err(Refusal::malformed(why.body_text())),
    };
    let change = match changed {
        Ok(change) => change,
        Err(refusal) => return visit.refuse(refusal),
    };
    match containers::change(&visit.state, &visit.who, &container, change).await {
        Err(refusal) => visit.refuse(refusal),
        Ok(now) => {
            let to = format!(
                "/containers/{}",
                view::reference(&visit.state.world, &AnyContainer::Own(now))
            );
            // Its address may be another.
            if visit.by_htmx() {
                let to = format!("{}{to}", visit.state.settings.base_path);
                return (StatusCode::NO_CONTENT, [("hx-redirect", to)]).into_response();
            }
            visit.go(&to)
        }
    }
}
