//! Pages that hold terminals: of a container, and beside any process.
//!
//! `?join=net,pid` asks for these of the eight alone and `?choose` for the choice of all: both show
//! the dialog first, because an address that somebody was sent opens nothing by itself.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::{StatusCode, header};
use axum::response::Response;
use porthole_protocol::id::HostPid;
use serde::Deserialize;

use super::view::terminal::{ProcessTerminalPage, TerminalPage};
use super::{Visit, page};
use crate::Refusal;
use crate::access::TheAnyContainer;
use crate::headers::TERMINAL_POLICY;

/// What the address of a terminal says to the server; the page's script reads the rest.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    /// The session to show first.
    session: String,
}

/// `/containers/{container}/terminal?session=`.
pub(super) async fn of_container(
    visit: Visit,
    TheAnyContainer(container): TheAnyContainer,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let Query(wanted) = wanted.unwrap_or_default();
    let shell = visit.live_shell("containers");
    let world = &visit.state.world;
    let terminal = TerminalPage::new(world, visit.scene(), &container, &wanted.session, shell);
    shown(&terminal)
}

/// `/processes/{pid}/terminal?session=`.
pub(super) async fn of_process(
    visit: Visit,
    Path(pid): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let Query(wanted) = wanted.unwrap_or_default();
    let world = &visit.state.world;
    let process = pid.parse().ok().and_then(|pid| world.process(HostPid(pid)));
    let Some(process) = process else {
        return visit.refuse(Refusal::not_found(
            "process_not_found",
            "This process has ended: there is nothing left to join. What its sessions wrote is found with them.",
        ));
    };
    let own = process
        .container
        .as_ref()
        .and_then(|id| world.container(id));
    if let Some(own) = own {
        return visit.go(&format!("/containers/{}/terminal", own.id));
    }
    let shell = visit.shell("processes");
    let terminal = ProcessTerminalPage::new(world, visit.scene(), &process, &wanted.session, shell);
    shown(&terminal)
}

fn shown(terminal: &impl askama::Template) -> Response {
    let mut response = page(StatusCode::OK, terminal);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, TERMINAL_POLICY);
    response
}
