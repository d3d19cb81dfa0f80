//! For who operates Porthole: is it there, can it work, how much does it do.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use porthole_protocol::container::ContainerState;

use crate::{AppState, Refusal};

/// The server answers.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The server can work: its database answers and its keeper is there.
pub async fn readyz(State(state): State<AppState>) -> Result<&'static str, Refusal> {
    state.store.check()?;
    if !state.world.keeper().present {
        return Err(Refusal::keeper_away());
    }
    Ok("ok\n")
}

/// Gauges in Prometheus' text format.
pub async fn metrics(State(state): State<AppState>) -> Response {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, lines: &[(&str, usize)]| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in lines {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let containers = state.world.containers();
    let in_state = |wanted| containers.iter().filter(|c| c.state == wanted).count();
    gauge(
        "porthole_containers",
        "Containers by state.",
        &[
            ("{state=\"created\"}", in_state(ContainerState::Created)),
            ("{state=\"running\"}", in_state(ContainerState::Running)),
            ("{state=\"paused\"}", in_state(ContainerState::Paused)),
            ("{state=\"exited\"}", in_state(ContainerState::Exited)),
            ("{state=\"unknown\"}", in_state(ContainerState::Unknown)),
        ],
    );
    let sessions = state.world.sessions();
    let live = sessions.iter().filter(|s| s.exit.is_none()).count();
    gauge(
        "porthole_sessions_live",
        "Sessions that run.",
        &[("", live)],
    );
    let (hubs, viewers) = state.hubs.count();
    gauge("porthole_hubs", "Outputs that are followed.", &[("", hubs)]);
    gauge(
        "porthole_viewers",
        "Terminals that are open.",
        &[("", viewers)],
    );
    let present = usize::from(state.world.keeper().present);
    gauge(
        "porthole_keeper_up",
        "Whether the keeper is there.",
        &[("", present)],
    );
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        text,
    )
        .into_response()
}
