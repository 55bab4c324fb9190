//! `/api/v1/tenants/{id}/keys/recovery`: the tenant's recovery key, public half only.
//! Not for: setting it (see `keyreel_library::RecoveryKeys`), nor for its private half, ever.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use keyreel_library::RecoveryStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::purge::named;
use super::{by, to_its_end};
use crate::access::{Admin, Holding, no_tenant};
use crate::api::JsonBody;
use crate::api::model::time;
use crate::api::session::private;
use crate::problem::{Problem, ProblemDetails};
use crate::request::RequestInfo;
use crate::rotation::strength_bits;
use crate::state::App;

/// A public key whose owner keeps the private half offline.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RecoveryKeyInput {
    /// The public half, PEM: RSA of 3072 bits or more, or MLKEM1024-P384 as `keyreel recovery new`
    /// writes it, which policy "aes256" asks for. A private half is refused.
    public_key: String,
}

/// A tenant's recovery key, and how many recordings it opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryKeyStatus {
    /// The key; `null`: there is none.
    key: Option<RecoveryKeyVersion>,
    /// How many recordings there are that a key of the tenant opens.
    recordings: u64,
    /// How many of them the recovery key does not open, because they came in, or were re-wrapped
    /// last, before it was set. A re-wrap takes them along. Without a key: all of them.
    lacking: u64,
    /// How many of those are wrapped to a former recovery key. A re-wrap drops it.
    former: u64,
}

/// A recovery key's public side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecoveryKeyVersion {
    /// Its fingerprint: the first 32 hexadecimal digits of the SHA-256 of the public key.
    id: String,
    /// How DEKs are wrapped to it.
    wrap_algorithm: String,
    /// What that is worth: 128 or 256.
    strength_bits: u16,
    /// When it was set.
    date_created: String,
}

impl From<RecoveryStatus> for RecoveryKeyStatus {
    fn from(status: RecoveryStatus) -> Self {
        let key = status.key.map(|key| RecoveryKeyVersion {
            id: key.id.to_string(),
            wrap_algorithm: key.algorithm.name().to_owned(),
            strength_bits: strength_bits(key.algorithm),
            date_created: time(key.created_ms),
        });
        Self {
            key,
            recordings: status.recordings,
            lacking: status.lacking,
            former: status.former,
        }
    }
}

/// The tenant's recovery key: whether there is one, and how many recordings lack it.
#[utoipa::path(get, path = "/api/v1/tenants/{id}/keys/recovery", tag = "keys",
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "The recovery key", body = RecoveryKeyStatus),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's tenant", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn show(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let tenant = named(&admin, &id, &info)?;
    let status = app.recovery_keys().status(&tenant).await?;
    Ok(private(Json(RecoveryKeyStatus::from(status))))
}

/// Sets or replaces the tenant's recovery key. Whoever has its private half can open every
/// recording that is taken in or re-wrapped from now on, wherever a copy of it lies. Those from
/// before follow with a re-wrap, which drops the former one.
#[utoipa::path(put, path = "/api/v1/tenants/{id}/keys/recovery", tag = "keys", request_body = RecoveryKeyInput,
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "It is set", body = RecoveryKeyStatus),
    (status = 400, description = "`bad-request`: no such public key, or one below the tenant's policy", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's tenant", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`conflict`: the tenant's policy was changed meanwhile", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn set(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
    JsonBody(input): JsonBody<RecoveryKeyInput>,
) -> Result<Response, Problem> {
    let tenant = app.catalogue().tenant(&named(&admin, &id, &info)?).await?;
    let tenant = tenant.ok_or_else(no_tenant)?;
    let by = by(admin.access(), &info);
    to_its_end(async move {
        let set = app.recovery_keys().set(&tenant, &input.public_key, &by);
        Ok(private(Json(RecoveryKeyStatus::from(set.await?))))
    })
    .await
}

/// Leaves the tenant without a recovery key. Recordings that are wrapped to it stay so until they
/// are re-wrapped. No error where there is none.
#[utoipa::path(delete, path = "/api/v1/tenants/{id}/keys/recovery", tag = "keys",
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "There is none (any more)", body = RecoveryKeyStatus),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's tenant", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn remove(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let tenant = named(&admin, &id, &info)?;
    let by = by(admin.access(), &info);
    to_its_end(async move {
        let removed = app.recovery_keys().remove(&tenant, &by).await?;
        Ok(private(Json(RecoveryKeyStatus::from(removed))))
    })
    .await
}
