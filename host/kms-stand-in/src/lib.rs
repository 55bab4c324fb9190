//! A stand-in for AWS KMS on this machine, with one key, for `keyreel demo` and for tests. It
//! speaks KMS's protocol, checks every signature, binds the encryption context and refuses with
//! AWS's own errors; its key can be disabled, so that a visitor sees playback end.
//! Not for keys that matter: its key lies in a file.

#![forbid(unsafe_code)]

mod actions;
mod key;
mod signature;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use keyreel_keys::Clock;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::key::StoredKey;

pub use crate::key::{ALIAS, REGION};

/// Requests of KMS are small.
const MAX_BODY: usize = 64 << 10;
/// The file that everything is kept in, mode 0600.
const FILE: &str = "kms-stand-in.json";

/// The stand-in cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StandInError {
    /// Its file cannot be read or written.
    #[error("the KMS stand-in's file {path:?}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its file is not one.
    #[error(
        "the KMS stand-in's file {path:?} is damaged; remove it to begin anew (what its key seals is lost then)"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// Its address is taken, or not this machine's.
    #[error("the KMS stand-in cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// It would be reachable from elsewhere.
    #[error("the KMS stand-in listens on this machine only, not on {address}")]
    NotLoopback {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// No randomness.
    #[error("the cryptographic library failed")]
    Cryptography,
}

/// A pair of AWS credentials, which the stand-in alone accepts.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StandInCredentials {
    /// "AKIA…"
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
}

impl fmt::Debug for StandInCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandInCredentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// A running stand-in. Ends with the value.
pub struct KmsStandIn {
    /// "http://127.0.0.1:…"
    pub url: String,
    /// Its key's ARN.
    pub key_arn: String,
    /// The ARN of the alias that names it.
    pub alias_arn: String,
    /// What requests to it are signed with.
    pub credentials: StandInCredentials,
    serving: JoinHandle<()>,
}

impl KmsStandIn {
    /// Starts it on `address`, a loopback address; port 0 takes a free one. Its key lies in
    /// `data_dir` and is made there at the first start.
    ///
    /// # Errors
    /// See [`StandInError`].
    pub async fn bind(
        data_dir: &Path,
        address: SocketAddr,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StandInError> {
        if !address.ip().is_loopback() {
            return Err(StandInError::NotLoopback { address });
        }
        let key = StoredKey::open(data_dir.join(FILE), clock.now_ms())?;
        let failed = |source| StandInError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let (key_arn, alias_arn) = (key.arn(), key.alias_arn());
        let credentials = key.credentials().clone();
        let shared = Arc::new(Shared {
            key: Mutex::new(key),
            clock,
        });
        let app = Router::new()
            .fallback(answer)
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(shared);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::warn!(%error, "the KMS stand-in has ended");
            }
        });
        Ok(Self {
            url,
            key_arn,
            alias_arn,
            credentials,
            serving,
        })
    }
}

impl Drop for KmsStandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Shared {
    key: Mutex<StoredKey>,
    clock: Arc<dyn Clock>,
}

/// An error as AWS has it.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Refusal {
    fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind,
            message: message.into(),
        }
    }

    fn internal() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "KMSInternalException",
            message: String::new(),
        }
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // A key pair takes a good part of a second to find.
    let answer = tokio::task::spawn_blocking(move || {
        let mut key = shared.key.lock().unwrap_or_else(PoisonError::into_inner);
        let request = signature::Request {
            method: &method,
            uri: &uri,
            headers: &headers,
            body: &body,
        };
        signature::verify(&request, key.credentials(), shared.clock.now_ms())?;
        actions::perform(&mut key, &method, &headers, &body)
    });
    let (status, kind, body) = match answer.await.unwrap_or_else(|_| Err(Refusal::internal())) {
        Ok(body) => (StatusCode::OK, None, body),
        Err(refusal) => {
            tracing::debug!(
                kind = refusal.kind,
                message = refusal.message,
                "the KMS stand-in refuses"
            );
            let body = serde_json::json!({"__type": refusal.kind, "message": refusal.message});
            (refusal.status, Some(refusal.kind), body)
        }
    };
    let mut answer = (status, body.to_string()).into_response();
    let headers = answer.headers_mut();
    let id = uuid::Uuid::new_v4().to_string();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-amz-json-1.1"),
    );
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-amzn-requestid", id);
    }
    if let Some(kind) = kind {
        headers.insert("x-amzn-errortype", HeaderValue::from_static(kind));
    }
    answer
}
