//! Signing in and out; who is signed in.

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use keyreel_format::TenantId;
use keyreel_library::{CredentialKind, Role};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::JsonBody;
use super::model::{Session, TenantAccess, TenantList, role_name, time};
use crate::access::{Access, Attempts, COOKIE_NAME, Caller, Identity, Refused, refuse_cross_site};
use crate::accounts;
use crate::audit::Event;
use crate::problem::{Code, Problem, ProblemDetails};
use crate::state::App;

/// By name and password, or by link.
#[derive(serde::Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum SignIn {
    /// With an account's password.
    Password {
        /// The account's name.
        name: String,
        /// Its password.
        password: String,
    },
    /// With what follows `#link=`.
    Link {
        /// The link's secret.
        link: String,
    },
}

/// Signs in and sets the pages' cookie.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = SignIn, responses(
    (status = 200, description = "Signed in; the cookie is set", body = Session),
    (status = 401, description = "`unauthenticated`: name, password or link is wrong", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "`too-many-attempts`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`audit-unavailable`, `unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    parts: Parts,
    JsonBody(sign_in): JsonBody<SignIn>,
) -> Result<Response, Problem> {
    refuse_cross_site(&parts, &app.settings().server)?;
    let (attempt, by) = match sign_in {
        SignIn::Password { name, password } => (
            Attempts::Password {
                name,
                password: Zeroizing::new(password),
            },
            "password",
        ),
        SignIn::Link { link } => (
            Attempts::Link {
                secret: Zeroizing::new(link),
            },
            "link",
        ),
    };
    let user = match app.door().sign_in(attempt, caller.own()).await {
        Ok(user) => user,
        // Only logged and counted, by the request log: otherwise whoever guesses fills the audit
        // log as fast as requests can be sent.
        Err(refused) if !is_audited(&refused, caller) => return Err(refused.problem),
        Err(refused) => {
            let subject = refused.user.as_ref().map_or("", |user| user.id.as_str());
            let event = Event::new("session.refused", subject)
                .outcome(refused.problem.code().as_str())
                .field("by", by)
                .field("address", caller.nearest().to_string());
            let roles = refused.user.as_ref().map_or(&[][..], |user| &user.roles);
            app.audit()
                .record_all(for_each_tenant(&event, roles))
                .await?;
            return Err(refused.problem);
        }
    };
    let ttl = app.settings().sessions.ttl();
    let issued = accounts::create_session(app.catalogue(), app.clock(), &user, ttl).await?;
    // A password that was changed while this one was being checked has ended all sessions but this.
    let now = app.catalogue().user(&user.id).await?;
    if now.is_none_or(|now| now.password_hash != user.password_hash) {
        app.catalogue().revoke_credential(&issued.id).await?;
        return Err(Problem::new(
            Code::Unauthenticated,
            "The account was changed just now. Sign in again.",
        ));
    }
    let event = Event::new("session.created", &user.id)
        .field("by", by)
        .field("session", issued.id.clone())
        .field("address", caller.nearest().to_string());
    if let Err(error) = app
        .audit()
        .record_all(for_each_tenant(&event, &user.roles))
        .await
    {
        // Nobody is let in unrecorded.
        app.catalogue().revoke_credential(&issued.id).await?;
        return Err(error.into());
    }
    let session = Session {
        subject: user.id,
        name: user.name,
        tenants: tenants_of(&app, &user.roles).await?,
        expires: issued.expires_ms.map(time),
    };
    let mut response = private(Json(session));
    let max_age = ttl.as_secs();
    if let Ok(cookie) = HeaderValue::from_str(&cookie_for(&issued.secret, max_age)) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Who is signed in.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses(
    (status = 200, description = "The session", body = Session),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn show(State(app): State<App>, access: Access) -> Result<Response, Problem> {
    Ok(private(Json(session_of(&app, access.identity()).await?)))
}

/// Signs out. The cookie is of no use to anybody from then on.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses(
    (status = 204, description = "Signed out"),
    (status = 400, description = "`bad-request`: a token is no session", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`: not from this origin", body = ProblemDetails, content_type = "application/problem+json"),
), security(("cookie" = [])))]
pub(crate) async fn end(State(app): State<App>, access: Access) -> Result<Response, Problem> {
    let identity = access.identity();
    let credential = &identity.credential;
    if credential.kind != CredentialKind::Session {
        return Err(Problem::new(
            Code::BadRequest,
            "A bearer token is not a session.",
        ));
    }
    app.catalogue().revoke_credential(&credential.id).await?;
    app.door().forget(&credential.secret_sha256).await;
    app.cut_credential(&credential.secret_sha256);
    let event =
        Event::new("session.ended", &identity.subject).field("session", credential.id.clone());
    app.audit()
        .record_all(for_each_tenant(&event, &identity.roles))
        .await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie_for("", 0)) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The tenants in which the caller has a role.
#[utoipa::path(get, path = "/api/v1/tenants", tag = "session", responses(
    (status = 200, description = "The tenants", body = TenantList),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn tenants(State(app): State<App>, access: Access) -> Result<Response, Problem> {
    let entities = tenants_of(&app, &access.identity().roles).await?;
    Ok(private(Json(TenantList { entities })))
}

/// The cookie, or with an empty secret its end.
fn cookie_for(secret: &str, max_age: u64) -> String {
    format!("{COOKIE_NAME}={secret}; Path=/; Max-Age={max_age}; HttpOnly; Secure; SameSite=Strict")
}

async fn session_of(app: &App, identity: &Identity) -> Result<Session, Problem> {
    Ok(Session {
        subject: identity.subject.clone(),
        name: identity.name.clone(),
        tenants: tenants_of(app, &identity.roles).await?,
        expires: identity.credential.expires_ms.map(time),
    })
}

async fn tenants_of(app: &App, roles: &[(TenantId, Role)]) -> Result<Vec<TenantAccess>, Problem> {
    let mut tenants = Vec::with_capacity(roles.len());
    for (id, role) in roles {
        // A role in a tenant that is gone is worth nothing.
        let Some(tenant) = app.catalogue().tenant(id).await? else {
            continue;
        };
        tenants.push(TenantAccess {
            id: tenant.id.to_string(),
            name: tenant.name,
            policy: tenant.policy.as_str().to_owned(),
            provider: tenant.provider.to_string(),
            role: role_name(*role),
        });
    }
    Ok(tenants)
}

/// Whether the audit log tells of a refusal: of those that the throttle has counted, and not of
/// those that it made. Where no address is known it counts by name only, so there only of known
/// accounts.
fn is_audited(refused: &Refused, caller: Caller) -> bool {
    let counted = refused.user.is_some() || caller.own().is_some();
    refused.problem.code() != Code::TooManyAttempts && counted
}

/// Every tenant's log says who came and went, so that its supervisors can read it.
fn for_each_tenant(event: &Event, roles: &[(TenantId, Role)]) -> Vec<Event> {
    if roles.is_empty() {
        return vec![event.clone()];
    }
    roles
        .iter()
        .map(|(tenant, _)| event.clone().tenant(tenant))
        .collect()
}

/// An answer that no cache keeps.
pub(super) fn private(body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-store"),
    );
    response
}

impl crate::state::Shared {
    /// Cuts the streams that a credential's grants opened.
    pub(crate) fn cut_credential(&self, sha256: &[u8; 32]) {
        for play in self.plays().streaming() {
            if play.grant().credential == *sha256 {
                play.cut();
            }
        }
    }
}
