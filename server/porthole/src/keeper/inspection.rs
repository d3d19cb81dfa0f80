//! Reading what a child of the keeper's has read inside a process's namespaces.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use porthole_protocol::inspection::{DEADLINE, DOCUMENT_LIMIT, Document, Inspected};
use porthole_protocol::keeper::{Failure, FailureCode};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

use super::KeeperError;

/// How much longer than the child the pipe may take to end.
const MARGIN: Duration = Duration::from_secs(1);

/// Reads the document to its end.
pub(super) async fn read(pipe: OwnedFd) -> Result<Inspected, KeeperError> {
    let mut bytes = Vec::new();
    let read = async {
        let mut pipe = Receiver::from_owned_fd(pipe)?.take(DOCUMENT_LIMIT as u64 + 1);
        pipe.read_to_end(&mut bytes).await
    };
    match tokio::time::timeout(DEADLINE + MARGIN, read).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(unread(&error)),
        Err(_) => return Err(late()),
    }
    match serde_json::from_slice(&bytes) {
        Ok(Document::Inspected(inspected)) => Ok(*inspected),
        Ok(Document::Failed(failure)) => Err(failure.into()),
        // It was killed before it had written everything.
        Err(error) if error.is_eof() => Err(late()),
        Err(error) => Err(unread(&error.into())),
    }
}

fn late() -> KeeperError {
    Failure::new(
        FailureCode::Late,
        format!(
            "What reads this has been ended: it did not come to an end within {} seconds. Something that it looks at does not answer, such as a FUSE file system.",
            DEADLINE.as_secs()
        ),
    )
    .into()
}

fn unread(error: &io::Error) -> KeeperError {
    tracing::error!(%error, "what was read inside cannot be understood");
    KeeperError::Confused
}
