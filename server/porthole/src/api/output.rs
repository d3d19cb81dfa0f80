//! What containers and sessions have written: logs and journals.

mod pieces;

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use porthole_journal::Reader;
use porthole_protocol::container::Timestamp;
use porthole_protocol::id::Seq;
use porthole_protocol::journal::Stream as Output;
use porthole_protocol::session::Target;
use serde::{Deserialize, Deserializer};

use super::body::Asked;
use super::engine_logs;
use super::lines::{Lines, Plain};
use crate::access::{Identity, TheAnyContainer, TheSession};
use crate::hubs::{self, journal_failed};
use crate::server::sse;
use crate::world::AnyContainer;
use crate::{AppState, Refusal};

use pieces::{End, Following, Pieces};

/// Read at once.
const CHUNK: u64 = 64 * 1024;
/// How often a followed journal is looked at for more.
const LOOK: Duration = Duration::from_millis(100);
/// The most lines that can be asked for from the end.
const MOST_LINES: usize = 100_000;

/// Which part of a container's output is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wanted {
    #[serde(deserialize_with = "yes_or_no")]
    pub(crate) follow: bool,
    #[serde(deserialize_with = "moment")]
    pub(crate) since: Option<u64>,
    #[serde(deserialize_with = "lines")]
    pub(crate) tail: Option<usize>,
    #[serde(deserialize_with = "stream")]
    stream: Option<Output>,
}

fn yes_or_no<'de, D: Deserializer<'de>>(input: D) -> Result<bool, D::Error> {
    match String::deserialize(input)?.as_str() {
        "" | "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err(serde::de::Error::custom("follow is \"true\" or \"false\"")),
    }
}

/// Microseconds since 1970, from RFC 3339 or seconds since 1970.
fn moment<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(input)?;
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(seconds) = text.parse::<f64>()
        && seconds.is_finite()
        && seconds >= 0.0
    {
        let since = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        return Ok(Some(u64::try_from(since.as_micros()).unwrap_or(u64::MAX)));
    }
    match Timestamp::try_from(text) {
        Ok(time) => Ok(Some(time.0.saturating_mul(1000))),
        Err(_) => Err(serde::de::Error::custom(
            "since is a time such as 2026-01-31T12:00:00Z, or seconds since 1970",
        )),
    }
}

fn lines<'de, D: Deserializer<'de>>(input: D) -> Result<Option<usize>, D::Error> {
    match String::deserialize(input)?.as_str() {
        "" | "all" => Ok(None),
        text => match text.parse() {
            Ok(lines) if lines <= MOST_LINES => Ok(Some(lines)),
            _ => Err(serde::de::Error::custom(
                "tail is \"all\" or a number of lines, at most 100000",
            )),
        },
    }
}

fn stream<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Output>, D::Error> {
    match String::deserialize(input)?.as_str() {
        "" | "all" => Ok(None),
        "stdout" => Ok(Some(Output::Stdout)),
        "stderr" => Ok(Some(Output::Stderr)),
        "tty" => Ok(Some(Output::Tty)),
        _ => Err(serde::de::Error::custom(
            "stream is \"stdout\", \"stderr\", \"tty\" or \"all\"",
        )),
    }
}

/// A container's output: as text, or as events where those are asked for.
pub async fn logs(
    State(state): State<AppState>,
    identity: Identity,
    TheAnyContainer(container): TheAnyContainer,
    headers: HeaderMap,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Refusal> {
    let events = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/event-stream"));
    let container = match container {
        AnyContainer::Own(own) => own,
        AnyContainer::Foreign(foreign) => {
            let wanted = engine_logs::Wanted {
                follow: wanted.follow,
                since: wanted.since,
                tail: wanted.tail,
                only: wanted.stream,
                events,
            };
            return engine_logs::answer((&state, &identity), &foreign, &wanted).await;
        }
    };
    let target = Target::Init(container.id.clone());
    let Some(reader) = open(&state, &target).await? else {
        return Ok(if events {
            sse::response(&state, &identity, futures_util::stream::empty())
        } else {
            text(Body::empty())
        });
    };
    let follow = wanted.follow.then(|| Following {
        state: state.clone(),
        container: container.clone(),
    });
    let (only, last) = (wanted.stream, headers.get("last-event-id").cloned());
    let (at, end, reader) = blocking(move || {
        let (at, end) = (begin(&reader, &wanted)?, reader.end()?);
        Ok((at, end, reader))
    })
    .await?;
    // A browser asks again when a stream of events has ended. 204 tells it not to.
    let seen = last
        .and_then(|id| id.to_str().ok()?.parse().ok())
        .is_some_and(|seen: u64| seen >= end.0);
    if events && seen && follow.as_ref().is_some_and(|follow| !follow.goes_on()) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let end = follow.map_or(End::At(end), End::Followed);
    let pieces = Pieces::new(reader, at, end, only);
    Ok(if events {
        let lines = Lines::default();
        let stream = unfold((pieces, lines), |(mut pieces, mut lines)| async move {
            loop {
                match pieces.next().await {
                    Some(Ok(piece)) => {
                        let events = lines.events(piece.from, piece.stream, &piece.bytes);
                        if !events.is_empty() {
                            return Some((events, (pieces, lines)));
                        }
                    }
                    Some(Err(_)) => return None,
                    None => {
                        let rest = lines.rest(pieces.at);
                        return (!rest.is_empty()).then_some((rest, (pieces, lines)));
                    }
                }
            }
        });
        sse::response(&state, &identity, stream)
    } else {
        let stream = sse::bounded(&state, &identity, pieces.bytes());
        text(Body::from_stream(stream))
    })
}

fn text(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

async fn open(state: &AppState, target: &Target) -> Result<Option<Reader>, Refusal> {
    let directory = hubs::directory(state, target);
    blocking(move || match porthole_journal::open(&directory) {
        Ok(files) => Ok(Some(Reader::new(files.journal, files.index))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Refusal::internal())?
        .map_err(journal_failed)
}

/// Where the wanted part begins.
fn begin(reader: &Reader, wanted: &Wanted) -> io::Result<Seq> {
    let (kept, end) = (reader.kept_from()?, reader.end()?);
    let since = match wanted.since {
        Some(time) => reader.since(time)?.max(kept),
        None => kept,
    };
    match (wanted.tail, wanted.stream) {
        (None, _) => Ok(since),
        (Some(0), _) => Ok(end),
        (Some(lines), None) => last_lines(reader, since, end, lines),
        (Some(lines), Some(only)) => last_lines_of(reader, since, end, lines, only),
    }
}

/// Where the last lines begin, looking backwards from the end.
fn last_lines(reader: &Reader, from: Seq, end: Seq, lines: usize) -> io::Result<Seq> {
    let mut left = lines;
    let mut to = end.0;
    while to > from.0 {
        let begin = to.saturating_sub(CHUNK).max(from.0);
        let length = usize::try_from(to - begin).unwrap_or(0);
        let mut bytes = vec![0; length];
        let read = reader.read_at(Seq(begin), &mut bytes)?;
        for (place, byte) in bytes[..read].iter().enumerate().rev() {
            let place = begin + place as u64;
            // The last line's own end does not begin another.
            if *byte == b'\n' && place + 1 != end.0 {
                left -= 1;
                if left == 0 {
                    return Ok(Seq(place + 1));
                }
            }
        }
        to = begin;
    }
    Ok(from)
}

/// The same for one stream, which has to be read from its beginning.
fn last_lines_of(
    reader: &Reader,
    from: Seq,
    end: Seq,
    lines: usize,
    only: Output,
) -> io::Result<Seq> {
    let mut begins = std::collections::VecDeque::with_capacity(lines.min(1024) + 1);
    let (mut at, mut fresh) = (from, true);
    while let Some(run) = reader.run(at, end.min(Seq(at.0 + CHUNK)))? {
        if run.stream == only {
            let mut bytes = vec![0; usize::try_from(run.to.0 - run.from.0).unwrap_or(0)];
            let read = reader.read_at(run.from, &mut bytes)?;
            for (place, byte) in bytes[..read].iter().enumerate() {
                if std::mem::replace(&mut fresh, *byte == b'\n') {
                    begins.push_back(Seq(run.from.0 + place as u64));
                    if begins.len() > lines {
                        begins.pop_front();
                    }
                }
            }
        }
        at = run.to;
    }
    Ok(begins.front().copied().unwrap_or(end))
}

/// The form of a journal that is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Form {
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Raw,
    Text,
}

/// All of a session's output until now: byte for byte, or as text without a terminal's control sequences.
pub async fn journal(
    State(state): State<AppState>,
    identity: Identity,
    TheSession(session): TheSession,
    Asked(Form { format }): Asked<Form>,
) -> Result<Response, Refusal> {
    let target = Target::Session(session.id.clone());
    let Some(reader) = open(&state, &target).await? else {
        return Ok(text(Body::empty()));
    };
    let (end, reader) = blocking(move || Ok((reader.end()?, reader))).await?;
    let pieces = Pieces::new(reader, Seq(0), End::At(end), None);
    if format == Format::Raw {
        let body = Body::from_stream(sse::bounded(&state, &identity, pieces.bytes()));
        let headers = [(header::CONTENT_TYPE, "application/octet-stream")];
        return Ok((headers, body).into_response());
    }
    let stream = unfold(
        (pieces, Plain::default()),
        |(mut pieces, mut plain)| async move {
            let piece = pieces.next().await?;
            let piece = piece.map(|piece| Bytes::from(plain.text(&piece.bytes)));
            Some((piece, (pieces, plain)))
        },
    );
    Ok(text(Body::from_stream(sse::bounded(
        &state, &identity, stream,
    ))))
}
