//! A tenant's re-wrap: all recordings that are not under the current KEK and recovery key, a few at
//! a time, no faster than it may, with its progress in the catalogue.
//!
//! What keeps all recordings from being moved (a key service or the catalogue away) is waited out.
//! What keeps one from it is written down; the others go on. A rotation meanwhile, or another
//! recovery key, means that the walk begins again, towards what is newer.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::TryStreamExt as _;
use keyreel_format::{RecordingId, TenantId};
use keyreel_keys::crash;
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::recording::{Kind, Step, Trouble};
use super::{By, Inner, Target};
use crate::Error;
use crate::catalogue::{KekCount, Page, Recording, RewrapJob, RewrapNote, RewrapState};

/// Recordings under way at once.
const AT_ONCE: usize = 4;
const PAGE: u32 = 100;
/// How often progress is written down and a stop is noticed.
const BEAT: Duration = Duration::from_secs(2);
/// Failures that are named in the job's status.
const NAMED: usize = 100;
/// So many refusals of one KEK in a row, and the rest of its recordings are not tried.
const REFUSALS: u32 = 20;
/// How often an object that cannot be read is tried.
const READS: u32 = 3;
const LEAST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Runs a job that this node holds, to its end or until it is stopped.
pub(super) async fn run(
    inner: &Inner,
    tenant: &TenantId,
    job: RewrapJob,
) -> Result<RewrapJob, Error> {
    crash::point("rewrap.claimed");
    let (stop, stopped) = watch::channel(Going::On);
    let run = Run {
        inner,
        tenant,
        by: By::job(&job.subject),
        per_second: AtomicU32::new(job.per_second),
        next: tokio::sync::Mutex::new(Instant::now()),
        stopped,
        moved: AtomicU64::new(0),
        notes: Mutex::default(),
    };
    let (ended, until) = oneshot::channel();
    let work = async {
        let end = run.all().await;
        // Where nobody listens for it, the job was stopped.
        let _ = ended.send(());
        end
    };
    let (end, ()) = tokio::join!(work, run.beat(until, stop));
    let ended = match end {
        Ok(()) => run.end(RewrapState::Done).await?,
        Err(Halt::Left) => run.end(RewrapState::Failed).await?,
        Err(Halt::Nothing(class)) => {
            run.notes().last_error = Some(class);
            run.end(RewrapState::Failed).await?
        }
        // Lets go of it.
        Err(Halt::Stopped) => {
            let (lease, note) = (inner.lease(), run.note(None));
            inner.catalogue.note_rewrap(tenant, &lease, &note).await?
        }
    };
    let now = match ended {
        Some(job) => Some(job),
        None => inner.catalogue.rewrap_job(tenant).await?,
    };
    Ok(now.unwrap_or(job))
}

struct Run<'a> {
    inner: &'a Inner,
    tenant: &'a TenantId,
    by: By,
    per_second: AtomicU32,
    /// When the next recording may be taken on.
    next: tokio::sync::Mutex<Instant>,
    stopped: watch::Receiver<Going>,
    /// In this walk, here or by somebody else.
    moved: AtomicU64,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    failed: u64,
    /// Some of those, with the class of why.
    failures: Vec<(RecordingId, &'static str)>,
    last_error: Option<&'static str>,
    /// What does not answer now.
    waiting: Option<&'static str>,
    /// Those whose failure is on record: it is recorded once in a run.
    recorded: HashSet<RecordingId>,
}

impl Notes {
    fn forget_failures(&mut self) {
        self.failed = 0;
        self.failures.clear();
        self.last_error = None;
    }
}

/// Whether a job goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Going {
    On,
    NoMore,
}

/// Why a job ends before all is done.
enum Halt {
    /// Somebody wants it so, or holds it now.
    Stopped,
    /// It went as far as it could; recordings are left.
    Left,
    /// Nothing can be wrapped; the class of why.
    Nothing(&'static str),
}

/// How often something was tried, and how long the last pause was.
#[derive(Default)]
struct Patience {
    reads: u32,
    pause: Duration,
}

impl Run<'_> {
    /// Walks again and again, until a walk has moved nothing.
    async fn all(&self) -> Result<(), Halt> {
        let mut last = None;
        loop {
            let (target, old) = self.to_move().await?;
            let left: u64 = old.iter().map(|count| count.recordings).sum();
            if left == 0 {
                self.notes().forget_failures();
                return Ok(());
            }
            let moved = self.moved.swap(0, Ordering::Relaxed);
            if last.as_ref() == Some(&target) && moved == 0 {
                self.give_up(left);
                return Err(Halt::Left);
            }
            self.notes().forget_failures();
            last = Some(target);
            for some in &old {
                self.walk(some).await?;
            }
        }
    }

    async fn to_move(&self) -> Result<(Target, Vec<KekCount>), Halt> {
        let mut patience = Patience::default();
        loop {
            match self.inner.to_move(self.tenant).await {
                Ok(found) => return Ok(found),
                Err(error) => self.sit_out(error, &mut patience).await?,
            }
        }
    }

    /// All recordings that need one KEK, with one recovery key or with none.
    async fn walk(&self, some: &KekCount) -> Result<(), Halt> {
        let refused = AtomicU32::new(0);
        let mut cursor = None;
        loop {
            let page = self.page(some, cursor.as_deref()).await?;
            futures::stream::iter(page.items.into_iter().map(Ok))
                .try_for_each_concurrent(AT_ONCE, |recording| self.one(recording, &refused))
                .await?;
            match page.next {
                Some(next) if refused.load(Ordering::Relaxed) < REFUSALS => cursor = Some(next),
                _ => return Ok(()),
            }
        }
    }

    async fn page(&self, some: &KekCount, cursor: Option<&str>) -> Result<Page<Recording>, Halt> {
        let catalogue = &self.inner.catalogue;
        let mut patience = Patience::default();
        loop {
            let page = catalogue.recordings_under(self.tenant, some, cursor, PAGE);
            match page.await {
                Ok(page) => return Ok(page),
                Err(error) => self.sit_out(error, &mut patience).await?,
            }
        }
    }

    /// Waits for what the job cannot do without; ends the job where that will not come.
    async fn sit_out(&self, error: Error, patience: &mut Patience) -> Result<(), Halt> {
        match self.wait_out(error.into(), patience).await? {
            None => Ok(()),
            Some(trouble) => Err(self.nothing(&trouble)),
        }
    }

    async fn one(&self, recording: Recording, refused: &AtomicU32) -> Result<(), Halt> {
        if refused.load(Ordering::Relaxed) >= REFUSALS {
            return Ok(());
        }
        let mut patience = Patience::default();
        let failed = loop {
            self.wait_for_turn().await?;
            let trouble = match self.inner.rewrap(&recording, &self.by.asker.subject).await {
                Ok(step) => {
                    if step == Step::Moved {
                        self.inner.counts.done.fetch_add(1, Ordering::Relaxed);
                    }
                    refused.store(0, Ordering::Relaxed);
                    self.moved.fetch_add(1, Ordering::Relaxed);
                    self.notes().waiting = None;
                    return Ok(());
                }
                Err(trouble) => trouble,
            };
            // Moved or removed by somebody else meanwhile: no wonder.
            if self.is_overtaken(&recording).await {
                return Ok(());
            }
            if let Some(failed) = self.wait_out(trouble, &mut patience).await? {
                break failed;
            }
        };
        if failed.kind == Kind::Refused {
            refused.fetch_add(1, Ordering::Relaxed);
        }
        self.note_failed(recording.id, &failed).await;
        Ok(())
    }

    async fn note_failed(&self, id: RecordingId, trouble: &Trouble) {
        let Trouble { class, detail, .. } = trouble;
        tracing::warn!(
            tenant = %self.tenant, recording = %id, class, detail,
            "a recording could not be re-wrapped"
        );
        let is_new = {
            let mut notes = self.notes();
            notes.waiting = None;
            notes.failed += 1;
            notes.last_error = Some(class);
            if notes.failures.len() < NAMED {
                notes.failures.push((id.clone(), class));
            }
            notes.recorded.insert(id.clone())
        };
        if !is_new {
            return;
        }
        self.inner.counts.failed.fetch_add(1, Ordering::Relaxed);
        let mut event = self
            .by
            .event("key.rewrap.failed", self.tenant, self.inner.clock.now_ms());
        event.recording = Some(id);
        event.outcome = (*class).to_owned();
        if let Err(error) = self.inner.catalogue.append_audit(&[event]).await {
            tracing::error!(tenant = %self.tenant, %error, "a failure could not be recorded");
        }
    }

    async fn is_overtaken(&self, recording: &Recording) -> bool {
        let tenants = std::slice::from_ref(self.tenant);
        match self.inner.catalogue.recording(tenants, &recording.id).await {
            Ok(Some(now)) => now.generation != recording.generation,
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Waits for what may come back; says what does not.
    async fn wait_out(
        &self,
        trouble: Trouble,
        patience: &mut Patience,
    ) -> Result<Option<Trouble>, Halt> {
        let least = match trouble.kind {
            Kind::Nothing => return Err(self.nothing(&trouble)),
            Kind::Refused | Kind::Damaged => return Ok(Some(trouble)),
            Kind::Unread => {
                patience.reads += 1;
                if patience.reads >= READS {
                    return Ok(Some(trouble));
                }
                None
            }
            Kind::Away(least) => least,
        };
        patience.pause = (patience.pause * 2)
            .max(least.unwrap_or_default())
            .clamp(LEAST_PAUSE, LONGEST_PAUSE);
        let Trouble { class, detail, .. } = trouble;
        tracing::info!(tenant = %self.tenant, class, detail, "a re-wrap waits");
        self.notes().waiting = Some(class);
        self.pause(Instant::now() + patience.pause).await?;
        Ok(None)
    }

    /// Nothing can be wrapped, and why.
    fn nothing(&self, trouble: &Trouble) -> Halt {
        let Trouble { class, detail, .. } = trouble;
        tracing::warn!(tenant = %self.tenant, class, detail, "a re-wrap cannot go on");
        Halt::Nothing(class)
    }

    /// No faster than it may.
    async fn wait_for_turn(&self) -> Result<(), Halt> {
        let turn = {
            let mut next = self.next.lock().await;
            let turn = (*next).max(Instant::now());
            let per_second = self.per_second.load(Ordering::Relaxed).max(1);
            *next = turn + Duration::from_secs(1) / per_second;
            turn
        };
        self.pause(turn).await
    }

    async fn pause(&self, until: Instant) -> Result<(), Halt> {
        let mut stopped = self.stopped.clone();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|going| *going == Going::NoMore) => Err(Halt::Stopped),
            () = tokio::time::sleep_until(until) => Ok(()),
        }
    }

    /// Writes progress down and holds the job, until the work has ended; ends the work when the
    /// job was stopped or is another's.
    async fn beat(&self, mut ended: oneshot::Receiver<()>, stop: watch::Sender<Going>) {
        loop {
            let note = self.note(None);
            let lease = self.inner.lease();
            match self
                .inner
                .catalogue
                .note_rewrap(self.tenant, &lease, &note)
                .await
            {
                Ok(Some(job)) => {
                    self.per_second.store(job.per_second, Ordering::Relaxed);
                    self.inner.remaining(self.tenant, &job);
                }
                Ok(None) => {
                    stop.send_replace(Going::NoMore);
                    return;
                }
                // Held for a while yet; and whoever takes it over does no harm.
                Err(error) => {
                    tracing::warn!(tenant = %self.tenant, %error, "a re-wrap's progress is not kept");
                }
            }
            tokio::select! {
                _ = &mut ended => return,
                () = tokio::time::sleep(BEAT) => {}
            }
        }
    }

    async fn end(&self, state: RewrapState) -> Result<Option<RewrapJob>, Error> {
        let (lease, note) = (self.inner.lease(), self.note(Some(state)));
        let catalogue = &self.inner.catalogue;
        let ended = catalogue.note_rewrap(self.tenant, &lease, &note).await?;
        if let Some(job) = &ended {
            let mut event =
                self.by
                    .event("keys.rewrap.ended", self.tenant, self.inner.clock.now_ms());
            event.outcome = match state {
                RewrapState::Done => "ok".to_owned(),
                other => other.as_str().to_owned(),
            };
            for (name, count) in [("done", job.done), ("failed", job.failed)] {
                event.fields.insert(name.to_owned(), Value::from(count));
            }
            catalogue.append_audit(&[event]).await?;
        }
        Ok(ended)
    }

    /// Recordings that were not tried, because so many others were refused, have failed too.
    fn give_up(&self, left: u64) {
        self.notes().failed = left;
    }

    fn note(&self, ended: Option<RewrapState>) -> RewrapNote {
        let notes = self.notes();
        RewrapNote {
            ended,
            failed: notes.failed,
            failures: notes
                .failures
                .iter()
                .map(|(id, class)| (id.clone(), (*class).to_owned()))
                .collect(),
            last_error: notes.waiting.or(notes.last_error).map(str::to_owned),
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
