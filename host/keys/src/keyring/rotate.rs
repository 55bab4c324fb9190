//! Rotation: the tenant's provider makes the next KEK as it made the present one, under the same
//! configuration. New recordings use it once it was tried; old ones keep theirs, so nothing is
//! purged and no stream is cut.
//! Not for: when to rotate (see `keyreel-library`, `keyreel-server`), nor for key pairs that their
//! owner makes (see `registration`).

use keyreel_format::TenantId;

use super::save::SAVE_LIMIT;
use super::{Asker, Keyring};
use crate::configuration::Configured;
use crate::error::KeyError;
use crate::kek::{KekRecord, KekState, Policy, Succession};

/// Why a KEK is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// Somebody wants it now. A disabled KEK is followed too: that is how sealing starts again
    /// after a key was switched off.
    Asked,
    /// It is due since then, ms since 1970. A KEK that was made at or after that moment will do;
    /// one that somebody disabled is left alone.
    Due(u64),
}

/// What came of a rotation.
#[derive(Debug, Clone)]
pub enum Rotated {
    /// There is a new KEK.
    New {
        /// The one before it.
        former: KekRecord,
        /// The new one, current.
        current: KekRecord,
    },
    /// The due date was met before: by somebody, or by a node that ended before it could say so.
    Met(KekRecord),
}

impl Keyring {
    /// Changes `tenant`'s KEK for a new one of `new_policy`, which becomes the tenant's policy.
    /// `policy` is the tenant's as the caller read it.
    ///
    /// # Errors
    /// See [`KeyError`]; the former KEK stays current then, unless the error is
    /// [`KeyError::StoreTimeout`]. [`KeyError::Overtaken`] where the tenant's keys or its policy
    /// are not what they were any more. [`KeyError::UnderWay`] where another KEK of the tenant is
    /// being made and somebody asks for one more; what is due waits.
    pub async fn rotate(
        &self,
        tenant: &TenantId,
        (policy, new_policy): (Policy, Policy),
        occasion: Occasion,
        asker: &Asker,
    ) -> Result<Rotated, KeyError> {
        let inner = &self.inner;
        let turn = inner.sealing.minting(tenant);
        let turn = match occasion {
            Occasion::Asked => turn.try_lock_owned().map_err(|_| KeyError::UnderWay {
                tenant: tenant.clone(),
            })?,
            Occasion::Due(_) => turn.lock_owned().await,
        };
        let newest = inner.stored(inner.store.keks(tenant)).await?;
        let former = newest
            .into_iter()
            .next()
            .filter(|newest| newest.state == KekState::Current || occasion == Occasion::Asked);
        let former = former.ok_or_else(|| KeyError::NoCurrentKek {
            tenant: tenant.clone(),
        })?;
        if matches!(occasion, Occasion::Due(due_ms) if former.created_ms >= due_ms) {
            return Ok(Rotated::Met(former));
        }
        let recovery = inner.stored(inner.store.recovery_key(tenant)).await?;
        if recovery.is_some_and(|key| !key.suits(new_policy)) {
            return Err(KeyError::RecoveryTooWeak {
                tenant: tenant.clone(),
                policy: new_policy.as_str(),
            });
        }
        let configured = Configured::of(&former.kek);
        let configuration = configured.id().map(str::to_owned);
        let provider = &former.provider;
        let tried = self
            .minted_in(turn, tenant, provider, new_policy, configured, asker)
            .await?;
        let ready = inner.ready(tried, configuration.as_deref()).await?;
        let succession = Succession {
            former,
            policy,
            new_policy,
            at_ms: inner.clock.now_ms(),
        };
        let (keyring, tenant_id) = (self.clone(), tenant.clone());
        let write = async move {
            let store = &keyring.inner.store;
            let follows = store
                .succeed_kek(&tenant_id, &succession, &ready.kek)
                .await?;
            Ok((follows, succession, ready))
        };
        let (follows, succession, ready) = self.written(SAVE_LIMIT, write).await?;
        if !follows {
            return Err(KeyError::Overtaken {
                tenant: tenant.clone(),
            });
        }
        let Succession { former, at_ms, .. } = succession;
        let current = KekRecord {
            provider: ready.provider,
            kek: ready.kek,
            state: KekState::Current,
            created_ms: at_ms,
        };
        Ok(Rotated::New { former, current })
    }
}
