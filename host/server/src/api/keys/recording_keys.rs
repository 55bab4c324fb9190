//! `/api/v2/recording/recordingkeys` and `/localkeys`: a tenant's KEKs.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use keyreel_keys::{OwnersKey, RegistrationError};
use keyreel_library::KekCount;

use super::model::{EncryptionKey, LocalKeyInput};
use super::pages::{Listing, PageQuery};
use super::{by, row, to_its_end};
use crate::access::Administered;
use crate::api::session::private;
use crate::api::{JsonBody, Query};
use crate::problem::{Problem, ProblemDetails};
use crate::request::RequestInfo;
use crate::state::App;

/// The tenant's keys, newest first; the one whose `state` is `current` seals, `previous` ones open old
/// recordings.
#[utoipa::path(get, path = "/api/v2/recording/recordingkeys", tag = "keys", params(PageQuery), responses(
    (status = 200, description = "A page", body = Listing<EncryptionKey>),
    (status = 400, description = "`bad-request`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn list(
    State(app): State<App>,
    administered: Administered,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let tenant = &row(&administered).id;
    let catalogue = app.catalogue();
    let keks = catalogue.keks(tenant).await;
    let keks = keks.map_err(RegistrationError::from)?;
    let known = catalogue.key_configurations(tenant).await;
    let known = known.map_err(RegistrationError::from)?;
    let needed = catalogue.recordings_by_kek(tenant).await?;
    let keys = keks.iter().map(|record| {
        let id = record.kek.configuration();
        let configuration = known.iter().find(|known| Some(known.id.as_str()) == id);
        EncryptionKey {
            recordings: Some(KekCount::of(&needed, record)),
            ..EncryptionKey::new(record, configuration)
        }
    });
    let page = query.page("/api/v2/recording/recordingkeys", keys.collect())?;
    Ok(private(Json(page)))
}

/// Registers a key pair whose private half stays in the Local Key Manager. A sample key is wrapped
/// with the public key and sent there; only if it comes back right does the key become the
/// tenant's, and new recordings use it from then on. Rotation is the same again with a new pair:
/// old pairs keep opening old recordings, so keep them.
#[utoipa::path(post, path = "/api/v2/recording/localkeys", tag = "keys", request_body = LocalKeyInput,
    params(("tenant" = Option<String>, Query, description = "The tenant, where the token administers several")),
    responses(
    (status = 200, description = "The key, which is the tenant's current one now", body = EncryptionKey),
    (status = 400, description = "`bad-request`: the public key or the id is none to use, or the Local Key Manager does not open what it seals", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`; `key-denied`, `key-disabled`: the Local Key Manager says no", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`: no such configuration; `key-not-found`: the Local Key Manager does not know the pair", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`conflict`: the key pair was registered before, or the policy was changed meanwhile", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 502, description = "`provider-malformed`: the Local Key Manager's answer makes no sense", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`, `throttled`, `circuit-open`, `audit-unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, description = "`timeout`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn register(
    State(app): State<App>,
    info: RequestInfo,
    administered: Administered,
    JsonBody(input): JsonBody<LocalKeyInput>,
) -> Result<Response, Problem> {
    to_its_end(async move {
        let key = OwnersKey {
            configuration: input.config_id,
            id: input.keypair_id,
            public_key: input.public_key,
        };
        let by = by(administered.access(), &info);
        let registrations = app.keys().registrations()?;
        let registered = registrations.register(row(&administered), &key, &by);
        let (record, configuration) = registered.await?;
        let key = EncryptionKey::new(&record, Some(&configuration));
        Ok(private(Json(key)))
    })
    .await
}
