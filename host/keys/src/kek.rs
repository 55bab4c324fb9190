//! KEKs as Keyreel keeps them, and the store they lie in.

use async_trait::async_trait;
use keyreel_format::{KekId, ProviderId, TenantId};

use crate::configuration::KeyConfiguration;
use crate::provider::Attributes;
use crate::recovery::RecoveryKey;

/// Which algorithms a tenant's keys use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// RSA-3072 with OAEP: the Genesys scheme, 128-bit strength.
    Compatible,
    /// HPKE with MLKEM1024-P384 and AES-256-GCM: AES-256 strength throughout.
    Aes256,
}

impl Policy {
    /// The wrap algorithm that new KEKs get.
    #[must_use]
    pub fn algorithm(self) -> &'static str {
        match self {
            Self::Compatible => "rsa-oaep-sha256",
            Self::Aes256 => "hpke-mlkem1024-p384",
        }
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compatible => "compatible",
            Self::Aes256 => "aes256",
        }
    }
}

/// Where a KEK stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KekState {
    /// New recordings use it.
    Current,
    /// It opens old recordings.
    Previous,
    /// It opens nothing until it is enabled again.
    Disabled,
    /// It opens nothing any more.
    Retired,
}

impl KekState {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Disabled => "disabled",
            Self::Retired => "retired",
        }
    }
}

/// What became of a KEK that was to be retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retirement {
    /// It is retired, now or since before.
    Retired,
    /// Another number of recordings than was said needs it: nothing was changed.
    InUse {
        /// How many.
        recordings: u64,
    },
    /// New recordings are sealed with it: nothing was changed.
    Current,
    /// The tenant has no such KEK.
    Unknown,
}

/// A KEK: its public key, and what opens the private one.
#[derive(Debug, Clone)]
pub struct Kek {
    /// `kek/<n>`, or a customer's key pair UUID.
    pub id: KekId,
    /// Wrap algorithm's name.
    pub algorithm: String,
    /// RSA: SubjectPublicKeyInfo, DER. HPKE: the KEM's public key, serialised.
    pub public_key: Vec<u8>,
    /// What the provider asked to be kept with this KEK, returned to it verbatim.
    pub sealed: Vec<(String, Vec<u8>)>,
    /// More.
    pub attributes: Attributes,
}

/// A KEK as it lies in the catalogue.
#[derive(Debug, Clone)]
pub struct KekRecord {
    /// Who holds it.
    pub provider: ProviderId,
    /// The KEK.
    pub kek: Kek,
    /// Where it stands.
    pub state: KekState,
    /// When it became the current one, ms since 1970.
    pub created_ms: u64,
}

/// What a new KEK takes the place of. Where the tenant's keys have changed since they were read, it
/// does not: another node, or a command beside the server, may have changed them.
#[derive(Debug, Clone)]
pub struct Succession {
    /// The tenant's newest KEK, as it was read.
    pub former: KekRecord,
    /// The tenant's policy, as it was read.
    pub policy: Policy,
    /// The new KEK's policy, and the tenant's from then on.
    pub new_policy: Policy,
    /// When, ms since 1970.
    pub at_ms: u64,
}

/// A private key or a configuration secret, sealed under the tenant's root: worthless without the
/// keystore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// The algorithm of the key inside ("rsa-oaep-sha256"), or "secret".
    pub algorithm: String,
    /// Nonce, ciphertext and tag.
    pub sealed: Vec<u8>,
}

/// What a registration saves: all of it, or nothing.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The configuration.
    pub configuration: KeyConfiguration,
    /// Its secrets, sealed, by the names that [`KekStore::sealed_key`] knows them by. Those that
    /// are not named stay.
    pub secrets: Vec<(String, SealedKey)>,
    /// The KEK that was minted under it, to be the tenant's current one, and the policy that it was
    /// minted for.
    pub kek: Option<(Kek, Policy)>,
    /// When the KEK becomes the current one, ms since 1970.
    pub now_ms: u64,
}

/// Where KEKs lie: the catalogue.
#[async_trait]
pub trait KekStore: Send + Sync {
    /// The KEK that new recordings of `tenant` use, with its provider.
    async fn current_kek(&self, tenant: &TenantId)
    -> Result<Option<(ProviderId, Kek)>, StoreError>;

    /// One KEK of `tenant`, whatever its state, `None` if it was never the tenant's.
    async fn kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        id: &KekId,
    ) -> Result<Option<(Kek, KekState)>, StoreError>;

    /// All KEKs of `tenant`, newest first.
    async fn keks(&self, tenant: &TenantId) -> Result<Vec<KekRecord>, StoreError>;

    /// Adds `kek` and makes it the current one, the former current one becoming previous and
    /// `provider` the tenant's, in one transaction. [`StoreError::PolicyChanged`], and nothing has
    /// changed, where the tenant's policy is not the one that the KEK was made for any more.
    async fn put_current_kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        made: (&Kek, Policy),
        created_ms: u64,
    ) -> Result<(), StoreError>;

    /// Adds `kek`, of the same provider as the former one, and makes it the current one; as
    /// [`KekStore::put_current_kek`], and the tenant's policy becomes the new one in the same
    /// transaction. `false`, and nothing has changed, where the tenant's newest KEK, its state or
    /// the tenant's policy is not what it was, or its recovery key does not suit the new policy.
    async fn succeed_kek(
        &self,
        tenant: &TenantId,
        succession: &Succession,
        kek: &Kek,
    ) -> Result<bool, StoreError>;

    /// Sets the state of a KEK; whether there is one of this id that is not retired, which is for
    /// good. [`StoreError::Exists`] where it would be a second current one.
    async fn set_kek_state(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        id: &KekId,
        state: KekState,
    ) -> Result<bool, StoreError>;

    /// Retires a KEK that exactly `recordings` recordings still need, in one transaction: what
    /// opens its private key goes, beyond what a deleted row leaves on a disk, and no recording
    /// can be added under it from then on. Its public key stays, and its name is never used again.
    async fn retire_kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        id: &KekId,
        recordings: u64,
    ) -> Result<Retirement, StoreError>;

    /// The tenant's recovery key: what DEKs are wrapped to besides the current KEK. `None`:
    /// nothing.
    async fn recovery_key(&self, tenant: &TenantId) -> Result<Option<RecoveryKey>, StoreError>;

    /// Makes `key` the tenant's recovery key in place of the former one. `false`, and nothing has
    /// changed, where the tenant's policy is another than the one that the key was held against.
    async fn put_recovery_key(
        &self,
        tenant: &TenantId,
        key: &RecoveryKey,
        policy: Policy,
    ) -> Result<bool, StoreError>;

    /// Leaves the tenant without a recovery key; whether it had one. What was wrapped to it stays
    /// so.
    async fn remove_recovery_key(&self, tenant: &TenantId) -> Result<bool, StoreError>;

    /// The sealed key that `provider` keeps for `tenant` under `name`.
    async fn sealed_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &str,
    ) -> Result<Option<SealedKey>, StoreError>;

    /// Keeps a sealed key. Fails with [`StoreError::Exists`] where the name is taken.
    async fn put_sealed_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &str,
        key: &SealedKey,
    ) -> Result<(), StoreError>;

    /// One of `tenant`'s key configurations, `None` where it is another's.
    async fn key_configuration(
        &self,
        tenant: &TenantId,
        id: &str,
    ) -> Result<Option<KeyConfiguration>, StoreError>;

    /// All key configurations of `tenant`, newest first.
    async fn key_configurations(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<KeyConfiguration>, StoreError>;

    /// Saves a registration in one transaction. Adds its configuration, or replaces what the one of
    /// this id says; its tenant, its provider and its date stay. Puts its secrets in the place of
    /// the former ones: private keys are put, never replaced. Makes its KEK the current one, as
    /// [`KekStore::put_current_kek`] does.
    ///
    /// [`StoreError::Exists`] where the configuration's id is another tenant's or provider's, or the
    /// KEK's id is taken; [`StoreError::PolicyChanged`] as there. Nothing was saved then.
    async fn put_registration(&self, registration: &Registration) -> Result<(), StoreError>;

    /// Saves a key configuration alone.
    async fn put_key_configuration(
        &self,
        configuration: &KeyConfiguration,
    ) -> Result<(), StoreError> {
        let registration = Registration {
            configuration: configuration.clone(),
            secrets: Vec::new(),
            kek: None,
            now_ms: configuration.created_ms,
        };
        self.put_registration(&registration).await
    }

    /// The configuration (JSON) of `provider` for `tenant`; "{}" where none was set.
    async fn provider_config(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
    ) -> Result<String, StoreError>;
}

/// The store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The name is taken.
    #[error("{what} exists already")]
    Exists {
        /// What.
        what: String,
    },
    /// The policy was changed while a KEK of the former one was being made.
    #[error("the policy of tenant {tenant} is {policy} by now, and the KEK is not of that one")]
    PolicyChanged {
        /// Whose.
        tenant: TenantId,
        /// What it is.
        policy: &'static str,
    },
    /// The backend failed.
    #[error("the catalogue failed: {source}")]
    Backend {
        /// How.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
