//! `GET /api/v1/tenants/{id}/keys…`: a tenant's keys, and who could hold them.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::purge::named;
use crate::access::{Admin, Holding, no_tenant};
use crate::api::session::private;
use crate::problem::{Problem, ProblemDetails};
use crate::request::RequestInfo;
use crate::rotation::TenantKeys;
use crate::state::App;

/// The plugins of this server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyProviders {
    /// By id.
    entities: Vec<KeyProviderEntry>,
}

/// A plugin that can hold a tenant's keys.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyProviderEntry {
    /// Its id here.
    id: String,
    /// What it calls itself.
    name: String,
    /// Its version.
    version: String,
    /// Whether it makes key pairs itself.
    mints_keks: bool,
    /// Names of the wrap algorithms that it opens.
    algorithms: Vec<String>,
    /// Names of the secrets that it reads.
    secrets: Vec<String>,
    /// JSON Schema of its configuration.
    #[schema(value_type = Object)]
    config_schema: Value,
}

/// The tenant's keys, newest first, whatever their state.
#[utoipa::path(get, path = "/api/v1/tenants/{id}/keys", tag = "keys",
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "The keys", body = TenantKeys),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's tenant", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn keys(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let tenant = named(&admin, &id, &info)?;
    let tenant = app.catalogue().tenant(&tenant).await?;
    let tenant = tenant.ok_or_else(no_tenant)?;
    Ok(private(Json(app.rotations().keys(&tenant).await?)))
}

/// The plugins that can hold the tenant's keys, and what a configuration of each says.
#[utoipa::path(get, path = "/api/v1/tenants/{id}/keys/providers", tag = "keys",
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "The plugins", body = KeyProviders),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's tenant", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn providers(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    named(&admin, &id, &info)?;
    let mut entities: Vec<_> = app
        .keyring()
        .providers()
        .map(|(id, plugin)| KeyProviderEntry {
            id: id.to_string(),
            name: plugin.name.clone(),
            version: plugin.version.clone(),
            mints_keks: plugin.mints_keks,
            algorithms: plugin.algorithms.clone(),
            secrets: plugin.secrets.clone(),
            config_schema: serde_json::from_str(&plugin.config_schema).unwrap_or_default(),
        })
        .collect();
    entities.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(private(Json(KeyProviders { entities })))
}
