//! What is written down of each request: no query, no header, no body, so no secret.

use std::io::IsTerminal as _;
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use tracing_subscriber::EnvFilter;

use crate::access::secret::{hex, random};

/// Begins logging to standard error: lines on a terminal, else JSON. `PORTHOLE_LOG` says what, as
/// `info,porthole=debug`.
pub fn begin() {
    let filter = EnvFilter::try_from_env("PORTHOLE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    // Begun twice only in tests.
    let _ = if std::io::stderr().is_terminal() {
        log.try_init()
    } else {
        log.json().try_init()
    };
}

/// An address as it is written down. Whoever sends a request chooses it, and it is not to look like an
/// entry's head (`audit:7:…`), by which the audit trail is compared with this log.
fn written(path: &str) -> String {
    path.replace("audit:", "audit%3A")
}

/// The layer that gives each request an id, which its answer and its lines in the log carry.
pub async fn layer(request: Request, next: Next) -> Response {
    let id = hex(&random::<8>());
    let span = tracing::info_span!(
        "request",
        id,
        method = %request.method(),
        path = written(request.uri().path()),
    );
    let begun = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.in_scope(|| {
        let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), took_us, "answered");
        } else {
            tracing::debug!(status = status.as_u16(), took_us, "answered");
        }
    });
    if let Ok(value) = HeaderValue::from_str(&id) {
        let name = HeaderName::from_static("x-request-id");
        response.headers_mut().insert(name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::audit::chain::heads_in;

    #[test]
    fn no_address_looks_like_the_head_of_an_entry() {
        let path = format!("/api/v1/containers/audit:3:{}/start", "a".repeat(64));
        assert_eq!(heads_in(&path).len(), 1, "control");
        assert!(heads_in(&written(&path)).is_empty());
        assert_eq!(written("/containers/web"), "/containers/web");
    }
}
