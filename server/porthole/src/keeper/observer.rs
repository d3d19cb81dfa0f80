//! The observer's stream: processes and namespaces of the host.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use porthole_protocol::observation::{MESSAGE_LIMIT, Update};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

use crate::AppState;

/// How long is waited before another observer is asked for, so that one that cannot stay is not
/// started in a loop.
const PAUSE: Duration = Duration::from_millis(500);

/// Follows the stream until it ends, and a little longer; then it is time to ask for another.
pub(super) async fn follow(state: AppState, fd: OwnedFd) {
    let error = match read(&state, fd).await {
        Ok(()) => "it ended".to_owned(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(
        error,
        "the observer is away: processes are shown as they last were"
    );
    tokio::time::sleep(PAUSE).await;
}

async fn read(state: &AppState, fd: OwnedFd) -> io::Result<()> {
    let stream = StdStream::from(fd);
    stream.set_nonblocking(true)?;
    let mut stream = tokio::io::BufReader::new(UnixStream::from_std(stream)?);
    loop {
        let length = match stream.read_u32_le().await {
            Ok(length) => length as usize,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        if length > MESSAGE_LIMIT {
            return Err(io::Error::other("a message is too long"));
        }
        // A new one each time: a first message of megabytes is not kept for small ones.
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).await?;
        let update: Update = serde_json::from_slice(&bytes)?;
        state.world.observe(update);
    }
}
