//! Reading the audit log, a page at a time or all of it as JSON lines.

use std::io;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, stream};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use keyreel_format::RecordingId;
use keyreel_library::{AuditQuery, AuditRecord, AuditScope};

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
    /// Done by this subject.
    subject: Option<String>,
    /// With this outcome: "ok", or an error class.
    outcome: Option<String>,
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
    let query = filter.query(&supervisor)?;
    let page = app.catalogue().audit(&query).await?;
    let next_uri = paging::next_uri(
        "/api/v1/audit",
        page.next.as_deref(),
        query.limit,
        &[
            ("tenant", filter.tenant.as_deref()),
            ("action", filter.action.as_deref()),
            ("recording", filter.recording.as_deref()),
            ("subject", filter.subject.as_deref()),
            ("outcome", filter.outcome.as_deref()),
            ("from", filter.from.as_deref()),
            ("to", filter.to.as_deref()),
        ],
    );
    let entities = page.items.into_iter().map(AuditEntry::from).collect();
    Ok(private(Json(AuditPage { entities, next_uri })))
}

/// All events of the tenants in which the caller is supervisor or administrator, newest first, one
/// JSON object a line, as in a page of `/api/v1/audit`. `limit` and `cursor` do not count. An answer
/// that breaks off is not whole.
#[utoipa::path(get, path = "/api/v1/audit/export", tag = "audit", params(Filter), responses(
    (status = 200, description = "JSON lines", body = AuditEntry, content_type = "application/x-ndjson"),
    (status = 400, description = "`bad-request`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn export(
    State(app): State<App>,
    supervisor: Holding<Supervisor>,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let first = AuditQuery {
        cursor: None,
        limit: EXPORTED_AT_ONCE,
        ..filter.query(&supervisor)?
    };
    // The first page before the status line, so that what is wrong with the question is said.
    let page = app.catalogue().audit(&first).await?;
    let start = Ok::<_, io::Error>(lines(page.items)?);
    let rest = stream::try_unfold((app, first, page.next), async |(app, query, next)| {
        let Some(cursor) = next else { return Ok(None) };
        let query = AuditQuery {
            cursor: Some(cursor),
            ..query
        };
        let page = app.catalogue().audit(&query).await;
        let page = page.map_err(io::Error::other)?;
        let lines = lines(page.items).map_err(|_| io::Error::other("an event is no JSON"))?;
        Ok::<_, io::Error>(Some((lines, (app, query, page.next))))
    });
    let body = Body::from_stream(stream::once(async { start }).chain(rest));
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CONTENT_DISPOSITION, "attachment; filename=\"audit.jsonl\""),
    ];
    Ok(private((headers, body).into_response()))
}

impl Filter {
    fn query(&self, supervisor: &Holding<Supervisor>) -> Result<AuditQuery, Problem> {
        let recording = match &self.recording {
            Some(text) => Some(RecordingId::parse(text).map_err(|invalid| {
                Problem::new(Code::BadRequest, format!("recording: {invalid}."))
            })?),
            None => None,
        };
        Ok(AuditQuery {
            scope: AuditScope::Tenants,
            tenants: supervisor.tenants_or(self.tenant.as_deref()),
            action: self.action.clone(),
            recording,
            subject: self.subject.clone(),
            outcome: self.outcome.clone(),
            from_ms: paging::moment("from", self.from.as_deref())?,
            to_ms: paging::moment("to", self.to.as_deref())?,
            cursor: self.cursor.clone(),
            limit: paging::limit(self.limit)?,
        })
    }
}

fn lines(records: Vec<AuditRecord>) -> Result<Bytes, Problem> {
    let mut lines = Vec::new();
    for record in records {
        let entry = AuditEntry::from(record);
        serde_json::to_writer(&mut lines, &entry).map_err(|error| {
            Problem::new(Code::Internal, "An event cannot be written as JSON.").inward(error)
        })?;
        lines.push(b'\n');
    }
    Ok(lines.into())
}

impl From<AuditRecord> for AuditEntry {
    fn from(record: AuditRecord) -> Self {
        let event = record.event;
        Self {
            id: event.id,
            at: time(event.at_ms),
            action: event.action,
            tenant: event.tenant.map(String::from),
            subject: event.subject,
            recording: event.recording.map(String::from),
            outcome: event.outcome,
            fields: event.fields,
            seq: record.seq,
            hash: record.hash.map(hex::encode),
        }
    }
}

const EXPORTED_AT_ONCE: u32 = 200;
