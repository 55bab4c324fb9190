//! A bounded cache of secrets that forgets on time: nothing is served past its time to live or
//! past a purge, and what is forgotten is wiped then, not when memory is needed.
//! Not for: deciding what may be cached (see `dek_cache`, `vault`).
//!
//! moka bounds the number of entries and evicts them. The entry itself carries its end and the
//! epoch it belongs to, and its secret can be taken out of it: moka drops removed entries some
//! time later, which is too late for a key.

use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::sync::Cache;
use tokio::time::Instant;

use crate::purge::PurgeWatch;

/// Secrets by key.
pub(crate) struct SecretCache<K, V: 'static> {
    entries: Cache<K, Arc<Slot<V>>>,
}

impl<K, V> SecretCache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// A cache of at most `capacity` entries.
    pub(crate) fn new(capacity: u64) -> Self {
        let entries = Cache::builder()
            .max_capacity(capacity)
            .expire_after(ByItsOwn)
            .eviction_listener(|_, slot: Arc<Slot<V>>, _: RemovalCause| slot.wipe())
            .build();
        Self { entries }
    }

    /// The secret, if it was put in this epoch and its time is not over.
    pub(crate) fn get(&self, key: &K, epoch: u64) -> Option<Arc<V>> {
        let slot = self.entries.get(key)?;
        if slot.epoch == epoch && Instant::now() < slot.ends {
            return slot.secret();
        }
        slot.wipe();
        None
    }

    /// When the secret's time is over, if it is there.
    pub(crate) fn ends(&self, key: &K, epoch: u64) -> Option<Instant> {
        let slot = self.entries.get(key)?;
        (slot.epoch == epoch).then_some(slot.ends)
    }

    /// Keeps a secret for `ttl`.
    pub(crate) fn insert(&self, key: K, secret: Arc<V>, epoch: u64, ttl: Duration) {
        if ttl.is_zero() {
            return;
        }
        let ends = Instant::now() + ttl;
        let slot = Slot {
            secret: Mutex::new(Some(secret)),
            epoch,
            ends,
            ttl,
        };
        self.entries.insert(key, Arc::new(slot));
    }

    /// As [`SecretCache::insert`], for what was opened under `watch`: unless there was a purge since.
    /// That one may have come before the entry, which would never be served but would lie there.
    pub(crate) fn keep(&self, key: K, secret: Arc<V>, watch: &PurgeWatch, ttl: Duration)
    where
        K: Clone,
    {
        self.insert(key.clone(), secret, watch.epoch(), ttl);
        if watch.is_purged() {
            self.forget(&key);
        }
    }

    /// Wipes the entry, whatever its epoch.
    pub(crate) fn forget(&self, key: &K) {
        if let Some(slot) = self.entries.get(key) {
            slot.wipe();
        }
    }

    /// Wipes every entry whose key is `chosen` and whose epoch is before `epoch`.
    pub(crate) fn purge(&self, epoch: u64, chosen: impl Fn(&K) -> bool) {
        for (key, slot) in &self.entries {
            if slot.epoch < epoch && chosen(&key) {
                slot.wipe();
            }
        }
    }

    /// Wipes what is over. Without it an idle cache would keep its last keys.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        for (_, slot) in &self.entries {
            if now >= slot.ends {
                slot.wipe();
            }
        }
        self.entries.run_pending_tasks();
    }

    /// How many entries hold a secret.
    pub(crate) fn len(&self) -> usize {
        self.entries
            .iter()
            .filter(|(_, slot)| slot.secret().is_some())
            .count()
    }
}

struct Slot<V> {
    secret: Mutex<Option<Arc<V>>>,
    epoch: u64,
    ends: Instant,
    ttl: Duration,
}

impl<V> Slot<V> {
    fn secret(&self) -> Option<Arc<V>> {
        self.secret
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn wipe(&self) {
        let taken = self
            .secret
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(taken);
    }
}

struct ByItsOwn;

impl<K, V> moka::Expiry<K, Arc<Slot<V>>> for ByItsOwn {
    fn expire_after_create(
        &self,
        _: &K,
        slot: &Arc<Slot<V>>,
        _: std::time::Instant,
    ) -> Option<Duration> {
        Some(slot.ttl)
    }

    fn expire_after_update(
        &self,
        _: &K,
        slot: &Arc<Slot<V>>,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(slot.ttl)
    }
}
