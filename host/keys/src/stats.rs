//! Counters of the keyring, for whoever exports metrics.
//! Not for: exporting them, nor for the audit log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keyreel_format::{ProviderId, TenantId};

use crate::gate::BreakerState;

/// What the keyring did since it started, and what it is doing.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct KeyringStats {
    /// Calls to providers: by provider, then by outcome ("ok", or an error class's name).
    pub unwraps: BTreeMap<(ProviderId, &'static str), UnwrapStats>,
    /// Requests answered from the cache.
    pub hits: u64,
    /// Requests that the cache could not answer. One that joins an unwrap which is denied to
    /// another subject counts again for its own.
    pub misses: u64,
    /// Of those, requests that joined an unwrap already under way.
    pub joined: u64,
    /// Requests answered with a refusal of a moment ago.
    pub refusal_hits: u64,
    /// Requests refused because a breaker was open.
    pub circuit_open: u64,
    /// Requests refused because too many were waiting.
    pub busy: u64,
    /// Purges.
    pub purges: u64,
    /// Unwraps under way.
    pub in_flight: usize,
    /// DEKs in the cache.
    pub cached: usize,
    /// Breakers that are not closed.
    pub breakers: Vec<(TenantId, ProviderId, BreakerState)>,
}

/// Calls with one outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnwrapStats {
    /// How many.
    pub count: u64,
    /// How long they took, together.
    pub total: Duration,
    /// How long the longest took.
    pub longest: Duration,
}

/// The counters behind a snapshot.
#[derive(Default)]
pub(crate) struct Counters {
    unwraps: Mutex<BTreeMap<(ProviderId, &'static str), UnwrapStats>>,
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) joined: Counter,
    pub(crate) refusal_hits: Counter,
    pub(crate) circuit_open: Counter,
    pub(crate) busy: Counter,
    pub(crate) purges: Counter,
}

impl Counters {
    pub(crate) fn unwrapped(&self, provider: &ProviderId, outcome: &'static str, took: Duration) {
        let mut unwraps = self.unwraps.lock().unwrap_or_else(PoisonError::into_inner);
        let stats = unwraps.entry((provider.clone(), outcome)).or_default();
        stats.count += 1;
        stats.total += took;
        stats.longest = stats.longest.max(took);
    }

    pub(crate) fn snapshot(&self) -> KeyringStats {
        KeyringStats {
            unwraps: self
                .unwraps
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            hits: self.hits.read(),
            misses: self.misses.read(),
            joined: self.joined.read(),
            refusal_hits: self.refusal_hits.read(),
            circuit_open: self.circuit_open.read(),
            busy: self.busy.read(),
            purges: self.purges.read(),
            ..KeyringStats::default()
        }
    }
}

/// Counts up.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
