//! `/api/v1`: the same things as the pages, as JSON.

pub mod accounts;
pub mod attach;
pub mod audit;
pub mod body;
pub mod containers;
mod engine_logs;
pub mod events;
pub mod foreign;
pub mod images;
pub mod inspect;
pub mod lines;
pub mod list;
pub mod namespaces;
pub mod output;
pub mod processes;
pub mod sessions;
pub mod stats;
pub mod system;
pub mod view;

use crate::access::Permission::{
    Administer, ChangeContainer, ChangeSession, Create, LookIntoContainer, LookIntoSession, Public,
    See, SeeContainer, SeeSession, SignedIn,
};
use crate::routes::{Face, Routes};

/// The API's routes.
pub fn routes(routes: Routes) -> Routes {
    routes
        .get("/healthz", Public, system::healthz)
        .get("/readyz", Public, system::readyz)
        .get("/metrics", See, system::metrics)
        // Its reader is a script of a page, which wants no page for an answer.
        .get("/events", See, events::pages)
        .below("/api/v1", |routes| {
            observed_routes(access_routes(routes))
                .below("/containers", container_routes)
                .below("/sessions", session_routes)
        })
}

fn observed_routes(routes: Routes) -> Routes {
    routes
        .get("/images", See, images::list)
        .post_stream("/images", Administer, images::import)
        .get("/imports", See, images::imports)
        .delete("/imports/{id}", Administer, images::cancel)
        .post("/images/prune", Administer, images::prune)
        .get("/images/{image}", See, images::one)
        .delete("/images/{image}", Administer, images::remove)
        .post("/images/{image}/tag", Administer, images::tag)
        .get("/events", See, events::json)
        .get("/processes", See, processes::list)
        .get("/processes/{host_pid}", See, processes::one)
        .post(
            "/processes/{host_pid}/sessions",
            Administer,
            sessions::open_at,
        )
        .get("/processes/{host_pid}/detail", See, inspect::process)
        .get("/compare", See, processes::compare)
        .get("/namespaces", See, namespaces::list)
        .get("/namespaces/{type}/{inode}", See, namespaces::one)
        .get("/namespaces/{type}/{inode}/detail", See, inspect::namespace)
        .get("/wiring", See, inspect::wiring)
}

fn access_routes(routes: Routes) -> Routes {
    routes
        .get("/setup", Public, accounts::is_new)
        .post("/setup", Public, accounts::set_up)
        .post("/login", Public, accounts::sign_in)
        .post("/logout", SignedIn, accounts::sign_out)
        .get("/account", SignedIn, accounts::own)
        .post("/password", SignedIn, accounts::change_password)
        .get("/tokens", SignedIn, accounts::tokens)
        .post("/tokens", SignedIn, accounts::create_token)
        .delete("/tokens/{id}", SignedIn, accounts::delete_token)
        .get("/sign-ins", SignedIn, accounts::sign_ins)
        .delete("/sign-ins", SignedIn, accounts::end_other_sign_ins)
        .delete("/sign-ins/{id}", SignedIn, accounts::end_sign_in)
        .get("/users", Administer, accounts::list)
        .get("/users/{name}", Administer, accounts::one)
        .post("/users", Administer, accounts::create)
        .patch("/users/{name}", Administer, accounts::change)
        .delete("/users/{name}", Administer, accounts::delete)
        .delete("/users/{name}/sign-ins", Administer, accounts::end_access)
        .get("/audit", Administer, audit::list)
        .get("/audit/export", Administer, audit::export)
        .post("/audit/verify", Administer, audit::verify)
}

fn container_routes(routes: Routes) -> Routes {
    routes
        .get("", See, containers::list)
        .post("", Create, containers::create)
        .below("/{container}", |routes| {
            routes
                .get("", SeeContainer, containers::one)
                .delete("", ChangeContainer, containers::remove)
                .post("/start", ChangeContainer, containers::start)
                .post("/stop", ChangeContainer, containers::stop)
                .post("/kill", ChangeContainer, containers::kill)
                .post("/restart", ChangeContainer, containers::restart)
                .post("/pause", ChangeContainer, containers::pause)
                .post("/unpause", ChangeContainer, containers::unpause)
                .patch("", ChangeContainer, containers::change)
                .post("/rename", ChangeContainer, containers::rename)
                .post("/wait", SeeContainer, containers::wait)
                .get("/processes", SeeContainer, processes::of_container)
                .get("/stats", SeeContainer, stats::of_container)
                .get("/trace", LookIntoContainer, containers::trace)
                .get("/mounts", LookIntoContainer, inspect::mounts)
                .get("/network", LookIntoContainer, inspect::network)
                .get("/security", LookIntoContainer, inspect::security)
                .get("/isolation", LookIntoContainer, inspect::isolation)
                .get("/logs", LookIntoContainer, output::logs)
                .post("/sessions", ChangeContainer, sessions::open)
        })
}

fn session_routes(routes: Routes) -> Routes {
    routes
        .get("", See, sessions::list)
        .get("/{session}", SeeSession, sessions::one)
        .delete("/{session}", ChangeSession, sessions::end)
        .get("/{session}/trace", LookIntoSession, sessions::trace)
        .get("/{session}/journal", LookIntoSession, output::journal)
        .for_face(Face::Socket)
        .get("/{session}/attach", LookIntoSession, attach::attach)
        .for_face(Face::Api)
}
