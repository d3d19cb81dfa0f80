//! The commands that do what a page's buttons do.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::view::commands::{Commands, CommandsPage};
use super::{Visit, page};

/// Which page they are of.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Of {
    /// The page's path and query below the base path.
    at: String,
}

/// `/commands?at=`: for the dialog of the page, or as a page.
pub(super) async fn of_page(visit: Visit, of: Result<Query<Of>, QueryRejection>) -> Response {
    let Query(of) = of.unwrap_or_default();
    let shell = visit.shell("");
    let commands = Commands::of(&visit.state.world, visit.scene(), &shell.origin, &of.at);
    if visit.by_htmx() {
        page(StatusCode::OK, &commands)
    } else {
        page(StatusCode::OK, &CommandsPage::new(shell, &commands))
    }
}
