//! What another engine's container wrote, as text or as events, from its engine.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use porthole_protocol::container::Timestamp;
use porthole_protocol::engine::Engine;
use porthole_protocol::engines::{LogPart, LogRecord, LogStream};
use porthole_protocol::id::Seq;
use porthole_protocol::journal::Stream as Output;

use super::lines::Lines;
use crate::access::Identity;
use crate::actions::foreign::logs;
use crate::engines::Logs;
use crate::server::sse;
use crate::world::{Foreign, does_not_answer};
use crate::{AppState, Refusal};

/// Which part is wanted.
pub(super) struct Wanted {
    /// Also what is written from now on.
    pub(super) follow: bool,
    /// Microseconds since 1970.
    pub(super) since: Option<u64>,
    /// Lines from the end.
    pub(super) tail: Option<usize>,
    /// Of one stream only.
    pub(super) only: Option<Output>,
    /// As events.
    pub(super) events: bool,
}

/// The answer.
pub(super) async fn answer(
    (state, identity): (&AppState, &Identity),
    container: &Foreign,
    wanted: &Wanted,
) -> Result<Response, Refusal> {
    let part = LogPart {
        follow: wanted.follow,
        since: wanted.since.map(|at| Timestamp(at / 1000)),
        tail: wanted.tail.and_then(|lines| u32::try_from(lines).ok()),
    };
    let pieces = Pieces {
        logs: logs(state, identity, container, part).await?,
        says: identity.is_admin(),
        engine: container.engine,
        only: wanted.only,
        at: Seq(0),
    };
    if wanted.events {
        let lines = Lines::default();
        let stream = unfold((pieces, lines), |(mut pieces, mut lines)| async move {
            loop {
                let events = match pieces.next().await? {
                    Piece::Output(stream, from, bytes) => lines.events(from, stream, &bytes),
                    Piece::End(trouble) => {
                        let rest = lines.rest(pieces.at);
                        let over = sse::event(Some("over"), None, &trouble.unwrap_or_default());
                        Bytes::from([rest, over].concat())
                    }
                };
                if !events.is_empty() {
                    return Some((events, (pieces, lines)));
                }
            }
        });
        return Ok(sse::response(state, identity, stream));
    }
    let stream = unfold(pieces, |mut pieces| async move {
        let bytes = match pieces.next().await? {
            Piece::Output(_, _, bytes) => Bytes::from(bytes),
            Piece::End(None) => return None,
            // What was sent is not whole: the connection breaks instead of ending well.
            Piece::End(Some(why)) => return Some((Err(std::io::Error::other(why)), pieces)),
        };
        Some((Ok(bytes), pieces))
    });
    let body = Body::from_stream(sse::bounded(state, identity, stream));
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}

enum Piece {
    Output(Output, Seq, Vec<u8>),
    End(Option<String>),
}

struct Pieces {
    logs: Logs,
    /// Whether the reader is told what its engine says of itself.
    says: bool,
    engine: Engine,
    only: Option<Output>,
    at: Seq,
}

impl Pieces {
    async fn next(&mut self) -> Option<Piece> {
        loop {
            let (stream, bytes) = match self.logs.next().await? {
                LogRecord::End { trouble: Some(_) } if !self.says => {
                    let short = does_not_answer(self.engine.words());
                    return Some(Piece::End(Some(format!("{short}."))));
                }
                LogRecord::End { trouble } => return Some(Piece::End(trouble)),
                LogRecord::Output { stream, bytes, .. } => (output(stream), bytes),
            };
            if self.only.is_some_and(|only| only != stream) {
                continue;
            }
            let from = self.at;
            self.at = Seq(from.0 + bytes.len() as u64);
            return Some(Piece::Output(stream, from, bytes));
        }
    }
}

const fn output(stream: LogStream) -> Output {
    match stream {
        LogStream::Terminal => Output::Tty,
        LogStream::Stdout => Output::Stdout,
        LogStream::Stderr => Output::Stderr,
    }
}
