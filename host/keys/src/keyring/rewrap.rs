//! Leaving a KEK behind: DEKs for a re-wrap, and the KEK's end.
//! Not for: which recordings, nor writing what was wrapped (see `keyreel-library`).

use keyreel_format::{Dek, KekId, ProviderId, TenantId};

use super::{DekRequest, Keyring};
use crate::crash;
use crate::error::KeyError;
use crate::kek::{KekRecord, KekState, Retirement};
use crate::observer::UnwrapPurpose;
use crate::recovery::RecoveryKey;

impl Keyring {
    /// A recording's DEK, to be wrapped with another KEK. Recorded with a purpose of its own, kept
    /// nowhere, and asked of the provider whatever anybody was refused before: what one listener
    /// may not hear is no reason to lose the recording.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn unwrap_to_rewrap(&self, request: DekRequest) -> Result<Dek, KeyError> {
        let opening = self.inner.clone().open(request, UnwrapPurpose::Rewrap);
        Ok(opening.await?.dek)
    }

    /// The KEK that recordings of `tenant` are sealed with now.
    ///
    /// # Errors
    /// There is none, or the catalogue fails.
    pub async fn current_kek(&self, tenant: &TenantId) -> Result<(ProviderId, KekId), KeyError> {
        let inner = &self.inner;
        let current = inner.stored(inner.store.current_kek(tenant)).await?;
        let (provider, kek) = current.ok_or_else(|| KeyError::NoCurrentKek {
            tenant: tenant.clone(),
        })?;
        Ok((provider, kek.id))
    }

    /// The recovery key that recordings of `tenant` are wrapped to now as well, if there is one.
    ///
    /// # Errors
    /// The catalogue fails.
    pub async fn recovery_key(&self, tenant: &TenantId) -> Result<Option<RecoveryKey>, KeyError> {
        let inner = &self.inner;
        inner.stored(inner.store.recovery_key(tenant)).await
    }

    /// Retires a KEK for good: what opens its private key is deleted where the host keeps it, and
    /// it opens nothing any more. `lost` is how many recordings still need it and are lost with it;
    /// the caller asked its administrator about that very number.
    ///
    /// With none lost, open streams go on: their recordings are wrapped to another KEK by now.
    ///
    /// # Errors
    /// The tenant has no such KEK, it is the current one, or another number of recordings needs
    /// it. Nothing was changed then.
    pub async fn retire_kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        id: &KekId,
        lost: u64,
    ) -> Result<KekRecord, KeyError> {
        let inner = &self.inner;
        let _one_at_a_time = inner.sealing.minting(tenant).lock_owned().await;
        let all = inner.stored(inner.store.keks(tenant)).await?;
        let found = all
            .into_iter()
            .find(|record| record.provider == *provider && record.kek.id == *id);
        let mut retired = found.ok_or_else(|| KeyError::UnknownKek {
            tenant: tenant.clone(),
            named: format!("{provider} {id}"),
        })?;
        crash::point("retire.recorded");
        // Without the limit that other answers of the catalogue have: it is not to be left half way.
        let retirement = inner.store.retire_kek(tenant, provider, id, lost).await?;
        let (tenant, kek) = (tenant.clone(), id.clone());
        match retirement {
            Retirement::Retired => {}
            Retirement::Current => return Err(KeyError::KekCurrent { tenant, kek }),
            Retirement::InUse { recordings } => {
                return Err(KeyError::KekInUse {
                    tenant,
                    kek,
                    recordings,
                });
            }
            Retirement::Unknown => {
                return Err(KeyError::UnknownKek {
                    tenant,
                    named: format!("{provider} {id}"),
                });
            }
        }
        crash::point("retire.done");
        if let Some(vault) = &inner.vault {
            // Should it fail, the key opens nothing here all the same.
            let keks = [(provider.clone(), kek.clone())];
            if let Err(error) = vault.destroy_private_keys(&tenant, &keks).await {
                tracing::warn!(%tenant, %kek, %error, "what sealed a retired key is still there");
            }
        }
        if lost > 0 {
            self.purge(&tenant);
        } else {
            self.forget_private_keys(&tenant);
        }
        retired.state = KekState::Retired;
        retired.kek.sealed.clear();
        Ok(retired)
    }

    /// Forgets what private keys were opened of `tenant`. DEKs stay: they are the recordings' own.
    fn forget_private_keys(&self, tenant: &TenantId) {
        let inner = &self.inner;
        if let Some(vault) = &inner.vault {
            vault.purge(tenant);
        }
        inner.sealing.purge(tenant);
        for provider in inner.providers.values() {
            provider.purge(tenant);
        }
    }
}
