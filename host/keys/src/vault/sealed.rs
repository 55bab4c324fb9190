//! The vault: private KEKs and configuration secrets, sealed and kept in the catalogue. A secret lies
//! under a key derived from the tenant's root, a private KEK under one of its own in the keystore.
//! Not for: these keys themselves (see `keystore`).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use async_trait::async_trait;
use keyreel_format::wrap::{PrivateKey, WrapAlgorithm};
use keyreel_format::{KekId, ProviderId, TenantId};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::{TenantVault, VaultError};
use crate::aead;
use crate::kek::{KekStore, SealedKey};
use crate::keystore::{Keystore, KeystoreError};
use crate::metadata::MetadataVault;
use crate::purge::Purges;
use crate::secret_cache::SecretCache;
use crate::settings::DekTtl;

/// [`TenantVault`] over a [`Keystore`] and the catalogue.
///
/// Opened private keys are cached as long as DEKs are, so that an unwrap costs no file access and
/// no key parsing; [`Vault::purge`] forgets them.
pub struct Vault {
    keystore: Arc<Keystore>,
    store: Arc<dyn KekStore>,
    ttl: DekTtl,
    private_keys: SecretCache<Name, PrivateKey>,
    secrets: SecretCache<Name, Zeroizing<Vec<u8>>>,
    metadata: Option<Arc<MetadataVault>>,
    purges: Purges,
    /// One load at a time per name: a burst of first plays opens the key once.
    loading: [Mutex<()>; 16],
    hasher: RandomState,
}

impl Vault {
    /// A vault whose cache keeps keys for `ttl`.
    #[must_use]
    pub fn new(keystore: Arc<Keystore>, store: Arc<dyn KekStore>, ttl: DekTtl) -> Self {
        Self {
            keystore,
            store,
            ttl,
            private_keys: SecretCache::new(CACHED_KEYS),
            secrets: SecretCache::new(CACHED_KEYS),
            metadata: None,
            purges: Purges::default(),
            loading: Default::default(),
            hasher: RandomState::new(),
        }
    }

    /// Has a purge forget the keys of `metadata` as well.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Arc<MetadataVault>) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Seals a secret of a configuration of `provider` for `tenant`, and gives it with the name that
    /// the store keeps it under. Whoever saves it purges afterwards.
    ///
    /// # Errors
    /// The tenant has no root.
    pub(crate) async fn seal_secret(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        configuration: Option<&str>,
        name: &str,
        secret: &[u8],
    ) -> Result<(String, SealedKey), VaultError> {
        let name = Name::of_secret(tenant, provider, configuration, name);
        let secret = Zeroizing::new(secret.to_vec());
        let sealed = self.seal(&name, SECRET, secret).await?;
        Ok((name.name, sealed))
    }

    /// Destroys what opens private KEKs of `tenant`, for good once the keystore's next epoch has
    /// begun: see [`Keystore::destroy_kek_keys`].
    ///
    /// # Errors
    /// The tenant has no root, or the keystore fails.
    pub async fn destroy_private_keys(
        &self,
        tenant: &TenantId,
        keks: &[(ProviderId, KekId)],
    ) -> Result<(), VaultError> {
        let (keystore, owner) = (self.keystore.clone(), tenant.clone());
        let names: Vec<_> = keks
            .iter()
            .map(|(provider, id)| (provider.clone(), id.to_string()))
            .collect();
        off_thread(move || Ok(keystore.destroy_kek_keys(&owner, &names)?)).await?;
        self.purge(tenant);
        Ok(())
    }

    /// Destroys the root of `tenant`, and with it all that is sealed for it; for good once the
    /// keystore's next epoch has begun.
    ///
    /// # Errors
    /// The keystore fails. Calling it again goes on where it failed.
    pub async fn destroy_root(&self, tenant: &TenantId) -> Result<(), VaultError> {
        let (keystore, owner) = (self.keystore.clone(), tenant.clone());
        off_thread(move || Ok(keystore.destroy_root(&owner).map(drop)?)).await?;
        self.purge(tenant);
        Ok(())
    }

    /// Begins the keystore's next epoch: see [`Keystore::begin_epoch`].
    ///
    /// # Errors
    /// The keystore fails. Calling it again goes on where it failed.
    pub async fn begin_epoch(&self) -> Result<u64, VaultError> {
        let keystore = self.keystore.clone();
        off_thread(move || Ok(keystore.begin_epoch()?)).await
    }

    /// Forgets every opened key of `tenant`. What is being opened now is not kept either.
    pub fn purge(&self, tenant: &TenantId) {
        let epoch = self.purges.purge(tenant);
        self.private_keys
            .purge(epoch, |name| name.tenant == *tenant);
        self.secrets.purge(epoch, |name| name.tenant == *tenant);
        if let Some(metadata) = &self.metadata {
            metadata.purge(tenant);
        }
    }

    /// Wipes what is over. The keyring calls it now and then.
    pub(crate) fn sweep(&self) {
        self.private_keys.sweep();
        self.secrets.sweep();
        if let Some(metadata) = &self.metadata {
            metadata.sweep();
        }
    }

    fn stripe(&self, name: &Name) -> &Mutex<()> {
        let [first, ..] = &self.loading;
        let index = self.hasher.hash_one(name) % self.loading.len() as u64;
        usize::try_from(index)
            .ok()
            .and_then(|index| self.loading.get(index))
            .unwrap_or(first)
    }

    async fn seal(
        &self,
        name: &Name,
        algorithm: &str,
        secret: Zeroizing<Vec<u8>>,
    ) -> Result<SealedKey, VaultError> {
        let (keystore, name) = (self.keystore.clone(), name.clone());
        let algorithm = algorithm.to_owned();
        off_thread(move || {
            let key = match algorithm.as_str() {
                SECRET => sealing_key(&keystore, &name.tenant)?,
                // One of its own: it can be destroyed without the others.
                _ => keystore.make_kek_key(&name.tenant, &name.provider, &name.name)?,
            };
            let sealed = aead::seal(&key, &name.aad(&algorithm), &secret)
                .map_err(|_| KeystoreError::Cryptography)
                .map_err(VaultError::from)?;
            Ok(SealedKey { algorithm, sealed })
        })
        .await
    }

    async fn open<T: Send + 'static>(
        &self,
        name: &Name,
        sealed: SealedKey,
        parse: impl FnOnce(&str, Zeroizing<Vec<u8>>) -> Option<T> + Send + 'static,
    ) -> Result<T, VaultError> {
        let (keystore, name) = (self.keystore.clone(), name.clone());
        off_thread(move || {
            let key = match sealed.algorithm.as_str() {
                SECRET => Some(sealing_key(&keystore, &name.tenant)?),
                _ => keystore.kek_key(&name.tenant, &name.provider, &name.name)?,
            };
            let Some(key) = key else {
                return Err(VaultError::Destroyed {
                    tenant: name.tenant,
                    name: name.name,
                });
            };
            aead::open(&key, &name.aad(&sealed.algorithm), &sealed.sealed)
                .ok()
                .and_then(|opened| parse(&sealed.algorithm, opened))
                .ok_or(VaultError::Damaged {
                    tenant: name.tenant,
                    name: name.name,
                })
        })
        .await
    }
}

#[async_trait]
impl TenantVault for Vault {
    async fn configuration(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        configuration: Option<&str>,
    ) -> Result<String, VaultError> {
        let Some(id) = configuration else {
            return Ok(self.store.provider_config(tenant, provider).await?);
        };
        let found = self.store.key_configuration(tenant, id).await?;
        found
            .filter(|found| found.provider == *provider)
            .map(|found| found.config_json)
            .ok_or_else(|| VaultError::NoConfiguration {
                tenant: tenant.clone(),
                id: id.to_owned(),
            })
    }

    async fn secret(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        configuration: Option<&str>,
        name: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let name = Name::of_secret(tenant, provider, configuration, name);
        let watch = self.purges.watch(tenant);
        if let Some(secret) = self.secrets.get(&name, watch.epoch()) {
            return Ok(Some(Zeroizing::clone(&secret)));
        }
        let sealed = self.store.sealed_key(tenant, provider, &name.name).await?;
        let Some(sealed) = sealed.filter(|sealed| sealed.algorithm == SECRET) else {
            return Ok(None);
        };
        let secret = self.open(&name, sealed, |_, opened| Some(opened)).await?;
        let kept = Arc::new(Zeroizing::clone(&secret));
        self.secrets.keep(name, kept, &watch, self.ttl.duration());
        Ok(Some(secret))
    }

    async fn private_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &str,
    ) -> Result<Option<Arc<PrivateKey>>, VaultError> {
        let name = Name::new(tenant, provider, name);
        let epoch = self.purges.watch(tenant).epoch();
        if let Some(key) = self.private_keys.get(&name, epoch) {
            return Ok(Some(key));
        }
        let _loading = self.stripe(&name).lock().await;
        let watch = self.purges.watch(tenant);
        if let Some(key) = self.private_keys.get(&name, watch.epoch()) {
            return Ok(Some(key));
        }
        let sealed = self.store.sealed_key(tenant, provider, &name.name).await?;
        let Some(sealed) = sealed.filter(|sealed| sealed.algorithm != SECRET) else {
            return Ok(None);
        };
        let key = self
            .open(&name, sealed, |algorithm, opened| {
                let algorithm = WrapAlgorithm::parse(algorithm).ok()?;
                PrivateKey::from_secret_bytes(algorithm, &opened).ok()
            })
            .await?;
        let key = Arc::new(key);
        let ttl = self.ttl.duration();
        self.private_keys.keep(name, key.clone(), &watch, ttl);
        Ok(Some(key))
    }

    async fn keep_private_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &str,
        key: Arc<PrivateKey>,
    ) -> Result<(), VaultError> {
        if name.starts_with(SECRETS) {
            return Err(VaultError::ReservedName {
                name: name.to_owned(),
            });
        }
        let name = Name::new(tenant, provider, name);
        let secret = key.secret_bytes().map_err(|error| VaultError::Keystore {
            message: error.to_string(),
        })?;
        let sealed = self.seal(&name, key.algorithm().name(), secret).await?;
        Ok(self
            .store
            .put_sealed_key(tenant, provider, &name.name, &sealed)
            .await?)
    }
}

/// What a sealed key is called, and what it is bound to.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Name {
    tenant: TenantId,
    provider: ProviderId,
    name: String,
}

impl Name {
    fn new(tenant: &TenantId, provider: &ProviderId, name: &str) -> Self {
        Self {
            tenant: tenant.clone(),
            provider: provider.clone(),
            name: name.to_owned(),
        }
    }

    /// Secrets have names of their own: replacing one never replaces a private key. Those of one
    /// configuration are never another's: "secret/<configuration>/<name>".
    fn of_secret(
        tenant: &TenantId,
        provider: &ProviderId,
        configuration: Option<&str>,
        name: &str,
    ) -> Self {
        let name = match configuration {
            Some(id) => format!("{SECRETS}{id}/{name}"),
            None => format!("{SECRETS}{name}"),
        };
        Self::new(tenant, provider, &name)
    }

    fn aad(&self, algorithm: &str) -> Vec<u8> {
        let fields = [
            self.tenant.as_str(),
            self.provider.as_str(),
            &self.name,
            algorithm,
        ];
        aead::aad("keyreel/v1 vault", &fields)
    }
}

fn sealing_key(keystore: &Keystore, tenant: &TenantId) -> Result<aead::Key, VaultError> {
    Ok(keystore.root(tenant)?.derive("keyreel/v1 vault")?)
}

/// Reads files and parses keys where it delays nobody's stream.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
) -> Result<T, VaultError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(VaultError::Keystore {
            message: "the thread that opens keys failed".into(),
        }),
    }
}

/// [`SealedKey::algorithm`] of what is no private key.
const SECRET: &str = "secret";

/// What the stored name of a configuration secret starts with.
const SECRETS: &str = "secret/";

/// Several per tenant, for thousands of tenants.
const CACHED_KEYS: u64 = 20_000;
