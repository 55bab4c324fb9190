//! Reading the audit log.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use keyreel_format::RecordingId;
use keyreel_library::{AuditEvent, AuditQuery, AuditScope};

use super::model::{AuditEntry, AuditPage, time};
use super::session::private;
use super::{Query, paging};
use crate::access::{Holding, Supervisor};
use crate::problem::{Code, Problem, ProblemDetails};
use crate::state::App;

/// Which events.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// How many on a page, 1 to 200; 50 unless said.
    limit: Option<u32>,
    /// Where the page before ended; opaque.
    cursor: Option<String>,
    /// Of this tenant.
    tenant: Option<String>,
    /// This action: "play.started", "key.unwrapped", …
    action: Option<String>,
    /// Of this recording.
    recording: Option<String>,
    /// At or after.
    from: Option<String>,
    /// Before.
    to: Option<String>,
}

/// Events of the tenants in which the caller is supervisor or administrator, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(Filter), responses(
    (status = 200, description = "A page", body = AuditPage),
    (status = 400, description = "`bad-request`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn list(
    State(app): State<App>,
    supervisor: Holding<Supervisor>,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let limit = paging::limit(filter.limit)?;
    let recording =
        match &filter.recording {
            Some(text) => Some(RecordingId::parse(text).map_err(|invalid| {
                Problem::new(Code::BadRequest, format!("recording: {invalid}."))
            })?),
            None => None,
        };
    let query = AuditQuery {
        scope: AuditScope::Tenants,
        tenants: supervisor.tenants_or(filter.tenant.as_deref()),
        action: filter.action.clone(),
        recording,
        from_ms: paging::moment("from", filter.from.as_deref())?,
        to_ms: paging::moment("to", filter.to.as_deref())?,
        cursor: filter.cursor.clone(),
        limit,
    };
    let page = app.catalogue().audit(&query).await?;
    let next_uri = paging::next_uri(
        "/api/v1/audit",
        page.next.as_deref(),
        limit,
        &[
            ("tenant", filter.tenant.as_deref()),
            ("action", filter.action.as_deref()),
            ("recording", filter.recording.as_deref()),
            ("from", filter.from.as_deref()),
            ("to", filter.to.as_deref()),
        ],
    );
    let entities = page.items.into_iter().map(AuditEntry::from).collect();
    Ok(private(Json(AuditPage { entities, next_uri })))
}

impl From<AuditEvent> for AuditEntry {
    fn from(event: AuditEvent) -> Self {
        Self {
            id: event.id,
            at: time(event.at_ms),
            action: event.action,
            tenant: event.tenant.map(String::from),
            subject: event.subject,
            recording: event.recording.map(String::from),
            outcome: event.outcome,
            fields: event.fields,
        }
    }
}
