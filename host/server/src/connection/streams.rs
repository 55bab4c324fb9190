//! HTTP/2, where many streams share a connection: each has a handle of its own, so that what ends
//! one of them (damage, a revoked credential, a listener who takes nothing) leaves the rest alone.
//! A stream whose task is dropped is reset by h2, with whatever still waits for the client's leave.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use keyreel_net::{Abort, Progress};

tokio::task_local! {
    /// The stream whose task this is.
    static CURRENT: Stream;
}

/// One stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    pub(super) abort: Abort,
    progress: Progress,
}

/// Runs the streams of one connection.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    open: Arc<AtomicUsize>,
    /// Moves with each stream that begins or ends.
    progress: Progress,
    stalled: Duration,
}

impl Streams {
    /// None yet. One that takes nothing for as long as `stalled` is reset.
    pub(super) fn new(stalled: Duration) -> Self {
        Self {
            open: Arc::default(),
            progress: Progress::default(),
            stalled,
        }
    }

    /// Returns when there has been no stream for as long as one may stall. What h2 still keeps for
    /// a stream whose last bytes the client does not ask for ends with its connection then.
    pub(super) async fn idle(&self) {
        let none = || self.open.load(Ordering::Relaxed) == 0;
        self.progress.lasts(self.stalled, none).await;
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, future: F) {
        let stream = Stream::default();
        let counted = Counted::new(self);
        let stalled = self.stalled;
        tokio::spawn(async move {
            let _counted = counted;
            tokio::select! {
                () = CURRENT.scope(stream.clone(), future) => {}
                () = stream.abort.aborted() => {}
                () = stream.progress.stalled(stalled) => {
                    tracing::debug!("stream takes no bytes");
                }
            }
        });
    }
}

/// A stream that is open.
struct Counted(Streams);

impl Counted {
    fn new(streams: &Streams) -> Self {
        streams.open.fetch_add(1, Ordering::Relaxed);
        streams.progress.moves();
        Self(streams.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.progress.moves();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stream {
    /// The one whose task asks.
    pub(super) fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_default()
    }

    /// `body`, such that it shows whether its frames are taken.
    pub(super) fn watch(&self, body: Body) -> Body {
        Body::new(Watched {
            body,
            progress: self.progress.clone(),
        })
    }
}

/// hyper asks for the next frame when the one before has found room.
struct Watched {
    body: Body,
    progress: Progress,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.progress.moves();
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            self.progress.waits();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
