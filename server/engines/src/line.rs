//! The connections of one call to an engine: made by `serve`, measured, and gone with the call.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bollard::errors::Error as BollardError;
use hyper::body::{Body, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use porthole_protocol::engines::EndpointId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::dial::Dialler;

/// How many more bytes may come in.
#[derive(Debug, Clone)]
pub(crate) struct Allowance(Arc<AtomicUsize>);

impl Allowance {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// So many from now on.
    pub(crate) fn renew(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        let left = left.checked_sub(bytes).ok_or(io::ErrorKind::FileTooLarge)?;
        self.0.store(left, Ordering::Relaxed);
        Ok(())
    }
}

/// A connection from which no more is read than is allowed.
struct Measured {
    stream: UnixStream,
    allowance: Allowance,
}

impl AsyncRead for Measured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Poll::Ready(self.allowance.take(buffer.filled().len() - before))
    }
}

impl AsyncWrite for Measured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The connections of one call. They end with this.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) dialler: Dialler,
    pub(crate) endpoint: EndpointId,
    pub(crate) allowance: Allowance,
    pub(crate) tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Line {
    /// Sends a request on a connection of its own.
    pub(crate) async fn send<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Incoming>, BollardError>
    where
        B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let stream = self.dialler.dial(self.endpoint).await?;
        let io = TokioIo::new(Measured {
            stream,
            allowance: self.allowance.clone(),
        });
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(async move {
                // What went wrong, the response says.
                let _ = connection.await;
            });
        let (mut parts, body) = request.into_parts();
        if let Some(path) = parts.uri.path_and_query() {
            // A server, other than a proxy, is sent the path alone (RFC 9112, 3.2.1).
            parts.uri = path.as_str().parse().map_err(hyper::http::Error::from)?;
        }
        parts
            .headers
            .insert("host", hyper::http::HeaderValue::from_static("engine"));
        Ok(sender
            .send_request(Request::from_parts(parts, body))
            .await?)
    }
}
