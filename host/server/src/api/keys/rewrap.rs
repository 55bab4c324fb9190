//! `/api/v1/tenants/{id}/keys/rewrap`: moving a tenant's recordings to its current key.
//! Not for: doing it (see `keyreel_library::Rewrapper`).

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use keyreel_format::RecordingId;
use keyreel_library::{MAX_PER_SECOND, RewrapJob};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::by;
use super::purge::named;
use crate::access::{Admin, Holding};
use crate::api::JsonBody;
use crate::api::model::time;
use crate::api::session::private;
use crate::problem::{Code, Problem, ProblemDetails};
use crate::request::RequestInfo;
use crate::state::App;

/// How fast.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RewrapInput {
    /// How many recordings are taken on in a second at most; as before, or 50, without it.
    per_second: Option<u32>,
}

/// How a re-wrap fares.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RewrapStatus {
    /// "idle" (there never was one), "running", "done", "stopped", or "failed": it ended, and
    /// recordings are left.
    state: &'static str,
    /// How many recordings it is about.
    total: u64,
    /// How many were moved.
    done: u64,
    /// How many could not be moved. They are as they were, and are tried again next time.
    failed: u64,
    /// How many are taken on in a second at most.
    per_second: u32,
    /// When it was started.
    started_at: Option<String>,
    /// When it was last heard of.
    updated_at: Option<String>,
    /// When it ended.
    ended_at: Option<String>,
    /// What it waits for, or what went wrong last, in words.
    last_error: Option<String>,
    /// The first hundred of those that could not be moved.
    failures: Vec<RewrapFailure>,
}

/// A recording that could not be moved.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RewrapFailure {
    /// Which.
    recording: String,
    /// Why, as a problem's `code`.
    code: String,
    /// The same in words. The server's log has the details.
    reason: String,
}

impl From<Option<RewrapJob>> for RewrapStatus {
    fn from(job: Option<RewrapJob>) -> Self {
        let Some(job) = job else {
            return Self {
                state: "idle",
                total: 0,
                done: 0,
                failed: 0,
                per_second: keyreel_library::DEFAULT_PER_SECOND,
                started_at: None,
                updated_at: None,
                ended_at: None,
                last_error: None,
                failures: Vec::new(),
            };
        };
        let failure = |(id, class): (RecordingId, String)| {
            let code = code(&class);
            RewrapFailure {
                recording: id.to_string(),
                code: code.as_str().to_owned(),
                reason: in_words(code),
            }
        };
        Self {
            state: job.state.as_str(),
            total: job.total,
            done: job.done,
            failed: job.failed,
            per_second: job.per_second,
            started_at: Some(time(job.started_ms)),
            updated_at: Some(time(job.updated_ms)),
            ended_at: job.ended_ms.map(time),
            last_error: job.last_error.map(|class| in_words(code(&class))),
            failures: job.failures.into_iter().map(failure).collect(),
        }
    }
}

/// The problem of this class. What was written down before there were classes is read by nobody.
fn code(class: &str) -> Code {
    let mut all = Code::ALL.iter();
    let found = all.find(|code| code.as_str() == class);
    found.copied().unwrap_or(Code::Internal)
}

fn in_words(code: Code) -> String {
    match code {
        Code::NotFound => "A sealed file of this recording is not in the store.".to_owned(),
        _ => format!("{}.", code.title()),
    }
}

/// Moves the tenant's recordings from older keys to the current one, and to the recovery key if
/// there is one: each recording's key is unwrapped with the old key and wrapped with the new ones;
/// the recordings themselves are not touched, and play meanwhile. One that was stopped goes on. One
/// that runs goes on, at this pace. It survives restarts of the server.
#[utoipa::path(post, path = "/api/v1/tenants/{id}/keys/rewrap", tag = "keys", request_body = RewrapInput,
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "It runs", body = RewrapStatus),
    (status = 400, description = "`bad-request`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's tenant", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 500, description = "`config`: there is no current key", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn start(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
    JsonBody(input): JsonBody<RewrapInput>,
) -> Result<Response, Problem> {
    let tenant = &named(&admin, &id, &info)?;
    if let Some(per_second) = input.per_second
        && !(1..=MAX_PER_SECOND).contains(&per_second)
    {
        return Err(Problem::new(
            Code::BadRequest,
            format!("perSecond: expected 1 to {MAX_PER_SECOND}."),
        ));
    }
    let job = app
        .rewrapper()
        .start(tenant, &by(admin.access(), &info), input.per_second)
        .await?;
    Ok(private(Json(RewrapStatus::from(Some(job)))))
}

/// How the tenant's re-wrap fares, or the last one did.
#[utoipa::path(get, path = "/api/v1/tenants/{id}/keys/rewrap", tag = "keys",
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "How it fares", body = RewrapStatus),
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
    let tenant = &named(&admin, &id, &info)?;
    let job = app.rewrapper().job(tenant).await?;
    Ok(private(Json(RewrapStatus::from(job))))
}

/// Stops the tenant's re-wrap where it is. What was moved stays moved.
#[utoipa::path(delete, path = "/api/v1/tenants/{id}/keys/rewrap", tag = "keys",
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
    (status = 200, description = "It does not run (any more)", body = RewrapStatus),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another's tenant", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn stop(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let tenant = &named(&admin, &id, &info)?;
    let job = app
        .rewrapper()
        .stop(tenant, &by(admin.access(), &info))
        .await?;
    Ok(private(Json(RewrapStatus::from(job))))
}

#[cfg(test)]
mod tests {
    use keyreel_library::RewrapState;

    use super::*;

    #[test]
    fn what_the_library_says_of_a_failure_is_said_in_words_and_nothing_else_is() {
        let said = [
            "integrity",
            "not-found",
            "/srv/objects/acme/r1: os error 13",
        ];
        let failures = said.map(|class| ("r1".parse().unwrap(), class.to_owned()));
        let job = RewrapJob {
            state: RewrapState::Failed,
            subject: String::new(),
            total: 3,
            done: 0,
            failed: 3,
            failures: failures.to_vec(),
            per_second: 50,
            started_ms: 0,
            updated_ms: 0,
            ended_ms: Some(1),
            last_error: Some("unavailable".to_owned()),
            owner: None,
            lease_ms: 0,
        };
        let status = RewrapStatus::from(Some(job));
        let codes: Vec<_> = status.failures.iter().map(|of| of.code.as_str()).collect();
        assert_eq!(codes, ["integrity", "not-found", "internal"]);
        let words: Vec<_> = status.failures.iter().map(|of| &of.reason).collect();
        assert!(
            words.iter().all(|reason| !reason.contains("os error")),
            "{words:?}"
        );
        let waits = "A service that is needed does not answer.";
        assert_eq!(status.last_error.as_deref(), Some(waits));
    }

    /// Every class that a re-wrap gives is one of the server's codes.
    #[test]
    fn every_class_has_a_code() {
        for class in [
            "integrity",
            "not-found",
            "unavailable",
            "timeout",
            "throttled",
            "circuit-open",
            "audit-unavailable",
            "key-denied",
            "key-not-found",
            "key-disabled",
            "provider-malformed",
            "config",
            "internal",
        ] {
            assert_eq!(code(class).as_str(), class);
        }
    }
}
