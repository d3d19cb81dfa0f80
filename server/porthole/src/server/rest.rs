//! What is still to come of a request that has been answered.
//!
//! Many clients listen only once they have sent everything. Where one is refused before that, and the
//! connection is closed with what it sends unread, the kernel resets it, and the client learns of a
//! broken pipe instead of the reason. So the rest is read and thrown away, as far as that is cheap
//! (RFC 9112, 9.6).

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// The most bytes that are thrown away.
const BYTES: usize = 64 << 20;
/// The longest that it takes.
const TIME: Duration = Duration::from_secs(20);

/// A body on loan: what is left of it when its borrower drops it comes back.
struct Lent {
    body: Option<Body>,
    /// Whether anybody has asked for any of it.
    touched: bool,
    back: Arc<Mutex<Option<Back>>>,
}

/// What has come back.
struct Back {
    body: Body,
    touched: bool,
}

/// What may be left of a request's body.
pub(super) struct Rest {
    back: Arc<Mutex<Option<Back>>>,
    /// Whether its client sends only once it is asked to.
    asks: bool,
}

/// Lends a request's body to whoever answers it.
pub(super) fn lend(body: Body, headers: &HeaderMap) -> (Body, Option<Rest>) {
    if body.is_end_stream() {
        return (body, None);
    }
    let back = Arc::new(Mutex::new(None));
    let rest = Rest {
        back: Arc::clone(&back),
        asks: headers.contains_key(header::EXPECT),
    };
    let lent = Lent {
        body: Some(body),
        touched: false,
        back,
    };
    (Body::new(lent), Some(rest))
}

impl Rest {
    /// It is answered: reads what is left, while the answer is on its way, and throws it away. Who
    /// was never asked for it will not send it.
    pub(super) fn throw_away(self) {
        let mut back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Back { body, touched }) = back.take() else {
            return;
        };
        if body.is_end_stream() || (self.asks && !touched) {
            return;
        }
        tokio::spawn(async move {
            let thrown_away = async {
                let mut left = BYTES;
                let mut pieces = body.into_data_stream();
                while let Some(Ok(piece)) = pieces.next().await {
                    let Some(less) = left.checked_sub(piece.len()) else {
                        return;
                    };
                    left = less;
                }
            };
            let _ = tokio::time::timeout(TIME, thrown_away).await;
        });
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.touched = true;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
        let touched = self.touched;
        *back = self.body.take().map(|body| Back { body, touched });
    }
}
