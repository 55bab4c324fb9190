//! `POST /api/v1/tenants/{id}/keys/…`: taking keys away at once, and giving them back.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use keyreel_format::{KekId, ProviderId, TenantId};
use keyreel_keys::KeyError;
use serde::Serialize;
use utoipa::ToSchema;

use super::model::{EncryptionKey, KeyName};
use super::{event, to_its_end};
use crate::access::{Admin, Holding, no_tenant};
use crate::api::JsonBody;
use crate::api::session::private;
use crate::problem::{Code, Problem, ProblemDetails};
use crate::request::RequestInfo;
use crate::state::App;

/// What a purge did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Purged {
    /// Whose keys.
    tenant: String,
    /// How many plays were going on, and were cut.
    cut_plays: usize,
}

/// Empties the tenant's key caches at once and cuts its open streams at their next chunk. What may
/// still be opened is asked for again: this ends playback for good only where the key's owner now
/// says no. Without it, that is felt within the cache's time to live.
#[utoipa::path(post, path = "/api/v1/tenants/{id}/keys/purge", tag = "keys",
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "The caches are empty, the streams cut", body = Purged),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's tenant", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`audit-unavailable`: the purge was done, but could not be recorded", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn purge(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let tenant = named(&admin, &id, &info)?;
    to_its_end(async move {
        // First: it gives nothing out, and waiting for the log would.
        app.keyring().purge(&tenant);
        let cut_plays = cut(&app, &tenant).await;
        let event = event("keys.purged", &tenant, admin.access(), &info);
        let event = event.field("cutPlays", cut_plays);
        let recorded = app.audit().record(event).await;
        recorded.map_err(Problem::done_unrecorded)?;
        Ok(private(Json(Purged {
            tenant: tenant.to_string(),
            cut_plays,
        })))
    })
    .await
}

/// Disables one of the tenant's keys: it opens nothing from now on, whatever its owner's key service
/// says, and seals nothing either. Caches are emptied at once and open streams cut at their next
/// chunk. Where it was the current one, register or enable another before recordings come in.
#[utoipa::path(post, path = "/api/v1/tenants/{id}/keys/disable", tag = "keys", request_body = KeyName,
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "The key, disabled", body = EncryptionKey),
    (status = 400, description = "`bad-request`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`; `key-disabled`: it was retired", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's tenant; `key-not-found`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`audit-unavailable`: it was done, but could not be recorded; `unavailable`: the catalogue does not answer, and may still do it", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn disable(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
    JsonBody(name): JsonBody<KeyName>,
) -> Result<Response, Problem> {
    let tenant = named(&admin, &id, &info)?;
    let (provider, kek) = key(&name)?;
    to_its_end(async move {
        // First, as a purge is.
        let disabled = app.keyring().disable_kek(&tenant, &provider, &kek).await;
        let cut_plays = match &disabled {
            // Nothing was purged then.
            Err(KeyError::UnknownKek { .. } | KeyError::KekRetired { .. }) => 0,
            _ => cut(&app, &tenant).await,
        };
        let event = event("key.disabled", &tenant, admin.access(), &info)
            .field("provider", provider.as_str())
            .field("kek", kek.as_str())
            .field("cutPlays", cut_plays);
        match disabled {
            Ok(record) => {
                let recorded = app.audit().record(event).await;
                recorded.map_err(Problem::done_unrecorded)?;
                Ok(private(Json(EncryptionKey::new(&record, None))))
            }
            Err(error) => {
                let problem = Problem::of_switching(error);
                app.conclude(event, Some(&problem)).await;
                Err(problem)
            }
        }
    })
    .await
}

/// Enables a key that was disabled. The newest one of the tenant becomes the current one again,
/// unless there is another by now.
#[utoipa::path(post, path = "/api/v1/tenants/{id}/keys/enable", tag = "keys", request_body = KeyName,
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "The key, enabled", body = EncryptionKey),
    (status = 400, description = "`bad-request`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`; `key-disabled`: it was retired", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's tenant; `key-not-found`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`audit-unavailable`: it was not done; `unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn enable(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
    JsonBody(name): JsonBody<KeyName>,
) -> Result<Response, Problem> {
    let tenant = named(&admin, &id, &info)?;
    let (provider, kek) = key(&name)?;
    to_its_end(async move {
        let event = event("key.enable.requested", &tenant, admin.access(), &info)
            .field("provider", provider.as_str())
            .field("kek", kek.as_str());
        // Before: it lets recordings be opened.
        app.announce(event.clone()).await?;
        let enabled = app.keyring().enable_kek(&tenant, &provider, &kek).await;
        let enabled = enabled.map_err(Problem::of_switching);
        let event = event.renamed("key.enabled");
        app.conclude(event, enabled.as_ref().err()).await;
        Ok(private(Json(EncryptionKey::new(&enabled?, None))))
    })
    .await
}

/// The tenant of a path, if it is the caller's to administer.
pub(super) fn named(
    admin: &Holding<Admin>,
    id: &str,
    info: &RequestInfo,
) -> Result<TenantId, Problem> {
    let tenant = admin.tenants().iter().find(|tenant| tenant.as_str() == id);
    let tenant = tenant.ok_or_else(no_tenant)?;
    info.of(tenant);
    Ok(tenant.clone())
}

pub(super) fn key(name: &KeyName) -> Result<(ProviderId, KekId), Problem> {
    let bad = |detail: String| Problem::new(Code::BadRequest, detail);
    let provider =
        ProviderId::parse(&name.provider).map_err(|error| bad(format!("provider: {error}.")))?;
    let id = KekId::parse(&name.id).map_err(|error| bad(format!("id: {error}.")))?;
    Ok((provider, id))
}

/// Cuts the streams whose keys were purged, and lets go of what was derived from keys. How many
/// plays it cut.
pub(super) async fn cut(app: &App, tenant: &TenantId) -> usize {
    let mut cut = 0;
    for play in app.plays().streaming() {
        if play.grant().tenant == *tenant {
            play.cut_purged();
            cut += 1;
        }
    }
    app.library().forget_keys().await;
    cut
}
