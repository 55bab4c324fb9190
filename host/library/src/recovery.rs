//! A tenant's recovery key: set, replaced, removed, each on record; and which recordings it opens.
//! Not for: wrapping to it (see `keyreel-keys`), nor moving older recordings to it (see `rewrap`).

use std::sync::Arc;

use keyreel_format::TenantId;
use keyreel_keys::{Clock, KekState, KeyError, RecoveryKey};
use serde_json::Value;

use crate::Error;
use crate::catalogue::{AuditEvent, Catalogue, KekCount, Tenant};
use crate::rewrap::By;

/// Sets and removes recovery keys. Cheap to clone.
#[derive(Clone)]
pub struct RecoveryKeys {
    catalogue: Arc<dyn Catalogue>,
    clock: Arc<dyn Clock>,
}

/// A tenant's recovery key, and how many recordings it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryStatus {
    /// The key, if there is one.
    pub key: Option<RecoveryKey>,
    /// How many recordings the tenant has that its KEKs can open.
    pub recordings: u64,
    /// How many of them it does not open: taken in, or re-wrapped last, before it was set. All of
    /// them where there is none.
    pub lacking: u64,
    /// How many of those are wrapped to a former recovery key instead.
    pub former: u64,
}

impl RecoveryKeys {
    /// With the parts that it works on.
    #[must_use]
    pub fn new(catalogue: Arc<dyn Catalogue>, clock: Arc<dyn Clock>) -> Self {
        Self { catalogue, clock }
    }

    /// How a tenant is off.
    ///
    /// # Errors
    /// [`Error::Backend`].
    pub async fn status(&self, tenant: &TenantId) -> Result<RecoveryStatus, Error> {
        let key = self.catalogue.recovery_key(tenant).await?;
        let counts = openable(&*self.catalogue, tenant).await?;
        let all = |which: &dyn Fn(&KekCount) -> bool| {
            let counts = counts.iter().filter(|count| which(count));
            counts.map(|count| count.recordings).sum()
        };
        let id = key.as_ref().map(|key| &key.id);
        let is_former =
            |count: &KekCount| count.recovery.is_some() && count.recovery.as_ref() != id;
        Ok(RecoveryStatus {
            recordings: all(&|_| true),
            lacking: all(&|count| count.recovery.is_none() || is_former(count)),
            former: all(&is_former),
            key,
        })
    }

    /// Makes the public key that `text` holds the tenant's recovery key. What is taken in or
    /// re-wrapped from now on is wrapped to it, and to no former one. Recorded before, since
    /// whoever has its private half opens all of that, and after.
    ///
    /// # Errors
    /// [`Error::RecoveryKey`] where it is none to use; [`Error::Wrap`] where the tenant's policy is
    /// changed at the same moment; [`Error::Backend`].
    pub async fn set(&self, tenant: &Tenant, text: &str, by: &By) -> Result<RecoveryStatus, Error> {
        let key = RecoveryKey::parse(text, tenant.policy, self.clock.now_ms())?;
        let former = self.catalogue.recovery_key(&tenant.id).await;
        let former = former?;
        if former.as_ref().is_some_and(|former| former.id == key.id) {
            return self.status(&tenant.id).await;
        }
        let event = |action: &str| {
            let mut event = by.event(action, &tenant.id, self.clock.now_ms());
            let former = former.as_ref().map(|former| former.id.as_str());
            let fields = [
                ("recoveryKey", Value::from(key.id.as_str())),
                ("algorithm", Value::from(key.algorithm.name())),
                ("former", Value::from(former)),
            ];
            for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
                event.fields.insert(name.to_owned(), value);
            }
            event
        };
        let requested = event("recovery.set.requested");
        self.catalogue.append_audit(&[requested]).await?;
        let put = self
            .catalogue
            .put_recovery_key(&tenant.id, &key, tenant.policy);
        let put = match put.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(overtaken(&tenant.id)),
            Err(error) => Err(error.into()),
        };
        self.conclude(event("recovery.set"), &put).await;
        put?;
        self.status(&tenant.id).await
    }

    /// Leaves a tenant without a recovery key, if it has one. What is wrapped to it stays so until
    /// it is re-wrapped.
    ///
    /// # Errors
    /// [`Error::Backend`].
    pub async fn remove(&self, tenant: &TenantId, by: &By) -> Result<RecoveryStatus, Error> {
        let former = self.catalogue.recovery_key(tenant).await;
        let Some(former) = former? else {
            return self.status(tenant).await;
        };
        let event = |action: &str| {
            let mut event = by.event(action, tenant, self.clock.now_ms());
            let id = Value::from(former.id.as_str());
            event.fields.insert("recoveryKey".to_owned(), id);
            event
        };
        let requested = event("recovery.remove.requested");
        self.catalogue.append_audit(&[requested]).await?;
        let removed = self.catalogue.remove_recovery_key(tenant).await;
        let removed = removed.map(drop).map_err(Error::from);
        self.conclude(event("recovery.removed"), &removed).await;
        removed?;
        self.status(tenant).await
    }

    /// That it was wanted is on record; where its outcome cannot be, the next event cannot either.
    async fn conclude(&self, mut event: AuditEvent, done: &Result<(), Error>) {
        event.outcome = match done {
            Ok(()) => "ok",
            Err(Error::Wrap { .. }) => "conflict",
            Err(_) => "unavailable",
        }
        .to_owned();
        if let Err(error) = self.catalogue.append_audit(&[event]).await {
            tracing::error!(%error, "a change of a recovery key could not be recorded");
        }
    }
}

/// How many recordings need each KEK, of those that some KEK can open: what was lost with a KEK
/// that was retired is nobody's to wrap anew.
pub(crate) async fn openable(
    catalogue: &dyn Catalogue,
    tenant: &TenantId,
) -> Result<Vec<KekCount>, Error> {
    let mut counts = catalogue.recordings_by_kek(tenant).await?;
    let keks = catalogue.keks(tenant).await?;
    counts.retain(|count| {
        let of = keks.iter().find(|record| count.is_of(record));
        of.is_none_or(|record| record.state != KekState::Retired)
    });
    Ok(counts)
}

fn overtaken(tenant: &TenantId) -> Error {
    Error::Wrap {
        source: Box::new(KeyError::Overtaken {
            tenant: tenant.clone(),
        }),
    }
}
