//! Refusals, as JSON: `{"status":404,"code":"unknown-key-pair","message":"…"}`. They tell a client
//! of ours what is wrong, and a stranger nothing.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// Why a request is not done.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    message: &'static str,
    challenge: Option<String>,
    retry_after: Option<u32>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code,
            message,
            challenge: None,
            retry_after: None,
        }
    }

    /// Whatever is wrong with a signature: one answer.
    pub(super) fn unauthorized() -> Self {
        let message = "A valid Hawk signature is needed.";
        Self {
            challenge: Some("Hawk".to_owned()),
            ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
        }
    }

    /// Only for those whose signature is right: our time, signed.
    pub(super) fn stale(challenge: String) -> Self {
        let message = "The request's timestamp is too far from this service's clock.";
        Self {
            challenge: Some(challenge),
            ..Self::new(StatusCode::UNAUTHORIZED, "stale-timestamp", message)
        }
    }

    pub(super) fn replayed() -> Self {
        let message = "This request was made before.";
        Self {
            challenge: Some(r#"Hawk error="Invalid nonce""#.to_owned()),
            ..Self::new(StatusCode::UNAUTHORIZED, "replayed", message)
        }
    }

    pub(super) fn too_many(seconds: u32) -> Self {
        let message = "Too many decrypts. Try again later.";
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", message)
        }
    }

    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "The service cannot answer just now; its own log says why.",
        )
    }

    pub(super) fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "The request took too long.",
        )
    }

    pub(super) fn nothing_here() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "nothing-here",
            "There is nothing here.",
        )
    }

    pub(super) fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method",
            "This path does not take this method.",
        )
    }

    pub(super) fn body(&self) -> serde_json::Value {
        serde_json::json!({
            "status": self.status.as_u16(),
            "code": self.code,
            "message": self.message,
        })
    }

    /// Status and headers, on an answer that has the body.
    pub(super) fn mark(&self, answer: &mut Response) {
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        if let Some(value) = self.challenge.as_deref().map(HeaderValue::from_str)
            && let Ok(value) = value
        {
            headers.insert(header::WWW_AUTHENTICATE, value);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut answer = axum::Json(self.body()).into_response();
        self.mark(&mut answer);
        answer
    }
}
