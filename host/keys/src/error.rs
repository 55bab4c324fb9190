//! Why a key is not to be had. Clonable, because all waiters of one flight get it.
//! Not for: what a listener is told (see `keyreel-server`).

use std::sync::Arc;
use std::time::Duration;

use keyreel_format::{KekId, ProviderId, TenantId};

use crate::kek::StoreError;
use crate::observer::ObserverError;
use crate::provider::{ErrorClass, ProviderError};

/// The keyring failed. For operators; holds no key material.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The provider said no, or did not answer.
    #[error("the key provider {provider} failed: {error}")]
    Provider {
        /// Who was asked.
        provider: ProviderId,
        /// What it answered.
        #[source]
        error: ProviderError,
    },
    /// No recipient of the recording names a KEK that the catalogue binds to its tenant. Nobody was
    /// asked.
    #[error("tenant {tenant} has none of the KEKs that the recording names ({named})")]
    UnknownKek {
        /// The tenant.
        tenant: TenantId,
        /// The recipients, "provider kek/n, …".
        named: String,
    },
    /// The KEK was retired: it opens nothing any more.
    #[error("KEK {kek} of tenant {tenant} was retired")]
    KekRetired {
        /// The tenant.
        tenant: TenantId,
        /// The KEK.
        kek: KekId,
    },
    /// An administrator disabled the KEK.
    #[error("KEK {kek} of tenant {tenant} is disabled")]
    KekDisabled {
        /// The tenant.
        tenant: TenantId,
        /// Who holds it.
        provider: ProviderId,
        /// The KEK.
        kek: KekId,
    },
    /// Recordings still need the KEK, and nobody said that they may be lost.
    #[error("{recordings} recordings of tenant {tenant} still need KEK {kek}")]
    KekInUse {
        /// The tenant.
        tenant: TenantId,
        /// The KEK.
        kek: KekId,
        /// How many.
        recordings: u64,
    },
    /// New recordings are sealed with the KEK: it cannot go.
    #[error("KEK {kek} of tenant {tenant} is the current one")]
    KekCurrent {
        /// The tenant.
        tenant: TenantId,
        /// The KEK.
        kek: KekId,
    },
    /// The tenant's KEK is held by a provider that is not installed.
    #[error("the key provider {provider} is not installed")]
    ProviderMissing {
        /// Which.
        provider: ProviderId,
    },
    /// The provider failed so often that it is left alone for a while.
    #[error("the key provider {provider} is left alone after repeated failures")]
    CircuitOpen {
        /// Which.
        provider: ProviderId,
        /// When it is asked again.
        retry_after: Duration,
    },
    /// Too many unwraps of this tenant wait for the provider.
    #[error("too many unwraps wait for the key provider {provider}")]
    Busy {
        /// Which.
        provider: ProviderId,
        /// When to try again.
        retry_after: Duration,
    },
    /// The unwrap could not be recorded, so it was not done or its result was dropped.
    #[error("audit: {0}")]
    Audit(Arc<ObserverError>),
    /// The tenant's keys were purged, again and again, while they were being unwrapped.
    #[error("the keys of tenant {tenant} were purged meanwhile")]
    Purged {
        /// The tenant.
        tenant: TenantId,
    },
    /// The tenant has no KEK to seal with.
    #[error("tenant {tenant} has no current KEK: mint or register one")]
    NoCurrentKek {
        /// The tenant.
        tenant: TenantId,
    },
    /// The tenant's key or policy was changed while a new key was being made; that one was dropped.
    #[error("the keys of tenant {tenant} were changed by somebody else meanwhile")]
    Overtaken {
        /// The tenant.
        tenant: TenantId,
    },
    /// Another KEK of the tenant is being made or registered: one at a time.
    #[error("a key of tenant {tenant} is being made or registered just now")]
    UnderWay {
        /// The tenant.
        tenant: TenantId,
    },
    /// The tenant's recovery key does not keep what the policy promises.
    #[error(
        "the recovery key of tenant {tenant} is an RSA key, of 128-bit strength, which policy {policy} \
         does not take: set an MLKEM1024-P384 one first, or remove it"
    )]
    RecoveryTooWeak {
        /// The tenant.
        tenant: TenantId,
        /// The policy.
        policy: &'static str,
    },
    /// The provider makes no KEKs: its keys are made by their owner and registered.
    #[error("the key provider {provider} does not make KEKs")]
    CannotMint {
        /// Which.
        provider: ProviderId,
    },
    /// What the provider made is not what it was asked for.
    #[error("the key provider {provider} was asked for KEK {kek} and made something else: {found}")]
    WrongKek {
        /// Who.
        provider: ProviderId,
        /// What it was asked for.
        kek: KekId,
        /// What it made.
        found: String,
    },
    /// A random DEK, wrapped with the KEK's public key, came back as another one: nothing sealed
    /// with this KEK could ever be opened.
    #[error("the key provider {provider} does not hold the private key of KEK {kek}")]
    TrialFailed {
        /// Who.
        provider: ProviderId,
        /// Which KEK.
        kek: KekId,
    },
    /// The KEK's public key or its algorithm is of no use.
    #[error("cannot wrap with KEK {kek}: {reason}")]
    Wrap {
        /// Which.
        kek: KekId,
        /// Why.
        reason: String,
    },
    /// The catalogue failed.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The catalogue did not answer in time.
    #[error("the catalogue did not answer in time")]
    StoreTimeout,
    /// The unwrap died of a defect of this program.
    #[error("the unwrap failed unexpectedly")]
    Died,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Cryptography,
}

impl KeyError {
    /// What kind of failure: drives the HTTP status.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Provider { error, .. } => error.class,
            Self::UnknownKek { .. } => ErrorClass::NotFound,
            Self::KekRetired { .. } | Self::KekDisabled { .. } => ErrorClass::KeyDisabled,
            Self::ProviderMissing { .. }
            | Self::NoCurrentKek { .. }
            | Self::KekInUse { .. }
            | Self::KekCurrent { .. }
            | Self::CannotMint { .. }
            | Self::RecoveryTooWeak { .. }
            | Self::TrialFailed { .. }
            | Self::Wrap { .. } => ErrorClass::Config,
            Self::Busy { .. } => ErrorClass::Throttled,
            Self::CircuitOpen { .. }
            | Self::Audit(_)
            | Self::Purged { .. }
            | Self::Overtaken { .. }
            | Self::UnderWay { .. }
            | Self::Store(_)
            | Self::StoreTimeout => ErrorClass::Unavailable,
            Self::WrongKek { .. } | Self::Died | Self::Cryptography => ErrorClass::Internal,
        }
    }

    /// When it is worth another try, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Provider { error, .. } => error.retry_after,
            Self::CircuitOpen { retry_after, .. } | Self::Busy { retry_after, .. } => {
                Some(*retry_after)
            }
            Self::Purged { .. } => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// Whether asking again at once would get the same answer: only what the provider itself
    /// refused.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Provider { error, .. } if error.class.is_refusal())
    }

    /// Whether the provider refused, and may answer another subject otherwise.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Provider { error, .. } if error.class == ErrorClass::Denied)
    }
}

impl From<StoreError> for KeyError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::PolicyChanged { tenant, .. } => Self::Overtaken { tenant },
            error => Self::Store(Arc::new(error)),
        }
    }
}

impl From<ObserverError> for KeyError {
    fn from(error: ObserverError) -> Self {
        Self::Audit(Arc::new(error))
    }
}
