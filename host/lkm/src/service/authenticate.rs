//! Who asks: Hawk's checks, in an order that lets nobody without the key find out or fill up
//! anything: signature, time, body, nonce.

use std::sync::Arc;

use aws_lc_rs::hmac;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Service;
use super::answer::Refusal;
use crate::hawk::{self, Authorization, Target};
use crate::names::Name;
use crate::replay::Nonce;
use crate::store::Signer;

const JSON: &str = "application/json";

/// A request whose signature is right and whose time is now.
pub(super) struct Authenticated {
    authorization: Authorization,
    target: Target,
    signer: Arc<Signer>,
}

/// Checks all that the head of a request can be checked for.
pub(super) fn request(service: &Service, head: &Parts) -> Result<Authenticated, Refusal> {
    let target = target(service, head)?;
    let authorization = only(&head.headers, &header::AUTHORIZATION)
        .and_then(Authorization::parse)
        .ok_or_else(Refusal::unauthorized)?;
    let signer = service
        .pairs
        .credential(&authorization.id)
        .map_err(|error| {
            tracing::error!(%error, "a credential cannot be read");
            Refusal::internal()
        })?;
    let Some(signer) = signer else {
        // As much work as for an id that there is.
        let nobody = hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]);
        let _ = authorization.is_signed(&nobody, &target);
        tracing::warn!("a request of an unknown API id was refused");
        return Err(Refusal::unauthorized());
    };
    if !authorization.is_signed(&signer.key, &target) {
        tracing::warn!(
            credential = authorization.id,
            "a wrong signature was refused"
        );
        return Err(Refusal::unauthorized());
    }
    let authenticated = Authenticated {
        authorization,
        target,
        signer,
    };
    authenticated.check_time(service, service.clock.now_ms())?;
    Ok(authenticated)
}

impl Authenticated {
    pub(super) fn credential(&self) -> &str {
        &self.authorization.id
    }

    /// What the signature covers besides the request.
    pub(super) fn ext(&self) -> Option<&str> {
        self.authorization.ext.as_deref()
    }

    /// The body against the hash, where one was signed.
    pub(super) fn check_body(&self, head: &Parts, body: &[u8]) -> Result<(), Refusal> {
        let content_type = only(&head.headers, &header::CONTENT_TYPE).unwrap_or_default();
        if self.authorization.covers(content_type, body) {
            return Ok(());
        }
        tracing::warn!(credential = self.credential(), "a changed body was refused");
        Err(Refusal::unauthorized())
    }

    fn check_time(&self, service: &Service, now_ms: u64) -> Result<(), Refusal> {
        let now = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
        let seconds = self.authorization.seconds;
        let first = service.first_second;
        if seconds.abs_diff(now) <= service.window.as_secs() && seconds >= first {
            return Ok(());
        }
        tracing::warn!(
            credential = self.credential(),
            seconds = seconds.saturating_sub(now),
            "a stale timestamp was refused"
        );
        // What is signed with this time is taken.
        let now = now.max(first);
        Err(Refusal::stale(hawk::stale(&self.signer.key, now)))
    }

    /// Once only. The time is checked again: a nonce is not remembered for longer than its timestamp
    /// is good, and the body may have taken its time to arrive.
    pub(super) fn take_nonce(&self, service: &Service) -> Result<(), Refusal> {
        let Authorization {
            id, seconds, nonce, ..
        } = &self.authorization;
        let now_ms = service.clock.now_ms();
        self.check_time(service, now_ms)?;
        match service.nonces.take(id, *seconds, nonce, now_ms) {
            Nonce::Fresh => Ok(()),
            Nonce::Used => {
                tracing::warn!(credential = id, "a replay was refused");
                Err(Refusal::replayed())
            }
            Nonce::NoRoom => Err(Refusal::too_many(1)),
        }
    }

    /// A signed 200.
    pub(super) fn answer(&self, body: &serde_json::Value) -> Response {
        let body = body.to_string();
        let signature =
            self.authorization
                .answer(&self.signer.key, &self.target, JSON, body.as_bytes());
        let mut answer = ([(header::CONTENT_TYPE, JSON)], body).into_response();
        if let Ok(signature) = HeaderValue::from_str(&signature) {
            answer
                .headers_mut()
                .insert("server-authorization", signature);
        }
        answer
    }

    /// A signed refusal.
    pub(super) fn refuse(&self, refusal: &Refusal) -> Response {
        let mut answer = self.answer(&refusal.body());
        refusal.mark(&mut answer);
        answer
    }
}

/// What the client believes to have asked.
fn target(service: &Service, head: &Parts) -> Result<Target, Refusal> {
    let bad = || {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "host",
            "The request names no host, or more than one.",
        )
    };
    if head.uri.authority().is_some() {
        return Err(bad());
    }
    let host: Authority = only(&head.headers, &header::HOST)
        .and_then(|host| host.parse().ok())
        .ok_or_else(bad)?;
    let name = service.names.signed(&host, service.default_port);
    let Some(Name { host, port }) = name else {
        tracing::warn!(%host, "a request for another host was refused; is --public-url missing?");
        return Err(Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            "This service does not go by that name.",
        ));
    };
    Ok(Target {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        host,
        port,
    })
}

/// The one header of that name, if it is one and is text.
fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()
}
