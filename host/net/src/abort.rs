//! Aborting a stream: what lies in its buffers is not delivered, and the client sees an error, never
//! a clean end. In HTTP/1.1 a stream is its connection; in HTTP/2 the others on it go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A handle on one connection or stream. Given to its requests, watched by the task that serves it.
#[derive(Debug, Clone, Default)]
pub struct Abort(Arc<State>);

#[derive(Debug, Default)]
struct State {
    aborted: AtomicBool,
    notify: Notify,
}

impl Abort {
    /// Ends it now.
    pub fn abort(&self) {
        self.0.aborted.store(true, Ordering::Release);
        self.0.notify.notify_one();
    }

    /// Whether it is to end with a reset.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.0.aborted.load(Ordering::Acquire)
    }

    /// Waits until it is.
    pub async fn aborted(&self) {
        if !self.is_aborted() {
            self.0.notify.notified().await;
        }
    }
}
