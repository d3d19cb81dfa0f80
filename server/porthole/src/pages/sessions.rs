//! Sessions: the list, one of them, its end.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Response;

use super::view::sessions::{Listing, SessionsPage};
use super::{Visit, page};
use crate::Refusal;
use crate::access::TheSession;
use crate::actions::sessions::{self, beside_whom};

/// `/sessions`.
pub(super) async fn list(
    visit: Visit,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Response {
    let Query(listing) = listing.unwrap_or_default();
    let shell = visit.live_shell("sessions");
    page(
        StatusCode::OK,
        &SessionsPage::new(&visit.state.world, visit.scene(), &listing, shell),
    )
}

/// `/sessions/{session}`: where its terminal is.
pub(super) async fn show(visit: Visit, TheSession(session): TheSession) -> Response {
    let world = &visit.state.world;
    let beside = beside_whom(&session.container).filter(|pid| world.process(*pid).is_some());
    match (world.any_container(&session.container), beside) {
        (Some(container), _) => visit.go(&format!(
            "/containers/{}/terminal?session={}",
            super::view::reference(world, &container),
            session.id
        )),
        (None, Some(pid)) => visit.go(&format!("/processes/{pid}/terminal?session={}", session.id)),
        (None, None) => visit.refuse(Refusal::not_found(
            "container_not_found",
            "The container of this session was removed, and the session's output with it.",
        )),
    }
}

/// Ends every process of it.
pub(super) async fn end(visit: Visit, TheSession(session): TheSession) -> Response {
    let done = sessions::end(&visit.state, &visit.who, &session).await;
    visit.done(done.map(drop), "/sessions")
}
