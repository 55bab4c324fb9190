//! Every unwrap, before it is asked for and before its key is handed out; every KEK that is made.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keyreel_keys::{Clock, MintedKek, ObserverError, ProviderError, UnwrapAttempt, UnwrapObserver};
use keyreel_library::Catalogue;

use super::{AuditLog, Event};

/// Writes what the keyring does to the audit log. If it cannot be written, nothing is unwrapped.
pub struct AuditObserver {
    log: AuditLog,
}

impl AuditObserver {
    /// An observer that writes to `catalogue`.
    #[must_use]
    pub fn new(catalogue: Arc<dyn Catalogue>, clock: Arc<dyn Clock>) -> Self {
        Self {
            log: AuditLog::new(catalogue, clock),
        }
    }
}

#[async_trait]
impl UnwrapObserver for AuditObserver {
    async fn before(&self, attempt: &UnwrapAttempt) -> Result<(), ObserverError> {
        self.log
            .record(event("key.unwrap.requested", attempt))
            .await
            .map_err(ObserverError::new)
    }

    async fn after(
        &self,
        attempt: &UnwrapAttempt,
        outcome: Result<(), &ProviderError>,
        latency: Duration,
    ) -> Result<(), ObserverError> {
        let event = match outcome {
            Ok(()) => event("key.unwrapped", attempt),
            Err(error) => event("key.unwrap.refused", attempt)
                .outcome(error.class.as_str())
                .field("code", error.code.clone()),
        };
        let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.log
            .record(event.field("latencyMs", latency_ms))
            .await
            .map_err(ObserverError::new)
    }

    async fn minted(&self, kek: &MintedKek) -> Result<(), ObserverError> {
        let mut event = Event::new("key.minted", &kek.subject)
            .tenant(&kek.tenant)
            .field("provider", kek.provider.as_str())
            .field("kek", kek.kek.as_str())
            .field("algorithm", kek.algorithm.clone())
            .field("requestId", kek.request_id.clone());
        if let Some(configuration) = &kek.configuration {
            event = event.field("configuration", configuration.clone());
        }
        self.log.record(event).await.map_err(ObserverError::new)
    }
}

fn event(action: &'static str, attempt: &UnwrapAttempt) -> Event {
    Event::new(action, &attempt.subject)
        .tenant(&attempt.tenant)
        .recording(&attempt.recording)
        .field("provider", attempt.provider.as_str())
        .field("kek", attempt.kek.as_str())
        .field("algorithm", attempt.algorithm.clone())
        .field("generation", attempt.generation)
        .field("purpose", attempt.purpose.as_str())
        .field("requestId", attempt.request_id.clone())
}
