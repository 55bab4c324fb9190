//! Why a registration failed.
//! Not for: what an administrator is told (see `keyreel-server`).

use keyreel_format::ProviderId;

use crate::error::KeyError;
use crate::kek::StoreError;
use crate::public_key::InvalidPublicKey;
use crate::vault::VaultError;

/// A registration failed; nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The key service, or the provider, says no.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key service answers, and says that it is down.
    #[error("the key service of provider {provider} says that it is down: {detail}")]
    Down {
        /// Which provider.
        provider: ProviderId,
        /// In the provider's words.
        detail: String,
    },
    /// The tenant has no configuration of this id.
    #[error("there is no key configuration {id:?}")]
    NoConfiguration {
        /// What was asked for.
        id: String,
    },
    /// A configuration keeps its provider.
    #[error("the key configuration {id} is one of the provider {found}, not of {asked}")]
    OtherProvider {
        /// Which configuration.
        id: String,
        /// Whose it is.
        found: ProviderId,
        /// Whose it was said to be.
        asked: ProviderId,
    },
    /// What is kept secret for one key service is not for another.
    #[error(
        "the key service's origin changed ({}): send its secrets again ({})",
        origins.join(", "),
        secrets.join(", ")
    )]
    OriginChanged {
        /// The origins that the configuration did not need before.
        origins: Vec<String>,
        /// The secrets that were not sent.
        secrets: Vec<String>,
    },
    /// The provider opens nothing that an owner's RSA key pair seals.
    #[error("the provider {provider} opens no RSA wraps: no key pair is registered with it")]
    NoRsa {
        /// Which.
        provider: ProviderId,
    },
    /// The provider makes its keys itself.
    #[error("the provider {provider} makes its key pairs itself: none is registered with it")]
    MintsItself {
        /// Which.
        provider: ProviderId,
    },
    /// The key cannot keep what the tenant's policy asks for.
    #[error(
        "this organisation's policy is {policy}, which RSA key pairs of an owner do not fulfil"
    )]
    Policy {
        /// The tenant's.
        policy: &'static str,
    },
    /// The public key is none to use.
    #[error("publicKey: {0}")]
    PublicKey(#[from] InvalidPublicKey),
    /// Key pair ids are UUIDs.
    #[error("keypairId: expected a UUID")]
    KeyPairId,
    /// The key pair was registered before.
    #[error("the key pair {id} was registered before; register a new one")]
    KeyPairKnown {
        /// Which.
        id: String,
    },
    /// The catalogue failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}
