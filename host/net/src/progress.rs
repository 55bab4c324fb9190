//! Whether somebody takes what is sent to them: a TCP connection as a whole, and each stream of
//! HTTP/2, where the one reads on while the other waits for the client's leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Whether something handed over waits for the other end, and how much has not.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Handed>);

#[derive(Debug, Default)]
struct Handed {
    count: AtomicU64,
    waiting: AtomicBool,
}

impl Progress {
    /// Something waits from now on.
    pub fn waits(&self) {
        self.0.waiting.store(true, Ordering::Relaxed);
    }

    /// What waited was taken.
    pub fn moves(&self) {
        self.0.waiting.store(false, Ordering::Relaxed);
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns when something has waited for at least `limit`; at most a quarter more.
    pub async fn stalled(&self, limit: Duration) {
        self.lasts(limit, || self.0.waiting.load(Ordering::Relaxed))
            .await;
    }

    /// Returns when `state` was seen throughout `limit`, and nothing moved; at most a quarter more.
    pub async fn lasts(&self, limit: Duration, state: impl Fn() -> bool) {
        let mut seen = self.0.count.load(Ordering::Relaxed);
        let mut times = 0;
        loop {
            tokio::time::sleep(limit / 4).await;
            let count = self.0.count.load(Ordering::Relaxed);
            let lasting = state() && count == seen;
            seen = count;
            times = if lasting { times + 1 } else { 0 };
            if times > 4 {
                return;
            }
        }
    }
}
