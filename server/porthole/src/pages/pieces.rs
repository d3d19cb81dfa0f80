//! Pieces of a container's pages that are read from inside, after the page: whatever cannot be read,
//! or does not answer, is said where it would stand.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use porthole_protocol::inspection::{Inspected, Subject, What};
use porthole_protocol::namespace::NamespaceType;

use super::view::container::ContainerPage;
use super::view::namespaces::{detail, survey::Survey};
use super::view::tabs::{self, Piece, isolation::IsolationView, security::SecurityView};
use super::{Visit, page, view};
use crate::Refusal;
use crate::access::TheAnyContainer;
use crate::api::inspect::{Sight, init, look};
use crate::world::AnyContainer;

/// `/containers/{container}/mounts/detail`.
pub(super) async fn mounts(visit: Visit, container: TheAnyContainer) -> Response {
    answer(visit, container, Piece::Mounts).await
}

/// `/containers/{container}/network/detail`.
pub(super) async fn network(visit: Visit, container: TheAnyContainer) -> Response {
    answer(visit, container, Piece::Network).await
}

/// `/containers/{container}/security/detail`.
pub(super) async fn security(visit: Visit, container: TheAnyContainer) -> Response {
    answer(visit, container, Piece::Security).await
}

/// `/containers/{container}/isolation`.
pub(super) async fn isolation(visit: Visit, container: TheAnyContainer) -> Response {
    answer(visit, container, Piece::Isolation).await
}

/// `/containers/{container}/environment`.
pub(super) async fn environment(visit: Visit, container: TheAnyContainer) -> Response {
    answer(visit, container, Piece::Environment).await
}

/// The piece for a page that is there, or, without scripts, the page with the piece in it.
async fn answer(
    visit: Visit,
    TheAnyContainer(container): TheAnyContainer,
    piece: Piece,
) -> Response {
    let again = format!(
        "{}/containers/{}/{}",
        visit.scene().base,
        view::reference(&visit.state.world, &container),
        piece.path()
    );
    let drawn = match drawn(&visit, &container, piece, &again).await {
        Ok(html) => html,
        Err(refusal) => tabs::unread(piece, &refusal.message, &again),
    };
    if visit.by_htmx() {
        return Html(drawn).into_response();
    }
    let shell = visit.shell("containers");
    let whole = ContainerPage::new(
        &visit.state.world,
        visit.scene(),
        &container,
        piece.tab(),
        shell,
    );
    page(StatusCode::OK, &whole.holding(piece, drawn))
}

async fn drawn(
    visit: &Visit,
    container: &AnyContainer,
    piece: Piece,
    again: &str,
) -> Result<String, Refusal> {
    match piece {
        Piece::Mounts | Piece::Network => {
            let (kind, what) = piece.of_namespace().ok_or_else(Refusal::internal)?;
            let inside = of_namespace(visit, container, kind, what).await?;
            let told = match (container, piece) {
                (AnyContainer::Foreign(foreign), Piece::Mounts) => foreign.told.as_deref(),
                _ => None,
            };
            Ok(told.map_or_else(String::new, tabs::engine_mounts) + &inside)
        }
        Piece::Security => security_of(visit, container).await,
        Piece::Isolation => {
            let subject = Subject::Process(init(&visit.state, container).await?);
            match look(&visit.state, &visit.who, subject, What::Isolation).await? {
                Inspected::Isolation(read) => {
                    Ok(view::html(&IsolationView::of(&read, again.to_owned())))
                }
                _ => Err(Refusal::internal()),
            }
        }
        Piece::Environment => variables(visit, container).await,
    }
}

/// What is in one of its namespaces.
async fn of_namespace(
    visit: &Visit,
    container: &AnyContainer,
    kind: NamespaceType,
    what: What,
) -> Result<String, Refusal> {
    let subject = Subject::Process(init(&visit.state, container).await?);
    let inode = container.namespaces().get(kind).inode;
    Sight::of(&visit.state, &visit.who).demand(kind, inode)?;
    let read = look(&visit.state, &visit.who, subject, what).await?;
    Ok(draw(visit, container, kind, read))
}

fn draw(visit: &Visit, container: &AnyContainer, kind: NamespaceType, read: Inspected) -> String {
    let world = &visit.state.world;
    let inode = container.namespaces().get(kind).inode;
    match inode.and_then(|inode| world.namespace(inode)) {
        Some(namespace) => detail::drawn(&Survey::new(world, visit.scene()), &namespace, read),
        None => format!(
            "<p class=\"soft\">Its {kind} namespace has not been seen yet. Try again in a moment.</p>"
        ),
    }
}

async fn security_of(visit: &Visit, container: &AnyContainer) -> Result<String, Refusal> {
    let subject = Subject::Process(init(&visit.state, container).await?);
    let read = |what| look(&visit.state, &visit.who, subject.clone(), what);
    let (process, users, groups) = tokio::try_join!(
        read(What::Process { environment: false }),
        read(What::User),
        read(What::Cgroup)
    )?;
    let Inspected::Process(process) = process else {
        return Err(Refusal::internal());
    };
    let privileged = match container {
        AnyContainer::Own(_) => false,
        AnyContainer::Foreign(foreign) => foreign.told.as_ref().is_some_and(|t| t.privileged),
    };
    let users = draw(visit, container, NamespaceType::User, users);
    let groups = draw(visit, container, NamespaceType::Cgroup, groups);
    Ok(view::html(&SecurityView::of(
        &process, privileged, users, groups,
    )))
}

/// Its variables, which often hold passwords: another engine's are the machine's, and for
/// administrators alone.
async fn variables(visit: &Visit, container: &AnyContainer) -> Result<String, Refusal> {
    let foreign = match container {
        AnyContainer::Own(own) => {
            let variables = own.spec.env.iter();
            return Ok(tabs::environment(
                variables.map(|(name, value)| format!("{name}={}", value.as_str())),
            ));
        }
        AnyContainer::Foreign(foreign) => foreign,
    };
    if !visit.who.is_admin() {
        return Err(Refusal::forbidden(
            "Only administrators see the variables of other engines' containers: passwords are often among them.",
        ));
    }
    if let Some(told) = &foreign.told {
        return Ok(tabs::environment(&told.env.0));
    }
    let subject = Subject::Process(init(&visit.state, container).await?);
    let what = What::Process { environment: true };
    match look(&visit.state, &visit.who, subject, what).await? {
        Inspected::Process(read) => match read.environment {
            Some(variables) => Ok(tabs::environment(variables.items)),
            None => Err(Refusal::forbidden(
                "Its variables may not be read, or root's policy does not let Porthole: join_foreign = true in /etc/porthole/policy.toml does.",
            )),
        },
        _ => Err(Refusal::internal()),
    }
}
