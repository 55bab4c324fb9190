//! The service over real connections: what it takes, what it refuses, what it writes down.
//! Its counterparts of others' code are in tests/third-party.
#![expect(clippy::unwrap_used, reason = "tests")]

mod client;
mod connections;
mod policy;
mod refusals;
mod store;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyreel_format::wrap::{self, PrivateKey};
use keyreel_format::{Dek, WrapAlgorithm};
use keyreel_keys::Clock;
use keyreel_lkm::{KeyPairs, Padding, Pair, Server, Settings};
use tempfile::TempDir;
use tokio::sync::oneshot;

use client::Client;

/// A clock that tests set.
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// 2026-01-02T03:04:05Z.
const NOW_MS: u64 = 1_767_323_045_000;

/// A running service with one pair and one credential.
struct Fixture {
    folder: TempDir,
    clock: Arc<TestClock>,
    pairs: Arc<KeyPairs>,
    pair: Pair,
    client: Client,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock(AtomicU64::new(NOW_MS)));
        let mut settings = Settings::new(&folder.path().join("data"));
        settings.key_file = folder.path().join("master.key");
        change(&mut settings);
        let pairs = KeyPairs::create(&settings.data, &settings.key_file).unwrap();
        let pair = pairs.add_pair(Padding::OaepSha256, &*clock).unwrap();
        let credential = pairs.add_credential(Some("acme"), &*clock).unwrap();
        let server = Server::bind(settings, clock.clone()).await.unwrap();
        let client = Client {
            url: server.decrypt_url(),
            address: server.address(),
            id: credential.id.clone(),
            key: credential.key.to_string(),
        };
        let pairs = server.pairs();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.serve(async { drop(stopped.await) }));
        Self {
            folder,
            clock,
            pairs,
            pair,
            client,
            stop: Some(stop),
            served,
        }
    }

    /// Ends it, and begins again on the same data.
    async fn restart(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.served).await.unwrap();
        let mut settings = Settings::new(&self.folder.path().join("data"));
        settings.key_file = self.folder.path().join("master.key");
        let server = Server::bind(settings, self.clock.clone()).await.unwrap();
        self.client.url = server.decrypt_url();
        self.client.address = server.address();
        self.pairs = server.pairs();
        let (stop, stopped) = oneshot::channel();
        self.stop = Some(stop);
        self.served = tokio::spawn(server.serve(async { drop(stopped.await) }));
    }

    fn now(&self) -> u64 {
        self.clock.now_ms() / 1000
    }

    /// What Keyreel would send for a fresh DEK, and the DEK.
    fn wrapped(&self) -> (serde_json::Value, Dek) {
        wrapped(&self.pair, WrapAlgorithm::RsaOaepSha256, &self.pairs)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("data/decrypts.log")).unwrap()
    }

    async fn stop(mut self) -> TempDir {
        self.stop.take().unwrap().send(()).unwrap();
        self.served.await.unwrap();
        self.folder
    }
}

fn wrapped(pair: &Pair, algorithm: WrapAlgorithm, pairs: &KeyPairs) -> (serde_json::Value, Dek) {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let pem = pairs.export_pair(pair.id).unwrap();
    let der = pem.lines().filter(|line| !line.starts_with('-'));
    let der = base64.decode(der.collect::<String>()).unwrap();
    let public_key = PrivateKey::from_pkcs8(&der).unwrap().public_key().unwrap();
    let dek = Dek::generate();
    let body = wrap::wrap(algorithm, &public_key, &[], &dek).unwrap();
    let body = base64.encode(body);
    (
        serde_json::json!({ "keypairId": pair.id, "body": body }),
        dek,
    )
}
