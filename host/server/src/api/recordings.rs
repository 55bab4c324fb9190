//! Finding recordings.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use keyreel_format::{ProviderId, wrap::WrapAlgorithm};
use keyreel_library::{Media, RecordingQuery};

use super::extract::no_recording;
use super::model::{
    MarkedSpan, Protection, RecordingDetail, RecordingPage, RecordingSummary, SealedPart,
};
use super::session::private;
use super::{Id, Query, Whose, paging};
use crate::access::{Agent, Holding};
use crate::problem::{Code, Problem, ProblemDetails};
use crate::request::RequestInfo;
use crate::state::App;

/// Which recordings.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// How many on a page, 1 to 200; 50 unless said.
    limit: Option<u32>,
    /// Where the page before ended; opaque.
    cursor: Option<String>,
    /// Of this tenant.
    tenant: Option<String>,
    /// Of this kind: "call", "chat", "email", "message", "screen".
    #[param(value_type = Option<String>)]
    media: Option<Media>,
    /// Started at or after.
    from: Option<String>,
    /// Started before.
    to: Option<String>,
    /// Of this conversation.
    conversation_id: Option<String>,
    /// Whose key this provider holds.
    provider: Option<String>,
    /// Words, in any case, each of which stands whole in a participant's name or the subject, or is
    /// a participant's address, or is part of the queue or a label. A telephone number is found in
    /// any spelling that has its country: "+41 44 668 18 00".
    q: Option<String>,
}

/// Recordings of all the caller's tenants, newest first.
#[utoipa::path(get, path = "/api/v1/recordings", tag = "recordings", params(Filter), responses(
    (status = 200, description = "A page", body = RecordingPage),
    (status = 400, description = "`bad-request`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 410, description = "`destroyed`: the organisation's root key is gone", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "`integrity`: what the catalogue has of a recording was changed", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn list(
    State(app): State<App>,
    agent: Holding<Agent>,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let limit = paging::limit(filter.limit)?;
    let q = filter
        .q
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty());
    if q.is_some_and(|text| text.chars().count() > MAX_TEXT) {
        return Err(Problem::new(Code::BadRequest, "q: at most 200 characters."));
    }
    let provider =
        match &filter.provider {
            Some(text) => Some(ProviderId::parse(text).map_err(|invalid| {
                Problem::new(Code::BadRequest, format!("provider: {invalid}."))
            })?),
            None => None,
        };
    let query = RecordingQuery {
        tenants: agent.tenants_or(filter.tenant.as_deref()),
        media: filter.media,
        from_ms: paging::moment("from", filter.from.as_deref())?,
        to_ms: paging::moment("to", filter.to.as_deref())?,
        conversation_id: filter.conversation_id.clone(),
        provider,
        text: q.map(str::to_owned),
        cursor: filter.cursor.clone(),
        limit,
    };
    let page = app.catalogue().recordings(&query).await?;
    let media = filter.media.and_then(|m| serde_json::to_value(m).ok());
    let next_uri = paging::next_uri(
        "/api/v1/recordings",
        page.next.as_deref(),
        limit,
        &[
            ("tenant", filter.tenant.as_deref()),
            ("media", media.as_ref().and_then(serde_json::Value::as_str)),
            ("from", filter.from.as_deref()),
            ("to", filter.to.as_deref()),
            ("conversationId", filter.conversation_id.as_deref()),
            ("provider", filter.provider.as_deref()),
            ("q", q),
        ],
    );
    let entities = page.items.iter().map(RecordingSummary::from).collect();
    Ok(private(Json(RecordingPage { entities, next_uri })))
}

/// One recording.
#[utoipa::path(get, path = "/api/v1/recordings/{id}", tag = "recordings",
    params(("id" = String, Path, description = "The recording's id"), Whose),
    responses(
    (status = 200, description = "The recording", body = RecordingDetail),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another tenant's", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`ambiguous`: several of the caller's tenants have this id; name one with `tenant`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 410, description = "`destroyed`: the organisation's root key is gone", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "`integrity`: what the catalogue has of a recording was changed", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn show(
    State(app): State<App>,
    info: RequestInfo,
    agent: Holding<Agent>,
    Id(id): Id,
    Query(whose): Query<Whose>,
) -> Result<Response, Problem> {
    let recording = whose.recording(&app, &agent, &id).await?;
    info.of(&recording.tenant);
    let tenant = app
        .catalogue()
        .tenant(&recording.tenant)
        .await?
        .ok_or_else(no_recording)?;
    let algorithm = WrapAlgorithm::parse(&recording.wrap_algorithm).ok();
    let protection = Protection {
        provider: recording.provider.to_string(),
        provider_name: app.provider_name(&recording.provider),
        kek_id: recording.kek.to_string(),
        wrap_algorithm: recording.wrap_algorithm.clone(),
        strength: algorithm
            .map_or("unknown", WrapAlgorithm::strength)
            .to_owned(),
        legacy: algorithm.is_some_and(WrapAlgorithm::is_legacy),
        policy: tenant.policy.as_str().to_owned(),
        body_cipher: "AES-256-GCM (Cobblestone-256)".to_owned(),
        generation: recording.generation,
    };
    Ok(private(Json(RecordingDetail {
        summary: RecordingSummary::from(&recording),
        spans: recording
            .details
            .spans
            .iter()
            .map(MarkedSpan::from)
            .collect(),
        parts: recording.parts.iter().map(SealedPart::from).collect(),
        protection,
    })))
}

const MAX_TEXT: usize = 200;
