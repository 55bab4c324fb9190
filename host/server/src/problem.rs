//! The one place where an error becomes HTTP: RFC 9457 problem details. What the caller reads and
//! what the operator reads are apart: a problem carries both, and only the first is ever sent.
//! Not for: deciding whether something is an error.

mod mapping;
mod words;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// An error on its way out. Rendered by the request layer, which knows the request's id.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    detail: String,
    inward: Option<String>,
    retry_after: Option<Duration>,
    key: Option<KeyTrouble>,
}

/// Which key service a problem is about, and whose turn it is.
#[derive(Debug, Clone)]
struct KeyTrouble {
    provider: Option<String>,
    turn: &'static str,
}

impl Problem {
    /// A problem with what the caller may read of it.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            code,
            detail: detail.into(),
            inward: None,
            retry_after: None,
            key: None,
        }))
    }

    /// Adds whose turn it is, and with which key provider.
    #[must_use]
    fn turn(self, turn: words::Turn, provider: Option<&keyreel_keys::ProviderId>) -> Self {
        let trouble = KeyTrouble {
            provider: provider.map(ToString::to_string),
            turn: turn.as_str(),
        };
        self.change(|inner| inner.key = Some(trouble))
    }

    /// Adds what operators read in the log: no key material, no secret, no grant.
    #[must_use]
    pub(crate) fn inward(self, text: impl fmt::Display) -> Self {
        self.change(|inner| inner.inward = Some(text.to_string()))
    }

    /// Adds when to try again.
    #[must_use]
    pub(crate) fn retry_after(self, after: Duration) -> Self {
        self.change(|inner| inner.retry_after = Some(after))
    }

    /// Its code.
    #[must_use]
    pub(crate) fn code(&self) -> Code {
        self.0.code
    }

    /// What the caller reads.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What operators read.
    pub(crate) fn inward_text(&self) -> Option<&str> {
        self.0.inward.as_deref()
    }

    /// The body, for a request.
    pub(crate) fn details(&self, request_id: &str) -> ProblemDetails {
        let code = self.code();
        ProblemDetails {
            r#type: format!("urn:keyreel:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            detail: self.0.detail.clone(),
            code: code.as_str().to_owned(),
            retry_after_seconds: self.retry_seconds(),
            provider: self.0.key.as_ref().and_then(|key| key.provider.clone()),
            turn: self.0.key.as_ref().map(|key| key.turn.to_owned()),
            request_id: request_id.to_owned(),
        }
    }

    /// The whole answer, for a request.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        let body = serde_json::to_vec(&self.details(request_id)).unwrap_or_default();
        let mut response = Response::new(axum::body::Body::from(body));
        *response.status_mut() = self.code().status();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_seconds() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code() == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    /// In whole seconds, at least one. Every 503 says when.
    fn retry_seconds(&self) -> Option<u64> {
        let default =
            (self.code().status() == StatusCode::SERVICE_UNAVAILABLE).then_some(DEFAULT_RETRY);
        self.0.retry_after.or(default).map(|after| {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            seconds.max(1)
        })
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        if Arc::get_mut(&mut self.0).is_none() {
            self.0 = Arc::new(Inner {
                code: self.0.code,
                detail: self.0.detail.clone(),
                inward: self.0.inward.clone(),
                retry_after: self.0.retry_after,
                key: self.0.key.clone(),
            });
        }
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }
}

/// Bare: the request layer replaces it by the rendered problem.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = self.code().status();
        response.extensions_mut().insert(self);
        response
    }
}

const DEFAULT_RETRY: Duration = Duration::from_secs(2);

/// What a client sees of an error, RFC 9457.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemDetails {
    /// "urn:keyreel:problem:" and the code.
    pub r#type: String,
    /// What this code means, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here, for a person to read.
    pub detail: String,
    /// Stable: what programs look at.
    pub code: String,
    /// When to try again, as in `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// Where a key cannot be had: the provider that was to open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Where a key cannot be had: whose turn it is, "key-owner" (whoever runs the key service),
    /// "administrator" (of the organisation) or "operator" (of this server).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<String>,
    /// Names this request in the server's log.
    pub request_id: String,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $status:ident, $title:literal;)*) => {
        /// What kind of problem. The texts are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As it stands in `code`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// What it means, in a few words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// Nobody is signed in, or a grant is not valid (any more).
    Unauthenticated, "unauthenticated", UNAUTHORIZED, "You are not signed in";
    /// Signed in, and not allowed.
    Denied, "denied", FORBIDDEN, "You may not do this";
    /// The key's owner says no.
    KeyDenied, "key-denied", FORBIDDEN, "The key service refuses to open this recording";
    /// The key is disabled.
    KeyDisabled, "key-disabled", FORBIDDEN, "The key of this recording is disabled";
    /// There is no such thing, or it is another tenant's.
    NotFound, "not-found", NOT_FOUND, "Not found";
    /// The key service does not know the key.
    KeyNotFound, "key-not-found", NOT_FOUND, "The key service does not know this recording's key";
    /// The method does not fit the path.
    MethodNotAllowed, "method-not-allowed", METHOD_NOT_ALLOWED, "This method is not allowed here";
    /// Shredded.
    Destroyed, "destroyed", GONE, "This recording has been destroyed";
    /// It is there already and is something else, or it was changed, or is being changed.
    Conflict, "conflict", CONFLICT, "It conflicts with the present state";
    /// Recordings still need the key.
    KeyInUse, "key-in-use", CONFLICT, "Recordings still need this key";
    /// A precondition failed.
    PreconditionFailed, "precondition-failed", PRECONDITION_FAILED, "A precondition failed";
    /// The body is too large.
    TooLarge, "too-large", PAYLOAD_TOO_LARGE, "The request is too large";
    /// A range that does not exist.
    RangeNotSatisfiable, "range-not-satisfiable", RANGE_NOT_SATISFIABLE, "No byte of this range exists";
    /// What is stored is not what was sealed.
    Integrity, "integrity", UNPROCESSABLE_ENTITY, "This recording is damaged or was changed";
    /// The request makes no sense.
    BadRequest, "bad-request", BAD_REQUEST, "The request is not valid";
    /// An id that several of the caller's tenants use.
    Ambiguous, "ambiguous", CONFLICT, "Several recordings have this id";
    /// Too many streams of one grant.
    TooManyStreams, "too-many-streams", TOO_MANY_REQUESTS, "Too many streams at once";
    /// Too many failed sign-ins.
    TooManyAttempts, "too-many-attempts", TOO_MANY_REQUESTS, "Too many failed attempts";
    /// Too many requests for a key service.
    Throttled, "throttled", SERVICE_UNAVAILABLE, "The key service is busy";
    /// Something that is needed does not answer.
    Unavailable, "unavailable", SERVICE_UNAVAILABLE, "A service that is needed does not answer";
    /// A key service failed so often that it is left alone for a while.
    CircuitOpen, "circuit-open", SERVICE_UNAVAILABLE, "The key service failed repeatedly and is given a pause";
    /// A key service was too slow.
    Timeout, "timeout", GATEWAY_TIMEOUT, "The key service did not answer in time";
    /// A key service answered nonsense.
    ProviderMalformed, "provider-malformed", BAD_GATEWAY, "The key service gave an answer that makes no sense";
    /// The configuration is wrong.
    Config, "config", INTERNAL_SERVER_ERROR, "The key provider is not configured correctly";
    /// What happens cannot be recorded, so it does not happen.
    AuditUnavailable, "audit-unavailable", SERVICE_UNAVAILABLE, "The audit log cannot be written";
    /// A bug.
    Internal, "internal", INTERNAL_SERVER_ERROR, "Something went wrong in the server";
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Code, Problem};

    #[test]
    fn inward_text_stays_inside_and_every_503_says_when() {
        for code in Code::ALL {
            let problem = Problem::new(*code, "outward").inward("inward-only");
            let response = problem.render("r-1");
            assert_eq!(response.status(), code.status());
            assert_eq!(
                response.headers()["content-type"],
                "application/problem+json"
            );
            assert_eq!(
                response.headers().contains_key("retry-after"),
                code.status().as_u16() == 503,
                "{code:?}"
            );
            let body = serde_json::to_string(&problem.details("r-1")).unwrap();
            assert!(!body.contains("inward-only"), "{body}");
            assert!(
                body.contains(&format!("\"code\":\"{}\"", code.as_str())),
                "{body}"
            );
            assert!(body.contains("\"requestId\":\"r-1\""), "{body}");
        }
    }

    #[test]
    fn every_code_is_documented() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/http.md");
        let page = std::fs::read_to_string(path).unwrap();
        for code in Code::ALL {
            let (name, status) = (code.as_str(), code.status().as_u16());
            let row = format!("| `{name}` | {status} | {} |", code.title());
            assert!(page.contains(&row), "docs/http.md lacks: {row}");
        }
    }

    #[test]
    fn a_part_of_a_second_is_rounded_up() {
        let problem = Problem::new(Code::Throttled, "").retry_after(Duration::from_millis(2_001));
        assert_eq!(problem.render("r").headers()["retry-after"], "3");
        let now = Problem::new(Code::Throttled, "").retry_after(Duration::ZERO);
        assert_eq!(now.render("r").headers()["retry-after"], "1");
    }
}
