//! KEKs switched off and on by an administrator.
//! Not for: KEKs that give way to a new one (see `seal`).

use std::time::Duration;

use keyreel_format::{KekId, ProviderId, TenantId};
use tokio::sync::OwnedMutexGuard;

use super::Keyring;
use super::unwrap::LOCAL_LIMIT;
use crate::error::KeyError;
use crate::kek::{KekRecord, KekState, StoreError};

impl Keyring {
    /// Lets a KEK open nothing from now on, whatever its owner's key service says: caches are emptied
    /// and open streams end. A current one seals nothing either.
    ///
    /// At once: it does not wait for a KEK that is being made. A rotation that is under way then does
    /// not follow the disabled KEK ([`KeyError::Overtaken`]); a KEK that is being registered does.
    ///
    /// # Errors
    /// The tenant has no such KEK, or it was retired; or the catalogue fails. The caches are empty
    /// then too, and once more when a catalogue that was slow is done.
    pub async fn disable_kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        id: &KekId,
    ) -> Result<KekRecord, KeyError> {
        self.switch_kek(tenant, provider, id, None, |_, _| KekState::Disabled)
            .await
    }

    /// Lets a disabled KEK open again. The newest one of the tenant becomes the current one again,
    /// unless there is another by now.
    ///
    /// # Errors
    /// As [`Keyring::disable_kek`].
    pub async fn enable_kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        id: &KekId,
    ) -> Result<KekRecord, KeyError> {
        // What is current next must not be decided twice.
        let turn = self.inner.sealing.minting(tenant).lock_owned().await;
        self.switch_kek(tenant, provider, id, Some(turn), |record, all| {
            let is_newest = all.first().is_some_and(|newest| {
                newest.provider == record.provider && newest.kek.id == record.kek.id
            });
            let sealed_with = all.iter().any(|other| other.state == KekState::Current);
            match record.state {
                KekState::Disabled if is_newest && !sealed_with => KekState::Current,
                KekState::Disabled => KekState::Previous,
                state => state,
            }
        })
        .await
    }

    async fn switch_kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        id: &KekId,
        turn: Option<OwnedMutexGuard<()>>,
        to: impl FnOnce(&KekRecord, &[KekRecord]) -> KekState,
    ) -> Result<KekRecord, KeyError> {
        let inner = &self.inner;
        let all = inner.stored(inner.store.keks(tenant)).await?;
        let found = all
            .iter()
            .find(|record| record.provider == *provider && record.kek.id == *id);
        let Some(found) = found else {
            return Err(KeyError::UnknownKek {
                tenant: tenant.clone(),
                named: format!("{provider} {id}"),
            });
        };
        if found.state == KekState::Retired {
            return Err(KeyError::KekRetired {
                tenant: tenant.clone(),
                kek: id.clone(),
            });
        }
        let state = to(found, &all);
        let switched = KekRecord {
            state,
            ..found.clone()
        };
        let written = self.written(LOCAL_LIMIT, {
            let (keyring, tenant, record) = (self.clone(), tenant.clone(), switched.clone());
            async move {
                let _turn = turn;
                let (provider, id) = (&record.provider, &record.kek.id);
                let store = &keyring.inner.store;
                let set = store.set_kek_state(&tenant, provider, id, state).await;
                // What was opened with it, and what was refused because of it, is over.
                keyring.purge(&tenant);
                set
            }
        });
        let written = written.await;
        if written.is_err() {
            // The catalogue may still do it, and until it has, nothing more is given out than what
            // is asked for anew.
            self.purge(tenant);
        }
        if !written? {
            // Meanwhile, by another process.
            return Err(KeyError::KekRetired {
                tenant: tenant.clone(),
                kek: id.clone(),
            });
        }
        Ok(switched)
    }

    /// A write to the catalogue that comes to its end, with what hangs on it, also where nobody
    /// waits for it any more: a write that was given up may be done all the same.
    pub(super) async fn written<T: Send + 'static>(
        &self,
        limit: Duration,
        write: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, KeyError> {
        match tokio::time::timeout(limit, tokio::spawn(write)).await {
            Ok(Ok(written)) => Ok(written?),
            Ok(Err(_)) => Err(KeyError::Died),
            Err(_) => Err(KeyError::StoreTimeout),
        }
    }
}
