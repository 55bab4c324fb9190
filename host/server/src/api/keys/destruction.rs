//! `/api/v1/tenants/{id}/destructions`: crypto-shredding, and the certificates of it.
//! Not for: doing it (see `keyreel_library::destruction`).

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use keyreel_format::{KekId, ProviderId, RecordingId};
use keyreel_library::destruction::{DestructionError, DestructionStep};
use keyreel_library::{Destruction, DestructionScope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::purge::named;
use super::{by, to_its_end};
use crate::access::{Admin, Holding};
use crate::api::JsonBody;
use crate::api::model::time;
use crate::api::session::private;
use crate::problem::{Code, Problem, ProblemDetails};
use crate::request::RequestInfo;
use crate::state::App;

/// What is to be destroyed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Scope {
    /// All that the organisation has: its keys, its recordings, its configurations.
    Tenant,
    /// A key that is not the current one, and the recordings that need it: a retention period.
    Key {
        /// Which plugin holds it.
        provider: String,
        /// Its id.
        id: String,
    },
    /// Some recordings, at most 1000. All others are moved to the current key first; every key but
    /// the current one is destroyed then, disabled ones too.
    Recordings {
        /// Their ids.
        ids: Vec<String>,
    },
}

impl Scope {
    fn parse(self) -> Result<DestructionScope, Problem> {
        let bad = |what: &str, error: String| {
            Problem::new(Code::BadRequest, format!("scope: {what}: {error}."))
        };
        match self {
            Self::Tenant => Ok(DestructionScope::Tenant),
            Self::Key { provider, id } => Ok(DestructionScope::Key {
                provider: ProviderId::parse(&provider)
                    .map_err(|error| bad("provider", error.to_string()))?,
                id: KekId::parse(&id).map_err(|error| bad("id", error.to_string()))?,
            }),
            Self::Recordings { ids } => {
                let ids = ids.iter().map(|id| RecordingId::parse(id));
                let ids = ids.collect::<Result<Vec<_>, _>>();
                let ids = ids.map_err(|error| bad("ids", error.to_string()))?;
                Ok(DestructionScope::Recordings { ids })
            }
        }
    }
}

impl From<DestructionScope> for Scope {
    fn from(scope: DestructionScope) -> Self {
        match scope {
            DestructionScope::Tenant => Self::Tenant,
            DestructionScope::Key { provider, id } => Self::Key {
                provider: provider.to_string(),
                id: id.to_string(),
            },
            DestructionScope::Recordings { ids } => Self::Recordings {
                ids: ids.iter().map(ToString::to_string).collect(),
            },
        }
    }
}

/// What somebody thinks of destroying.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewInput {
    /// What.
    scope: Scope,
}

/// What it would take.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Preview {
    /// What has to be typed: it names the loss.
    confirm: String,
    /// Whether another administrator has to confirm it.
    needs_two_people: bool,
}

/// What somebody wants to have destroyed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DestructionInput {
    /// What.
    scope: Scope,
    /// What the preview says, typed by a person.
    confirm: String,
    /// Why: it is in the certificate and in the audit log. No personal data.
    reason: String,
}

/// A destruction, asked for or done.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestructionStatus {
    /// Its id.
    id: String,
    /// What.
    scope: Scope,
    /// Why.
    reason: String,
    /// "requested" (another administrator has to confirm it), "running", "halted" (see `lastError`;
    /// it can be resumed), "done", or "cancelled".
    state: &'static str,
    /// Who asked for it.
    requested_by: String,
    /// When.
    requested_at: String,
    /// Who confirmed or cancelled it.
    decided_by: Option<String>,
    /// When.
    decided_at: Option<String>,
    /// How many recordings are lost: as it was confirmed, and as it was when it ran.
    recordings: u64,
    /// The keystore's epoch that began with it.
    keystore_epoch: Option<u64>,
    /// What is in its way.
    last_error: Option<String>,
    /// When it was done or cancelled.
    ended_at: Option<String>,
    /// Whether there is a certificate.
    certified: bool,
}

impl From<Destruction> for DestructionStatus {
    fn from(destruction: Destruction) -> Self {
        Self {
            id: destruction.id,
            scope: destruction.scope.into(),
            reason: destruction.reason,
            state: destruction.state.as_str(),
            requested_by: destruction.requested_by,
            requested_at: time(destruction.requested_ms),
            decided_by: destruction.decided_by,
            decided_at: destruction.decided_ms.map(time),
            recordings: destruction
                .plan
                .map_or(destruction.lost, |plan| plan.recordings),
            keystore_epoch: destruction.epoch,
            last_error: destruction.last_error,
            ended_at: destruction.ended_ms.map(time),
            certified: destruction.certificate.is_some(),
        }
    }
}

/// All of a tenant's.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Destructions {
    /// Newest first.
    entities: Vec<DestructionStatus>,
}

impl From<DestructionError> for Problem {
    fn from(error: DestructionError) -> Self {
        let code = match &error {
            DestructionError::NotConfirmed { .. } | DestructionError::Invalid(_) => {
                Code::BadRequest
            }
            DestructionError::Unknown { .. } => Code::NotFound,
            DestructionError::Current { .. }
            | DestructionError::State { .. }
            | DestructionError::Busy { .. } => Code::Conflict,
            DestructionError::SamePerson => Code::Denied,
            DestructionError::Catalogue(_) => {
                return match error {
                    DestructionError::Catalogue(error) => error.into(),
                    other => Self::new(Code::Internal, "The server failed.").inward(other),
                };
            }
            _ => Code::Internal,
        };
        let text = error.to_string();
        let mut letters = text.chars();
        let capital = letters.next().map(|first| first.to_uppercase());
        let capital = capital.into_iter().flatten().chain(letters);
        Self::new(code, format!("{}.", capital.collect::<String>()))
    }
}

/// Where two people are needed, a token counts for none: one person may hold several.
fn a_person(app: &App, admin: &Holding<Admin>) -> Result<(), Problem> {
    let account = &admin.access().identity().credential.user;
    if app.destroyer().needs_two_people() && account.is_none() {
        return Err(Problem::new(
            Code::Denied,
            "Two people have to agree to this: sign in with an account. A token cannot.",
        ));
    }
    Ok(())
}

/// What it would take to have something destroyed. Changes nothing.
#[utoipa::path(post, path = "/api/v1/tenants/{id}/destructions/preview", tag = "keys", request_body = PreviewInput,
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "What has to be typed", body = Preview),
    (status = 400, description = "`bad-request`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`conflict`: it is the current key", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn preview(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
    JsonBody(input): JsonBody<PreviewInput>,
) -> Result<Response, Problem> {
    let tenant = named(&admin, &id, &info)?;
    let destroyer = app.destroyer();
    let confirm = destroyer.phrase(&tenant, &input.scope.parse()?).await?;
    Ok(private(Json(Preview {
        confirm,
        needs_two_people: destroyer.needs_two_people(),
    })))
}

/// Has something destroyed for good, in every copy there is of its keys, backups included. It is
/// recorded first, runs in the background, survives restarts, and ends with a signed certificate.
/// Where two people are needed it waits for another administrator, and both use accounts: a token may
/// neither ask for it nor confirm it.
#[utoipa::path(post, path = "/api/v1/tenants/{id}/destructions", tag = "keys", request_body = DestructionInput,
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 202, description = "It runs, or waits to be confirmed", body = DestructionStatus),
    (status = 400, description = "`bad-request`: `confirm` is not what was to be typed, or there is no reason", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`: where two people have to agree, to a token too", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`conflict`: it is the current key, or another destruction has not ended", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn create(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
    JsonBody(input): JsonBody<DestructionInput>,
) -> Result<Response, Problem> {
    let tenant = named(&admin, &id, &info)?;
    let scope = input.scope.parse()?;
    a_person(&app, &admin)?;
    let by = by(admin.access(), &info);
    to_its_end(async move {
        let said = (input.confirm.as_str(), input.reason.as_str());
        let asked = app.destroyer().request(&tenant, scope, said, &by).await?;
        let status = Json(DestructionStatus::from(asked));
        Ok((StatusCode::ACCEPTED, private(status)).into_response())
    })
    .await
}

/// All destructions of the tenant, newest first.
#[utoipa::path(get, path = "/api/v1/tenants/{id}/destructions", tag = "keys",
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "All of them", body = Destructions),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's tenant", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn list(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let tenant = named(&admin, &id, &info)?;
    let all = app.destroyer().all(&tenant).await?;
    let entities = all.into_iter().map(DestructionStatus::from).collect();
    Ok(private(Json(Destructions { entities })))
}

/// Confirms what another administrator asked for (`confirm`: it begins), calls off what nobody has
/// confirmed or what something is in the way of (`cancel`: what is gone by then stays gone), or has one
/// that something was in the way of go on (`resume`).
#[utoipa::path(post, path = "/api/v1/tenants/{id}/destructions/{destruction}/{step}", tag = "keys",
    params(("id" = String, Path, description = "The tenant's id"), ("destruction" = String, Path, description = "The destruction's id"),
        ("step" = String, Path, description = "`confirm`, `cancel` or `resume`")),
    responses(
    (status = 200, description = "How it is now", body = DestructionStatus),
    (status = 400, description = "`bad-request`: there is no such step", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`: to confirm also to whoever asked for it, and to tokens", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`conflict`: it does not wait for that", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn decide(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path((id, destruction, step)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let tenant = named(&admin, &id, &info)?;
    let step = match step.as_str() {
        "confirm" => DestructionStep::Confirm,
        "cancel" => DestructionStep::Cancel,
        "resume" => DestructionStep::Resume,
        _ => {
            let detail = "A destruction is confirmed, cancelled or resumed.";
            return Err(Problem::new(Code::BadRequest, detail));
        }
    };
    if step == DestructionStep::Confirm {
        a_person(&app, &admin)?;
    }
    let by = by(admin.access(), &info);
    to_its_end(async move {
        let now = app.destroyer().decide(&tenant, &destruction, step, &by);
        Ok(private(Json(DestructionStatus::from(now.await?))))
    })
    .await
}

/// The certificate of destruction: a DSSE envelope, signed with Ed25519 by the key that
/// `keyreel audit key` prints.
#[utoipa::path(get, path = "/api/v1/tenants/{id}/destructions/{destruction}/certificate", tag = "keys",
    params(("id" = String, Path, description = "The tenant's id"), ("destruction" = String, Path, description = "The destruction's id")),
    responses(
    (status = 200, description = "The envelope", content_type = "application/json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`conflict`: it is not done", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn certificate(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path((id, destruction)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let tenant = named(&admin, &id, &info)?;
    let found = app.destroyer().one(&tenant, &destruction).await?;
    let envelope = found
        .certificate
        .ok_or_else(|| Problem::new(Code::Conflict, "It is not done: there is no certificate."))?;
    // The id is a UUID: the name needs no escaping.
    let name = format!(
        "attachment; filename=\"certificate-of-destruction-{}.json\"",
        found.id
    );
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok(private((headers, envelope)))
}
