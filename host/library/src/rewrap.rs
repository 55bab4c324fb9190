//! Re-wraps: a tenant's recordings moved from old KEKs to the current one, and to its recovery key,
//! or away from a former one. Their bodies are not touched: beside each object a small key record
//! is written, then the catalogue moves to it.
//!
//! ```text
//! start ─▶ a row in the catalogue ─▶ whichever node claims it walks the recordings (`job`)
//!                                     each: unwrap ─ verify ─ wrap ─ write ─ commit (`recording`)
//! ```
//! Killed at any moment, nothing is lost: what is in the catalogue is whole, and the next node that
//! claims the job goes on with what is left.
//! And the end of a KEK that no recording needs any more.
//! Not for: making KEKs (see `keyreel-keys`).

mod job;
mod recording;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keyreel_format::{KekId, ProviderId, TenantId};
use keyreel_keys::{Asker, Clock, KekRecord, KeyError, Keyring};
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::catalogue::{AuditEvent, Catalogue, KekCount, Lease, RewrapJob};
use crate::recovery::openable;
use crate::{Error, Objects};

/// How many recordings a second are taken on where nothing else is said.
pub const DEFAULT_PER_SECOND: u32 = 50;
/// How many may be asked for.
pub const MAX_PER_SECOND: u32 = 10_000;

/// How long a node holds a job without a word.
const LEASE: Duration = Duration::from_secs(15);
/// How often a node looks for jobs that nobody holds.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often a node looks for what retired KEKs left.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// So many generations are read from the catalogue at once.
const SWEPT_AT_ONCE: u32 = 200;

/// How many recordings somebody confirms to lose with a KEK: "lose N recordings". `None`: anything
/// else.
#[must_use]
pub fn lost_recordings(confirm: &str) -> Option<u64> {
    let number = confirm
        .strip_prefix("lose ")
        .and_then(|rest| rest.strip_suffix(" recordings"))
        .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    number?.parse().ok()
}

/// On whose behalf a tenant's keys are changed.
#[derive(Debug, Clone, Default)]
pub struct By {
    /// For the audit log here and at the key service.
    pub asker: Asker,
    /// The id of the credential behind the request, if there is one.
    pub credential: Option<String>,
}

impl By {
    /// What the audit log's events say of it by name.
    #[must_use]
    pub fn fields(&self) -> Map<String, Value> {
        let credential = self.credential.as_ref();
        let credential = credential.map(|id| ("credential".to_owned(), Value::from(id.as_str())));
        let request_id = Value::from(self.asker.request_id.as_str());
        let request_id = ("requestId".to_owned(), request_id);
        [request_id].into_iter().chain(credential).collect()
    }

    /// An event of theirs, about a tenant.
    pub(crate) fn event(&self, action: &str, tenant: &TenantId, now_ms: u64) -> AuditEvent {
        let mut event = AuditEvent::new(action, now_ms, &self.asker.subject);
        event.tenant = Some(tenant.clone());
        event.fields = self.fields();
        event
    }

    /// What a job does for whoever started it.
    fn job(subject: &str) -> Self {
        Self {
            asker: Asker {
                subject: subject.to_owned(),
                request_id: format!("rewrap-{}", Uuid::new_v4().simple()),
            },
            credential: None,
        }
    }
}

/// Moves recordings to the current KEK. Cheap to clone.
#[derive(Clone)]
pub struct Rewrapper {
    inner: Arc<Inner>,
}

struct Inner {
    catalogue: Arc<dyn Catalogue>,
    objects: Objects,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    /// Names this process in the catalogue.
    owner: String,
    /// Whose jobs run here, and how many recordings each has left.
    running: Mutex<HashMap<TenantId, u64>>,
    counts: Counts,
}

/// Since this process started.
#[derive(Default)]
struct Counts {
    done: AtomicU64,
    failed: AtomicU64,
}

/// What re-wraps did in this process since it started, and what is before them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RewrapStats {
    /// Recordings that were moved.
    pub done: u64,
    /// Recordings that could not be moved.
    pub failed: u64,
    /// Recordings that the jobs running here have left.
    pub remaining: u64,
}

impl Rewrapper {
    /// With the parts that it works on.
    #[must_use]
    pub fn new(
        catalogue: Arc<dyn Catalogue>,
        objects: Objects,
        keyring: Arc<Keyring>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let inner = Inner {
            catalogue,
            objects,
            keyring,
            clock,
            owner: Uuid::new_v4().to_string(),
            running: Mutex::default(),
            counts: Counts::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Starts the tenant's re-wrap, or lets one that was stopped go on. A node that looks for jobs
    /// takes it up: see [`Rewrapper::work`] and [`Rewrapper::run`].
    ///
    /// # Errors
    /// [`Error::Wrap`] where the tenant has no current KEK; [`Error::Backend`].
    pub async fn start(
        &self,
        tenant: &TenantId,
        by: &By,
        per_second: Option<u32>,
    ) -> Result<RewrapJob, Error> {
        let inner = &self.inner;
        let before = inner.catalogue.rewrap_job(tenant).await?;
        let per_second = per_second
            .or_else(|| before.map(|job| job.per_second))
            .unwrap_or(DEFAULT_PER_SECOND)
            .clamp(1, MAX_PER_SECOND);
        let (_, old) = inner.to_move(tenant).await?;
        let left = old.iter().map(|count| count.recordings).sum();
        let mut event = by.event("keys.rewrap.started", tenant, inner.clock.now_ms());
        let fields = &mut event.fields;
        fields.insert("recordings".to_owned(), Value::from(left));
        fields.insert("perSecond".to_owned(), Value::from(per_second));
        inner.catalogue.append_audit(&[event]).await?;
        let (subject, now_ms) = (&by.asker.subject, inner.clock.now_ms());
        let started = inner
            .catalogue
            .start_rewrap(tenant, subject, per_second, left, now_ms);
        started.await
    }

    /// Stops the tenant's re-wrap where it is; recordings under way are finished.
    ///
    /// # Errors
    /// [`Error::Backend`].
    pub async fn stop(&self, tenant: &TenantId, by: &By) -> Result<Option<RewrapJob>, Error> {
        let inner = &self.inner;
        let now_ms = inner.clock.now_ms();
        let event = by.event("keys.rewrap.stopped", tenant, now_ms);
        inner.catalogue.append_audit(&[event]).await?;
        inner.catalogue.stop_rewrap(tenant, now_ms).await
    }

    /// How the tenant's last re-wrap fares.
    ///
    /// # Errors
    /// [`Error::Backend`].
    pub async fn job(&self, tenant: &TenantId) -> Result<Option<RewrapJob>, Error> {
        self.inner.catalogue.rewrap_job(tenant).await
    }

    /// Retires a KEK for good, with the recordings that still need it: `lost` is their number, as
    /// the administrator was told and confirmed it; see [`Keyring::retire_kek`]. Recorded before,
    /// since what is deleted cannot be brought back to be recorded, and after.
    ///
    /// # Errors
    /// [`Error::Wrap`] holds the [`KeyError`] where nothing was changed; [`Error::Backend`].
    pub async fn retire(
        &self,
        tenant: &TenantId,
        (provider, kek): (&ProviderId, &KekId),
        lost: u64,
        by: &By,
    ) -> Result<KekRecord, Error> {
        let inner = &self.inner;
        let event = |action: &str| {
            let mut event = by.event(action, tenant, inner.clock.now_ms());
            let fields = [
                ("provider", Value::from(provider.as_str())),
                ("kek", Value::from(kek.as_str())),
                ("lost", Value::from(lost)),
            ];
            for (name, value) in fields {
                event.fields.insert(name.to_owned(), value);
            }
            event
        };
        let requested = event("key.retire.requested");
        inner.catalogue.append_audit(&[requested]).await?;
        let retired = inner.keyring.retire_kek(tenant, provider, kek, lost).await;
        let mut outcome = event("key.retired");
        if let Err(error) = &retired {
            outcome.outcome = match error {
                KeyError::KekInUse { .. } => "in-use",
                KeyError::KekCurrent { .. } => "current",
                other => other.class().as_str(),
            }
            .to_owned();
        }
        let noted = inner.catalogue.append_audit(&[outcome]).await;
        match (retired, noted) {
            (Ok(retired), Err(error)) => {
                // It cannot be undone, so it is not said to be undone; that it was wanted is on
                // record.
                tracing::error!(%tenant, %kek, %error, "a key was retired, which is not recorded");
                Ok(retired)
            }
            (Err(_), Err(error)) => Err(error),
            (retired, Ok(())) => retired.map_err(wrap_error),
        }
    }

    /// Runs the tenant's re-wrap to its end, if it is running and nobody else holds it; `None`
    /// where somebody does, or there is nothing to run.
    ///
    /// # Errors
    /// The catalogue fails while the job is claimed. Once it is, failures are waited out.
    pub async fn run(&self, tenant: &TenantId) -> Result<Option<RewrapJob>, Error> {
        let inner = &self.inner;
        let Some(_here) = Here::enter(inner, tenant) else {
            return Ok(None);
        };
        let Some(job) = inner.catalogue.claim_rewrap(tenant, &inner.lease()).await? else {
            return Ok(None);
        };
        job::run(inner, tenant, job).await.map(Some)
    }

    /// What it did and has before it.
    #[must_use]
    pub fn stats(&self) -> RewrapStats {
        let inner = &self.inner;
        let running = inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        RewrapStats {
            done: inner.counts.done.load(Ordering::Relaxed),
            failed: inner.counts.failed.load(Ordering::Relaxed),
            remaining: running.values().sum(),
        }
    }

    /// Takes up whatever jobs nobody holds, of any tenant, and removes what retired KEKs left, for
    /// as long as it is polled.
    pub async fn work(&self) {
        let sweeping = async {
            loop {
                if let Err(error) = self.sweep().await {
                    tracing::warn!(%error, "key records of retired keys were left");
                }
                tokio::time::sleep(SWEEP_EVERY).await;
            }
        };
        tokio::join!(self.take_up(), sweeping);
    }

    /// Removes the key records of former generations whose KEK was retired: no KEK opens them. How
    /// many generations it removed.
    ///
    /// # Errors
    /// [`Error::Backend`], [`Error::Object`]; what is left is left for the next time.
    pub async fn sweep(&self) -> Result<usize, Error> {
        let inner = &self.inner;
        let mut removed = 0;
        loop {
            let spent = inner.catalogue.spent_generations(SWEPT_AT_ONCE).await?;
            if spent.is_empty() {
                return Ok(removed);
            }
            for of in &spent {
                inner.remove_former(of).await?;
            }
            inner.catalogue.forget_generations(&spent).await?;
            removed += spent.len();
        }
    }

    async fn take_up(&self) {
        let mut jobs = JoinSet::new();
        loop {
            match self.inner.to_claim().await {
                Ok(tenants) => {
                    for tenant in tenants {
                        let worker = self.clone();
                        jobs.spawn(async move {
                            if let Err(error) = worker.run(&tenant).await {
                                tracing::warn!(%tenant, %error, "a re-wrap could not be taken up");
                            }
                        });
                    }
                }
                Err(error) => tracing::warn!(%error, "no word of re-wraps from the catalogue"),
            }
            while jobs.try_join_next().is_some() {}
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Inner {
    async fn to_claim(&self) -> Result<Vec<TenantId>, Error> {
        let mut tenants = self.catalogue.rewraps_to_claim(self.clock.now_ms()).await?;
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|tenant| !running.contains_key(tenant));
        Ok(tenants)
    }

    /// Takes down how much a job has left.
    fn remaining(&self, tenant: &TenantId, job: &RewrapJob) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remaining) = running.get_mut(tenant) {
            *remaining = job.total.saturating_sub(job.done + job.failed);
        }
    }

    fn lease(&self) -> Lease {
        Lease::new(&self.owner, self.clock.now_ms(), LEASE)
    }

    /// What recordings are wrapped to from now on, and which are not.
    async fn to_move(&self, tenant: &TenantId) -> Result<(Target, Vec<KekCount>), Error> {
        let current = self.keyring.current_kek(tenant).await.map_err(wrap_error)?;
        let recovery = self.keyring.recovery_key(tenant).await;
        let target = Target {
            provider: current.0,
            kek: current.1,
            recovery: recovery.map_err(wrap_error)?.map(|key| key.id),
        };
        let mut counts = openable(&*self.catalogue, tenant).await?;
        counts.retain(|count| !target.is_of(count));
        Ok((target, counts))
    }
}

/// What recordings are moved to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    provider: ProviderId,
    kek: KekId,
    /// The recovery key that they are wrapped to as well.
    recovery: Option<KekId>,
}

impl Target {
    /// Whether they are there already.
    fn is_of(&self, count: &KekCount) -> bool {
        (&self.provider, &self.kek, &self.recovery)
            == (&count.provider, &count.kek, &count.recovery)
    }
}

/// A tenant's job runs once in a process.
struct Here<'a> {
    inner: &'a Inner,
    tenant: TenantId,
}

impl<'a> Here<'a> {
    fn enter(inner: &'a Inner, tenant: &TenantId) -> Option<Self> {
        let mut running = inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains_key(tenant) {
            return None;
        }
        running.insert(tenant.clone(), 0);
        Some(Self {
            inner,
            tenant: tenant.clone(),
        })
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        let running = self.inner.running.lock();
        let mut running = running.unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.tenant);
    }
}

fn wrap_error(error: KeyError) -> Error {
    Error::Wrap {
        source: Box::new(error),
    }
}
