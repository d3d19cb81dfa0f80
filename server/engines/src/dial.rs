//! Connections to engines, which `serve` makes: see [`porthole_protocol::engines::dial`].

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use porthole_protocol::engines::EndpointId;
use porthole_protocol::engines::dial::{Answer, request};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recvmsg, send,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

/// Who waits for a connection. More wait in their tasks.
const WAITING: usize = 64;

/// `serve` does nothing that takes long: where it does not answer, something is wrong with it.
const PATIENCE: Duration = Duration::from_secs(10);

type Wanted = (EndpointId, oneshot::Sender<io::Result<StdStream>>);

/// Gets connections. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Dialler(mpsc::Sender<Wanted>);

impl Dialler {
    /// A new connection to this engine.
    pub(crate) async fn dial(&self, endpoint: EndpointId) -> io::Result<UnixStream> {
        let (answer, receiver) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.send((endpoint, answer)).await.map_err(|_| gone())?;
        let stream = receiver.await.map_err(|_| gone())??;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }
}

/// A way to get connections, and the work behind it, which ends only with an error. One task has
/// the socket, so that whoever gives up waiting leaves no answer behind for the next one.
pub(crate) fn dialler(serve: UnixStream) -> (Dialler, impl Future<Output = io::Error>) {
    let (sender, wanted) = mpsc::channel(WAITING);
    let work = async move {
        match work(&serve, wanted).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    };
    (Dialler(sender), work)
}

async fn work(
    serve: &UnixStream,
    mut wanted: mpsc::Receiver<Wanted>,
) -> io::Result<std::convert::Infallible> {
    loop {
        let Some((endpoint, answer)) = wanted.recv().await else {
            return std::future::pending().await;
        };
        if answer.is_closed() {
            continue;
        }
        let got = tokio::time::timeout(PATIENCE, ask(serve, endpoint))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let _ = answer.send(got);
    }
}

/// The outer error is that of `serve`, the inner one the engine's.
async fn ask(serve: &UnixStream, endpoint: EndpointId) -> io::Result<io::Result<StdStream>> {
    let message = request(endpoint);
    serve
        .async_io(Interest::WRITABLE, || {
            Ok(send(serve, &message, SendFlags::NOSIGNAL)?)
        })
        .await?;
    let (bytes, descriptors) = serve
        .async_io(Interest::READABLE, || receive(serve))
        .await?;
    let mut descriptors = VecDeque::from(descriptors);
    match (Answer::decode(&bytes), descriptors.pop_front()) {
        (Some(Answer::Connected), Some(stream)) if descriptors.is_empty() => {
            Ok(Ok(StdStream::from(stream)))
        }
        (Some(Answer::Failed { errno }), None) => Ok(Err(io::Error::from_raw_os_error(errno))),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn receive(socket: impl AsFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = [0; Answer::BYTES + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let descriptors = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes == 0 {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    if received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok((bytes[..received.bytes].to_vec(), descriptors))
}
