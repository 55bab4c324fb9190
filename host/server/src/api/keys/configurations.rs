//! `/api/v2/recording/keyconfigurations`: where a tenant's key service is.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use keyreel_keys::{Configured, Registered, RegistrationError};

use super::model::{EncryptionConfigurationInput, RecordingEncryptionConfiguration};
use super::pages::{Listing, PageQuery};
use super::{asker, by, row, to_its_end};
use crate::access::Administered;
use crate::api::session::private;
use crate::api::{JsonBody, Query};
use crate::problem::{Problem, ProblemDetails};
use crate::request::RequestInfo;
use crate::state::App;

const PATH: &str = "/api/v2/recording/keyconfigurations";

/// The tenant's key services, newest first.
#[utoipa::path(get, path = "/api/v2/recording/keyconfigurations", tag = "keys", params(PageQuery), responses(
    (status = 200, description = "A page", body = Listing<RecordingEncryptionConfiguration>),
    (status = 400, description = "`bad-request`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn list(
    State(app): State<App>,
    administered: Administered,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let all = app.catalogue().key_configurations(&row(&administered).id);
    let all = all.await.map_err(RegistrationError::from)?;
    let all = all.iter().map(RecordingEncryptionConfiguration::from);
    Ok(private(Json(query.page(PATH, all.collect())?)))
}

/// Registers a key service, after it was asked.
///
/// LocalKeyManager: it is probed (`OPTIONS`) and saved; register a key pair with
/// `POST /api/v2/recording/localkeys` next. KmsSymmetric: a key pair is minted under the KMS key, a
/// sample is wrapped and opened, and new recordings use it from then on. Native: Keyreel makes and
/// keeps a new key pair, and new recordings use it from then on.
#[utoipa::path(post, path = "/api/v2/recording/keyconfigurations", tag = "keys",
    request_body = EncryptionConfigurationInput,
    params(("tenant" = Option<String>, Query, description = "The tenant, where the token administers several")),
    responses(
    (status = 200, description = "It works, and is saved", body = RecordingEncryptionConfiguration),
    (status = 400, description = "`bad-request`: it cannot work; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`; `key-denied`, `key-disabled`: the key service says no; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`key-not-found`: the key service does not know the key", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`conflict`: the policy was changed meanwhile; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 410, description = "`destroyed`: the organisation's keys were", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 502, description = "`provider-malformed`: the key service's answer makes no sense; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`, `throttled`, `audit-unavailable`; nothing was saved, unless it says that it may be", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, description = "`timeout`; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn create(
    State(app): State<App>,
    info: RequestInfo,
    administered: Administered,
    JsonBody(input): JsonBody<EncryptionConfigurationInput>,
) -> Result<Response, Problem> {
    let new = input.into_new()?;
    to_its_end(async move {
        let by = by(administered.access(), &info);
        let registrations = app.keys().registrations()?;
        let made = registrations.create(row(&administered), new, &by);
        Ok(shown(made.await?))
    })
    .await
}

/// Asks a key service as `create` does. Nothing is saved.
#[utoipa::path(post, path = "/api/v2/recording/keyconfigurations/validate", tag = "keys",
    request_body = EncryptionConfigurationInput,
    params(("tenant" = Option<String>, Query, description = "The tenant, where the token administers several")),
    responses(
    (status = 200, description = "The key service answers", body = RecordingEncryptionConfiguration),
    (status = 400, description = "`bad-request`: it cannot work", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`; `key-denied`, `key-disabled`: the key service says no", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`key-not-found`: the key service does not know the key", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 502, description = "`provider-malformed`: the key service's answer makes no sense", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`, `throttled`, `audit-unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, description = "`timeout`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn validate(
    State(app): State<App>,
    info: RequestInfo,
    administered: Administered,
    JsonBody(input): JsonBody<EncryptionConfigurationInput>,
) -> Result<Response, Problem> {
    let new = input.into_new()?;
    let by = by(administered.access(), &info);
    let registrations = app.keys().registrations()?;
    let checked = registrations.check(row(&administered), new, &by);
    Ok(shown(checked.await?))
}

/// One key service, with what is wrong with it just now.
#[utoipa::path(get, path = "/api/v2/recording/keyconfigurations/{id}", tag = "keys",
    params(("id" = String, Path, description = "The configuration's id"),
        ("tenant" = Option<String>, Query, description = "The tenant, where the token administers several")),
    responses(
    (status = 200, description = "The configuration", body = RecordingEncryptionConfiguration),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another tenant's", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn show(
    State(app): State<App>,
    info: RequestInfo,
    administered: Administered,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let tenant = &row(&administered).id;
    let found = app.catalogue().key_configuration(tenant, &id).await;
    let found = found.map_err(RegistrationError::from)?;
    let found = found.ok_or(RegistrationError::NoConfiguration { id })?;
    let configured = Configured::Saved(found.id.as_str().into());
    let asker = asker(administered.access(), &info);
    let last_error = app.keys().last_errors.get_with_by_ref(&found.id, async {
        let health = app
            .keyring()
            .health(tenant, &found.provider, configured, &asker);
        match health.await {
            Ok(health) if health.status == "ok" => None,
            Ok(health) => Some(health.detail),
            Err(error) => Some(Problem::of_key_service(error).detail().to_owned()),
        }
    });
    Ok(private(Json(RecordingEncryptionConfiguration {
        last_error: last_error.await,
        ..RecordingEncryptionConfiguration::from(&found)
    })))
}

/// Changes where a key service is found, or its API key, after it was asked there. Where it is found
/// at another origin, its secrets have to be sent again. The keys that were registered with it and
/// are in use must open samples; with KmsSymmetric and Native a new key pair is minted,
/// and new recordings use it from then on. Caches are emptied and open streams begin again.
#[utoipa::path(put, path = "/api/v2/recording/keyconfigurations/{id}", tag = "keys",
    request_body = EncryptionConfigurationInput,
    params(("id" = String, Path, description = "The configuration's id"),
        ("tenant" = Option<String>, Query, description = "The tenant, where the token administers several")),
    responses(
    (status = 200, description = "It works, and is saved", body = RecordingEncryptionConfiguration),
    (status = 400, description = "`bad-request`: it cannot work, or its origin is another and its secrets were not sent with it; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`; `key-denied`, `key-disabled`: the key service says no; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another tenant's; `key-not-found`: the key service does not know the key, nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`conflict`: the policy was changed meanwhile; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 410, description = "`destroyed`: the organisation's keys were", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 502, description = "`provider-malformed`: the key service's answer makes no sense; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`, `throttled`, `audit-unavailable`; nothing was saved, unless it says that it may be", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, description = "`timeout`; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn replace(
    State(app): State<App>,
    info: RequestInfo,
    administered: Administered,
    Path(id): Path<String>,
    JsonBody(input): JsonBody<EncryptionConfigurationInput>,
) -> Result<Response, Problem> {
    let new = input.into_new()?;
    to_its_end(async move {
        let by = by(administered.access(), &info);
        let registrations = app.keys().registrations()?;
        let made = registrations.replace(row(&administered), &id, new, &by);
        let made = made.await;
        app.keys().last_errors.invalidate(&id).await;
        Ok(shown(made?))
    })
    .await
}

fn shown(made: Registered) -> Response {
    private(Json(RecordingEncryptionConfiguration {
        warnings: made.warnings,
        ..RecordingEncryptionConfiguration::from(&made.configuration)
    }))
}
