//! The audit log, as the server writes it: before whatever it tells of is given out.
//! Not for: reading it (see `api::audit`), nor for the request log.

mod observer;
pub(crate) mod plays;

use std::sync::Arc;

use keyreel_format::{RecordingId, TenantId};
use keyreel_keys::Clock;
use keyreel_library::{AuditEvent, By, Catalogue};
use serde_json::{Map, Value};

pub use observer::AuditObserver;

/// Writes audit events.
#[derive(Clone)]
pub(crate) struct AuditLog {
    catalogue: Arc<dyn Catalogue>,
    clock: Arc<dyn Clock>,
}

/// An event could not be written. What it tells of must not happen.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the audit log cannot be written: {source}")]
pub(crate) struct AuditError {
    #[source]
    source: Arc<keyreel_library::Error>,
}

impl AuditLog {
    pub(crate) fn new(catalogue: Arc<dyn Catalogue>, clock: Arc<dyn Clock>) -> Self {
        Self { catalogue, clock }
    }

    /// Writes one event, durably.
    pub(crate) async fn record(&self, event: Event) -> Result<(), AuditError> {
        self.record_all(vec![event]).await
    }

    /// Writes down how a change of keys ended. Where the log fails only now, what was done stands:
    /// that it was begun is in it, and the server's own log says the rest.
    pub(crate) async fn conclude(&self, event: Event) {
        let (action, outcome) = (event.action, event.outcome.clone());
        let request_id = event.fields.get("requestId").cloned();
        let request_id = request_id.as_ref().and_then(Value::as_str);
        if let Err(error) = self.record(event).await {
            tracing::error!(
                request_id,
                action,
                outcome,
                %error,
                "how a change of keys ended could not be recorded"
            );
        }
    }

    /// Writes events, all or none.
    pub(crate) async fn record_all(&self, events: Vec<Event>) -> Result<(), AuditError> {
        let now_ms = self.clock.now_ms();
        let events: Vec<AuditEvent> = events
            .into_iter()
            .map(|event| event.stamped(now_ms))
            .collect();
        self.catalogue
            .append_audit(&events)
            .await
            .map_err(|error| AuditError {
                source: Arc::new(error),
            })
    }
}

/// An event on its way into the log.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    action: &'static str,
    tenant: Option<TenantId>,
    subject: String,
    recording: Option<RecordingId>,
    outcome: String,
    fields: Map<String, Value>,
}

impl Event {
    /// Something that `subject` did, and that succeeded.
    pub(crate) fn new(action: &'static str, subject: &str) -> Self {
        Self {
            action,
            tenant: None,
            subject: subject.to_owned(),
            recording: None,
            outcome: "ok".to_owned(),
            fields: Map::new(),
        }
    }

    /// What was done with a tenant's keys, on somebody's behalf.
    pub(crate) fn of_keys(action: &'static str, tenant: &TenantId, by: &By) -> Self {
        Self {
            fields: by.fields(),
            ..Self::new(action, &by.asker.subject).tenant(tenant)
        }
    }

    /// The same of another action.
    pub(crate) fn renamed(mut self, action: &'static str) -> Self {
        self.action = action;
        self
    }

    pub(crate) fn tenant(mut self, tenant: &TenantId) -> Self {
        self.tenant = Some(tenant.clone());
        self
    }

    pub(crate) fn recording(mut self, recording: &RecordingId) -> Self {
        self.recording = Some(recording.clone());
        self
    }

    pub(crate) fn outcome(mut self, outcome: &str) -> Self {
        self.outcome = outcome.to_owned();
        self
    }

    pub(crate) fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    fn stamped(self, now_ms: u64) -> AuditEvent {
        AuditEvent {
            tenant: self.tenant,
            recording: self.recording,
            outcome: self.outcome,
            fields: self.fields,
            ..AuditEvent::new(self.action, now_ms, &self.subject)
        }
    }
}
