//! What the catalogue knows of re-wraps: which recordings need which KEK, the step from one to
//! another, and the job that takes it for all of a tenant's recordings.
//! Not for: doing it (see `rewrap`).

use std::time::Duration;

use async_trait::async_trait;
use keyreel_format::{KekId, MAC_LEN, PartName, ProviderId, RecordingId, TenantId};
use keyreel_keys::KekRecord;

use super::{Page, Recording};
use crate::Error;

/// The part of a [`super::Catalogue`] that re-wraps need.
#[async_trait]
pub trait RewrapStore: Send + Sync {
    /// How many recordings of `tenant` need each KEK, by the recovery key that they are wrapped to
    /// besides; those that none needs are left out.
    async fn recordings_by_kek(&self, tenant: &TenantId) -> Result<Vec<KekCount>, Error>;

    /// A page of the recordings that a count is of, oldest first, by keyset.
    async fn recordings_under(
        &self,
        tenant: &TenantId,
        of: &KekCount,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Recording>, Error>;

    /// Moves a recording to another generation and counts it in the tenant's job, in one
    /// transaction; whether it did. It does not where the recording is of another generation by
    /// now, or the KEK was retired.
    async fn put_generation(&self, next: &NextGeneration) -> Result<bool, Error>;

    /// The generations that a recording had before, newest first, but for generation 0 and those
    /// that were forgotten: their key records are kept.
    async fn former_generations(
        &self,
        tenant: &TenantId,
        recording: &RecordingId,
    ) -> Result<Vec<u32>, Error>;

    /// Former generations, of any tenant, whose KEK was retired; at most `limit`.
    async fn spent_generations(&self, limit: u32) -> Result<Vec<FormerGeneration>, Error>;

    /// Forgets former generations whose key records are gone.
    async fn forget_generations(&self, spent: &[FormerGeneration]) -> Result<(), Error>;

    /// What is known of the slots of a recording's parts.
    async fn slot_macs(
        &self,
        tenant: &TenantId,
        recording: &RecordingId,
    ) -> Result<Vec<SlotMac>, Error>;

    /// The tenant's last job.
    async fn rewrap_job(&self, tenant: &TenantId) -> Result<Option<RewrapJob>, Error>;

    /// The tenants whose jobs are running and held by nobody at `now_ms`.
    async fn rewraps_to_claim(&self, now_ms: u64) -> Result<Vec<TenantId>, Error>;

    /// Starts the tenant's job, with so many recordings to move. One that was stopped goes on; one
    /// that runs goes on, at this pace.
    async fn start_rewrap(
        &self,
        tenant: &TenantId,
        subject: &str,
        per_second: u32,
        left: u64,
        now_ms: u64,
    ) -> Result<RewrapJob, Error>;

    /// Stops the tenant's job if it runs. Who holds it hears of it when it next notes something.
    async fn stop_rewrap(&self, tenant: &TenantId, now_ms: u64)
    -> Result<Option<RewrapJob>, Error>;

    /// Takes a running job that nobody holds, or that `lease.owner` holds already.
    async fn claim_rewrap(
        &self,
        tenant: &TenantId,
        lease: &Lease,
    ) -> Result<Option<RewrapJob>, Error>;

    /// Writes down how the job fares and holds it longer; the job, or `None` where it is no longer
    /// the owner's or no longer runs. At its end the total is what was done and what failed.
    async fn note_rewrap(
        &self,
        tenant: &TenantId,
        lease: &Lease,
        note: &RewrapNote,
    ) -> Result<Option<RewrapJob>, Error>;
}

/// How many recordings need a KEK, of those with one recovery key, or with none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekCount {
    /// Who holds the KEK.
    pub provider: ProviderId,
    /// The KEK.
    pub kek: KekId,
    /// The recovery key that they are wrapped to as well.
    pub recovery: Option<KekId>,
    /// How many.
    pub recordings: u64,
}

impl KekCount {
    /// How many of `counts` need the KEK of `record`, whatever their recovery key.
    #[must_use]
    pub fn of(counts: &[Self], record: &KekRecord) -> u64 {
        let of = counts.iter().filter(|count| count.is_of(record));
        of.map(|count| count.recordings).sum()
    }

    /// Whether it counts those that need the KEK of `record`.
    pub(crate) fn is_of(&self, record: &KekRecord) -> bool {
        self.provider == record.provider && self.kek == record.kek.id
    }
}

/// A recording's step from one KEK to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextGeneration {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub recording: RecordingId,
    /// From this generation.
    pub from: u32,
    /// To this one, which is higher.
    pub to: u32,
    /// Who holds the new KEK.
    pub provider: ProviderId,
    /// The new KEK.
    pub kek: KekId,
    /// The wrap algorithm's name.
    pub wrap_algorithm: String,
    /// The recovery key that it is wrapped to as well.
    pub recovery: Option<KekId>,
    /// Of the parts whose key block fits their slot.
    pub slots: Vec<(PartName, [u8; MAC_LEN])>,
    /// When.
    pub now_ms: u64,
}

/// A generation that a recording had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerGeneration {
    /// Whose.
    pub tenant: TenantId,
    /// Which recording.
    pub recording: RecordingId,
    /// Which generation of it.
    pub generation: u32,
}

/// The end of an object's header slot, as it would be under a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotMac {
    /// Which part.
    pub part: PartName,
    /// Under which generation.
    pub generation: u32,
    /// The slot's MAC.
    pub mac: [u8; MAC_LEN],
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewrapState {
    /// It runs, or waits for a node to take it up.
    Running,
    /// Every recording is under the current KEK.
    Done,
    /// An administrator stopped it.
    Stopped,
    /// It ended, and recordings are left, or it could not go on.
    Failed,
}

impl RewrapState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Running, Self::Done, Self::Stopped, Self::Failed];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// A tenant's re-wrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewrapJob {
    /// Where it stands.
    pub state: RewrapState,
    /// Who started it, as an opaque id.
    pub subject: String,
    /// How many recordings it is about, as far as is known.
    pub total: u64,
    /// How many it moved.
    pub done: u64,
    /// How many it could not move.
    pub failed: u64,
    /// Some of those, and the class of why.
    pub failures: Vec<(RecordingId, String)>,
    /// How many a second it takes on at most.
    pub per_second: u32,
    /// When it was started, ms since 1970.
    pub started_ms: u64,
    /// When it was last heard of.
    pub updated_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// The class of what holds it up, or went wrong last.
    pub last_error: Option<String>,
    /// Which node holds it.
    pub owner: Option<String>,
    /// Until when.
    pub lease_ms: u64,
}

/// A node's hold on a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which node: unique to a process.
    pub owner: String,
    /// Now, ms since 1970.
    pub now_ms: u64,
    /// Until when it is held.
    pub until_ms: u64,
}

impl Lease {
    /// From now on, for so long.
    #[must_use]
    pub fn new(owner: &str, now_ms: u64, length: Duration) -> Self {
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self {
            owner: owner.to_owned(),
            now_ms,
            until_ms: now_ms.saturating_add(length),
        }
    }
}

/// How a job fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewrapNote {
    /// Its end; `None` while it goes on.
    pub ended: Option<RewrapState>,
    /// How many it could not move.
    pub failed: u64,
    /// Some of those, and the class of why: for anybody to read.
    pub failures: Vec<(RecordingId, String)>,
    /// The class of what holds it up, or went wrong last.
    pub last_error: Option<String>,
}
