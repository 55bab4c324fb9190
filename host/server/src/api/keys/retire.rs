//! `POST /api/v1/tenants/{id}/keys/retire`: a key's end.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use keyreel_library::lost_recordings;
use serde::Deserialize;
use utoipa::ToSchema;

use super::model::{EncryptionKey, KeyName};
use super::purge::{cut, key, named};
use super::{by, to_its_end};
use crate::access::{Admin, Holding};
use crate::api::JsonBody;
use crate::api::session::private;
use crate::problem::{Code, Problem, ProblemDetails};
use crate::request::RequestInfo;
use crate::state::App;

/// Which KEK, and what may be lost with it.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct RetireInput {
    /// Which plugin holds it.
    provider: String,
    /// Its id.
    id: String,
    /// Where recordings still need it: "lose N recordings", with their number. They can never be
    /// opened again.
    confirm: Option<String>,
}

impl RetireInput {
    /// How many recordings may be lost; 0 where nothing is said that counts.
    fn lost(&self) -> u64 {
        let said = self.confirm.as_deref();
        said.and_then(lost_recordings).unwrap_or(0)
    }
}

/// Retires a key for good: it opens nothing any more, and what Keyreel holds of its private half is
/// deleted. Only once no recording needs it (re-wrap them first), or with the number of recordings
/// that are lost in `confirm`. Never the current key.
#[utoipa::path(post, path = "/api/v1/tenants/{id}/keys/retire", tag = "keys", request_body = RetireInput,
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "The key, retired", body = EncryptionKey),
    (status = 400, description = "`bad-request`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`; also a loss, where two people have to agree to it", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's tenant; `key-not-found`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`key-in-use`: so many recordings need it, and `confirm` does not name that number; `conflict`: it is the current one", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`, `audit-unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn retire(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
    JsonBody(input): JsonBody<RetireInput>,
) -> Result<Response, Problem> {
    let tenant = named(&admin, &id, &info)?;
    let lost = input.lost();
    if lost > 0 && app.destroyer().needs_two_people() {
        return Err(Problem::new(
            Code::Denied,
            "Two people have to agree to a loss here: ask for the key to be destroyed instead.",
        ));
    }
    let name = KeyName {
        provider: input.provider,
        id: input.id,
    };
    let (provider, kek) = key(&name)?;
    let by = by(admin.access(), &info);
    to_its_end(async move {
        let rewrapper = app.rewrapper();
        let retired = rewrapper.retire(&tenant, (&provider, &kek), lost, &by);
        let retired = retired.await?;
        if lost > 0 {
            cut(&app, &tenant).await;
        }
        Ok(private(Json(EncryptionKey::new(&retired, None))))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::RetireInput;

    #[test]
    fn only_the_very_words_confirm_a_loss() {
        let table = [
            (Some("lose 12 recordings"), 12),
            (Some("lose 1 recordings"), 1),
            (Some("lose 12 recordings "), 0),
            (Some("Lose 12 recordings"), 0),
            (Some("lose +12 recordings"), 0),
            (Some("lose  recordings"), 0),
            (Some("12"), 0),
            (None, 0),
        ];
        for (confirm, lost) in table {
            let input = RetireInput {
                provider: String::new(),
                id: String::new(),
                confirm: confirm.map(str::to_owned),
            };
            assert_eq!(input.lost(), lost, "{confirm:?}");
        }
    }
}
