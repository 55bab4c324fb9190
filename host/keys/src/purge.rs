//! Purges: a tenant's keys are to be forgotten, everywhere, now.
//! Not for: carrying the news to other nodes.
//!
//! Each tenant has an epoch that a purge raises. Whatever was unwrapped in an earlier epoch is
//! neither served from a cache nor handed to those who still wait for it, and streams that hold a
//! lease of that epoch end.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use keyreel_format::TenantId;
use tokio::sync::watch;

/// The epochs of all tenants.
#[derive(Default)]
pub(crate) struct Purges {
    tenants: RwLock<HashMap<TenantId, watch::Sender<u64>>>,
}

impl Purges {
    /// Watches `tenant` from its present epoch on.
    pub(crate) fn watch(&self, tenant: &TenantId) -> PurgeWatch {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(epoch) = tenants.get(tenant) {
            return PurgeWatch::new(epoch);
        }
        drop(tenants);
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        PurgeWatch::new(tenants.entry(tenant.clone()).or_default())
    }

    /// Raises the epoch of `tenant` and answers the new one.
    pub(crate) fn purge(&self, tenant: &TenantId) -> u64 {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let epoch = tenants.entry(tenant.clone()).or_default();
        epoch.send_modify(|epoch| *epoch += 1);
        *epoch.borrow()
    }
}

/// Tells whether a tenant's keys were purged since it was made. Cheap to ask before every chunk.
#[derive(Debug, Clone)]
pub struct PurgeWatch {
    receiver: watch::Receiver<u64>,
    epoch: u64,
}

impl PurgeWatch {
    fn new(sender: &watch::Sender<u64>) -> Self {
        let receiver = sender.subscribe();
        let epoch = *receiver.borrow();
        Self { receiver, epoch }
    }

    /// Whether there was a purge.
    #[must_use]
    pub fn is_purged(&self) -> bool {
        *self.receiver.borrow() != self.epoch
    }

    /// Waits for a purge. Never returns if there is none.
    pub async fn purged(&mut self) {
        while !self.is_purged() {
            if self.receiver.changed().await.is_err() {
                // The keyring is gone: nobody is left who could purge.
                std::future::pending::<()>().await;
            }
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }
}
