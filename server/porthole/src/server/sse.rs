//! Server-sent events: how they are written, and when a stream of them ends.
//!
//! See the HTML standard, "Server-sent events". Nobody in between may hold them back, so they are
//! neither compressed nor cached.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::{Stream, StreamExt as _};
use tokio::time::{Instant, MissedTickBehavior};

use super::ending;
use crate::AppState;
use crate::access::Identity;

/// How often something is sent where nothing happens, so that both ends notice a dead connection.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One event. Line breaks in `data` are kept; a carriage return, which the format has no place
/// for, is shown as `␍` (U+240D).
pub fn event(name: Option<&str>, id: Option<&str>, data: &str) -> Bytes {
    let mut text = String::with_capacity(data.len() + 64);
    if let Some(name) = name {
        let _ = writeln!(text, "event: {name}");
    }
    if let Some(id) = id {
        let _ = writeln!(text, "id: {id}");
    }
    for line in data.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        text.push_str("data: ");
        if line.contains('\r') {
            text.push_str(&line.replace('\r', "\u{240d}"));
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    text.push('\n');
    Bytes::from(text)
}

/// The answer that sends these for as long as the reader may see them and the server runs.
pub fn response(
    state: &AppState,
    identity: &Identity,
    events: impl Stream<Item = Bytes> + Send + 'static,
) -> Response {
    let body =
        Body::from_stream(bounded(state, identity, kept_alive(events)).map(Ok::<_, Infallible>));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let fixed = HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, fixed("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, fixed("no-store"));
    // For nginx, which gathers otherwise.
    headers.insert("x-accel-buffering", fixed("no"));
    response
}

/// The same stream, cut off when the reader's rights end or the server does.
pub fn bounded<T: Send + 'static>(
    state: &AppState,
    identity: &Identity,
    stream: impl Stream<Item = T> + Send + 'static,
) -> impl Stream<Item = T> + Send + 'static {
    let (state, identity) = (state.clone(), identity.clone());
    let end = async move {
        tokio::select! {
            () = state.access.standing.lost(&state.store, &identity) => {}
            () = ending(&state) => {}
        }
    };
    stream.take_until(Box::pin(end))
}

fn kept_alive(
    events: impl Stream<Item = Bytes> + Send + 'static,
) -> impl Stream<Item = Bytes> + Send + 'static {
    // The first bytes go out at once: they tell the browser that the stream is open.
    let mut ticks = tokio::time::interval_at(Instant::now(), KEEP_ALIVE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = (Box::pin(events), ticks);
    futures_util::stream::unfold(state, |(mut events, mut ticks)| async move {
        tokio::select! {
            biased;
            event = events.next() => event.map(|event| (event, (events, ticks))),
            _ = ticks.tick() => Some((Bytes::from_static(b":\n\n"), (events, ticks))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_written_line_by_line() {
        let text =
            |name, id, data| String::from_utf8(event(name, id, data).to_vec()).expect("text");
        assert_eq!(
            text(Some("container"), Some("a-1"), "{}"),
            "event: container\nid: a-1\ndata: {}\n\n"
        );
        assert_eq!(text(None, None, "a\r\nb\n"), "data: a\ndata: b\ndata: \n\n");
        assert_eq!(text(None, None, "10%\r20%"), "data: 10%\u{240d}20%\n\n");
    }
}
