//! Small entries that outlive an instance: upstream tokens. Scoped to one plugin, one tenant and
//! one of its configurations; a configuration that is only tried has none.
//! Not for: anything that must not be forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keyreel_keys::TenantId;
use moka::sync::Cache;
use zeroize::Zeroizing;

use crate::bindings::keyreel::key_provider::session_cache::Host;
use crate::epoch::{Epoch, Remembered};
use crate::state::{CallState, Tenancy};

/// Tenants remembered per plugin.
const TENANTS: u64 = 10_000;
/// Entries per tenant.
const ENTRIES: usize = 32;
/// Bytes of a name.
const NAME_LEN: usize = 128;
/// Bytes of a value.
const VALUE_LEN: usize = 16 << 10;
/// The longest that an entry is kept.
const MAX_TTL_MS: u64 = 24 * 60 * 60 * 1000;

/// One plugin's entries. Gone with the plugin, so a plugin of another digest never sees them.
pub(crate) struct Sessions(Remembered<Scope, Arc<Mutex<Entries>>>);

/// A tenant, and the id of its configuration.
type Scope = (TenantId, Option<String>);

#[derive(Default)]
struct Entries(HashMap<String, Entry>);

struct Entry {
    value: Zeroizing<Vec<u8>>,
    expires_ms: u64,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        let idle = Duration::from_millis(MAX_TTL_MS);
        let entries = Cache::builder()
            .max_capacity(TENANTS)
            .time_to_idle(idle)
            .support_invalidation_closures()
            .build();
        Self(Remembered::new(entries))
    }

    /// To be asked when a call begins.
    pub(crate) fn epoch(&self) -> Epoch {
        self.0.epoch()
    }

    /// Forgets what one tenant has. What a call that is under way puts is forgotten too: it was
    /// got with what is no longer to be used.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        let owner = tenant.clone();
        self.0.purge(move |(tenant, _)| *tenant == owner);
    }

    fn with<T>(
        &self,
        tenant: &TenantId,
        configuration: Option<&str>,
        epoch: Epoch,
        f: impl FnOnce(&mut Entries) -> T,
    ) -> Option<T> {
        let scope = (tenant.clone(), configuration.map(str::to_owned));
        self.0.unless_purged(epoch, |all| {
            let entries = all.get_with(scope, Arc::default);
            let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
            f(&mut entries)
        })
    }
}

impl Entries {
    fn value(&self, name: &str, now_ms: u64) -> Option<Vec<u8>> {
        self.0
            .get(name)
            .filter(|entry| entry.expires_ms > now_ms)
            .map(|e| e.value.to_vec())
    }

    /// Where all places are taken, the entry that ends soonest gives way.
    fn put(&mut self, name: String, value: Vec<u8>, ttl_ms: u64, now_ms: u64) {
        let value = Zeroizing::new(value);
        if name.len() > NAME_LEN || value.len() > VALUE_LEN {
            return;
        }
        self.0.retain(|_, entry| entry.expires_ms > now_ms);
        if self.0.len() >= ENTRIES && !self.0.contains_key(&name) {
            let soonest = self.0.iter().min_by_key(|(_, entry)| entry.expires_ms);
            if let Some(soonest) = soonest.map(|(name, _)| name.clone()) {
                self.0.remove(&soonest);
            }
        }
        self.0.insert(
            name,
            Entry {
                value,
                expires_ms: now_ms + ttl_ms.min(MAX_TTL_MS),
            },
        );
    }
}

impl Host for CallState {
    async fn get(&mut self, name: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let now = self.count_and_tell_time();
        Ok(self
            .with_entries(|entries| entries.value(&name, now))
            .await
            .flatten())
    }

    async fn put(&mut self, name: String, value: Vec<u8>, ttl_ms: u32) -> wasmtime::Result<()> {
        let now = self.count_and_tell_time();
        self.with_entries(|entries| entries.put(name, value, ttl_ms.into(), now))
            .await;
        Ok(())
    }

    async fn remove(&mut self, name: String) -> wasmtime::Result<()> {
        self.count_host_call();
        self.with_entries(|entries| entries.0.remove(&name)).await;
        Ok(())
    }
}

impl CallState {
    fn count_and_tell_time(&mut self) -> u64 {
        self.count_host_call();
        self.plugin.host.clock.now_ms()
    }

    /// Pure calls have no tenant and so no entries; nor has a configuration that is tried; nor,
    /// from then on, a call during which its tenant's were forgotten.
    async fn with_entries<T>(&mut self, f: impl FnOnce(&mut Entries) -> T) -> Option<T> {
        let Tenancy {
            tenant,
            configured,
            epoch,
        } = self.purpose.tenancy()?;
        if configured.trial().is_some() {
            return None;
        }
        let sessions = &self.plugin.sessions;
        sessions.with(tenant, configured.id(), *epoch, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_puts_after_its_tenant_was_forgotten_is_not_kept() {
        let sessions = Sessions::new();
        let tenant = TenantId::parse("acme").unwrap();
        let put = |epoch| {
            sessions.with(&tenant, None, epoch, |entries| {
                entries.put("token".to_owned(), b"t".to_vec(), 1000, 0);
            })
        };
        let kept = || {
            sessions.with(&tenant, None, sessions.epoch(), |entries| {
                entries.value("token", 0).is_some()
            })
        };
        let began = sessions.epoch();
        assert!(put(began).is_some());
        assert_eq!(kept(), Some(true));
        sessions.forget(&tenant);
        assert!(put(began).is_none());
        assert_eq!(kept(), Some(false));
    }

    #[test]
    fn entries_end() {
        let mut entries = Entries::default();
        entries.put("token".to_owned(), b"t".to_vec(), 1000, 5000);
        assert_eq!(entries.value("token", 5999).as_deref(), Some(&b"t"[..]));
        assert_eq!(entries.value("token", 6000), None);
    }

    #[test]
    fn entries_are_few_and_small() {
        let mut entries = Entries::default();
        for i in 0..100 {
            entries.put(format!("{i:03}"), vec![1], 1000 + i, 0);
        }
        assert_eq!(entries.0.len(), ENTRIES);
        assert!(entries.value("099", 0).is_some() && entries.value("000", 0).is_none());
        entries.put("large".to_owned(), vec![0; VALUE_LEN + 1], 1000, 0);
        assert!(entries.value("large", 0).is_none());
    }
}
