//! axum's extractors, with problems for rejections.

use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts;
use keyreel_format::RecordingId;
use keyreel_library::Recording;
use serde::de::DeserializeOwned;

use crate::access::{AtLeast, Holding};
use crate::problem::{Code, Problem};
use crate::state::App;

/// A JSON body.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let axum::Json(body) = axum::Json::from_request(request, app).await?;
        Ok(Self(body))
    }
}

/// A query.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let axum::extract::Query(query) =
            axum::extract::Query::from_request_parts(parts, app).await?;
        Ok(Self(query))
    }
}

/// A recording's id in the path. What cannot be one does not exist.
pub(crate) struct Id(pub(crate) RecordingId);

impl FromRequestParts<App> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, app).await;
        path.ok()
            .and_then(|axum::extract::Path(id)| RecordingId::parse(&id).ok())
            .map(Self)
            .ok_or_else(no_recording)
    }
}

/// Whose recording an id means, for people with roles in several tenants.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Whose {
    /// Of this tenant. Needed only where several of the caller's tenants have a recording of this
    /// id.
    tenant: Option<String>,
}

impl Whose {
    /// Of a tenant, where one is named.
    pub(crate) fn of(tenant: Option<String>) -> Self {
        Self { tenant }
    }

    /// The recording that an id means among the caller's tenants.
    pub(crate) async fn recording(
        &self,
        app: &App,
        holder: &Holding<impl AtLeast>,
        id: &RecordingId,
    ) -> Result<Recording, Problem> {
        let mut found = None;
        for tenant in holder.tenants_or(self.tenant.as_deref()) {
            let tenants = std::slice::from_ref(&tenant);
            let Some(recording) = app.catalogue().recording(tenants, id).await? else {
                continue;
            };
            if found.replace(recording).is_some() {
                return Err(Problem::new(
                    Code::Ambiguous,
                    "Several of your organisations have a recording of this id. Say whose you \
                     mean, with the query parameter tenant.",
                ));
            }
        }
        found.ok_or_else(no_recording)
    }
}

/// The same whether it never was or is another tenant's.
pub(crate) fn no_recording() -> Problem {
    Problem::new(
        Code::NotFound,
        "There is no such recording, or it is not yours to hear.",
    )
}
