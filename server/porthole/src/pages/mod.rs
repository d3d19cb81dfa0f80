//! The pages: handlers here, what they show in [`view`], what of it is live in [`live`].
//!
//! A handler takes [`Visit`] (who looks, at which address) and, where its route's permission is
//! about an object, [`TheContainer`](crate::access::TheContainer) or
//! [`TheSession`](crate::access::TheSession), which is the object that the permission was checked
//! on. Whatever changes something calls [`actions`](crate::actions), as the API does. A form sent by
//! htmx is answered with nothing (the change itself arrives by the live stream) or with a notice;
//! one sent by a browser without scripts, with another page.

mod chosen;
mod commands;
mod containers;
mod create;
mod entry;
mod images;
pub mod live;
mod namespaces;
mod pieces;
mod processes;
mod sessions;
mod settings;
#[cfg(any(test, fuzzing))]
pub(crate) use settings::audit::day;
mod terminals;
#[cfg(test)]
mod tests;
pub mod view;
mod visit;

use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};

use crate::access::{Identity, Permission};
use crate::actions::accounts;
use crate::routes::Routes;
use crate::{AppState, Refusal};
use view::gate::{RefusedPage, Toast, title};
use view::shell::Shell;
use view::{Scene, html, words};

pub use visit::Visit;

/// Adds the pages' routes.
///
/// Where a terminal is opened from: `/containers/{ref}/terminal?join=net,pid` asks for those of the
/// eight alone, and `/processes/{pid}/terminal?join=net` for those of any process, be it in a
/// container or not.
pub fn routes(routes: Routes) -> Routes {
    use Permission::{Administer, Create, Public, See, SignedIn};
    routes
        .get("/", Public, entry::first)
        .get("/setup", Public, entry::setup)
        .post("/setup", Public, entry::set_up)
        .get("/login", Public, entry::login)
        .post("/login", Public, entry::sign_in)
        .post("/logout", SignedIn, entry::sign_out)
        .get("/containers", See, containers::list)
        .post("/containers", Create, chosen::many)
        .get("/containers/new", Create, create::form)
        .post("/containers/new", Create, create::make)
        .post("/containers/new/preview", Create, create::preview)
        .get("/processes", See, processes::list)
        .get("/processes/{pid}", See, processes::one)
        .get("/processes/{pid}/detail", See, processes::detail)
        .get("/compare", See, processes::compare)
        .get("/compare/inside", See, processes::compare_inside)
        .get("/commands", See, commands::of_page)
        .get("/namespaces", See, namespaces::list)
        .get("/namespaces/wires", See, namespaces::wires)
        .get("/namespaces/{type}/{inode}", See, namespaces::show)
        .get("/namespaces/{type}/{inode}/detail", See, namespaces::inside)
        .get(
            "/processes/{pid}/terminal",
            Administer,
            terminals::of_process,
        )
        .below("/containers/{container}", container_routes)
        .below("/sessions", session_routes)
        .below("/images", image_routes)
        .post("/imports/{id}/stop", Permission::Administer, images::stop)
        .below("/settings", settings_routes)
}

fn container_routes(routes: Routes) -> Routes {
    use Permission::{ChangeContainer, LookIntoContainer, SeeContainer};
    routes
        .get("", SeeContainer, containers::overview)
        .get("/processes", LookIntoContainer, containers::processes)
        .get("/namespaces", SeeContainer, containers::namespaces)
        .get("/mounts", LookIntoContainer, containers::mounts)
        .get("/mounts/detail", LookIntoContainer, pieces::mounts)
        .get("/network", LookIntoContainer, containers::network)
        .get("/network/detail", LookIntoContainer, pieces::network)
        .get("/security", LookIntoContainer, containers::security)
        .get("/security/detail", LookIntoContainer, pieces::security)
        .get("/isolation", LookIntoContainer, pieces::isolation)
        .get("/environment", LookIntoContainer, pieces::environment)
        .get("/terminal", LookIntoContainer, terminals::of_container)
        .get("/logs", LookIntoContainer, containers::logs)
        .get("/inspect", LookIntoContainer, containers::inspect)
        .post("/start", ChangeContainer, containers::start)
        .post("/stop", ChangeContainer, containers::stop)
        .post("/kill", ChangeContainer, containers::kill)
        .post("/restart", ChangeContainer, containers::restart)
        .post("/pause", ChangeContainer, containers::pause)
        .post("/unpause", ChangeContainer, containers::unpause)
        .post("/change", ChangeContainer, chosen::change)
        .post("/remove", ChangeContainer, containers::remove)
}

fn session_routes(routes: Routes) -> Routes {
    use Permission::{ChangeSession, LookIntoSession, See};
    routes
        .get("", See, sessions::list)
        .get("/{session}", LookIntoSession, sessions::show)
        .post("/{session}/end", ChangeSession, sessions::end)
}

fn image_routes(routes: Routes) -> Routes {
    use Permission::{Administer, See};
    routes
        .get("", See, images::list)
        .get("/prune", Administer, images::ask_prune)
        .post("/prune", Administer, images::prune)
        .get("/{image}", See, images::one)
        .post("/{image}/tag", Administer, images::tag)
        .get("/{image}/remove", Administer, images::ask_remove)
        .post("/{image}/remove", Administer, images::remove)
}

fn settings_routes(routes: Routes) -> Routes {
    use Permission::{Administer, SignedIn};
    use settings::{audit, users};
    routes
        .get("", SignedIn, settings::settings)
        .post("/password", SignedIn, settings::change_password)
        .post("/sign-ins/end", SignedIn, settings::end_other_sign_ins)
        .post("/sign-ins/{id}/end", SignedIn, settings::end_sign_in)
        .post("/tokens", SignedIn, settings::make_token)
        .post("/tokens/{token}/delete", SignedIn, settings::delete_token)
        .get("/users", Administer, users::list)
        .post("/users", Administer, users::make)
        .get("/users/{user}", Administer, users::one)
        .post("/users/{user}", Administer, users::change)
        .post("/users/{user}/password", Administer, users::reset_password)
        .post("/users/{user}/sign-out", Administer, users::end_access)
        .get("/users/{user}/delete", Administer, users::ask_delete)
        .post("/users/{user}/delete", Administer, users::delete)
        .get("/audit", Administer, audit::list)
        .post("/audit/verify", Administer, audit::verify)
}

/// A template as an answer.
fn page(status: StatusCode, template: &impl askama::Template) -> Response {
    (status, Html(html(template))).into_response()
}

/// Whether htmx sent the request: what it is answered with goes into a page that stays.
fn by_htmx(headers: &HeaderMap) -> bool {
    headers.contains_key("hx-request")
}

/// Whether a page asks for its stream of changes: what it gets instead is shown to nobody.
/// htmx accepts such a stream in answer to every form, so that the address has to say it too.
fn for_stream(uri: &Uri, headers: &HeaderMap) -> bool {
    uri.path().ends_with("/events")
        && headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("text/event-stream"))
}

/// The page that says why something was refused. Called for every page route whose permission was
/// not granted, for addresses that do not exist and for handlers' own refusals; with 401 it sends
/// a browser to where one signs in.
pub fn refused(
    state: &AppState,
    identity: Option<&Identity>,
    uri: &Uri,
    headers: &HeaderMap,
    refusal: Refusal,
) -> Response {
    let base = &state.settings.base_path;
    if refusal.status == StatusCode::UNAUTHORIZED && identity.is_none() && !for_stream(uri, headers)
    {
        return sign_in_first(state, uri, headers);
    }
    let retry_after = refusal.retry_after;
    let status = refusal.status;
    if for_stream(uri, headers) {
        // The page says by itself that its stream is down.
        return status.into_response();
    }
    let mut response = if by_htmx(headers) {
        let tried = refusal.tried.iter();
        let toast = Toast {
            title: title(status.as_u16()),
            message: words::sentence(&refusal.message),
            tried: tried
                .map(|t| (words::visible(&t.path), words::visible(&t.why)))
                .collect(),
        };
        // Whatever the element would have swapped, this is a notice.
        let to = [("hx-retarget", "#toasts"), ("hx-reswap", "beforeend")];
        (to, page(status, &toast)).into_response()
    } else {
        let shell = match identity {
            Some(who) => Shell::new(&state.world, visit::host(), Scene { base, who }, ""),
            None => Shell::outside(base),
        };
        let refused = RefusedPage {
            shell,
            status: status.as_u16(),
            title: title(status.as_u16()),
            message: words::sentence(&refusal.message),
        };
        page(status, &refused)
    };
    if let Some(seconds) = retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn sign_in_first(state: &AppState, uri: &Uri, headers: &HeaderMap) -> Response {
    let base = &state.settings.base_path;
    let to = if accounts::is_new(state).unwrap_or(false) {
        format!("{base}/setup")
    } else {
        let wanted = uri.path_and_query().map_or("/", |p| p.as_str());
        let query = serde_urlencoded::to_string([("next", view::gate::safe_next(wanted))]);
        format!("{base}/login?{}", query.unwrap_or_default())
    };
    if by_htmx(headers) {
        // htmx would follow a redirection and put the sign-in page into this one.
        return (StatusCode::UNAUTHORIZED, [("hx-redirect", to)]).into_response();
    }
    Redirect::to(&to).into_response()
}
