//! The seam between Keyreel and whoever holds a KEK. `keyreel-sandbox` implements it over
//! WebAssembly; tests implement it in a few lines.
//! Not for: caching, limits or retries: those lie above it, in the keyring.

use std::time::Duration;

use async_trait::async_trait;
use keyreel_format::{Dek, KekId, RecordingId, TenantId};

use crate::configuration::{Configured, Validated};
use crate::kek::Kek;

/// Open name/value pairs. A reader ignores the names that it does not know.
pub type Attributes = Vec<(String, String)>;

/// Who holds a KEK and unwraps DEKs with it.
#[async_trait]
pub trait KeyProvider: Send + Sync {
    /// What it is and what it can do.
    fn describe(&self) -> &ProviderDescription;

    /// Whether `config` (JSON) is a configuration for it. Asks no key service.
    async fn validate(&self, config: &str) -> Result<Validated, ProviderError>;

    /// Unwraps one DEK.
    async fn unwrap_dek(
        &self,
        call: &CallInfo,
        kek: &Kek,
        envelope: &Envelope,
    ) -> Result<UnwrappedDek, ProviderError>;

    /// Mints a KEK pair, where the provider can (managed, KMS). `algorithm` is a wrap algorithm's
    /// name.
    async fn generate_kek(
        &self,
        call: &CallInfo,
        id: &KekId,
        algorithm: &str,
    ) -> Result<Kek, ProviderError>;

    /// How the key service fares. The caller limits how often it asks.
    async fn health(&self, call: &CallInfo) -> Result<Health, ProviderError>;

    /// Forgets what it keeps of `tenant` between calls: configurations, tokens of a key service. Does
    /// nothing unless implemented: most providers keep nothing.
    fn purge(&self, _tenant: &TenantId) {}
}

/// What a provider says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderDescription {
    /// Its name: "managed".
    pub name: String,
    /// Who made it.
    pub vendor: String,
    /// Its version.
    pub version: String,
    /// Names of the wrap algorithms that it unwraps.
    pub algorithms: Vec<String>,
    /// JSON Schema of its configuration.
    pub config_schema: String,
    /// Names of the secrets that it reads.
    pub secrets: Vec<String>,
    /// Whether it mints KEKs.
    pub mints_keks: bool,
}

/// One call: who asks, for which tenant, how long it may take.
#[derive(Debug, Clone)]
pub struct CallInfo {
    /// Unique per call; safe to log and to send upstream.
    pub request_id: String,
    /// The tenant.
    pub tenant: TenantId,
    /// Who asked, as an opaque id; empty where nobody did, as in an export job. For the key
    /// service's audit: a DEK, once unwrapped, is shared by all who may hear the recording.
    pub subject: String,
    /// What is left of the budget. The host ends the call after it.
    pub deadline: Duration,
    /// Under which of the tenant's configurations.
    pub configured: Configured,
    /// More.
    pub attributes: Attributes,
}

/// In an envelope's context, in hex: what a header keeps for the provider beside a wrapped DEK
/// (FORMAT, "provider info"). Left out where there is nothing. Whoever may write objects may write
/// it.
pub const PROVIDER_INFO: &str = "provider-info";

/// One wrapped DEK, as stored in a recording's header.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The wrap algorithm's name.
    pub algorithm: String,
    /// The wrapped DEK.
    pub wrapped_dek: Vec<u8>,
    /// The recording: bound into the wrap where the algorithm can, named to the key service.
    pub recording: RecordingId,
    /// More: tenant and recording are added by the sandbox.
    pub context: Attributes,
}

/// A DEK, and how long its provider lets it be kept.
pub struct UnwrappedDek {
    /// The key.
    pub dek: Dek,
    /// The provider's own bound on caching; the host's bound holds as well.
    pub max_cache: Option<Duration>,
}

/// How a key service fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// "ok", "degraded" or "down".
    pub status: String,
    /// For operators.
    pub detail: String,
}

/// Why a provider failed. Frozen: it drives the HTTP status, retries, the circuit breaker and the
/// refusal cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The configuration is wrong.
    Config,
    /// The request makes no sense to the provider.
    Request,
    /// The key is unknown.
    NotFound,
    /// The key's owner says no.
    Denied,
    /// The key is disabled or pending deletion.
    KeyDisabled,
    /// The wrapped DEK does not open. Carries no detail: no padding oracle.
    Integrity,
    /// Too many requests.
    Throttled,
    /// The key service does not answer.
    Unavailable,
    /// The key service did not answer in time.
    Timeout,
    /// The provider itself failed: a trap, a limit, a malformed answer.
    Internal,
}

impl ErrorClass {
    /// Its name in the contract, in logs and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Request => "request",
            Self::NotFound => "not-found",
            Self::Denied => "denied",
            Self::KeyDisabled => "key-disabled",
            Self::Integrity => "integrity",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
        }
    }

    /// A refusal: the key service answered, and the answer is no. Cached briefly; no reason to
    /// break the circuit.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::NotFound | Self::Denied | Self::KeyDisabled | Self::Integrity
        )
    }
}

/// A provider's failure. Clonable, because every waiter of one flight gets it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} ({code}): {message}", class.as_str())]
pub struct ProviderError {
    /// What kind.
    pub class: ErrorClass,
    /// Stable code, open set: "aws.KMSInvalidStateException", "sandbox.fuel".
    pub code: String,
    /// For operators: no key material, no upstream body.
    pub message: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl ProviderError {
    /// A failure without a hint when to try again.
    #[must_use]
    pub fn new(class: ErrorClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class,
            code: code.into(),
            message: message.into(),
            retry_after: None,
        }
    }
}
