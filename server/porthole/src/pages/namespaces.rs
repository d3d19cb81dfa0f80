//! Namespaces of the host: the list, one of them, and what is read inside it.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use porthole_protocol::id::NamespaceInode;
use porthole_protocol::inspection::{Subject, What};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Namespace;

use super::view::namespaces::detail::{self, DetailPage};
use super::view::namespaces::listing::{Listing, View};
use super::view::namespaces::one::{NamespacePage, Shown};
use super::view::namespaces::page::NamespacesPage;
use super::view::namespaces::survey::Survey;
use super::view::namespaces::wires;
use super::{Visit, page};
use crate::Refusal;
use crate::api::inspect::{Sight, look, look_into};

type Named = Result<Path<(String, String)>, PathRejection>;

/// `/namespaces`.
pub(super) async fn list(
    visit: Visit,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Response {
    let Query(listing) = listing.unwrap_or_default();
    let shell = visit.live_shell("namespaces");
    page(
        StatusCode::OK,
        &NamespacesPage::new(&visit.state.world, visit.scene(), &listing, shell),
    )
}

/// `/namespaces/wires`: the wires between network namespaces, read now. A reading that fails or
/// hangs is a line in their place; without scripts they are a page.
pub(super) async fn wires(
    visit: Visit,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Response {
    let Query(mut listing) = listing.unwrap_or_default();
    View::Wires.name().clone_into(&mut listing.view);
    let drawing = match look(&visit.state, &visit.who, Subject::Host, What::Wiring).await {
        Ok(read) => {
            let survey = Survey::new(&visit.state.world, visit.scene());
            wires::drawn(&survey, &listing, &read)
        }
        Err(refusal) => wires::unread(visit.scene().base, &listing, &refusal.message),
    };
    if visit.by_htmx() {
        return piece(drawing);
    }
    let shell = visit.shell("namespaces");
    let all = NamespacesPage::new(&visit.state.world, visit.scene(), &listing, shell);
    page(StatusCode::OK, &all.holding(drawing))
}

/// The namespace that a path names.
fn find(visit: &Visit, named: Named) -> Result<std::sync::Arc<Namespace>, Refusal> {
    let not_found = |message: String| Refusal::not_found("namespace_not_found", message);
    let Path((kind, inode)) =
        named.map_err(|_| not_found("This address names nothing.".to_owned()))?;
    let kind: NamespaceType = kind
        .parse()
        .map_err(|why| not_found(format!("There is {why}.")))?;
    let number: u64 = inode.parse().map_err(|_| {
        not_found("A namespace is named by its inode, which is a number.".to_owned())
    })?;
    let inode = NamespaceInode(number);
    let world = &visit.state.world;
    match world.namespace(inode) {
        Some(namespace) if namespace.kind == kind => Ok(namespace),
        Some(other) => Err(not_found(format!(
            "{inode} is a namespace of type {}, not {kind}: look at /namespaces/{}/{inode}.",
            other.kind, other.kind
        ))),
        // Before anything was seen nobody can say that it is not there.
        None if world.namespaces().is_empty() => Err(Refusal::keeper_away()),
        None => Err(not_found(format!(
            "There is no namespace {kind}:[{inode}] on this host now. A namespace ends when no process is in it and nothing holds it any more; its number may be another's later. \"Namespaces\" lists those that there are."
        ))),
    }
}

/// `/namespaces/{type}/{inode}`.
pub(super) async fn show(
    visit: Visit,
    named: Named,
    shown: Result<Query<Shown>, QueryRejection>,
) -> Response {
    let Query(shown) = shown.unwrap_or_default();
    let namespace = match find(&visit, named) {
        Ok(namespace) => namespace,
        Err(refusal) => return visit.refuse(refusal),
    };
    let shell = visit.live_shell("namespaces");
    let world = &visit.state.world;
    page(
        StatusCode::OK,
        &NamespacePage::new(world, visit.scene(), &namespace, &shown, shell),
    )
}

/// `/namespaces/{type}/{inode}/detail`: what is inside, read now. For a piece of the page whatever
/// fails is a line in its place.
pub(super) async fn inside(visit: Visit, named: Named) -> Response {
    let namespace = match find(&visit, named) {
        Ok(namespace) => namespace,
        Err(refusal) if visit.by_htmx() => return piece(detail::unread(&refusal.message, None)),
        Err(refusal) => return visit.refuse(refusal),
    };
    let sight = Sight::of(&visit.state, &visit.who);
    if let Err(refusal) = sight.demand(namespace.kind, Some(namespace.inode)) {
        return visit.refuse(refusal);
    }
    let subject = detail::subject(&Survey::new(&visit.state.world, visit.scene()), &namespace);
    let read = match subject {
        Ok(subject) => look_into(&visit.state, &visit.who, &namespace, subject).await,
        Err(why) => return answer(&visit, &namespace, detail::unread(&why, None)),
    };
    let survey = Survey::new(&visit.state.world, visit.scene());
    let html = match read {
        Ok(read) => detail::drawn(&survey, &namespace, read),
        Err(refusal) => {
            let here = survey.address(namespace.kind, namespace.inode);
            detail::unread(&refusal.message, Some(format!("{here}/detail")))
        }
    };
    answer(&visit, &namespace, html)
}

fn piece(html: String) -> Response {
    Html(html).into_response()
}

fn answer(visit: &Visit, namespace: &Namespace, detail: String) -> Response {
    if visit.by_htmx() {
        return piece(detail);
    }
    let (kind, inode) = (namespace.kind, namespace.inode);
    let all = DetailPage {
        shell: visit.shell("namespaces"),
        name: format!("{kind}:[{inode}]"),
        back: format!("{}/namespaces/{kind}/{inode}", visit.scene().base),
        detail,
    };
    page(StatusCode::OK, &all)
}
