//! Keys: the provider seam, the DEK cache, the KEK registry and its lifecycle, the keystore.
//! Not for: wasm (see `keyreel-sandbox`), HTTP (see `keyreel-server`), storage backends (see
//! `keyreel-library`, which implements [`KekStore`]).
#![forbid(unsafe_code)]

// `testing` calls this crate by its name, here as in its own crate.
#[cfg(test)]
extern crate self as keyreel_keys;

pub mod aead;
mod clock;
mod configuration;
#[doc(hidden)]
pub mod crash;
mod dek_cache;
mod error;
mod gate;
mod kek;
mod keyring;
mod keystore;
mod metadata;
mod observer;
pub mod pem;
pub mod private_file;
mod provider;
mod public_key;
mod purge;
mod recovery;
mod registration;
mod secret_cache;
mod settings;
mod stats;
#[cfg(test)]
#[path = "../testing/src/lib.rs"]
pub mod testing;
mod vault;

pub use clock::{Clock, SystemClock};
pub use configuration::{
    CONFIGURATION, Configured, KeyConfiguration, TrialConfiguration, Validated,
};
pub use error::KeyError;
pub use gate::BreakerState;
pub use kek::{
    Kek, KekRecord, KekState, KekStore, Policy, Registration, Retirement, SealedKey, StoreError,
    Succession,
};
pub use keyreel_format::{Dek, KekId, ProviderId, RecordingId, TenantId};
pub use keyring::{
    Asker, DekLease, DekRequest, Keyring, KeyringParts, Occasion, Rotated, TriedKek, Wrapped,
};
pub use keystore::{Keystore, KeystoreError, RootKey, ensure_master_key, generate_master_key};
pub use metadata::{IndexTerms, MetadataError, MetadataKey, MetadataKeys, MetadataVault, TERM_LEN};
pub use observer::{MintedKek, ObserverError, UnwrapAttempt, UnwrapObserver, UnwrapPurpose};
pub use provider::{
    Attributes, CallInfo, Envelope, ErrorClass, Health, KeyProvider, PROVIDER_INFO,
    ProviderDescription, ProviderError, UnwrappedDek,
};
pub use public_key::{InvalidPublicKey, rsa_public_key};
pub use purge::PurgeWatch;
pub use recovery::{
    InvalidRecoveryKey, InvalidRecoveryPair, RECOVERY, RecoveryKey, RecoveryPair, RecoveryPairKind,
};
pub use registration::{NewConfiguration, OwnersKey, Registered, Registrar, RegistrationError};
pub use settings::{DekTtl, GateSettings, InvalidDekTtl, KeyringSettings};
pub use stats::{KeyringStats, UnwrapStats};
pub use vault::{TenantVault, Vault, VaultError};
