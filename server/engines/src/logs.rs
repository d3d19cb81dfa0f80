//! A container's log, on a connection of its own.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use futures_util::{Stream, StreamExt as _};
use porthole_protocol::container::Timestamp;
use porthole_protocol::engines::{
    ContainerRef, LOG_LIMIT, LogPart, LogRecord, LogStream, LogsAnswer,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

use crate::Broker;
use crate::client::{CallError, PATIENCE, STREAM};
use crate::wire;

/// How long an engine has to refuse a log that is followed, before it is told that it begins.
const SILENCE: Duration = Duration::from_millis(500);

/// Sends the log until it ends or the server hangs up.
pub(crate) async fn serve(
    broker: &Broker,
    stream: UnixStream,
    container: &ContainerRef,
    part: LogPart,
) -> std::io::Result<()> {
    let (mut read, mut write) = stream.into_split();
    let mut byte = [0];
    tokio::select! {
        // Nothing more is to come from there: its end, or a message that has no place here.
        _ = read.read(&mut byte) => Ok(()),
        sent = send(broker, &mut write, container, part) => sent,
    }
}

async fn send(
    broker: &Broker,
    write: &mut (impl tokio::io::AsyncWrite + Unpin),
    container: &ContainerRef,
    part: LogPart,
) -> std::io::Result<()> {
    let answer =
        |failure| serde_json::to_vec(&LogsAnswer { failure }).map_err(std::io::Error::other);
    let client = match broker.client(container) {
        Ok(client) => client,
        Err(failure) => return wire::send(write, &answer(Some(failure))?).await,
    };
    // Where there is no log, its answer says so: bollard tells it as the first item.
    let logs = match client.logs(&container.id, options(part)) {
        Ok(logs) => logs,
        Err(why) => return wire::send(write, &answer(Some(why.into()))?).await,
    };
    let mut items = logs.items.fuse();
    let first = match begin(&mut items, part.follow).await {
        Ok(first) => first,
        Err(why) => return wire::send(write, &answer(Some(why.into()))?).await,
    };
    wire::send(write, &answer(None)?).await?;
    let mut next = first;
    let trouble = loop {
        let item = match next.take() {
            Some(item) => item,
            None => match items.next().await {
                Some(Ok(item)) => item,
                Some(Err(why)) => break Some(CallError::from(why).to_string()),
                None => break None,
            },
        };
        logs.allowance.renew(STREAM);
        for record in records(item, part.since) {
            wire::send(write, &record.encode()).await?;
        }
    };
    wire::send(write, &LogRecord::End { trouble }.encode()).await
}

/// The first item, where one comes soon. A log that is followed may stay silent.
async fn begin<S>(items: &mut S, follow: bool) -> Result<Option<LogOutput>, CallError>
where
    S: Stream<Item = Result<LogOutput, bollard::errors::Error>> + Unpin,
{
    let patience = if follow { SILENCE } else { PATIENCE };
    match tokio::time::timeout(patience, items.next()).await {
        Ok(Some(item)) => Ok(Some(item?)),
        // It is empty; asking again tells so again.
        Ok(None) => Ok(None),
        Err(_) if follow => Ok(None),
        Err(_) => Err(CallError::Late(patience)),
    }
}

fn options(part: LogPart) -> LogsOptions {
    // In whole seconds here; exactly in `records`.
    let since = part
        .since
        .map_or(0, |at| i32::try_from(at.0 / 1000).unwrap_or(i32::MAX));
    LogsOptions {
        follow: part.follow,
        stdout: true,
        stderr: true,
        timestamps: true,
        since,
        tail: part
            .tail
            .map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
        ..LogsOptions::default()
    }
}

/// What one part of the engine's answer is, in records of bounded length.
pub(crate) fn records(item: LogOutput, since: Option<Timestamp>) -> Vec<LogRecord> {
    let (stream, message) = match item {
        LogOutput::StdErr { message } => (LogStream::Stderr, message),
        LogOutput::StdOut { message } => (LogStream::Stdout, message),
        LogOutput::Console { message } | LogOutput::StdIn { message } => {
            (LogStream::Terminal, message)
        }
    };
    let (at, text) = stamped(&message);
    if at.is_some_and(|at| since.is_some_and(|since| at < since)) {
        return Vec::new();
    }
    text.chunks(LOG_LIMIT)
        .map(|bytes| LogRecord::Output {
            stream,
            at,
            bytes: bytes.to_vec(),
        })
        .collect()
}

/// Takes off the time that stands before each line.
fn stamped(message: &[u8]) -> (Option<Timestamp>, &[u8]) {
    let at = message.iter().take(40).position(|byte| *byte == b' ');
    let time = at.and_then(|at| {
        let text = std::str::from_utf8(&message[..at]).ok()?;
        Some((crate::inspect::time(Some(text))?, &message[at + 1..]))
    });
    match time {
        Some((time, rest)) => (Some(time), rest),
        None => (None, message),
    }
}
