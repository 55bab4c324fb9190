//! Sealing: DEKs wrapped with the current KEK, in the host; and KEKs made.
//! Not for: what a KEK follows (see `rotate`), nor moving recordings to a new KEK.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use keyreel_format::wrap::{self, WrapAlgorithm};
use keyreel_format::{Dek, KekId, ProviderId, Recipient, RecordingId, TenantId};
use subtle::ConstantTimeEq;
use tokio::sync::{OnceCell, OwnedMutexGuard};

use super::save::SAVE_LIMIT;
use super::unwrap::{call, limited};
use super::{Asker, Inner, Keyring};
use crate::configuration::Configured;
use crate::error::KeyError;
use crate::kek::{Kek, Policy, StoreError};
use crate::observer::{MintedKek, UnwrapAttempt, UnwrapPurpose};
use crate::provider::{Envelope, ErrorClass};

/// A DEK, wrapped for a recording's header.
#[derive(Debug, Clone)]
pub struct Wrapped {
    /// Who can unwrap it.
    pub provider: ProviderId,
    /// With which KEK.
    pub kek: KekId,
    /// How it is wrapped.
    pub algorithm: WrapAlgorithm,
    /// The recovery key that it is wrapped to as well, if the tenant has one.
    pub recovery: Option<KekId>,
    /// The header's recipients. All parts of the recording get these same ones.
    pub recipients: Vec<Recipient>,
}

impl Keyring {
    /// Wraps a recording's DEK with its tenant's current KEK, and to its recovery key. Once for a
    /// recording: all its parts carry the same recipients.
    ///
    /// No provider is asked, save once per KEK: then a random DEK is wrapped and unwrapped, so that
    /// nothing is sealed which nobody could open.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn wrap(
        &self,
        tenant: &TenantId,
        recording: &RecordingId,
        dek: &Dek,
    ) -> Result<Wrapped, KeyError> {
        let inner = &self.inner;
        let current = inner.stored(inner.store.current_kek(tenant)).await?;
        let (provider, kek) = current.ok_or_else(|| KeyError::NoCurrentKek {
            tenant: tenant.clone(),
        })?;
        let algorithm = algorithm_of(&kek)?;
        inner.try_once(tenant, &provider, &kek).await?;
        let wrapped_dek = wrap_with(&kek, tenant, recording, dek)?;
        let recipient = Recipient {
            algorithm,
            provider: provider.clone(),
            kek: kek.id.clone(),
            wrapped_dek,
            info: Vec::new(),
        };
        let mut recipients = vec![recipient];
        let recovery = inner.stored(inner.store.recovery_key(tenant)).await?;
        if let Some(key) = &recovery {
            recipients.push(key.recipient(tenant, recording, dek)?);
        }
        Ok(Wrapped {
            provider,
            kek: kek.id,
            algorithm,
            recovery: recovery.map(|key| key.id),
            recipients,
        })
    }

    /// Has `provider` make a KEK for `tenant` without a configuration, tries it, and makes it the
    /// current one. Old recordings keep theirs.
    ///
    /// # Errors
    /// See [`KeyError`]; the former KEK stays current then.
    pub async fn mint_kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        policy: Policy,
    ) -> Result<Kek, KeyError> {
        let asker = Asker {
            subject: String::new(),
            request_id: random_id("mint")?,
        };
        let tried = self
            .try_minting(tenant, provider, policy, Configured::Plain, &asker)
            .await?;
        self.adopt(tried, None).await
    }

    /// Has `provider` make a KEK for `tenant` under a configuration, saved or not, and tries it:
    /// a random DEK is wrapped with it and unwrapped. Nothing is the tenant's before
    /// [`Keyring::adopt`].
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn try_minting(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        policy: Policy,
        configured: Configured,
        asker: &Asker,
    ) -> Result<TriedKek, KeyError> {
        let turn = self.inner.sealing.minting(tenant).lock_owned().await;
        self.minted_in(turn, tenant, provider, policy, configured, asker)
            .await
    }

    /// As [`Keyring::try_minting`], for one whose turn it is.
    pub(super) async fn minted_in(
        &self,
        one_at_a_time: OwnedMutexGuard<()>,
        tenant: &TenantId,
        provider: &ProviderId,
        policy: Policy,
        configured: Configured,
        asker: &Asker,
    ) -> Result<TriedKek, KeyError> {
        let inner = &self.inner;
        let minter = inner.provider(provider)?;
        if !minter.describe().mints_keks {
            return Err(KeyError::CannotMint {
                provider: provider.clone(),
            });
        }
        let id = inner.next_kek_id(tenant, provider).await?;
        let limit = inner.settings.mint_limit;
        let call = call(tenant, configured.clone(), asker, limit);
        let kek = limited(limit, minter.generate_kek(&call, &id, policy.algorithm()))
            .await
            .map_err(|error| KeyError::Provider {
                provider: provider.clone(),
                error,
            })?;
        if kek.id != id || kek.algorithm != policy.algorithm() {
            let found = format!("{} for {}", kek.id, kek.algorithm);
            return Err(KeyError::WrongKek {
                provider: provider.clone(),
                kek: id,
                found,
            });
        }
        inner
            .trial(tenant, provider, &kek, configured, asker)
            .await?;
        Ok(TriedKek {
            tenant: tenant.clone(),
            provider: provider.clone(),
            kek,
            policy,
            minted_for: Some(asker.clone()),
            _one_at_a_time: one_at_a_time,
        })
    }

    /// Makes a tried KEK the current one, under the saved configuration of this id or under none.
    /// One that a provider made is recorded first.
    ///
    /// # Errors
    /// The audit log or the catalogue fails; the former KEK stays current then, unless the error is
    /// [`KeyError::StoreTimeout`]. [`KeyError::Overtaken`] where the tenant's policy is another by
    /// now.
    pub async fn adopt(
        &self,
        tried: TriedKek,
        configuration: Option<&str>,
    ) -> Result<Kek, KeyError> {
        let inner = &self.inner;
        let ready = inner.ready(tried, configuration).await?;
        let (kek, now) = (ready.kek.clone(), inner.clock.now_ms());
        let store = inner.store.clone();
        self.written(SAVE_LIMIT, async move {
            let Ready {
                tenant,
                provider,
                kek,
                policy,
                _one_at_a_time,
            } = ready;
            let made = (&kek, policy);
            store.put_current_kek(&tenant, &provider, made, now).await
        })
        .await?;
        Ok(kek)
    }

    /// Wraps a random DEK with a KEK and has it unwrapped, under any configuration. Changes
    /// nothing.
    ///
    /// # Errors
    /// It did not come back, and why.
    pub async fn try_kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        kek: &Kek,
        configured: Configured,
        asker: &Asker,
    ) -> Result<(), KeyError> {
        self.inner
            .trial(tenant, provider, kek, configured, asker)
            .await
    }

    /// Makes a KEK whose private key its owner holds the tenant's current one, under the saved
    /// configuration that it names, where the tenant's policy is still `policy`. A random DEK is
    /// wrapped with it first and has to come back.
    ///
    /// # Errors
    /// See [`KeyError`]; the former KEK stays current then.
    pub async fn register_kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        (kek, policy): (Kek, Policy),
        asker: &Asker,
    ) -> Result<Kek, KeyError> {
        let inner = &self.inner;
        let one_at_a_time = inner.sealing.minting(tenant).lock_owned().await;
        inner.provider(provider)?;
        let known = inner
            .stored(inner.store.kek(tenant, provider, &kek.id))
            .await?;
        if known.is_some() {
            return Err(StoreError::Exists {
                what: format!("the key pair {}", kek.id),
            }
            .into());
        }
        let configured = Configured::of(&kek);
        let id = configured.id().map(str::to_owned);
        inner
            .trial(tenant, provider, &kek, configured, asker)
            .await?;
        let tried = TriedKek {
            tenant: tenant.clone(),
            provider: provider.clone(),
            kek,
            policy,
            minted_for: None,
            _one_at_a_time: one_at_a_time,
        };
        self.adopt(tried, id.as_deref()).await
    }
}

impl Inner {
    /// Makes a tried KEK ready to be saved. One that a provider made is recorded first.
    pub(super) async fn ready(
        &self,
        tried: TriedKek,
        configuration: Option<&str>,
    ) -> Result<Ready, KeyError> {
        let TriedKek {
            tenant,
            provider,
            kek,
            policy,
            minted_for,
            _one_at_a_time,
        } = tried;
        let mut kek = kek.under(configuration);
        if let Some(asker) = minted_for {
            let minted = MintedKek {
                tenant: tenant.clone(),
                provider: provider.clone(),
                kek: kek.id.clone(),
                algorithm: kek.algorithm.clone(),
                configuration: configuration.map(str::to_owned),
                subject: asker.subject,
                request_id: asker.request_id,
            };
            self.recorded(self.observer.minted(&minted)).await?;
        }
        self.sealing.tried(&tenant, &provider, &kek);
        kek.attributes.retain(|(name, _)| name != TRIED);
        kek.attributes
            .push((TRIED.to_owned(), hex::encode(version_of(&kek))));
        Ok(Ready {
            tenant,
            provider,
            kek,
            policy,
            _one_at_a_time,
        })
    }

    /// Tries a KEK unless this process did so before.
    async fn try_once(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        kek: &Kek,
    ) -> Result<(), KeyError> {
        let cell = self.sealing.cell(tenant, provider, kek);
        let done = cell
            .get_or_try_init(|| async {
                let asker = Asker {
                    subject: String::new(),
                    request_id: random_id("trial")?,
                };
                let configured = Configured::of(kek);
                self.trial(tenant, provider, kek, configured, &asker).await
            })
            .await;
        match done {
            Ok(()) => Ok(()),
            // It was tried when it was made. That its key service is away must not stop
            // recordings from being sealed: the public key is all that takes.
            Err(error) if was_tried(kek) && is_absence(error.class()) => {
                tracing::warn!(
                    %tenant, %provider, kek = %kek.id, %error,
                    "sealing with a KEK whose provider does not answer now"
                );
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Wraps a random DEK and has it unwrapped.
    async fn trial(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        kek: &Kek,
        configured: Configured,
        asker: &Asker,
    ) -> Result<(), KeyError> {
        let sample = Dek::generate();
        let id = random_id("trial")?;
        let recording = RecordingId::parse(&id).map_err(|_| KeyError::Cryptography)?;
        let envelope = Envelope {
            algorithm: algorithm_of(kek)?.name().to_owned(),
            wrapped_dek: wrap_with(kek, tenant, &recording, &sample)?,
            recording: recording.clone(),
            context: Vec::new(),
        };
        let attempt = UnwrapAttempt {
            purpose: UnwrapPurpose::Trial,
            tenant: tenant.clone(),
            recording,
            generation: 0,
            provider: provider.clone(),
            kek: kek.id.clone(),
            algorithm: envelope.algorithm.clone(),
            subject: asker.subject.clone(),
            request_id: asker.request_id.clone(),
        };
        let unwrapped = self.ask(&attempt, kek, &envelope, configured).await?;
        if bool::from(unwrapped.dek.expose().ct_eq(sample.expose())) {
            Ok(())
        } else {
            Err(KeyError::TrialFailed {
                provider: provider.clone(),
                kek: kek.id.clone(),
            })
        }
    }

    /// "kek/<n>", n one more than any so far. An interrupted minting may have left a private key
    /// under the next name; that name is passed over.
    async fn next_kek_id(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
    ) -> Result<KekId, KeyError> {
        let keks = self.stored(self.store.keks(tenant)).await?;
        let numbers = keks
            .iter()
            .filter_map(|record| record.kek.id.as_str().strip_prefix("kek/"));
        let mut number = numbers
            .filter_map(|n| n.parse::<u32>().ok())
            .max()
            .unwrap_or(0);
        loop {
            number = number.saturating_add(1);
            let id = format!("kek/{number}");
            let id = KekId::parse(&id).map_err(|_| KeyError::Cryptography)?;
            let taken = self
                .stored(self.store.sealed_key(tenant, provider, id.as_str()))
                .await?;
            if taken.is_none() {
                return Ok(id);
            }
        }
    }
}

/// A KEK that opens what it seals, and is nobody's current one yet. While it is held, no other KEK
/// of its tenant is made.
#[must_use = "it becomes the tenant's by `Keyring::adopt`"]
pub struct TriedKek {
    tenant: TenantId,
    provider: ProviderId,
    kek: Kek,
    /// The tenant's, that it keeps.
    policy: Policy,
    /// Who had it made; `None` where its owner made it.
    minted_for: Option<Asker>,
    _one_at_a_time: OwnedMutexGuard<()>,
}

impl TriedKek {
    /// The KEK.
    #[must_use]
    pub fn kek(&self) -> &Kek {
        &self.kek
    }
}

/// A tried KEK, recorded and marked as tried: to be saved.
pub(super) struct Ready {
    pub(super) tenant: TenantId,
    pub(super) provider: ProviderId,
    pub(super) kek: Kek,
    pub(super) policy: Policy,
    pub(super) _one_at_a_time: OwnedMutexGuard<()>,
}

/// Which KEKs were tried, and who is making one.
#[derive(Default)]
pub(super) struct Sealing {
    tried: Mutex<HashMap<Version, Arc<OnceCell<()>>>>,
    minting: Mutex<HashMap<TenantId, Arc<tokio::sync::Mutex<()>>>>,
}

/// Tenant, provider, KEK, digest of its public key.
type Version = (TenantId, ProviderId, KekId, [u8; 32]);

impl Sealing {
    fn cell(&self, tenant: &TenantId, provider: &ProviderId, kek: &Kek) -> Arc<OnceCell<()>> {
        let version = (
            tenant.clone(),
            provider.clone(),
            kek.id.clone(),
            version_of(kek),
        );
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        tried.entry(version).or_default().clone()
    }

    fn tried(&self, tenant: &TenantId, provider: &ProviderId, kek: &Kek) {
        // Already set is as good.
        let _ = self.cell(tenant, provider, kek).set(());
    }

    pub(super) fn minting(&self, tenant: &TenantId) -> Arc<tokio::sync::Mutex<()>> {
        let mut minting = self.minting.lock().unwrap_or_else(PoisonError::into_inner);
        minting.entry(tenant.clone()).or_default().clone()
    }

    pub(super) fn purge(&self, tenant: &TenantId) {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        tried.retain(|(owner, ..), _| owner != tenant);
    }
}

fn algorithm_of(kek: &Kek) -> Result<WrapAlgorithm, KeyError> {
    WrapAlgorithm::parse(&kek.algorithm).map_err(|error| KeyError::Wrap {
        kek: kek.id.clone(),
        reason: error.to_string(),
    })
}

fn wrap_with(
    kek: &Kek,
    tenant: &TenantId,
    recording: &RecordingId,
    dek: &Dek,
) -> Result<Vec<u8>, KeyError> {
    let context = wrap::context(tenant, recording);
    wrap::wrap(algorithm_of(kek)?, &kek.public_key, &context, dek).map_err(|error| KeyError::Wrap {
        kek: kek.id.clone(),
        reason: error.to_string(),
    })
}

fn version_of(kek: &Kek) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(kek.algorithm.as_bytes());
    context.update(&[0]);
    context.update(&kek.public_key);
    let mut version = [0; 32];
    version.copy_from_slice(context.finish().as_ref());
    version
}

fn was_tried(kek: &Kek) -> bool {
    let version = hex::encode(version_of(kek));
    kek.attributes
        .iter()
        .any(|(name, value)| name == TRIED && *value == version)
}

/// Nobody answered, or nobody was asked: nothing is known against the key.
fn is_absence(class: ErrorClass) -> bool {
    matches!(
        class,
        ErrorClass::Unavailable | ErrorClass::Timeout | ErrorClass::Throttled
    )
}

fn random_id(what: &str) -> Result<String, KeyError> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| KeyError::Cryptography)?;
    Ok(format!("{what}-{}", hex::encode(random)))
}

/// Attribute of a KEK that was tried before it became current; its value is the digest of
/// algorithm and public key.
const TRIED: &str = "keyreel-tried";
