//! The list of processes, a process's own page, and what two have in common.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use porthole_protocol::id::HostPid;
use porthole_protocol::inspection::{ProcessIdentity, Subject, What};
use serde::Deserialize;

use super::view::compare::{ComparePage, Inside, Wanted};
use super::view::process::{Detail, GonePage, ProcessPage, Reading};
use super::view::processes::ProcessesPage;
use super::view::processes::listing::Listing;
use super::{Visit, page};
use crate::Refusal;
use crate::api::inspect;
use crate::compare::{Comparison, One, may_look};

/// `/processes`.
pub(super) async fn list(
    visit: Visit,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Response {
    let Query(listing) = listing.unwrap_or_default();
    let shell = visit.live_shell("processes");
    let world = &visit.state.world;
    page(
        StatusCode::OK,
        &ProcessesPage::new(world, visit.scene(), &listing, shell),
    )
}

/// What the address of a process says beside its number.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Which {
    /// Its start in clock ticks since boot: another process with this number is none.
    start: Option<u64>,
}

fn number(text: &str) -> Option<HostPid> {
    text.parse().ok().filter(|pid| *pid > 0).map(HostPid)
}

fn no_number() -> Refusal {
    Refusal::not_found(
        "process_not_found",
        "A process is named by its PID on the host, a number. Search the list for PIDs inside containers.",
    )
}

/// `/processes/{pid}`.
pub(super) async fn one(
    visit: Visit,
    Path(pid): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
) -> Response {
    let Some(pid) = number(&pid) else {
        return visit.refuse(no_number());
    };
    let Query(Which { start }) = which.unwrap_or_default();
    let world = &visit.state.world;
    let process = world.process(pid);
    let shell = visit.shell("processes");
    match process.filter(|p| start.is_none_or(|start| p.start_ticks == start)) {
        Some(process) => {
            let there = ProcessPage::new(world, visit.scene(), &process, shell);
            page(StatusCode::OK, &there)
        }
        None => page(
            StatusCode::NOT_FOUND,
            &GonePage::new(world, visit.scene(), pid, start, shell),
        ),
    }
}

/// `/processes/{pid}/detail?start=`: what has to be read inside, for the page that is there already.
pub(super) async fn detail(
    visit: Visit,
    Path(pid): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
) -> Response {
    let Query(Which { start }) = which.unwrap_or_default();
    let world = &visit.state.world;
    let process = number(&pid).and_then(|pid| world.process(pid));
    let Some(process) = process.filter(|p| start.is_none_or(|start| p.start_ticks == start)) else {
        let gone = Refusal::not_found("process_not_found", "The process has ended.");
        return page(StatusCode::OK, &Detail::refused(&gone));
    };
    if !may_look(world, &process, &visit.who) {
        let closed = Refusal::forbidden(
            "This process is the host's or another person's: only they, viewers and administrators see more of it.",
        );
        return page(StatusCode::FORBIDDEN, &Detail::refused(&closed));
    }
    let subject = Subject::Process(ProcessIdentity {
        pid: process.host_pid,
        start_ticks: process.start_ticks,
    });
    let ask = |what| inspect::look(&visit.state, &visit.who, subject.clone(), what);
    let environment = inspect::may_see_environment(&visit.state, &process, &visit.who);
    let (detail, user, cgroup) = tokio::join!(
        ask(What::Process { environment }),
        ask(What::User),
        ask(What::Cgroup)
    );
    // A part that hangs costs a line, and the page nothing.
    let reading = Reading {
        detail,
        user,
        cgroup,
    };
    page(StatusCode::OK, &Detail::of(reading, visit.scene()))
}

/// `/compare?a=&b=`.
pub(super) async fn compare(
    visit: Visit,
    wanted: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Response {
    let Query(pairs) = wanted.unwrap_or_default();
    let wanted = Wanted::from_query(&pairs);
    let shell = visit.live_shell("processes");
    let compared = ComparePage::new(&visit.state.world, visit.scene(), &wanted, shell);
    page(compared.status(), &compared)
}

/// `/compare/inside?a=&b=`: roots and limits, for the page that is there already.
pub(super) async fn compare_inside(
    visit: Visit,
    wanted: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Response {
    let Query(pairs) = wanted.unwrap_or_default();
    let wanted = Wanted::from_query(&pairs);
    let world = &visit.state.world;
    let found = One::find(world, &wanted.a).and_then(|a| Ok((a, One::find(world, &wanted.b)?)));
    let inside = match found {
        Ok((a, b)) => Comparison::inside(&visit.state, &visit.who, &a, &b).await,
        Err(refusal) => Comparison {
            sentence: String::new(),
            lines: Vec::new(),
            notes: vec![refusal.message],
        },
    };
    page(StatusCode::OK, &Inside::of(&inside))
}
