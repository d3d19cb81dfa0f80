//! A journal's output, piece by piece.

use std::io;
use std::sync::Arc;

use axum::body::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use porthole_journal::Reader;
use porthole_protocol::container::{Container, ContainerState};
use porthole_protocol::id::Seq;
use porthole_protocol::journal::Stream as Output;
use porthole_protocol::session::Target;

use super::{CHUNK, LOOK};
use crate::AppState;

/// A container whose output is followed.
pub(super) struct Following {
    pub(super) state: AppState,
    pub(super) container: Arc<Container>,
}

impl Following {
    /// Whether it may write more.
    pub(super) fn goes_on(&self) -> bool {
        let target = Target::Init(self.container.id.clone());
        // The hub knows last: it has ended when everything is in the journal.
        let reading = self
            .state
            .hubs
            .info(&target)
            .is_some_and(|info| info.exit.is_none());
        let runs = self
            .state
            .world
            .container(&self.container.id)
            .is_some_and(|c| matches!(c.state, ContainerState::Running | ContainerState::Paused));
        runs || reading
    }
}

pub(super) struct Piece {
    pub(super) from: Seq,
    pub(super) stream: Output,
    pub(super) bytes: Vec<u8>,
}

/// Where output ends.
pub(super) enum End {
    /// Here, whatever is written meanwhile.
    At(Seq),
    /// Where nothing more comes.
    Followed(Following),
}

/// Output, piece by piece, as fast as it is taken.
pub(super) struct Pieces {
    reader: Option<Reader>,
    /// Where the next piece begins.
    pub(super) at: Seq,
    end: End,
    only: Option<Output>,
}

impl Pieces {
    /// All of this part; of one stream where `only` says which.
    pub(super) const fn new(reader: Reader, at: Seq, end: End, only: Option<Output>) -> Self {
        Self {
            reader: Some(reader),
            at,
            end,
            only,
        }
    }

    pub(super) async fn next(&mut self) -> Option<io::Result<Piece>> {
        loop {
            // Asked before looking: what is written before the end is found after it.
            let (goes_on, until) = match &self.end {
                End::At(end) => (false, *end),
                End::Followed(container) => (container.goes_on(), Seq(u64::MAX)),
            };
            let reader = self.reader.take()?;
            let (at, only) = (self.at, self.only);
            let read = tokio::task::spawn_blocking(move || {
                let piece = read(&reader, at, until, only);
                (reader, piece)
            });
            let Ok((reader, piece)) = read.await else {
                return None;
            };
            self.reader = Some(reader);
            match piece {
                Ok((at, Some(piece))) => {
                    self.at = at;
                    return Some(Ok(piece));
                }
                Ok((at, None)) if at > self.at => self.at = at,
                Ok((_, None)) if goes_on => tokio::time::sleep(LOOK).await,
                Ok((_, None)) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    pub(super) fn bytes(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        unfold(self, |mut pieces| async move {
            let piece = pieces.next().await?;
            Some((piece.map(|piece| Bytes::from(piece.bytes)), pieces))
        })
    }
}

/// The next piece, and where to go on; no piece where there is nothing more, or nothing of the
/// stream that is wanted.
fn read(
    reader: &Reader,
    at: Seq,
    until: Seq,
    only: Option<Output>,
) -> io::Result<(Seq, Option<Piece>)> {
    // What was dropped while it was being read reads as zeros.
    let at = at.max(reader.kept_from()?);
    let end = reader.end()?.min(until).min(Seq(at.0 + CHUNK));
    let Some(run) = reader.run(at, end)? else {
        return Ok((at, None));
    };
    if only.is_some_and(|only| only != run.stream) {
        return Ok((run.to, None));
    }
    let mut bytes = vec![0; usize::try_from(run.to.0 - run.from.0).unwrap_or(0)];
    let read = reader.read_at(run.from, &mut bytes)?;
    bytes.truncate(read);
    let piece = Piece {
        from: run.from,
        stream: run.stream,
        bytes,
    };
    Ok((Seq(at.0 + read as u64), Some(piece)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt as _;
    use porthole_protocol::journal::{Mark, Record};
    use std::os::unix::fs::FileExt as _;

    #[tokio::test]
    async fn what_is_not_followed_ends_where_it_ended_when_it_was_asked_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = porthole_journal::create(directory.path()).expect("a journal");
        let record = Record {
            time_us: 1,
            seq: Seq(0),
            mark: Mark::Output(Output::Tty),
        };
        let index = files.index.write_all_at(&record.encode(), 0);
        index.expect("written");
        files.journal.write_all_at(b"one\n", 0).expect("written");
        for (end, expected) in [(4, "one\n"), (8, "one\ntwo\n")] {
            let files = files.try_clone().expect("the same");
            let reader = Reader::new(files.journal, files.index);
            let pieces = Pieces::new(reader, Seq(0), End::At(Seq(end)), None);
            let writer = porthole_journal::open(directory.path()).expect("there");
            writer.journal.write_all_at(b"two\n", 4).expect("written");
            let read: Vec<Bytes> = pieces.bytes().try_collect().await.expect("read");
            assert_eq!(read.concat(), expected.as_bytes(), "{end}");
        }
    }
}
