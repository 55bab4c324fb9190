//! Places for recordings that come in at once: so many in all, and of those no tenant takes more than
//! its share.
//! Not for: how long one is held (see `body`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use keyreel_format::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::settings::LimitSettings;

/// All places.
pub(crate) struct Places {
    all: Arc<Semaphore>,
    share: usize,
    /// Kept for good: there are no more of them than tenants.
    tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

/// One place, until it is dropped.
pub(crate) struct Place {
    _tenants: OwnedSemaphorePermit,
    _one: OwnedSemaphorePermit,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// All are taken.
    All,
    /// The tenant's share is.
    Tenants,
}

impl Places {
    pub(crate) fn new(limits: &LimitSettings) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.uploads as usize)),
            share: limits.uploads_per_tenant.max(1) as usize,
            tenants: Mutex::default(),
        }
    }

    /// A place for a recording of `tenant`. Nobody waits for one.
    pub(crate) fn take(&self, tenant: &TenantId) -> Result<Place, NoPlace> {
        let own = {
            let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            let share = || Arc::new(Semaphore::new(self.share));
            tenants.entry(tenant.clone()).or_insert_with(share).clone()
        };
        let tenants = own.try_acquire_owned().map_err(|_| NoPlace::Tenants)?;
        let all = self.all.clone();
        let one = all.try_acquire_owned().map_err(|_| NoPlace::All)?;
        Ok(Place {
            _tenants: tenants,
            _one: one,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tenant_takes_the_places_of_others() {
        let places = Places::new(&LimitSettings {
            uploads: 3,
            uploads_per_tenant: 2,
            ..LimitSettings::default()
        });
        let tenant = |id| TenantId::parse(id).unwrap();
        let (acme, other) = (tenant("acme"), tenant("other"));
        let first = places.take(&acme).ok();
        let second = places.take(&acme).ok();
        assert!(first.is_some() && second.is_some());
        assert_eq!(places.take(&acme).err(), Some(NoPlace::Tenants));
        let others = places.take(&other).ok();
        assert!(others.is_some(), "one is left for somebody else");
        assert_eq!(places.take(&other).err(), Some(NoPlace::All));
        drop(first);
        assert!(places.take(&other).is_ok());
    }
}
