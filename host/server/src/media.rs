//! `/media/{grant}/{file}`: sealed bytes in, verified plaintext out.
//!
//! ```text
//! grant → who, which part → Plan → header → DEK → Reader → first chunk → status line → body
//! ```
//! Not for: making grants (see `api`).

mod asking;
mod buffers;
mod conditions;
mod headers;
mod multipart;
mod open;
mod plan;
mod range;
mod sealed;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, Method, StatusCode, header};
use keyreel_library::{CredentialKind, Part, Recording, Role};
use keyreel_net::Abort;

use crate::access::{Identity, Presented};
use crate::api::{media_file_name, part_kind};
use crate::grants::Grant;
use crate::problem::{Code, Problem};
use crate::request::{RequestInfo, within};
use crate::settings::LimitSettings;
use crate::state::{App, Shared};

use open::Listener;
use plan::Plan;
pub(crate) use sealed::Library;
use sealed::Sealed;

/// The routes.
pub(crate) fn routes(limits: &LimitSettings) -> Router<App> {
    // GET answers HEAD as well: the same headers, decided before any key is touched.
    Router::new()
        .route("/media/{grant}/{file}", get(play))
        .layer(middleware::from_fn_with_state(
            limits.request_timeout(),
            within,
        ))
}

async fn play(
    State(app): State<App>,
    method: Method,
    Path((grant, file)): Path<(String, String)>,
    headers: HeaderMap,
    info: RequestInfo,
    axum::Extension(abort): axum::Extension<Abort>,
) -> Response {
    let mut response = match answer(&app, &method, &grant, &file, &headers, &info, abort).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    headers::protect(response.headers_mut());
    response
}

async fn answer(
    app: &App,
    method: &Method,
    grant: &str,
    file: &str,
    headers: &HeaderMap,
    info: &RequestInfo,
    abort: Abort,
) -> Result<Response, Problem> {
    let grant = app.grants().verify(grant, app.clock().now_ms())?;
    info.of(&grant.tenant);
    let identity = app.holder(&grant, headers).await?;
    let recording = app.recording(&grant.tenant, &grant.recording).await?;
    let recording = recording.ok_or_else(no_media)?;
    let (recording, part, sealed) = find(app, recording, &grant, file).await?;
    let listener = Listener {
        app: app.clone(),
        recording: recording.clone(),
        part: part.name.clone(),
        grant,
        subject: identity.subject.clone(),
        request_id: info.id().to_owned(),
        abort,
    };
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(problem) => return Err(listener.note_damage(problem).await),
    };
    let validators = sealed.validators();
    let len = sealed.plaintext_len();
    let plan = Plan::new(method, headers, validators, len);
    let mut response = match &plan {
        Plan::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Plan::PreconditionFailed => Problem::new(
            Code::PreconditionFailed,
            "The recording is another version than asked for.",
        )
        .into_response(),
        Plan::Unsatisfiable => Problem::new(
            Code::RangeNotSatisfiable,
            "The recording has no byte of this range.",
        )
        .into_response(),
        Plan::Full | Plan::Single(_) | Plan::Multi(_) => {
            let layout = multipart::Layout::new(&plan, part.content_type.as_str(), len);
            let mut response = Response::new(Body::empty());
            *response.status_mut() = layout.status;
            layout.describe(response.headers_mut());
            if *method == Method::GET {
                let body = listener.open(sealed.clone(), layout.segments).await?;
                *response.body_mut() = Body::new(body);
            }
            response
        }
    };
    headers::describe(response.headers_mut(), &plan, validators, len);
    Ok(response)
}

/// The part that a URL names, with its sealed object. Where that is not what was expected, the
/// recording may have been re-wrapped since its row was read: once more then.
async fn find(
    app: &App,
    mut recording: Arc<Recording>,
    grant: &Grant,
    file: &str,
) -> Result<(Arc<Recording>, Part, Result<Arc<Sealed>, Problem>), Problem> {
    let mut part = named(&recording, grant, file)?.clone();
    let mut sealed = app.library().sealed(&recording, &part).await;
    if sealed.is_err()
        && let Some(newer) = app.newer(&recording).await
    {
        recording = newer;
        part = named(&recording, grant, file)?.clone();
        sealed = app.library().sealed(&recording, &part).await;
    }
    Ok((recording, part, sealed))
}

/// The part that a URL names, if the grant opens it.
fn named<'a>(recording: &'a Recording, grant: &Grant, file: &str) -> Result<&'a Part, Problem> {
    recording
        .parts
        .iter()
        .find(|part| {
            part_kind(&part.name).is_some_and(|kind| grant.parts.contains(kind))
                && media_file_name(&part.name, &part.content_type) == file
        })
        .ok_or_else(no_media)
}

fn no_media() -> Problem {
    Problem::new(
        Code::NotFound,
        "There is no such recording, or not this part of it.",
    )
}

impl Shared {
    /// Who holds a grant, if whoever asks is that one and still may.
    async fn holder(&self, grant: &Grant, headers: &HeaderMap) -> Result<Arc<Identity>, Problem> {
        let made_with = Presented {
            kind: grant.kind,
            sha256: grant.credential,
        };
        let shown = match grant.kind {
            CredentialKind::Session => Presented::cookie(headers),
            CredentialKind::Bearer | CredentialKind::Link
                if headers.contains_key(header::AUTHORIZATION) =>
            {
                Presented::read(headers)
            }
            CredentialKind::Bearer | CredentialKind::Link => self
                .settings()
                .playback
                .bare_grants
                .then(|| made_with.clone()),
        };
        match shown {
            None => {
                return Err(Problem::new(
                    Code::Unauthenticated,
                    "This URL is good only together with the session or token that asked for it.",
                ));
            }
            Some(shown) if shown != made_with => {
                return Err(Problem::new(
                    Code::Denied,
                    "This URL was made for another session or token.",
                ));
            }
            Some(_) => {}
        }
        let identity = self.door().identify(&made_with).await?.ok_or_else(|| {
            Problem::new(Code::Unauthenticated, "The session or token has ended.")
        })?;
        if identity.role(&grant.tenant) < Some(Role::Agent) {
            return Err(Problem::new(
                Code::Denied,
                "You may no longer hear this recording.",
            ));
        }
        Ok(identity)
    }

    /// Whether a grant's holder still may listen. A catalogue that does not answer takes nobody's
    /// recording away: the next range asks again.
    pub(crate) async fn still_may(&self, grant: &Grant) -> bool {
        let made_with = Presented {
            kind: grant.kind,
            sha256: grant.credential,
        };
        match self.door().identify(&made_with).await {
            Ok(Some(identity)) => identity.role(&grant.tenant) >= Some(Role::Agent),
            Ok(None) => false,
            Err(_) => true,
        }
    }
}
