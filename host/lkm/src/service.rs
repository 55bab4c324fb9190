//! The routes of a Local Key Manager, and what is checked in which order before a key is used:
//! signature, time, nonce, body, policy, rate, key pair. Every answer to a signed decrypt is logged
//! before it leaves.
//! Not for: connections (see `server`).

mod answer;
mod authenticate;
mod decrypt;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use keyreel_keys::Clock;

use crate::log::Log;
use crate::names::Names;
use crate::policy::Watch;
use crate::replay::Nonces;
use crate::store::KeyPairs;
use answer::Refusal;
use authenticate::Authenticated;

/// Where decrypts are posted: the sample service's path.
pub const DECRYPT_PATH: &str = "/key-management/v1/decrypt";
/// Where its health is: the sample service's path. `/health` as well.
pub const HEALTH_PATH: &str = "/key-management/v1/health";

/// A wrapped DEK of RSA-16384 would fit.
const MAX_BODY: usize = 16 << 10;

/// What requests share.
pub(crate) struct Service {
    pub(crate) pairs: Arc<KeyPairs>,
    pub(crate) policy: Watch,
    pub(crate) nonces: Nonces,
    pub(crate) log: Log,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) window: Duration,
    pub(crate) timeout: Duration,
    /// Earlier timestamps may have been used before this process began.
    pub(crate) first_second: i64,
    pub(crate) names: Names,
    /// The port of requests that name none.
    pub(crate) default_port: u16,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route(DECRYPT_PATH, axum::routing::post(decrypt).options(describe))
        .route(HEALTH_PATH, get(async || "OK"))
        .route("/health", get(async || "OK"))
        .fallback(async || Refusal::nothing_here().into_response())
        .method_not_allowed_fallback(async || Refusal::method().into_response())
        .layer(middleware::from_fn_with_state(service.clone(), limited))
        .with_state(service)
}

/// Nothing takes longer than the timeout, whatever the client does.
async fn limited(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(service.timeout, next.run(request)).await {
        Ok(mut answer) => {
            let headers = answer.headers_mut();
            headers.insert(
                header::CACHE_CONTROL,
                http::HeaderValue::from_static("no-store"),
            );
            answer
        }
        Err(_) => Refusal::too_slow().into_response(),
    }
}

/// `OPTIONS`: what this is. Signed, so that a registration finds out whether its API key is right.
async fn describe(State(service): State<Arc<Service>>, request: Request) -> Response {
    let answered = async {
        let (authenticated, _) = signed(&service, request).await?;
        let description = serde_json::json!({
            "service": "Keyreel Local Key Manager",
            "version": env!("CARGO_PKG_VERSION"),
            "methods": ["OPTIONS", "POST"],
            "request": {"keypairId": "UUID", "body": "base64 of RSA-OAEP ciphertext"},
            "response": {"body": "base64 of the key"},
        });
        Ok::<_, Refusal>(authenticated.answer(&description))
    };
    let mut answer = answered.await.unwrap_or_else(Refusal::into_response);
    answer.headers_mut().insert(
        header::ALLOW,
        http::HeaderValue::from_static("OPTIONS, POST"),
    );
    answer
}

/// `POST`: one key.
async fn decrypt(State(service): State<Arc<Service>>, request: Request) -> Response {
    let answered = async {
        let peer = request.extensions().get::<Peer>().copied();
        let asked = decrypt::Asked::of(&request)?;
        let (authenticated, body) = signed(&service, request).await?;
        // RSA and the log take a thread of their own: both may be slow.
        let working = tokio::task::spawn_blocking(move || {
            let outcome = decrypt::run(&service, &authenticated, &asked, &body, peer);
            match outcome {
                Ok(answer) => authenticated.answer(&answer),
                Err(refusal) => authenticated.refuse(&refusal),
            }
        });
        working.await.map_err(|_| Refusal::internal())
    };
    answered.await.unwrap_or_else(Refusal::into_response)
}

/// Checks the signature before a byte of the body is read, and the body against the signature.
async fn signed(service: &Service, request: Request) -> Result<(Authenticated, Vec<u8>), Refusal> {
    let (head, body) = request.into_parts();
    let authenticated = authenticate::request(service, &head)?;
    let body = read(body).await?;
    authenticated.check_body(&head, &body)?;
    authenticated.take_nonce(service)?;
    Ok((authenticated, body))
}

async fn read(body: Body) -> Result<Vec<u8>, Refusal> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The request is larger than any wrapped key.",
        )),
        Err(_) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "interrupted",
            "The request broke off.",
        )),
    }
}
