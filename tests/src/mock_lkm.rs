//! A Local Key Manager for tests: strict about Hawk, with faults at will. It shares no code with
//! the plugin nor with `keyreel lkm serve`: its cryptography is RustCrypto's, its HTTP is written by
//! hand, because most of what it is for is HTTP gone wrong.
//! Not for: speed, many requests on one connection (it closes each).

mod fault;
mod hawk;
mod wire;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use keyreel_format::WrapAlgorithm;
use keyreel_format::wrap::PrivateKey;
use tokio::net::TcpListener;

pub use fault::Fault;
pub use hawk::Strictness;
pub use wire::Seen;

/// The path that it serves.
pub const PATH: &str = "/key-management/v1/decrypt";

/// A Local Key Manager on a port of 127.0.0.1. Ends with the value.
pub struct MockLkm {
    /// Its decrypt URL.
    pub url: String,
    /// Its API id.
    pub api_id: String,
    /// Its API key.
    pub api_key: String,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

pub(crate) struct Shared {
    pub(crate) address: SocketAddr,
    pub(crate) api_id: String,
    pub(crate) api_key: String,
    pub(crate) state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) fault: Fault,
    pub(crate) strictness: Strictness,
    /// Seconds that its clock is ahead.
    pub(crate) clock: i64,
    pub(crate) seen: Vec<Seen>,
    pub(crate) nonces: HashSet<String>,
    pub(crate) pairs: HashMap<String, (PrivateKey, WrapAlgorithm)>,
}

impl MockLkm {
    /// Starts it, without key pairs.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            address,
            api_id: "mock-client".to_owned(),
            // The sample service's keys are decimal numbers of about 39 digits.
            api_key: "112233445566778899001122334455667788990".to_owned(),
            state: Mutex::default(),
        });
        let serving = tokio::spawn(wire::serve(listener, Arc::clone(&shared)));
        Ok(Self {
            url: format!("http://{address}{PATH}"),
            api_id: shared.api_id.clone(),
            api_key: shared.api_key.clone(),
            shared,
            serving,
        })
    }

    /// Makes a key pair of its own and returns the public half, SubjectPublicKeyInfo.
    ///
    /// # Panics
    /// The library failed.
    #[must_use]
    #[expect(clippy::expect_used, reason = "for tests")]
    pub fn add_pair(&self, id: &str, algorithm: WrapAlgorithm) -> Vec<u8> {
        let key = PrivateKey::generate(algorithm).expect("a key pair");
        let public_key = key.public_key().expect("its public half");
        self.state().pairs.insert(id.to_owned(), (key, algorithm));
        public_key
    }

    /// What goes wrong from now on.
    pub fn fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// What its signatures must be like.
    pub fn strictness(&self, strictness: Strictness) {
        self.state().strictness = strictness;
    }

    /// How many seconds its clock is ahead.
    pub fn clock(&self, seconds: i64) {
        self.state().clock = seconds;
    }

    /// The requests since the last time.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state().seen)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for MockLkm {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Its time, in seconds since 1970.
    #[expect(clippy::disallowed_methods, reason = "a service has a clock")]
    pub(crate) fn now(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        now + self.clock
    }

    /// The answer of the sample service: status and JSON.
    pub(crate) fn decrypt(&self, body: &[u8]) -> (u16, String) {
        let bad = |message: &str| {
            let body = serde_json::json!({ "message": message, "status": 400 });
            (400, body.to_string())
        };
        let Ok(body) = serde_json::from_slice::<HashMap<String, String>>(body) else {
            return bad("the body is not what it should be");
        };
        let (Some(id), Some(wrapped)) = (body.get("keypairId"), body.get("body")) else {
            return bad("Decrypt body and keypairId must be filled out");
        };
        let Some((key, algorithm)) = self.pairs.get(id) else {
            return bad("No key pair found with the id provided");
        };
        let dek = BASE64
            .decode(wrapped)
            .ok()
            .and_then(|wrapped| key.unwrap(*algorithm, &wrapped, &[]).ok());
        let body = dek.map(|dek| BASE64.encode(dek.expose()));
        (200, serde_json::json!({ "body": body }).to_string())
    }
}
