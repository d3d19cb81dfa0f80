//! Headers that every answer carries.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::AppState;

macro_rules! policy {
    ($style:literal) => {
        concat!(
            "default-src 'none'; script-src 'self'; ",
            $style,
            "; img-src 'self' data:; connect-src 'self'; font-src 'self'; form-action 'self'; ",
            "frame-ancestors 'none'; base-uri 'none'"
        )
    };
}

/// What a page may load, unless it says otherwise itself.
pub const POLICY: HeaderValue = HeaderValue::from_static(policy!("style-src 'self'"));

/// For pages with a terminal, which send it themselves: xterm.js makes `<style>` elements whose
/// rules it changes, and draws nothing without. Styles in attributes stay forbidden.
pub const TERMINAL_POLICY: HeaderValue = HeaderValue::from_static(policy!(
    "style-src 'self'; style-src-elem 'self' 'unsafe-inline'; style-src-attr 'none'"
));

/// The layer that adds them where a handler has not.
pub async fn add(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut default = |name: header::HeaderName, value: HeaderValue| {
        headers.entry(name).or_insert(value);
    };
    default(header::CONTENT_SECURITY_POLICY, POLICY);
    let fixed = HeaderValue::from_static;
    default(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    default(header::X_FRAME_OPTIONS, fixed("DENY"));
    // Not "no-referrer": browsers then send "Origin: null" with forms, and the rule for changes
    // refuses them.
    default(header::REFERRER_POLICY, fixed("same-origin"));
    default(
        header::HeaderName::from_static("cross-origin-opener-policy"),
        fixed("same-origin"),
    );
    default(
        header::HeaderName::from_static("cross-origin-resource-policy"),
        fixed("same-origin"),
    );
    default(
        header::HeaderName::from_static("permissions-policy"),
        fixed("camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    );
    default(header::CACHE_CONTROL, fixed("no-store"));
    if state
        .settings
        .public_url
        .as_ref()
        .is_some_and(|url| url.scheme == "https")
    {
        default(header::STRICT_TRANSPORT_SECURITY, fixed("max-age=31536000"));
    }
    response
}
