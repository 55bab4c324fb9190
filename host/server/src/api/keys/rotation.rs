//! Changing the tenant's key: now, on a schedule, by policy.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use keyreel_format::TenantId;
use keyreel_keys::{KekRecord, Policy, RegistrationError};
use keyreel_library::RotationPeriod;
use serde::Deserialize;
use utoipa::ToSchema;

use super::model::EncryptionKey;
use super::purge::named;
use super::{by, row};
use crate::access::{Admin, Administered, Holding, no_tenant};
use crate::api::JsonBody;
use crate::api::session::private;
use crate::problem::{Code, Problem, ProblemDetails};
use crate::request::RequestInfo;
use crate::rotation::KeyRotationSchedule;
use crate::state::App;

/// How often the key is changed by itself.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct KeyRotationScheduleInput {
    /// "DISABLED", "DAILY", "WEEKLY", "MONTHLY" or "YEARLY".
    period: String,
}

/// Which algorithms new keys use.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct PolicyInput {
    /// "compatible": RSA-3072; "aes256": AES-256 strength throughout.
    policy: String,
}

/// Changes the tenant's key now: the provider makes a new key pair under the present configuration,
/// a sample is wrapped and opened, and new recordings use it from then on. Old recordings keep
/// theirs; nothing that plays is interrupted.
#[utoipa::path(post, path = "/api/v2/recording/recordingkeys", tag = "keys",
    params(("tenant" = Option<String>, Query, description = "The tenant, where the token administers several")),
    responses(
    (status = 200, description = "The new key, which is the tenant's current one now", body = EncryptionKey),
    (status = 400, description = "`bad-request`: the provider makes no key pairs; register a new one with POST /api/v2/recording/localkeys", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`; `key-denied`, `key-disabled`: the key service says no", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`key-not-found`: the key service does not know the key", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`conflict`: the key was changed by somebody else meanwhile, or is being changed just now", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 502, description = "`provider-malformed`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`, `throttled`, `circuit-open`, `audit-unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, description = "`timeout`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn rotate(
    State(app): State<App>,
    info: RequestInfo,
    administered: Administered,
) -> Result<Response, Problem> {
    let by = by(administered.access(), &info);
    let tenant = row(&administered);
    let record = app.rotations().rotate(tenant, &by).await?;
    shown(&app, &tenant.id, &record).await
}

/// How often the key is changed by itself, and how that goes.
#[utoipa::path(get, path = "/api/v2/recording/recordingkeys/rotationschedule", tag = "keys",
    params(("tenant" = Option<String>, Query, description = "The tenant, where the token administers several")),
    responses(
    (status = 200, description = "The schedule", body = KeyRotationSchedule),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn schedule(
    State(app): State<App>,
    administered: Administered,
) -> Result<Response, Problem> {
    let schedule = app.rotations().schedule(&row(&administered).id).await?;
    Ok(private(Json(schedule)))
}

/// Has the key changed by itself. Periods are the calendar's in UTC and count from now; the period
/// that is set already goes on as it is.
#[utoipa::path(put, path = "/api/v2/recording/recordingkeys/rotationschedule", tag = "keys",
    request_body = KeyRotationScheduleInput,
    params(("tenant" = Option<String>, Query, description = "The tenant, where the token administers several")),
    responses(
    (status = 200, description = "The schedule", body = KeyRotationSchedule),
    (status = 400, description = "`bad-request`: no such period, or the provider makes no key pairs", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`audit-unavailable`: it was not changed", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn set_schedule(
    State(app): State<App>,
    info: RequestInfo,
    administered: Administered,
    JsonBody(input): JsonBody<KeyRotationScheduleInput>,
) -> Result<Response, Problem> {
    let period = match input.period.as_str() {
        "DISABLED" => None,
        name => Some(RotationPeriod::of(name).ok_or_else(|| {
            let detail = "period: expected \"DISABLED\", \"DAILY\", \"WEEKLY\", \"MONTHLY\" or \
                          \"YEARLY\".";
            Problem::new(Code::BadRequest, detail)
        })?),
    };
    let tenant = row(&administered);
    let by = by(administered.access(), &info);
    app.rotations().set_schedule(tenant, period, &by).await?;
    Ok(private(Json(app.rotations().schedule(&tenant.id).await?)))
}

/// Changes which algorithms the tenant's keys use. A new key of that policy is made, tried and
/// current with the answer; old recordings keep theirs. Where it is so already, nothing is changed.
#[utoipa::path(post, path = "/api/v1/tenants/{id}/keys/policy", tag = "keys", request_body = PolicyInput,
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "The tenant's current key, of that policy", body = EncryptionKey),
    (status = 400, description = "`bad-request`: no such policy, the provider makes no key pairs, or the recovery key is below it", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`; `key-denied`, `key-disabled`: the key service says no", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's tenant; `key-not-found`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`conflict`: the key was changed by somebody else meanwhile, or is being changed just now", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 502, description = "`provider-malformed`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`, `throttled`, `circuit-open`, `audit-unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, description = "`timeout`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn change_policy(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
    JsonBody(input): JsonBody<PolicyInput>,
) -> Result<Response, Problem> {
    let tenant = named(&admin, &id, &info)?;
    let policy = [Policy::Compatible, Policy::Aes256]
        .into_iter()
        .find(|policy| policy.as_str() == input.policy)
        .ok_or_else(|| {
            let detail = "policy: expected \"compatible\" or \"aes256\".";
            Problem::new(Code::BadRequest, detail)
        })?;
    let tenant = app.catalogue().tenant(&tenant).await?;
    let tenant = tenant.ok_or_else(no_tenant)?;
    let by = by(admin.access(), &info);
    let changed = app.rotations().change_policy(&tenant, policy, &by);
    shown(&app, &tenant.id, &changed.await?).await
}

/// A key, with the configuration that it was made under.
async fn shown(app: &App, tenant: &TenantId, record: &KekRecord) -> Result<Response, Problem> {
    let configuration = match record.kek.configuration() {
        Some(id) => app.catalogue().key_configuration(tenant, id).await,
        None => Ok(None),
    };
    let configuration = configuration.map_err(RegistrationError::from)?;
    let key = EncryptionKey::new(record, configuration.as_ref());
    Ok(private(Json(key)))
}
