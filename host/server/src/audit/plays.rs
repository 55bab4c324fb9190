//! Plays: who listens to what, by which grant. One audit event when the first byte of a grant is
//! about to leave, one when nobody has read from it for a while, with the bytes heard; not one for
//! each range. Also the handle by which open streams are cut.
//! Not for: deciding who may listen.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyreel_keys::{Clock, PurgeWatch};
use keyreel_net::Abort;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{AuditError, AuditLog, Event};
use crate::grants::Grant;

/// All plays on this node.
pub(crate) struct Plays {
    open: Mutex<HashMap<Uuid, Arc<Play>>>,
    audit: AuditLog,
    clock: Arc<dyn Clock>,
    idle: Duration,
    streams_per_grant: usize,
}

/// One grant in use.
pub(crate) struct Play {
    grant: Grant,
    subject: String,
    started: OnceCell<()>,
    bytes: AtomicU64,
    last_ms: AtomicU64,
    was_cut: AtomicBool,
    streams: Mutex<Vec<Stream>>,
    next_stream: AtomicU64,
}

struct Stream {
    number: u64,
    abort: Abort,
    purge: PurgeWatch,
}

/// One stream of a play. While there is one, the play goes on.
pub(crate) struct Listening {
    play: Arc<Play>,
    number: u64,
    abort: Abort,
    purge: PurgeWatch,
    clock: Arc<dyn Clock>,
}

/// Why a stream does not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotListening {
    #[error("the grant has as many open streams as limits.streams_per_grant allows")]
    TooMany,
    #[error(transparent)]
    Audit(#[from] AuditError),
}

impl Plays {
    pub(crate) fn new(
        audit: AuditLog,
        clock: Arc<dyn Clock>,
        idle: Duration,
        streams_per_grant: u32,
    ) -> Self {
        Self {
            open: Mutex::default(),
            audit,
            clock,
            idle,
            streams_per_grant: streams_per_grant as usize,
        }
    }

    /// Joins the play of `grant`, or begins it: then the audit log says so before this returns.
    pub(crate) async fn listen(
        &self,
        grant: &Grant,
        subject: &str,
        purge: PurgeWatch,
        abort: Abort,
        request_id: &str,
    ) -> Result<Listening, NotListening> {
        let listening = self
            .join(grant, subject, purge, abort)
            .ok_or(NotListening::TooMany)?;
        let event = || {
            Event::new("play.started", subject)
                .tenant(&grant.tenant)
                .recording(&grant.recording)
                .field("grant", grant.id.to_string())
                .field("requestId", request_id)
        };
        listening
            .play
            .started
            .get_or_try_init(|| self.audit.record(event()))
            .await?;
        Ok(listening)
    }

    /// `None` where the grant has as many streams as it may.
    fn join(
        &self,
        grant: &Grant,
        subject: &str,
        purge: PurgeWatch,
        abort: Abort,
    ) -> Option<Listening> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let play = open.entry(grant.id).or_insert_with(|| {
            Arc::new(Play {
                grant: grant.clone(),
                subject: subject.to_owned(),
                started: OnceCell::new(),
                bytes: AtomicU64::new(0),
                last_ms: AtomicU64::new(self.clock.now_ms()),
                was_cut: AtomicBool::new(false),
                streams: Mutex::default(),
                next_stream: AtomicU64::new(0),
            })
        });
        let number = play.next_stream.fetch_add(1, Ordering::Relaxed);
        let stream = Stream {
            number,
            abort: abort.clone(),
            purge: purge.clone(),
        };
        {
            let mut streams = play.streams();
            if streams.len() >= self.streams_per_grant {
                return None;
            }
            streams.push(stream);
        }
        Some(Listening {
            play: play.clone(),
            number,
            abort,
            purge,
            clock: self.clock.clone(),
        })
    }

    /// The plays that have open streams.
    pub(crate) fn streaming(&self) -> Vec<Arc<Play>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values()
            .filter(|play| play.is_streaming())
            .cloned()
            .collect()
    }

    /// Ends the plays that nobody reads from, or all of them. Those whose end could not be written
    /// are kept for the next time.
    pub(crate) async fn end(&self, which: Ending) {
        let now_ms = self.clock.now_ms();
        let idle_ms = u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX);
        let ended: Vec<Arc<Play>> = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.extract_if(|_, play| match which {
                Ending::All => true,
                Ending::Idle => {
                    let last_ms = play.last_ms.load(Ordering::Relaxed);
                    !play.is_streaming() && now_ms.saturating_sub(last_ms) >= idle_ms
                }
            })
            .map(|(_, play)| play)
            // What never began to play does not end either.
            .filter(|play| play.started.initialized())
            .collect()
        };
        let mut rest = ended.as_slice();
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(rest.len().min(AT_ONCE));
            let events = chunk.iter().map(|play| play.ended()).collect();
            if let Err(error) = self.audit.record_all(events).await {
                tracing::error!(%error, "the end of plays could not be recorded; trying again");
                // A log that fails now fails for the others as well.
                let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                for play in rest {
                    open.entry(play.grant.id).or_insert_with(|| play.clone());
                }
                return;
            }
            rest = later;
        }
    }
}

/// Which plays end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Those without readers for long enough.
    Idle,
    /// All: the server ends.
    All,
}

impl Play {
    /// Its grant.
    pub(crate) fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Ends all of its streams: those that are being read at their next chunk, the others now,
    /// with whatever still lies in buffers.
    pub(crate) fn cut(&self) {
        self.cut_where(|_| true);
    }

    /// Ends the streams whose tenant's keys were purged since they began.
    pub(crate) fn cut_purged(&self) {
        self.cut_where(|stream| stream.purge.is_purged());
    }

    fn cut_where(&self, which: impl Fn(&Stream) -> bool) {
        for stream in self.streams().iter().filter(|stream| which(stream)) {
            self.was_cut.store(true, Ordering::Relaxed);
            stream.abort.abort();
        }
    }

    fn is_streaming(&self) -> bool {
        !self.streams().is_empty()
    }

    fn streams(&self) -> MutexGuard<'_, Vec<Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> Event {
        let outcome = if self.was_cut.load(Ordering::Relaxed) {
            "cut"
        } else {
            "ok"
        };
        Event::new("play.ended", &self.subject)
            .tenant(&self.grant.tenant)
            .recording(&self.grant.recording)
            .outcome(outcome)
            .field("grant", self.grant.id.to_string())
            .field("bytes", self.bytes.load(Ordering::Relaxed))
    }
}

impl Listening {
    /// Whether this stream has to end now. Asked before every chunk.
    pub(crate) fn is_cut(&self) -> bool {
        let cut = self.abort.is_aborted() || self.purge.is_purged();
        if cut {
            self.play.was_cut.store(true, Ordering::Relaxed);
        }
        cut
    }

    /// Ends the connection with a reset: its client must not take what it got for the whole.
    pub(crate) fn abort(&self) {
        self.abort.abort();
    }

    /// `bytes` of plaintext leave.
    pub(crate) fn heard(&self, bytes: usize) {
        self.play.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.play
            .last_ms
            .store(self.clock.now_ms(), Ordering::Relaxed);
        self.play
            .streams()
            .retain(|stream| stream.number != self.number);
    }
}

/// Events of one transaction: other writers get their turn in between.
const AT_ONCE: usize = 1000;
