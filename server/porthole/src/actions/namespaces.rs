//! Whose namespaces a container has, and who may be in them.
//!
//! A namespace of the host is for administrators; another container's is for who may change that
//! one. Both hold for the whole way that a choice leads: `container:a` where `a` has the host's is
//! the host's. They are asked again whenever somebody is about to run something, because roles
//! change after containers were made.

use porthole_protocol::container::{
    Container, ContainerSpec, ContainerState, NamespaceChoice, NetworkChoice,
};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::session::{Session, Whose};

use crate::access::Identity;
use crate::world::World;
use crate::{AppState, Refusal};

/// A way through more containers than this is none: containers cannot share in a circle.
const LONGEST_WAY: usize = 64;

/// Where the choice of a namespace leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// To the host's.
    Host,
    /// To one that was made for a container that this person may change.
    Theirs,
    /// To one of another person's, by this name.
    Anothers(String),
    /// To a container that is not there any more.
    Gone,
}

fn source(
    world: &World,
    identity: &Identity,
    choice: NamespaceChoice,
    kind: NamespaceType,
) -> Source {
    let mut choice = choice;
    for _ in 0..LONGEST_WAY {
        let reference = match choice {
            NamespaceChoice::Own => return Source::Theirs,
            NamespaceChoice::Host => return Source::Host,
            NamespaceChoice::Container(reference) => reference,
        };
        let Ok(next) = world.find(&reference) else {
            return Source::Gone;
        };
        if !identity.may_change_container(&next) {
            return Source::Anothers(next.name.to_string());
        }
        choice = next.spec.namespace(kind);
    }
    Source::Gone
}

/// Checks what a new container asks for. What was named is replaced by its identifier: a name may
/// mean another container by then.
pub(super) fn check_new(
    state: &AppState,
    identity: &Identity,
    spec: &mut ContainerSpec,
) -> Result<(), Refusal> {
    // Said in either way it is the same, and both are looked up here.
    if let Some(NetworkChoice::Container(reference)) = &spec.network {
        let shared = NamespaceChoice::Container(reference.clone());
        spec.namespaces.insert(NamespaceType::Net, shared);
        spec.network = None;
    }
    for (kind, choice) in &mut spec.namespaces {
        let NamespaceChoice::Container(reference) = choice else {
            continue;
        };
        let other = state
            .world
            .find(reference)
            .map_err(|error| Refusal::unusable(format!("namespaces.{kind}"), error.to_string()))?;
        *reference = other.id.to_string();
    }
    check(state, identity, spec, "make containers")
}

/// Checks that this person may run something where this container runs.
pub(super) fn check_run(
    state: &AppState,
    identity: &Identity,
    container: &Container,
) -> Result<(), Refusal> {
    check(state, identity, &container.spec, "run anything")?;
    let runs = matches!(
        container.state,
        ContainerState::Running | ContainerState::Paused
    );
    if identity.is_admin() || !runs {
        return Ok(());
    }
    // The container that one came from may be gone while it goes on; then it counts what it is.
    for kind in NamespaceType::ALL {
        let choice = container.spec.namespace(kind);
        if kind == NamespaceType::Time
            || source(&state.world, identity, choice, kind) != Source::Gone
        {
            continue;
        }
        let seen = container.namespaces.get(kind).inode;
        let seen = seen.and_then(|inode| state.world.namespace(inode));
        if seen.is_none_or(|namespace| namespace.initial) {
            return Err(hosts(kind, "run anything"));
        }
    }
    Ok(())
}

fn check(
    state: &AppState,
    identity: &Identity,
    spec: &ContainerSpec,
    what: &str,
) -> Result<(), Refusal> {
    if identity.is_admin() {
        return Ok(());
    }
    for kind in NamespaceType::ALL {
        match source(&state.world, identity, spec.namespace(kind), kind) {
            // Everybody has the host's clocks, and nobody can set them.
            Source::Host if kind != NamespaceType::Time => return Err(hosts(kind, what)),
            Source::Anothers(name) => {
                return Err(Refusal::forbidden(format!(
                    "The container \"{name}\" is another person's: its namespaces cannot be shared."
                ))
                .field(format!("namespaces.{kind}")));
            }
            Source::Host | Source::Theirs | Source::Gone => {}
        }
    }
    Ok(())
}

fn hosts(kind: NamespaceType, what: &str) -> Refusal {
    Refusal::forbidden(format!(
        "Only administrators {what} in the host's {kind} namespace."
    ))
    .field(format!("namespaces.{kind}"))
}

/// Whether this session is in a namespace of the host, as the keeper told when it was opened: who
/// opened it was an administrator, and may have left out some of the container's. What is seen of
/// its processes says less: the one that joins is the session's before it is inside.
pub(super) fn runs_in_the_hosts(session: &Session) -> bool {
    session.joined.as_ref().is_none_or(|joined| {
        joined
            .iter()
            .any(|(kind, one)| kind != NamespaceType::Time && one.whose == Whose::Host)
    })
}

/// Checks which namespaces a session joins: one that it leaves out is the host's to it.
pub(super) fn check_join(
    state: &AppState,
    identity: &Identity,
    container: &Container,
    join: Option<&[NamespaceType]>,
) -> Result<(), Refusal> {
    let Some(join) = join.filter(|_| !identity.is_admin()) else {
        return Ok(());
    };
    let outside = NamespaceType::ALL.into_iter().find(|kind| {
        let left_out = !join.contains(kind);
        left_out
            && source(
                &state.world,
                identity,
                container.spec.namespace(*kind),
                *kind,
            ) != Source::Host
    });
    match outside {
        Some(kind) => Err(Refusal::forbidden(format!(
            "A session that does not join the container's {kind} namespace runs in the host's, and only administrators do that. Leave \"join\" out to join all."
        ))
        .field("join")),
        None => Ok(()),
    }
}
