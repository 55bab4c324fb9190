//! Who is told of every unwrap, before and after it, and of every KEK that is made: the audit log.
//! Not for: metrics (see `stats`), which nothing waits for.

use std::time::Duration;

use async_trait::async_trait;
use keyreel_format::{KekId, ProviderId, RecordingId, TenantId};

use crate::provider::ProviderError;

/// Records every unwrap. What it cannot record does not happen.
#[async_trait]
pub trait UnwrapObserver: Send + Sync {
    /// Called before the provider is asked. If it fails, the provider is not asked.
    ///
    /// # Errors
    /// The attempt could not be recorded.
    async fn before(&self, attempt: &UnwrapAttempt) -> Result<(), ObserverError>;

    /// Called before the DEK is handed out. If it fails, the DEK is dropped.
    ///
    /// # Errors
    /// The outcome could not be recorded.
    async fn after(
        &self,
        attempt: &UnwrapAttempt,
        outcome: Result<(), &ProviderError>,
        latency: Duration,
    ) -> Result<(), ObserverError>;

    /// Called when a provider has made a KEK, and before anything is sealed with it. If it fails,
    /// the KEK does not become its tenant's.
    ///
    /// # Errors
    /// The KEK could not be recorded.
    async fn minted(&self, kek: &MintedKek) -> Result<(), ObserverError>;
}

/// A KEK that a provider made, about to become its tenant's current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintedKek {
    /// Whose.
    pub tenant: TenantId,
    /// Who made it.
    pub provider: ProviderId,
    /// Its id.
    pub kek: KekId,
    /// Its wrap algorithm's name.
    pub algorithm: String,
    /// Under which saved configuration; `None`: without one.
    pub configuration: Option<String>,
    /// Who wanted it, as an opaque id; empty where nobody did.
    pub subject: String,
    /// As in the provider's [`crate::CallInfo`].
    pub request_id: String,
}

/// One question to a provider. Where many plays of one recording share it, it names the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnwrapAttempt {
    /// What for.
    pub purpose: UnwrapPurpose,
    /// Whose recording.
    pub tenant: TenantId,
    /// Which; for a trial, an id that no recording has.
    pub recording: RecordingId,
    /// Which generation of its key block.
    pub generation: u32,
    /// Who is asked.
    pub provider: ProviderId,
    /// Under which KEK.
    pub kek: KekId,
    /// The wrap algorithm's name.
    pub algorithm: String,
    /// Who wants it, as an opaque id; empty where nobody does.
    pub subject: String,
    /// As in the provider's [`crate::CallInfo`].
    pub request_id: String,
}

/// What a DEK is unwrapped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnwrapPurpose {
    /// To open a recording.
    Open,
    /// To wrap it with another KEK.
    Rewrap,
    /// To see whether a KEK's wraps can be unwrapped, with a random DEK.
    Trial,
}

impl UnwrapPurpose {
    /// Its name in the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Rewrap => "rewrap",
            Self::Trial => "trial",
        }
    }
}

/// An unwrap could not be recorded.
#[derive(Debug, thiserror::Error)]
#[error("the unwrap could not be recorded: {source}")]
pub struct ObserverError {
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl ObserverError {
    /// From whatever failed.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
        }
    }
}
