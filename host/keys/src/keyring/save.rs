//! A registration saved: secrets, configuration and KEK, all of it or nothing.
//! Not for: trying it before (see `registration`).

use std::time::Duration;

use super::Keyring;
use super::seal::TriedKek;
use crate::error::KeyError;
use crate::kek::{Kek, Registration};

/// Whether a registration takes the place of a former one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Former {
    /// There was none: nothing that is known is about it.
    None,
    /// There was one, and what is known of it is over.
    Replaced,
}

impl Keyring {
    /// Saves a registration, with the KEK that was tried for it, which is the tenant's current one
    /// then. A KEK that a provider made is recorded first.
    ///
    /// However the write ends, what was known of a former configuration is forgotten when it has
    /// ended; also where whoever asked for it is gone.
    ///
    /// # Errors
    /// The audit log or the catalogue fails, or the tenant's policy was changed meanwhile
    /// ([`KeyError::Overtaken`]). Nothing was saved then, unless the error is
    /// [`KeyError::StoreTimeout`].
    pub(crate) async fn save(
        &self,
        mut registration: Registration,
        tried: Option<TriedKek>,
        former: Former,
    ) -> Result<Option<Kek>, KeyError> {
        let id = registration.configuration.id.clone();
        let mut one_at_a_time = None;
        if let Some(tried) = tried {
            let ready = self.inner.ready(tried, Some(&id)).await?;
            registration.kek = Some((ready.kek, ready.policy));
            one_at_a_time = Some(ready._one_at_a_time);
        }
        let kek = registration.kek.as_ref().map(|(kek, _)| kek.clone());
        let keyring = self.clone();
        self.written(SAVE_LIMIT, async move {
            let _one_at_a_time = one_at_a_time;
            let saved = keyring.inner.store.put_registration(&registration).await;
            if former == Former::Replaced {
                keyring.reconfigured(&registration.configuration.tenant, &id);
            }
            saved
        })
        .await?;
        Ok(kek)
    }
}

/// How long is waited for a registration or a KEK to be saved: its outcome is to be recorded, and
/// nobody listens meanwhile.
pub(super) const SAVE_LIMIT: Duration = Duration::from_secs(20);
