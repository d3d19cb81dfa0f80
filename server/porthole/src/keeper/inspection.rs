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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// What becomes of these bytes, after which the pipe ends.
    async fn read_from(bytes: Vec<u8>) -> Result<Inspected, KeeperError> {
        let (ours, theirs) = std::io::pipe().expect("a pipe");
        let writer = std::thread::spawn(move || {
            let mut theirs = theirs;
            // A reader that has had enough hangs up.
            let _ = theirs.write_all(&bytes);
        });
        let outcome = read(ours.into()).await;
        writer.join().expect("a writer");
        outcome
    }

    fn code(outcome: Result<Inspected, KeeperError>) -> Option<FailureCode> {
        match outcome {
            Err(KeeperError::Failed(failure)) => Some(failure.code),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_document_is_whole_or_none() {
        let gone = Failure::new(FailureCode::ProcessNotFound, "gone");
        let whole = serde_json::to_vec(&Document::Failed(gone)).expect("json");
        let told = read_from(whole.clone()).await;
        assert_eq!(code(told), Some(FailureCode::ProcessNotFound));
        // Killed before it wrote anything, or in the middle.
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            let cut = read_from(whole[..length].to_vec()).await;
            assert_eq!(code(cut), Some(FailureCode::Late), "{length} bytes");
        }
        for nonsense in [
            b"null".to_vec(),
            b"{}x".to_vec(),
            vec![b'['; 4 * 1024 * 1024],
        ] {
            assert!(read_from(nonsense).await.is_err());
        }
    }
}
