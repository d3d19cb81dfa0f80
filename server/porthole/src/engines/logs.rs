//! A container's log as it comes from its engine.

use std::path::Path;

use porthole_protocol::engines::{ContainerRef, LogPart, LogRecord, LogsAnswer, Open};
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::EngineError;
use super::connection::{receive, send};

/// A log. Reading nothing from it holds up nobody but its engine; dropping it ends it.
pub struct Logs {
    read: BufReader<OwnedReadHalf>,
    /// Kept, because closing it says that nobody reads any more.
    _write: OwnedWriteHalf,
    over: bool,
}

impl Logs {
    pub(super) async fn open(
        socket: &Path,
        container: ContainerRef,
        part: LogPart,
    ) -> Result<Self, EngineError> {
        let away = |_| EngineError::Away;
        let stream = UnixStream::connect(socket).await.map_err(away)?;
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        let open =
            serde_json::to_vec(&Open::Logs { container, part }).map_err(|_| EngineError::Away)?;
        send(&mut write, &open).await.map_err(away)?;
        let answer = receive(&mut read).await.map_err(away)?;
        let answer: LogsAnswer = answer
            .and_then(|answer| serde_json::from_slice(&answer).ok())
            .ok_or(EngineError::Away)?;
        match answer.failure {
            Some(failure) => Err(failure.into()),
            None => Ok(Self {
                read,
                _write: write,
                over: false,
            }),
        }
    }

    /// The next part; `None` behind the end. Not to be cut off: a part may be lost then.
    pub async fn next(&mut self) -> Option<LogRecord> {
        if self.over {
            return None;
        }
        let record = match receive(&mut self.read).await {
            Ok(Some(message)) => LogRecord::decode(&message),
            Ok(None) | Err(_) => None,
        };
        let record = record.unwrap_or_else(|| LogRecord::End {
            trouble: Some("The part of Porthole that talks to the engine went away.".to_owned()),
        });
        self.over = matches!(record, LogRecord::End { .. });
        Some(record)
    }
}
