//! The list of containers, a container's own pages, and what their buttons do.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Response;

use super::view::container::{ContainerPage, LogsPage, Tab};
use super::view::containers::{ContainersPage, Listing};
use super::{Visit, page};
use crate::access::TheAnyContainer;
use crate::actions::foreign::{self as actions, Deed};
use crate::world::AnyContainer;

/// SIGKILL.
const KILL: u8 = 9;

/// `/containers`.
pub(super) async fn list(
    visit: Visit,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Response {
    let Query(listing) = listing.unwrap_or_default();
    let shell = visit.live_shell("containers");
    page(
        StatusCode::OK,
        &ContainersPage::new(&visit.state.world, visit.scene(), &listing, shell),
    )
}

fn tab(visit: &Visit, container: &TheAnyContainer, tab: Tab) -> Response {
    let shell = visit.live_shell("containers");
    page(
        StatusCode::OK,
        &ContainerPage::new(&visit.state.world, visit.scene(), &container.0, tab, shell),
    )
}

/// `/containers/{container}`.
pub(super) async fn overview(visit: Visit, container: TheAnyContainer) -> Response {
    tab(&visit, &container, Tab::Overview)
}

/// `/containers/{container}/processes`.
pub(super) async fn processes(visit: Visit, container: TheAnyContainer) -> Response {
    tab(&visit, &container, Tab::Processes)
}

/// `/containers/{container}/namespaces`.
pub(super) async fn namespaces(visit: Visit, container: TheAnyContainer) -> Response {
    tab(&visit, &container, Tab::Namespaces)
}

/// `/containers/{container}/mounts`.
pub(super) async fn mounts(visit: Visit, container: TheAnyContainer) -> Response {
    tab(&visit, &container, Tab::Mounts)
}

/// `/containers/{container}/network`.
pub(super) async fn network(visit: Visit, container: TheAnyContainer) -> Response {
    tab(&visit, &container, Tab::Network)
}

/// `/containers/{container}/security`.
pub(super) async fn security(visit: Visit, container: TheAnyContainer) -> Response {
    tab(&visit, &container, Tab::Security)
}

/// `/containers/{container}/inspect`.
pub(super) async fn inspect(visit: Visit, container: TheAnyContainer) -> Response {
    tab(&visit, &container, Tab::Inspect)
}

/// `/containers/{container}/logs`.
pub(super) async fn logs(visit: Visit, TheAnyContainer(container): TheAnyContainer) -> Response {
    let shell = visit.live_shell("containers");
    page(
        StatusCode::OK,
        &LogsPage::new(&visit.state.world, visit.scene(), &container, shell),
    )
}

async fn act(visit: Visit, TheAnyContainer(container): TheAnyContainer, deed: Deed) -> Response {
    let done = actions::act(&visit.state, &visit.who, &container, deed).await;
    visit.done(done.map(drop), &address(&visit, &container))
}

fn address(visit: &Visit, container: &AnyContainer) -> String {
    format!(
        "/containers/{}",
        super::view::reference(&visit.state.world, container)
    )
}

/// Starts it.
pub(super) async fn start(visit: Visit, container: TheAnyContainer) -> Response {
    act(visit, container, Deed::Start).await
}

/// Stops it: SIGTERM, or what its engine was told, and SIGKILL after ten seconds.
pub(super) async fn stop(visit: Visit, container: TheAnyContainer) -> Response {
    act(visit, container, Deed::Stop(None)).await
}

/// Stops it and starts it again.
pub(super) async fn restart(visit: Visit, container: TheAnyContainer) -> Response {
    act(visit, container, Deed::Restart(None)).await
}

/// Freezes its processes.
pub(super) async fn pause(visit: Visit, container: TheAnyContainer) -> Response {
    act(visit, container, Deed::Pause).await
}

/// Lets them run again.
pub(super) async fn unpause(visit: Visit, container: TheAnyContainer) -> Response {
    act(visit, container, Deed::Unpause).await
}

/// Kills it at once.
pub(super) async fn kill(visit: Visit, container: TheAnyContainer) -> Response {
    act(visit, container, Deed::Kill(KILL)).await
}

/// Removes it, killing it first where it runs: the page has asked.
pub(super) async fn remove(visit: Visit, TheAnyContainer(container): TheAnyContainer) -> Response {
    let done = actions::remove(&visit.state, &visit.who, &container, true).await;
    // A page names it by whichever of these its reader came by.
    let about = [
        address(&visit, &container),
        format!("/containers/{}", container.name()),
    ];
    visit.gone(done, &about, "/containers")
}
