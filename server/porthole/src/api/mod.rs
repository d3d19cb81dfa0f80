//! `/api/v1`: the same things as the pages, as JSON.

pub mod accounts;
pub mod attach;
pub mod body;
pub mod containers;
pub mod events;
pub mod foreign;
pub mod lines;
pub mod list;
pub mod output;
pub mod processes;
pub mod sessions;
pub mod system;
pub mod view;

use crate::access::Permission::{
    Administer, ChangeContainer, ChangeSession, Create, LookIntoContainer, LookIntoSession, Public,
    See, SeeContainer, SeeSession, SignedIn,
};
use crate::routes::{Face, Routes};

/// The API's routes.
pub fn routes(routes: Routes) -> Routes {
    let routes = routes
        .get("/healthz", Public, system::healthz)
        .get("/readyz", Public, system::readyz)
        .get("/metrics", See, system::metrics);
    let routes = access_routes(routes);
    let routes = container_routes(routes);
    // Its reader is a script of a page, which wants no page for an answer.
    let routes = routes.get("/events", See, events::pages);
    session_routes(routes)
        .get("/api/v1/images", See, containers::images)
        .get("/api/v1/events", See, events::json)
        .get("/api/v1/processes", See, processes::list)
        .get("/api/v1/processes/{host_pid}", See, processes::one)
        .get("/api/v1/namespaces", See, processes::namespaces)
        .get(
            "/api/v1/namespaces/{type}/{inode}",
            See,
            processes::namespace,
        )
}

fn access_routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/setup", Public, accounts::is_new)
        .post("/api/v1/setup", Public, accounts::set_up)
        .post("/api/v1/login", Public, accounts::sign_in)
        .post("/api/v1/logout", SignedIn, accounts::sign_out)
        .get("/api/v1/account", SignedIn, accounts::own)
        .post("/api/v1/password", SignedIn, accounts::change_password)
        .get("/api/v1/tokens", SignedIn, accounts::tokens)
        .post("/api/v1/tokens", SignedIn, accounts::create_token)
        .delete("/api/v1/tokens/{id}", SignedIn, accounts::delete_token)
        .get("/api/v1/users", Administer, accounts::list)
        .post("/api/v1/users", Administer, accounts::create)
        .patch("/api/v1/users/{name}", Administer, accounts::change)
        .delete("/api/v1/users/{name}", Administer, accounts::delete)
}

fn container_routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/containers", See, containers::list)
        .post("/api/v1/containers", Create, containers::create)
        .get(
            "/api/v1/containers/{container}",
            SeeContainer,
            containers::one,
        )
        .delete(
            "/api/v1/containers/{container}",
            ChangeContainer,
            containers::remove,
        )
        .post(
            "/api/v1/containers/{container}/start",
            ChangeContainer,
            containers::start,
        )
        .post(
            "/api/v1/containers/{container}/stop",
            ChangeContainer,
            containers::stop,
        )
        .post(
            "/api/v1/containers/{container}/kill",
            ChangeContainer,
            containers::kill,
        )
        .post(
            "/api/v1/containers/{container}/restart",
            ChangeContainer,
            containers::restart,
        )
        .post(
            "/api/v1/containers/{container}/wait",
            SeeContainer,
            containers::wait,
        )
        .get(
            "/api/v1/containers/{container}/processes",
            SeeContainer,
            processes::of_container,
        )
        .get(
            "/api/v1/containers/{container}/trace",
            LookIntoContainer,
            containers::trace,
        )
        .get(
            "/api/v1/containers/{container}/logs",
            LookIntoContainer,
            output::logs,
        )
        .post(
            "/api/v1/containers/{container}/sessions",
            ChangeContainer,
            sessions::open,
        )
}

fn session_routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/sessions", See, sessions::list)
        .get("/api/v1/sessions/{session}", SeeSession, sessions::one)
        .delete("/api/v1/sessions/{session}", ChangeSession, sessions::end)
        .get(
            "/api/v1/sessions/{session}/trace",
            LookIntoSession,
            sessions::trace,
        )
        .get(
            "/api/v1/sessions/{session}/journal",
            LookIntoSession,
            output::journal,
        )
        .for_face(Face::Socket)
        .get(
            "/api/v1/sessions/{session}/attach",
            LookIntoSession,
            attach::attach,
        )
        .for_face(Face::Api)
}
