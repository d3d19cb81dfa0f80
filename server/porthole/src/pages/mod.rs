//! The pages. Placeholder: each page is a handler here with an askama template.
//!
//! Handlers take `State<AppState>` (world, settings, …), [`Identity`] (who is signed in;
//! `Option<Identity>` on public pages) and, where the route's permission is about an object,
//! [`TheContainer`](crate::access::TheContainer) or [`TheSession`](crate::access::TheSession),
//! which is the object that the permission was checked on. Whatever changes something calls
//! [`actions`](crate::actions) or, from a script, the API. Addresses begin with
//! `state.settings.base_path`; files are found by [`assets::url`](crate::assets::url).

use axum::http::Uri;
use axum::response::{IntoResponse, Response};

use crate::access::Identity;
use crate::routes::Routes;
use crate::{AppState, Refusal};

pub mod live;
pub mod view;

/// Adds the pages' routes, e.g. `.get("/containers", Permission::See, containers::list)`.
pub fn routes(routes: Routes) -> Routes {
    routes
}

/// The page that says why something was refused. Called for every page route whose permission was
/// not granted, for addresses that do not exist and for handlers' own refusals; with
/// 401 it sends a browser to `/login?next=…`.
pub fn refused(
    _state: &AppState,
    _identity: Option<&Identity>,
    _uri: &Uri,
    refusal: Refusal,
) -> Response {
    refusal.into_response()
}
