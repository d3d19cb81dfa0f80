//! All routes, and the layers that every request passes.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate as _};
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::access::{Identity, gate};
use crate::api::body::BODY_LIMIT;
use crate::routes::{Declared, Face, Routes};
use crate::{AppState, Refusal, api, assets, pages};

use super::log;

/// How long a client may take between two pieces of a request's body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// The router, and the table of its routes.
pub fn router(state: &AppState) -> (Router, Vec<Declared>) {
    let routes = Routes::new(state.clone());
    let routes = assets::routes(routes);
    let routes = api::routes(routes);
    let routes = pages::routes(routes.for_face(Face::Page));
    let (router, table) = routes.finish();
    // Not events, which have to arrive at once, nor followed logs.
    let compressed = DefaultPredicate::new().and(NotForContentType::const_new("text/plain"));
    let router = router
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_this_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(state.clone(), gate::gate))
        .layer(RequestBodyTimeoutLayer::new(BODY_TIME))
        .layer(
            CompressionLayer::new()
                .quality(CompressionLevel::Fastest)
                .compress_when(compressed),
        )
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(state.clone(), crate::headers::add))
        .layer(from_fn(log::layer))
        .with_state(state.clone());
    (router, table)
}

async fn nothing_here(
    State(state): State<AppState>,
    identity: Option<Identity>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let refusal = Refusal::not_found("no_such_address", "There is nothing at this address.");
    if is_for_programs(&uri) {
        refusal.into_response()
    } else {
        pages::refused(&state, identity.as_ref(), &uri, &headers, refusal)
    }
}

async fn not_this_method() -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This address takes another method.",
    )
}

fn is_for_programs(uri: &Uri) -> bool {
    ["/api/", "/assets/"]
        .iter()
        .any(|prefix| uri.path().starts_with(prefix))
}

fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let message = cause
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| cause.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(message, "a handler panicked");
    Refusal::internal().into_response()
}
