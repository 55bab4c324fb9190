//! axum's extractors, with problems for rejections.

use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts;
use keyreel_format::RecordingId;
use serde::de::DeserializeOwned;

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

/// The same whether it never was or is another tenant's.
pub(crate) fn no_recording() -> Problem {
    Problem::new(
        Code::NotFound,
        "There is no such recording, or it is not yours to hear.",
    )
}
