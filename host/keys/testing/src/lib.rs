//! Parts for tests: a KEK store in memory, a provider in this process, an observer that remembers,
//! metadata keys without a keystore, a clock that is set.
//! Not for: production. The store forgets, and the provider has no sandbox.
//!
//! A crate of its own, and no feature of `keyreel-keys`: so what is tested is what is built for
//! users, once. `keyreel-keys` has it as a module for its own tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use keyreel_keys::{
    Clock, ErrorClass, MintedKek, ObserverError, ProviderError, UnwrapAttempt, UnwrapObserver,
};

mod metadata;
mod provider;
mod store;

pub use metadata::MemoryMetadataKeys;
pub use provider::{Behaviour, LocalProvider};
pub use store::{MemoryKekStore, Writing};

/// An observer that remembers, and fails on demand.
#[derive(Debug, Default)]
pub struct MemoryObserver {
    seen: Mutex<Vec<Seen>>,
    failing: Mutex<Failing>,
}

/// What an observer saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A provider is about to be asked.
    Before(UnwrapAttempt),
    /// It answered.
    After(UnwrapAttempt, Result<(), ErrorClass>),
    /// A KEK was made.
    Minted(MintedKek),
}

/// Which of its calls an observer fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Failing {
    /// None.
    #[default]
    Nothing,
    /// [`UnwrapObserver::before`].
    Before,
    /// [`UnwrapObserver::after`].
    After,
    /// [`UnwrapObserver::minted`].
    Minted,
    /// [`UnwrapObserver::before`], by a panic.
    Panics,
}

impl MemoryObserver {
    /// All that was seen, in order.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }

    /// From now on, fails these.
    pub fn fail(&self, failing: Failing) {
        *lock(&self.failing) = failing;
    }

    fn see(&self, seen: Seen, failing: Failing) -> Result<(), ObserverError> {
        if *lock(&self.failing) == failing {
            return Err(ObserverError::new("the disk is full"));
        }
        lock(&self.seen).push(seen);
        Ok(())
    }
}

#[async_trait]
impl UnwrapObserver for MemoryObserver {
    async fn before(&self, attempt: &UnwrapAttempt) -> Result<(), ObserverError> {
        assert_ne!(
            *lock(&self.failing),
            Failing::Panics,
            "it was told to panic"
        );
        self.see(Seen::Before(attempt.clone()), Failing::Before)
    }

    async fn after(
        &self,
        attempt: &UnwrapAttempt,
        outcome: Result<(), &ProviderError>,
        _: Duration,
    ) -> Result<(), ObserverError> {
        let outcome = outcome.map_err(|error| error.class);
        self.see(Seen::After(attempt.clone(), outcome), Failing::After)
    }

    async fn minted(&self, kek: &MintedKek) -> Result<(), ObserverError> {
        self.see(Seen::Minted(kek.clone()), Failing::Minted)
    }
}

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `now_ms`.
    #[must_use]
    pub fn at(now_ms: u64) -> Self {
        Self(AtomicU64::new(now_ms))
    }

    /// Puts it forward.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(by, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
