//! The body of a media answer: spans of ciphertext are read, opened in place and handed on as they
//! are asked for. Nothing of a chunk leaves before the whole span has been verified.
//!
//! A span is read when the connection has room for it, so what a listener does not take is not
//! decrypted; and a listener who leaves drops the body, and with it everything.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use keyreel_format::{Opened, Reader};
use keyreel_keys::DekLease;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::asking::Asking;
use super::multipart::Segment;
use super::open::Listener;
use super::sealed::{Sealed, object_problem};
use crate::audit::plays::Listening;
use crate::problem::{Code, Problem};

/// Why a body ends short. Its connection is aborted: nobody takes what came for the whole.
#[derive(Debug, thiserror::Error)]
#[error("the stream was broken off: {0}")]
pub(super) struct BrokenOff(&'static str);

/// Reads and opens spans, in order.
pub(super) struct Source {
    listener: Listener,
    sealed: Arc<Sealed>,
    reader: Arc<Reader>,
    asking: Asking,
    lease: DekLease,
    /// When the DEK is asked for again.
    renew_at: Instant,
    listening: Listening,
    segments: VecDeque<Segment>,
    pace: Pace,
    /// Ends with the stream.
    guard: Option<Guard>,
}

/// A task that ends with its stream.
struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What comes next.
enum Piece {
    Text(Bytes),
    Plain(Opened),
    /// No more than what there is already, which may go out.
    Nothing,
}

impl Source {
    pub(super) fn new(
        listener: Listener,
        sealed: Arc<Sealed>,
        reader: Arc<Reader>,
        asking: Asking,
        lease: DekLease,
        listening: Listening,
        segments: VecDeque<Segment>,
    ) -> Self {
        let pace = Pace::new(listener.app.library().span_len());
        let renew_at = renewal(&lease);
        Self {
            listener,
            sealed,
            reader,
            asking,
            lease,
            renew_at,
            listening,
            segments,
            pace,
            guard: None,
        }
    }

    /// Opens as far as the first plaintext, so that what cannot be opened is an answer and no
    /// broken stream.
    pub(super) async fn start(mut self) -> Result<MediaBody, Problem> {
        let mut ready = VecDeque::new();
        loop {
            match self.next().await {
                Ok(None) => break,
                Ok(Some(Piece::Nothing)) => {}
                Ok(Some(Piece::Text(text))) => ready.push_back(Piece::Text(text)),
                Ok(Some(plain @ Piece::Plain(_))) => {
                    ready.push_back(plain);
                    break;
                }
                Err(problem) => return Err(self.listener.note_damage(problem).await),
            }
        }
        Ok(MediaBody {
            ready,
            state: State::Idle(Box::new(self)),
        })
    }

    /// The next piece.
    async fn next(&mut self) -> Result<Option<Piece>, Problem> {
        loop {
            let range = match self.segments.front_mut() {
                None => return Ok(None),
                Some(Segment::Plain(range)) if range.is_empty() => {
                    self.segments.pop_front();
                    continue;
                }
                Some(Segment::Plain(range)) => range.clone(),
                Some(Segment::Text(text)) => {
                    let text = std::mem::take(text);
                    self.segments.pop_front();
                    return Ok(Some(Piece::Text(text)));
                }
            };
            return Ok(Some(Piece::Plain(self.span(range).await?)));
        }
    }

    /// Reads and opens the first span of `range`.
    async fn span(&mut self, range: Range<u64>) -> Result<Opened, Problem> {
        self.renew().await?;
        let len = self.pace.span_len(range.end - range.start);
        let Some(span) = self.reader.spans(range, len)?.next() else {
            return Err(Problem::new(Code::Internal, "The server failed.").inward("an empty span"));
        };
        let library = self.listener.app.library();
        let sealed_len = usize::try_from(span.object_range.end - span.object_range.start);
        let buffer = library.buffers().take(sealed_len.unwrap_or(0));
        let read = self.sealed.read(span.object_range.clone(), buffer).await;
        let opened = self.reader.open(&span, read.map_err(object_problem)?)?;
        library.buffers().keep(opened.memory());
        if let Some(Segment::Plain(rest)) = self.segments.front_mut() {
            rest.start = span.plaintext_range.end;
        }
        self.pace.produced();
        Ok(opened)
    }

    /// Asks for the DEK again every second, and when its time in the cache is over, so that an open
    /// stream outlives its key by no more than the cache does. While the key is in the cache this
    /// costs next to nothing.
    async fn renew(&mut self) -> Result<(), Problem> {
        if !self.is_due() {
            return Ok(());
        }
        self.lease = self.asking.lease().await?;
        self.renew_at = renewal(&self.lease);
        Ok(())
    }

    /// Ends the stream when its key is gone, also while nothing is asked of it: what was handed out
    /// lies in buffers, and a slow listener would hear it for seconds. Answers of one span have no
    /// need of it.
    fn guard(&mut self) {
        if self.guard.is_some() {
            return;
        }
        let (app, mut asking) = (self.listener.app.clone(), self.asking.clone());
        let request_id = self.listener.request_id.clone();
        let abort = self.listener.abort.clone();
        let mut until = self.lease.until();
        let guarding = tokio::spawn(async move {
            loop {
                tokio::time::sleep_until(until).await;
                match asking.lease().await {
                    Ok(lease) => until = lease.until().max(Instant::now() + LEAST_PAUSE),
                    Err(problem) => {
                        let code = problem.code().as_str();
                        tracing::info!(request_id, code, "the key is gone: its stream is cut");
                        app.metrics().stream_cut();
                        abort.abort();
                        return;
                    }
                }
            }
        });
        self.guard = Some(Guard(guarding.abort_handle()));
    }

    /// Whether the DEK has to be asked for before another chunk is handed out.
    fn is_due(&self) -> bool {
        Instant::now() >= self.renew_at
    }

    fn is_cut(&self) -> bool {
        self.listening.is_cut() || self.lease.is_revoked()
    }
}

fn renewal(lease: &DekLease) -> Instant {
    lease.until().min(Instant::now() + RENEW_AFTER)
}

/// How much is read at a time: little at first, so that the first byte is quick; more while the
/// listener takes it quickly; little again for one who does not, so that ten thousand of them fit
/// into memory.
struct Pace {
    len: usize,
    max: usize,
    last: Option<Instant>,
}

impl Pace {
    fn new(max: usize) -> Self {
        Self {
            len: FIRST_SPAN.min(max),
            max,
            last: None,
        }
    }

    /// For what is left to read.
    fn span_len(&mut self, left: u64) -> usize {
        if let Some(last) = self.last {
            if last.elapsed() > SLOW {
                self.len = SLOW_SPAN;
            } else {
                self.len = (self.len * 2).min(self.max);
            }
        }
        // The end of a small range is not worth a read of its own.
        if left <= (self.len + self.len / 2) as u64 {
            return self.len * 2 + SEALED_CHUNK_SLACK;
        }
        // A span is counted in sealed bytes, which are a little more than those that are wanted.
        self.len + SEALED_CHUNK_SLACK
    }

    fn produced(&mut self) {
        self.last = Some(Instant::now());
    }
}

const FIRST_SPAN: usize = 64 * 1024;
const SLOW_SPAN: usize = 32 * 1024;
const SLOW: Duration = Duration::from_millis(200);
const SEALED_CHUNK_SLACK: usize = 1024;
const RENEW_AFTER: Duration = Duration::from_secs(1);
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// The body.
pub(super) struct MediaBody {
    ready: VecDeque<Piece>,
    state: State,
}

enum State {
    Idle(Box<Source>),
    Busy(Busy),
    Ended,
}

type Busy = Pin<Box<dyn Future<Output = (Box<Source>, Result<Option<Piece>, Problem>)> + Send>>;

impl http_body::Body for MediaBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Idle(source) => {
                    if source.is_cut() {
                        return Poll::Ready(Some(Err(source.break_off("cut"))));
                    }
                    // What was opened under a key that may be gone by now waits for word of it.
                    if source.is_due() && !self.ready.is_empty() {
                        self.state = State::Busy(Box::pin(source.ask_again()));
                        continue;
                    }
                    if let Some(chunk) = self.next_chunk() {
                        source.listening.heard(chunk.len());
                        self.state = State::Idle(source);
                        return Poll::Ready(Some(Ok(Frame::data(chunk))));
                    }
                    self.state = State::Busy(Box::pin(source.advance()));
                }
                State::Busy(mut busy) => {
                    let Poll::Ready((source, next)) = busy.as_mut().poll(cx) else {
                        self.state = State::Busy(busy);
                        return Poll::Pending;
                    };
                    match next {
                        Ok(None) => return Poll::Ready(None),
                        Ok(Some(Piece::Nothing)) => self.state = State::Idle(source),
                        Ok(Some(piece)) => {
                            self.ready.push_back(piece);
                            self.state = State::Idle(source);
                        }
                        Err(problem) => {
                            let code = problem.code().as_str();
                            return Poll::Ready(Some(Err(source.break_off(code))));
                        }
                    }
                }
            }
        }
    }
}

impl MediaBody {
    fn next_chunk(&mut self) -> Option<Bytes> {
        while let Some(piece) = self.ready.front_mut() {
            let next = match piece {
                Piece::Text(text) if text.is_empty() => None,
                Piece::Text(text) => Some(std::mem::take(text)),
                Piece::Plain(opened) => opened.next(),
                Piece::Nothing => None,
            };
            if next.is_some() {
                return next;
            }
            self.ready.pop_front();
        }
        None
    }
}

impl Source {
    async fn advance(mut self: Box<Self>) -> (Box<Self>, Result<Option<Piece>, Problem>) {
        let next = self.next().await;
        if matches!(next, Ok(Some(Piece::Plain(_)))) {
            self.guard();
        }
        let next = self.noted(next).await;
        (self, next)
    }

    async fn ask_again(mut self: Box<Self>) -> (Box<Self>, Result<Option<Piece>, Problem>) {
        let renewed = self.renew().await.map(|()| Some(Piece::Nothing));
        let renewed = self.noted(renewed).await;
        (self, renewed)
    }

    /// Records damage, and logs why a stream ends.
    async fn noted(&self, next: Result<Option<Piece>, Problem>) -> Result<Option<Piece>, Problem> {
        match next {
            Err(problem) => {
                let problem = self.listener.note_damage(problem).await;
                tracing::error!(
                    request_id = self.listener.request_id,
                    code = problem.code().as_str(),
                    reason = problem.inward_text().unwrap_or_default(),
                    "stream broken off"
                );
                Err(problem)
            }
            next => next,
        }
    }

    /// Ends the connection, so that what came is not taken for the whole.
    fn break_off(&self, why: &'static str) -> BrokenOff {
        if self.is_cut() {
            self.listener.app.metrics().stream_cut();
        }
        self.listening.abort();
        BrokenOff(why)
    }
}
