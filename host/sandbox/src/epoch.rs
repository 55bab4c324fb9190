//! A cache that stays empty of what a purge took out of it: what was read or made before a purge is
//! not kept after it.
//! Not for: connections (see `egress::pool`, which does the same).

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use moka::sync::Cache;

/// A cache, and how often it was purged.
pub(crate) struct Remembered<K, V> {
    entries: Cache<K, V>,
    /// Held while an entry is made: a purge comes before it or after it.
    purges: Mutex<Epoch>,
}

/// How often a cache was purged, over all tenants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

impl<K, V> Remembered<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// In `entries`, whose builder supports invalidation closures.
    pub(crate) fn new(entries: Cache<K, V>) -> Self {
        Self {
            entries,
            purges: Mutex::default(),
        }
    }

    /// To be asked before what is to be kept is read.
    pub(crate) fn epoch(&self) -> Epoch {
        *self.lock()
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.entries.get(key)
    }

    /// Does something with the entries, unless there was a purge since `epoch`.
    pub(crate) fn unless_purged<T>(
        &self,
        epoch: Epoch,
        keep: impl FnOnce(&Cache<K, V>) -> T,
    ) -> Option<T> {
        let now = self.lock();
        (*now == epoch).then(|| keep(&self.entries))
    }

    /// Forgets the entries whose keys are `chosen`, and lets nothing that is on its way come in.
    pub(crate) fn purge(&self, chosen: impl Fn(&K) -> bool + Send + Sync + 'static) {
        let mut now = self.lock();
        now.0 += 1;
        let forgotten = self
            .entries
            .invalidate_entries_if(move |key, _| chosen(key));
        if forgotten.is_err() {
            self.entries.invalidate_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Epoch> {
        self.purges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_purge_is_not_kept_after_it() {
        let cache = Cache::builder().support_invalidation_closures().build();
        let remembered = Remembered::new(cache);
        let keep = |key: &'static str, epoch| {
            remembered.unless_purged(epoch, |entries| entries.insert(key, 1));
        };
        let before = remembered.epoch();
        keep("a", before);
        keep("b", before);
        remembered.purge(|key| *key == "a");
        assert_eq!(
            (remembered.get(&"a"), remembered.get(&"b")),
            (None, Some(1))
        );
        keep("a", before);
        assert_eq!(remembered.get(&"a"), None, "it was on its way");
        keep("a", remembered.epoch());
        assert_eq!(remembered.get(&"a"), Some(1));
    }
}
