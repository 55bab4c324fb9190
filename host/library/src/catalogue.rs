//! The catalogue: what recordings there are, who may hear them, what was done. One trait, several
//! backends, one conformance suite (`conformance`).
//! Not for: the recordings' bytes (see `objects`).

use async_trait::async_trait;
use keyreel_format::{
    BODY_PREFIX_LEN, ContentType, KekId, PartName, ProviderId, RecordingId, TenantId,
};
use keyreel_keys::{KekStore, Policy};
use uuid::{NoContext, Timestamp, Uuid};

use crate::Error;
use crate::audit_chain::{AuditHeads, AuditLink};
use crate::rotation::{DueRotation, RotationSchedule};

mod destruction;
mod rewrap;

pub use destruction::{
    Destruction, DestructionNote, DestructionPlan, DestructionScope, DestructionState,
    DestructionStore, Doomed, DoomedKey,
};
pub use rewrap::{
    FormerGeneration, KekCount, Lease, NextGeneration, RewrapJob, RewrapNote, RewrapState,
    RewrapStore, SlotMac,
};

/// Everything the server asks of a database.
#[async_trait]
pub trait Catalogue: KekStore + RewrapStore + DestructionStore {
    /// Writes what is pending and closes every connection, here and in every clone.
    async fn close(&self);

    /// Adds a tenant. [`Error::Exists`] where the id is taken.
    async fn add_tenant(&self, tenant: &Tenant) -> Result<(), Error>;
    /// One tenant.
    async fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>, Error>;
    /// All tenants, by id.
    async fn tenants(&self) -> Result<Vec<Tenant>, Error>;
    /// Sets a provider's configuration (JSON) for a tenant.
    async fn set_provider_config(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        config: &str,
    ) -> Result<(), Error>;

    /// A tenant's rotation schedule; `None`: its KEK changes by hand alone.
    async fn rotation_schedule(&self, tenant: &TenantId)
    -> Result<Option<RotationSchedule>, Error>;
    /// Sets or ends a tenant's rotation schedule. A claim on the former one is void then.
    async fn set_rotation_schedule(
        &self,
        tenant: &TenantId,
        schedule: Option<&RotationSchedule>,
    ) -> Result<(), Error>;
    /// Claims the rotation that is to be tried first, of all tenants' that are to be tried by
    /// `now_ms`, for whoever gives `claim`, a text that nobody else gives. Nobody else gets it before
    /// `until_ms` or [`Catalogue::settle_rotation`].
    async fn claim_rotation(
        &self,
        claim: &str,
        now_ms: u64,
        until_ms: u64,
    ) -> Result<Option<DueRotation>, Error>;
    /// Ends a claim, with what the schedule is from then on; its period and its beginning stay.
    /// `false`, and nothing has changed, where the claim is not good any more.
    async fn settle_rotation(
        &self,
        due: &DueRotation,
        next: &RotationSchedule,
    ) -> Result<bool, Error>;

    /// Adds a recording with all its parts, at once. [`Error::Exists`] where (tenant, id) is taken,
    /// [`Error::Retired`] where its KEK was retired meanwhile.
    async fn add_recording(&self, recording: &Recording) -> Result<(), Error>;
    /// One recording of one of `tenants`; `None` where it is another's, as if it did not exist.
    /// [`Error::Altered`] where what is known of it is not what was written of it.
    async fn recording(
        &self,
        tenants: &[TenantId],
        id: &RecordingId,
    ) -> Result<Option<Recording>, Error>;
    /// A page of recordings, newest first, by keyset. Recordings that start in the same
    /// millisecond stand in an order that does not change. Those of a tenant whose root key is gone
    /// are left out where others were asked for too; alone, [`Error::Sealing`].
    async fn recordings(&self, query: &RecordingQuery) -> Result<Page<Recording>, Error>;

    /// Adds an account.
    async fn add_user(&self, user: &User) -> Result<(), Error>;
    /// Gives an account a role in a tenant where it has none; where it has one, that stays.
    /// [`Error::NotFound`] where there is no such account.
    async fn grant_role(&self, user: &str, tenant: &TenantId, role: Role) -> Result<(), Error>;
    /// An account, by its name (compared without regard to ASCII case).
    async fn user_by_name(&self, name: &str) -> Result<Option<User>, Error>;
    /// An account, by its id.
    async fn user(&self, id: &str) -> Result<Option<User>, Error>;
    /// All accounts, by name.
    async fn users(&self) -> Result<Vec<User>, Error>;
    /// Gives an account another password, and ends its sessions and sign-in links: whoever has one
    /// may be why. [`Error::NotFound`] where there is no such account.
    async fn set_password(&self, user: &str, password_hash: &str) -> Result<(), Error>;
    /// Removes an account with all of its credentials. [`Error::NotFound`] where there is none.
    async fn remove_user(&self, id: &str) -> Result<(), Error>;

    /// Adds a bearer token, a session or a sign-in link.
    async fn add_credential(&self, credential: &Credential) -> Result<(), Error>;
    /// A credential that is neither expired nor revoked, by the SHA-256 of its secret.
    async fn credential(
        &self,
        secret_sha256: &[u8; 32],
        now_ms: u64,
    ) -> Result<Option<Credential>, Error>;
    /// The bearer tokens that were not revoked, oldest first; those that have expired as well.
    async fn tokens(&self) -> Result<Vec<Credential>, Error>;
    /// Revokes a credential, by its id. No error where there is none.
    async fn revoke_credential(&self, id: &str) -> Result<(), Error>;

    /// Appends events, in order, durably, all or none: each linked to the one before it, the last
    /// one signed as the log's head. [`Error::AuditBroken`] where the log does not end where its
    /// head says: what was done to it must not be covered up by going on.
    async fn append_audit(&self, events: &[AuditEvent]) -> Result<(), Error>;
    /// A page of audit events, newest first.
    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditRecord>, Error>;
    /// Everybody's events after number `after`, oldest first, at most `limit`, as they are stored:
    /// for verifying the chain.
    async fn audit_links(&self, after: u64, limit: u32) -> Result<Vec<AuditLink>, Error>;
    /// The log's signed head and its checkpoints.
    async fn audit_heads(&self) -> Result<AuditHeads, Error>;

    /// A cheap question that shows whether the database answers and can be written.
    async fn ready(&self) -> Result<(), Error>;
}

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// What people call it.
    pub name: String,
    /// Which algorithms its keys use.
    pub policy: Policy,
    /// Who holds its KEKs.
    pub provider: ProviderId,
    /// When it was added.
    pub created_ms: u64,
}

/// A recording, all of it but its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Its id.
    pub id: RecordingId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The conversation it belongs to.
    pub conversation_id: String,
    /// What kind.
    pub media: Media,
    /// When the conversation started, ms since 1970.
    pub start_ms: u64,
    /// How long it is.
    pub duration_ms: u64,
    /// Who holds the KEK of its current generation.
    pub provider: ProviderId,
    /// That KEK.
    pub kek: KekId,
    /// That wrap algorithm's name.
    pub wrap_algorithm: String,
    /// The recovery key that its current generation is wrapped to as well, if any.
    pub recovery: Option<KekId>,
    /// Counts re-wraps; 0 at first.
    pub generation: u32,
    /// Its sealed objects; "media" first.
    pub parts: Vec<Part>,
    /// Who spoke, where it was routed.
    pub details: Details,
}

/// One sealed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name, as in its header.
    pub name: PartName,
    /// The plaintext's media type.
    pub content_type: ContentType,
    /// Where it lies in the object store.
    pub object: String,
    /// The object's version when it was written: ETag. A store that was restored from a backup
    /// has others; [`Part::body_prefix`] is what tells the object from another.
    pub etag: String,
    /// The body's first bytes, its salt and its commitment to one key: that an object opens under
    /// the recording's key block says nothing of who sealed it, since anybody with the KEK's
    /// public key can. `None`: taken in before this was kept.
    pub body_prefix: Option<[u8; BODY_PREFIX_LEN]>,
    /// Bytes of the object.
    pub sealed_len: u64,
    /// Bytes of the plaintext.
    pub plaintext_len: u64,
}

/// What kind of recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Media {
    /// A voice call.
    Call,
    /// A chat.
    Chat,
    /// An e-mail.
    Email,
    /// A message.
    Message,
    /// A screen capture.
    Screen,
}

/// What people need to find and to read a recording. Personal data: a catalogue keeps it sealed.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// "inbound" or "outbound".
    pub direction: Option<String>,
    /// The queue that it came through.
    pub queue: Option<String>,
    /// What it was about.
    pub subject: Option<String>,
    /// Who spoke on which channel.
    pub channels: Vec<Channel>,
    /// Holds, secure pauses and the like.
    pub spans: Vec<Span>,
    /// Free labels.
    pub labels: Vec<String>,
}

/// One audio channel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// Its number, from 0.
    pub channel: u16,
    /// "agent", "customer", or another.
    pub role: String,
    /// Who.
    #[serde(default)]
    pub name: Option<String>,
    /// Telephone number or address.
    #[serde(default)]
    pub address: Option<String>,
}

/// A stretch of the recording that is not talk.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// "Hold", "SecurePause", "FlowOrQueue" or "Pause".
    pub reason: String,
    /// Where it begins.
    pub start_ms: u64,
    /// Where it ends.
    pub end_ms: u64,
    /// What a person reads.
    #[serde(default)]
    pub description: Option<String>,
}

/// Which recordings.
#[derive(Debug, Clone, Default)]
pub struct RecordingQuery {
    /// Of these tenants; none means none.
    pub tenants: Vec<TenantId>,
    /// Of this kind.
    pub media: Option<Media>,
    /// Started at or after.
    pub from_ms: Option<u64>,
    /// Started before.
    pub to_ms: Option<u64>,
    /// Of this conversation.
    pub conversation_id: Option<String>,
    /// Whose KEK this provider holds.
    pub provider: Option<ProviderId>,
    /// Words, in any case, each of which stands whole in a participant's name or in the subject, or
    /// is a participant's address, or is contained in the queue or a label (one or two characters:
    /// begins a word there). A telephone number is found with its country in any spelling:
    /// "+41 44 668 18 00".
    pub text: Option<String>,
    /// Where the page before ended, opaque.
    pub cursor: Option<String>,
    /// At most so many, 1 to 200.
    pub limit: u32,
}

/// One page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<String>,
}

/// A local account.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// Its id, a UUID.
    pub id: String,
    /// What it signs in with.
    pub name: String,
    /// Argon2id, PHC string; `None`: signs in by link only.
    pub password_hash: Option<String>,
    /// What it may do, by tenant.
    pub roles: Vec<(TenantId, Role)>,
}

/// What somebody may do within a tenant.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Finds and plays recordings.
    Agent,
    /// Plays, and reads the audit log of plays.
    Supervisor,
    /// All of that, keys and settings.
    Admin,
}

/// What opens the door: the secret itself is never stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Credential {
    /// Its id, a UUID: names it in the audit log.
    pub id: String,
    /// What kind.
    pub kind: CredentialKind,
    /// SHA-256 of the secret.
    pub secret_sha256: [u8; 32],
    /// The account behind it, if any (sessions, sign-in links).
    pub user: Option<String>,
    /// What a token without an account is called: "token:ingest".
    pub label: String,
    /// What it may do, by tenant. For a session and a link, the account's roles count instead.
    pub roles: Vec<(TenantId, Role)>,
    /// When it was made.
    pub created_ms: u64,
    /// When it ends; `None`: when it is revoked.
    pub expires_ms: Option<u64>,
}

/// What kind of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKind {
    /// `Authorization: Bearer`.
    Bearer,
    /// The pages' cookie.
    Session,
    /// A link that signs in.
    Link,
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// Its id, a UUID v7.
    pub id: String,
    /// When, ms since 1970.
    pub at_ms: u64,
    /// What: "session.created", "session.refused", "grant.created", "key.unwrap.requested",
    /// "key.unwrapped", "key.unwrap.refused", "play.started", "play.ended", "integrity.failed".
    pub action: String,
    /// Whose recording or key, if any.
    pub tenant: Option<TenantId>,
    /// Who, an opaque id.
    pub subject: String,
    /// Which recording.
    pub recording: Option<RecordingId>,
    /// "ok", or an error class.
    pub outcome: String,
    /// More, by name: provider, KEK, latency in ms, bytes heard. Never a secret.
    pub fields: serde_json::Map<String, serde_json::Value>,
}

impl AuditEvent {
    /// Something that `subject` did now, and that succeeded; what more there is to tell is set by
    /// name.
    #[must_use]
    pub fn new(action: &str, at_ms: u64, subject: &str) -> Self {
        let nanos = u32::try_from(at_ms % 1000).unwrap_or(0) * 1_000_000;
        let at = Timestamp::from_unix(NoContext, at_ms / 1000, nanos);
        Self {
            id: Uuid::new_v7(at).to_string(),
            at_ms,
            action: action.to_owned(),
            tenant: None,
            subject: subject.to_owned(),
            recording: None,
            outcome: "ok".to_owned(),
            fields: serde_json::Map::new(),
        }
    }
}

/// One line of the audit log, as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRecord {
    /// Its number in the whole log, from 1, without gaps.
    pub seq: u64,
    /// Its hash in the chain; `None` where somebody took it out.
    pub hash: Option<[u8; 32]>,
    /// What it tells.
    pub event: AuditEvent,
}

/// Which audit events.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// How much of the log.
    pub scope: AuditScope,
    /// Of these tenants; none means none.
    pub tenants: Vec<TenantId>,
    /// This action.
    pub action: Option<String>,
    /// This recording.
    pub recording: Option<RecordingId>,
    /// Done by this subject.
    pub subject: Option<String>,
    /// With this outcome: "ok", or an error class.
    pub outcome: Option<String>,
    /// At or after.
    pub from_ms: Option<u64>,
    /// Before.
    pub to_ms: Option<u64>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// At most so many, 1 to 200.
    pub limit: u32,
}

/// How much of the audit log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuditScope {
    /// Events of the tenants that a query names.
    #[default]
    Tenants,
    /// Everybody's, and those that belong to nobody: an unknown name at the sign-in, say. For those
    /// who run the server; no role in a tenant is enough.
    Everything,
}
