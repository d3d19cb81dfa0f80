//! The form by which a container is changed, on its own page.

use askama::Template;
use porthole_protocol::container::{Limits, RestartPolicy};

use super::words::bytes;
use super::{Scene, html};
use crate::world::AnyContainer;

/// Restart policies: as the API has them, and in words.
pub(super) const POLICIES: [(&str, &str); 4] = [
    ("no", "it stays as it is"),
    ("on-failure", "start it again when it fails"),
    (
        "unless-stopped",
        "start it again, unless somebody stopped it",
    ),
    ("always", "start it again, after the machine's restart too"),
];

#[derive(Template)]
#[template(path = "partials/change.html")]
struct ChangeForm {
    base: String,
    id: String,
    name: String,
    memory: String,
    cpus: f64,
    pids: u32,
    policy: String,
    times: String,
    auto_remove: bool,
}

/// The form, for who may change a container of Porthole's own.
pub(super) fn form(container: &AnyContainer, scene: Scene<'_>) -> Option<String> {
    let own = container.own()?;
    scene.who.may_change_any(container).then_some(())?;
    let limits = &own.spec.limits;
    let policy = own.spec.restart.to_string();
    let policy = policy.split(':').next().unwrap_or_default().to_owned();
    Some(html(&ChangeForm {
        base: scene.base.to_owned(),
        id: own.id.to_string(),
        name: own.name.to_string(),
        memory: bytes(limits.memory.unwrap_or(Limits::DEFAULT_MEMORY)),
        cpus: limits.cpus.unwrap_or(Limits::DEFAULT_CPUS),
        pids: limits.pids.unwrap_or(Limits::DEFAULT_PIDS),
        policy,
        times: match own.spec.restart {
            RestartPolicy::OnFailure { most } if most > 0 => most.to_string(),
            _ => String::new(),
        },
        auto_remove: own.spec.auto_remove,
    }))
}
