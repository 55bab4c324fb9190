//! What the catalogue knows of crypto-shredding: what is to be destroyed, how far that is, and what
//! is taken out of the catalogue for it.
//! Not for: doing it (see `destruction`).

use async_trait::async_trait;
use keyreel_format::{KekId, ProviderId, RecordingId, TenantId};
use serde::{Deserialize, Serialize};

use super::Lease;
use crate::Error;

/// The part of a [`super::Catalogue`] that destruction needs.
#[async_trait]
pub trait DestructionStore: Send + Sync {
    /// Adds one. [`Error::Exists`] where another of the tenant has not ended.
    async fn add_destruction(&self, destruction: &Destruction) -> Result<(), Error>;

    /// One of a tenant's.
    async fn destruction(&self, tenant: &TenantId, id: &str) -> Result<Option<Destruction>, Error>;

    /// All of a tenant's, newest first.
    async fn destructions(&self, tenant: &TenantId) -> Result<Vec<Destruction>, Error>;

    /// Moves one from state `from` to what `decided` is in, with its decision and its seal; whether
    /// it was in the former. A claim on it is void then.
    async fn decide_destruction(
        &self,
        from: DestructionState,
        decided: &Destruction,
    ) -> Result<bool, Error>;

    /// Takes one that runs: this one, if nobody else holds it, or any that nobody holds.
    async fn claim_destruction(
        &self,
        id: Option<&str>,
        lease: &Lease,
    ) -> Result<Option<Destruction>, Error>;

    /// Writes down how far one is, and holds it longer; `false` where it is no longer the owner's.
    async fn note_destruction(
        &self,
        id: &str,
        lease: &Lease,
        note: &DestructionNote,
    ) -> Result<bool, Error>;

    /// Takes a tenant out of use for good, in one transaction: its KEKs are retired, what is sealed
    /// for it, its configurations and schedules go. Once more is no error.
    async fn destroy_tenant(&self, tenant: &TenantId, now_ms: u64) -> Result<(), Error>;

    /// Every recovery key that a tenant has or had: what was wrapped to it opens with it.
    async fn every_recovery_key(&self, tenant: &TenantId) -> Result<Vec<KekId>, Error>;

    /// When a tenant was taken out of use, ms since 1970; `None`: it was not.
    async fn destroyed_ms(&self, tenant: &TenantId) -> Result<Option<u64>, Error>;

    /// Some of a tenant's recordings with their objects: those that need a KEK, or any.
    async fn doomed_recordings(
        &self,
        tenant: &TenantId,
        kek: Option<(&ProviderId, &KekId)>,
        limit: u32,
    ) -> Result<Vec<Doomed>, Error>;

    /// The same of some recordings, by their ids; those there are not are left out.
    async fn doomed(
        &self,
        tenant: &TenantId,
        recordings: &[RecordingId],
    ) -> Result<Vec<Doomed>, Error>;

    /// Takes recordings out of the catalogue, with all that is known of them. Those there are not
    /// are no error.
    async fn delete_recordings(
        &self,
        tenant: &TenantId,
        recordings: &[RecordingId],
    ) -> Result<(), Error>;

    /// Makes what was deleted go from the disk as well, as far as the database goes: the log it
    /// writes ahead holds what the pages held before.
    async fn scrub(&self) -> Result<(), Error>;

    /// Tells every node to forget what it has of a tenant's keys.
    async fn announce_purge(&self, tenant: &TenantId, now_ms: u64) -> Result<(), Error>;

    /// Who is to be forgotten since announcement `after`, with the last one's number; `None`: the
    /// last one's number alone, for a node that has just begun and has nothing to forget.
    async fn purges_after(&self, after: Option<u64>) -> Result<(u64, Vec<TenantId>), Error>;
}

/// A destruction, asked for or done.
#[derive(Debug, Clone, PartialEq)]
pub struct Destruction {
    /// Its id, a UUID v7.
    pub id: String,
    /// Whose.
    pub tenant: TenantId,
    /// What.
    pub scope: DestructionScope,
    /// Why, in the words of whoever asked for it.
    pub reason: String,
    /// How many recordings were confirmed to be lost.
    pub lost: u64,
    /// Where it stands.
    pub state: DestructionState,
    /// Who asked for it.
    pub requested_by: String,
    /// When, ms since 1970.
    pub requested_ms: u64,
    /// Who confirmed or cancelled it.
    pub decided_by: Option<String>,
    /// When, ms since 1970.
    pub decided_ms: Option<u64>,
    /// Who asked for what, and who confirmed it, signed: a row alone has nothing destroyed.
    pub seal: Vec<u8>,
    /// What there was when it began.
    pub plan: Option<DestructionPlan>,
    /// The keystore's epoch that began with it.
    pub epoch: Option<u64>,
    /// What it is stopped by.
    pub last_error: Option<String>,
    /// When it ended, ms since 1970.
    pub ended_ms: Option<u64>,
    /// That it is done, signed: see [`crate::destruction`].
    pub certificate: Option<String>,
}

/// What is destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum DestructionScope {
    /// All that the tenant has.
    Tenant,
    /// A KEK, and the recordings that need it.
    Key {
        /// Who holds it.
        provider: ProviderId,
        /// Which.
        id: KekId,
    },
    /// Some recordings. Every KEK that they were ever wrapped to is destroyed, once all others are
    /// under the current one.
    Recordings {
        /// Which.
        ids: Vec<RecordingId>,
    },
}

/// Where a destruction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestructionState {
    /// Somebody else has to confirm it.
    Requested,
    /// It runs, or waits for a node to take it up.
    Running,
    /// Something is in its way; it goes on when somebody says so.
    Halted,
    /// It is done.
    Done,
    /// It was called off before it began.
    Cancelled,
}

impl DestructionState {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Requested,
        Self::Running,
        Self::Halted,
        Self::Done,
        Self::Cancelled,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Running => "running",
            Self::Halted => "halted",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What there was when a destruction began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestructionPlan {
    /// The KEKs that are destroyed.
    pub keys: Vec<DoomedKey>,
    /// How many recordings are.
    pub recordings: u64,
    /// Where the bytes of those that were named lie: what is written beside them meanwhile goes too.
    #[serde(default)]
    pub objects: Vec<String>,
    /// Keys of others that copies of them may open with.
    #[serde(default)]
    pub recovery: Vec<KekId>,
}

/// A KEK that is destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DoomedKey {
    /// Who holds it.
    pub provider: ProviderId,
    /// Which.
    pub id: KekId,
    /// The wrap algorithm's name.
    pub algorithm: String,
    /// Whether Keyreel keeps the private half; else its owner's key service does.
    pub held_here: bool,
}

impl DoomedKey {
    /// Whether it is this one.
    #[must_use]
    pub fn is(&self, provider: &ProviderId, id: &KekId) -> bool {
        self.provider == *provider && self.id == *id
    }
}

/// A recording, what it needs and where its bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// Which.
    pub recording: RecordingId,
    /// Who holds the KEK that it needs.
    pub provider: ProviderId,
    /// That KEK.
    pub kek: KekId,
    /// Its objects.
    pub objects: Vec<String>,
}

/// How far a destruction is. What is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct DestructionNote {
    /// Where it stands from now on.
    pub state: Option<DestructionState>,
    /// What there was.
    pub plan: Option<DestructionPlan>,
    /// The keystore's epoch that began with it.
    pub epoch: Option<u64>,
    /// What it is stopped by.
    pub last_error: Option<String>,
    /// That it is done, signed.
    pub certificate: Option<String>,
}
