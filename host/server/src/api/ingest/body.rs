//! A request's body as something to read, bounded in size and in silence.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use bytes::Buf as _;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The body of a recording on its way in.
pub(super) struct Incoming {
    body: Body,
    piece: Bytes,
    left: u64,
    patience: Duration,
    silence: Pin<Box<Sleep>>,
    stop: Arc<OnceLock<Stop>>,
}

/// Why no more of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// It is larger than it may be.
    TooLarge,
    /// Nothing came for too long.
    Stalled,
}

/// What became of a body, for whoever handed it over.
pub(super) struct Why(Arc<OnceLock<Stop>>);

impl Why {
    pub(super) fn why(&self) -> Option<Stop> {
        self.0.get().copied()
    }
}

impl Incoming {
    /// Of at most `limit` bytes, no two of them further apart than `patience`.
    pub(super) fn new(body: Body, limit: u64, patience: Duration) -> (Self, Why) {
        let stop = Arc::new(OnceLock::new());
        let incoming = Self {
            body,
            piece: Bytes::new(),
            left: limit,
            patience,
            silence: Box::pin(tokio::time::sleep(patience)),
            stop: stop.clone(),
        };
        (incoming, Why(stop))
    }

    fn stopped(&self, stop: Stop, text: &'static str) -> io::Error {
        // The first reason stands.
        let _ = self.stop.set(stop);
        io::Error::other(text)
    }
}

impl AsyncRead for Incoming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.piece.is_empty() {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
                Poll::Pending => {
                    ready!(self.silence.as_mut().poll(cx));
                    return Poll::Ready(Err(self.stopped(Stop::Stalled, "nothing came")));
                }
            };
            let next = Instant::now() + self.patience;
            self.silence.as_mut().reset(next);
            // Trailers say nothing here.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                return Poll::Ready(Err(self.stopped(Stop::TooLarge, "too large")));
            };
            self.left = left;
            self.piece = data;
        }
        let len = self.piece.len().min(buf.remaining());
        let (taken, _) = self.piece.split_at(len);
        buf.put_slice(taken);
        self.piece.advance(len);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn body(pieces: &[&'static str]) -> Body {
        let pieces: Vec<_> = pieces.iter().copied().map(Ok::<_, io::Error>).collect();
        Body::from_stream(stream::iter(pieces))
    }

    #[tokio::test]
    async fn reads_all_of_it_up_to_the_limit() {
        let (mut incoming, why) =
            Incoming::new(body(&["ab", "", "cde"]), 5, Duration::from_secs(9));
        let mut text = String::new();
        incoming.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), why.why()), ("abcde", None));
        let (mut incoming, why) = Incoming::new(body(&["ab", "cde"]), 4, Duration::from_secs(9));
        assert!(incoming.read_to_string(&mut text).await.is_err());
        assert_eq!(why.why(), Some(Stop::TooLarge));
    }

    #[tokio::test]
    async fn silence_ends_it() {
        let endless = Body::from_stream(stream::pending::<io::Result<Bytes>>());
        let (mut incoming, why) = Incoming::new(endless, 9, Duration::from_millis(50));
        let started = Instant::now();
        assert!(incoming.read_u8().await.is_err());
        assert_eq!(why.why(), Some(Stop::Stalled));
        assert!(started.elapsed() >= Duration::from_millis(50));
    }
}
