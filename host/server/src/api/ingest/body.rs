//! A request's body as something to read, bounded in size, in silence and in slowness.

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
    pace: Pace,
    came: u64,
    /// How long it was waited for bytes, over the whole body. While nobody reads, nobody waits: a
    /// slow store is not the sender's fault.
    waited: Duration,
    waiting: Option<Waiting>,
    stop: Arc<OnceLock<Stop>>,
}

/// How fast a body has to come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// No two bytes of it are further apart.
    pub(super) patience: Duration,
    /// On average at least so many, `patience` aside: a body that trickles holds a place.
    pub(super) bytes_per_second: u64,
}

impl Pace {
    /// How long it may be waited for a body of which so many bytes came.
    fn wait(self, came: u64) -> Duration {
        let millis = came.saturating_mul(1000) / self.bytes_per_second.max(1);
        self.patience.saturating_add(Duration::from_millis(millis))
    }
}

/// Waiting for the next bytes.
struct Waiting {
    since: Instant,
    end: Pin<Box<Sleep>>,
    then: Stop,
}

/// Why no more of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// It is larger than it may be.
    TooLarge,
    /// Nothing came for too long.
    Stalled,
    /// Too little came in all that time.
    Slow,
}

/// What became of a body, for whoever handed it over.
pub(super) struct Why(Arc<OnceLock<Stop>>);

impl Why {
    pub(super) fn why(&self) -> Option<Stop> {
        self.0.get().copied()
    }
}

impl Incoming {
    /// Of at most `limit` bytes, that come at this pace.
    pub(super) fn new(body: Body, limit: u64, pace: Pace) -> (Self, Why) {
        let stop = Arc::new(OnceLock::new());
        let incoming = Self {
            body,
            piece: Bytes::new(),
            left: limit,
            pace,
            came: 0,
            waited: Duration::ZERO,
            waiting: None,
            stop: stop.clone(),
        };
        (incoming, Why(stop))
    }

    /// Ready with the reason where it was waited for long enough.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        let (pace, waited, came) = (self.pace, self.waited, self.came);
        let waiting = self.waiting.get_or_insert_with(|| {
            let since = Instant::now();
            let left = pace.wait(came).saturating_sub(waited);
            let (wait, then) = if left < pace.patience {
                (left, Stop::Slow)
            } else {
                (pace.patience, Stop::Stalled)
            };
            Waiting {
                since,
                end: Box::pin(tokio::time::sleep(wait)),
                then,
            }
        });
        ready!(waiting.end.as_mut().poll(cx));
        Poll::Ready(waiting.then)
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
                    let stop = ready!(self.poll_patience(cx));
                    return Poll::Ready(Err(self.stopped(stop, "too little came")));
                }
            };
            if let Some(waiting) = self.waiting.take() {
                self.waited += waiting.since.elapsed();
            }
            // Trailers say nothing here.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                return Poll::Ready(Err(self.stopped(Stop::TooLarge, "too large")));
            };
            self.left = left;
            self.came += data.len() as u64;
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

    const PACE: Pace = Pace {
        patience: Duration::from_secs(9),
        bytes_per_second: 1 << 10,
    };

    #[tokio::test]
    async fn reads_all_of_it_up_to_the_limit() {
        let (mut incoming, why) = Incoming::new(body(&["ab", "", "cde"]), 5, PACE);
        let mut text = String::new();
        incoming.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), why.why()), ("abcde", None));
        let (mut incoming, why) = Incoming::new(body(&["ab", "cde"]), 4, PACE);
        assert!(incoming.read_to_string(&mut text).await.is_err());
        assert_eq!(why.why(), Some(Stop::TooLarge));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it() {
        let endless = Body::from_stream(stream::pending::<io::Result<Bytes>>());
        let (mut incoming, why) = Incoming::new(endless, 9, PACE);
        let started = Instant::now();
        assert!(incoming.read_u8().await.is_err());
        assert_eq!(why.why(), Some(Stop::Stalled));
        assert_eq!(started.elapsed().as_secs(), 9);
    }

    /// A body of so many bytes at a time, one lot every so often.
    fn every(pause: Duration, bytes: usize) -> Body {
        Body::from_stream(stream::unfold((), move |()| async move {
            tokio::time::sleep(pause).await;
            Some((Ok::<_, io::Error>(Bytes::from(vec![0; bytes])), ()))
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_ends_it_and_a_slow_line_does_not() {
        let second = Duration::from_secs(1);
        // 8 bytes a second are never silent for long.
        let (mut incoming, why) = Incoming::new(every(second, 8), 1 << 20, PACE);
        let started = Instant::now();
        let read = tokio::io::copy(&mut incoming, &mut tokio::io::sink()).await;
        assert!(read.is_err());
        assert_eq!(why.why(), Some(Stop::Slow));
        assert_eq!(started.elapsed().as_secs(), 9);
        // As fast as it has to be, for much longer.
        let (mut incoming, why) = Incoming::new(every(second, 1 << 10), 60 << 10, PACE);
        let read = tokio::io::copy(&mut incoming, &mut tokio::io::sink()).await;
        assert!(read.is_err());
        assert_eq!(why.why(), Some(Stop::TooLarge), "it came to its limit");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_not_the_senders_fault() {
        let pieces = every(Duration::from_millis(1), 8);
        let (mut incoming, why) = Incoming::new(pieces, 1 << 20, PACE);
        for _ in 0..20 {
            incoming.read_u64().await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        assert_eq!(why.why(), None);
    }
}
