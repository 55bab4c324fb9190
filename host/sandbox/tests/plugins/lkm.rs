//! The Local Key Manager provider: what it sends, what it makes of every answer, and a service that
//! others built (PyPI `mohawk` and `cryptography`) as its counterpart.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyreel_format::WrapAlgorithm;
use keyreel_keys::{ErrorClass, Kek, KekId, KeyProvider, ProviderError, ProviderId, SystemClock};
use keyreel_sandbox::{Egress, Grants, OriginGrant, PluginProvider, Sandbox, SandboxSettings};
use keyreel_tests::mock_lkm::{Fault, MockLkm, Strictness};

use crate::support::{MemoryVault, Sealed, call, guests, seal};

const PAIR: &str = "6f9619ff-8b86-4011-b42d-00c04fc964ff";
const SHA1: &str = "rsa-oaep-sha1";

/// The plugin with one configuration.
struct Client {
    vault: Arc<MemoryVault>,
    provider: PluginProvider,
}

impl Client {
    /// Granted the origin of `url`.
    async fn new(url: &str) -> Self {
        let vault = Arc::new(MemoryVault::default());
        let settings = SandboxSettings::default();
        let sandbox = Sandbox::new(settings, vault.clone(), Arc::new(SystemClock)).unwrap();
        let origin = url.split('/').take(3).collect::<Vec<_>>().join("/");
        let grant = OriginGrant::parse(&origin).unwrap();
        let grants = Grants {
            egress: Egress {
                origins: vec![grant.with_private_addresses()],
                ..Egress::default()
            },
            ..Grants::default()
        };
        let id = ProviderId::parse("lkm").unwrap();
        let provider = sandbox
            .admit_with(id, &guests().lkm, None, grants)
            .await
            .unwrap();
        Self { vault, provider }
    }

    /// `more` is JSON to go on with.
    fn configure(&self, url: &str, api_id: &str, api_key: &str, more: &str) {
        let json = format!(r#"{{"url":"{url}","apiId":"{api_id}"{more}}}"#);
        self.vault.configure("acme", &json);
        self.vault.secrets.lock().unwrap().insert(
            ("acme".to_owned(), "api-key".to_owned()),
            api_key.as_bytes().to_vec(),
        );
        self.provider.purge(&call("acme").tenant);
    }

    async fn unwrap(&self, sealed: &Sealed) -> Result<(), ProviderError> {
        let answer = self
            .provider
            .unwrap_dek(&sealed.call, &sealed.kek, &sealed.envelope)
            .await?;
        assert_eq!(answer.dek.expose(), sealed.dek.expose());
        Ok(())
    }

    async fn refusal(&self, sealed: &Sealed) -> ProviderError {
        self.unwrap(sealed).await.unwrap_err()
    }
}

fn kek(id: &str, algorithm: &str, public_key: Vec<u8>) -> Kek {
    Kek {
        id: KekId::parse(id).unwrap(),
        algorithm: algorithm.to_owned(),
        public_key,
        sealed: Vec::new(),
        attributes: Vec::new(),
    }
}

/// The plugin, the mock, and a DEK wrapped under a pair of the mock's.
async fn fixture() -> (MockLkm, Client, Sealed) {
    let lkm = MockLkm::start().await.unwrap();
    let client = Client::new(&lkm.url).await;
    client.configure(&lkm.url, &lkm.api_id, &lkm.api_key, "");
    let public_key = lkm.add_pair(PAIR, WrapAlgorithm::RsaOaepSha1);
    let sealed = seal("acme", &kek(PAIR, SHA1, public_key));
    (lkm, client, sealed)
}

#[tokio::test(flavor = "multi_thread")]
async fn asks_as_the_sample_service_wants_it() {
    let (lkm, client, mut sealed) = fixture().await;
    let description = client.provider.describe();
    assert!(!description.mints_keks);
    assert_eq!(description.algorithms, [SHA1, "rsa-oaep-sha256"]);
    assert_eq!(
        client.provider.health(&call("acme")).await.unwrap().status,
        "ok"
    );
    "123E4567-e89b-42d3-a456-426614174000".clone_into(&mut sealed.call.subject);
    client.unwrap(&sealed).await.unwrap();
    let seen = lkm.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(
        (seen[0].method.as_str(), seen[0].refused),
        ("OPTIONS", None)
    );
    assert_eq!((seen[1].method.as_str(), seen[1].refused), ("POST", None));
    let user = seen[1].header("PureCloud-User-Id").unwrap();
    assert_eq!(user, "123e4567-e89b-42d3-a456-426614174000");
    assert_eq!(seen[1].header("content-type"), Some("application/json"));
    assert!(!seen[1].header("authorization").unwrap().contains("ext="));
    let body: serde_json::Value = serde_json::from_slice(&seen[1].body).unwrap();
    assert_eq!(body["keypairId"], PAIR);
    assert_eq!(body.as_object().unwrap().len(), 2);
    // The key is in the host's hands only.
    let all = format!("{seen:?}");
    assert!(!all.contains(&lkm.api_key));
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_body_query_and_recording_where_that_is_configured() {
    let (lkm, client, _) = fixture().await;
    lkm.strictness(Strictness::Full);
    let more = r#","payloadHash":true,"bindRecording":true,"padding":"oaep-sha256""#;
    let url = format!("{}?tenant=acme", lkm.url);
    client.configure(&url, &lkm.api_id, &lkm.api_key, more);
    let id = "7f9619ff-8b86-4011-b42d-00c04fc964ff";
    let public_key = lkm.add_pair(id, WrapAlgorithm::RsaOaepSha256);
    let sealed = seal("acme", &kek(id, "rsa-oaep-sha256", public_key));
    for _ in 0..2 {
        client.unwrap(&sealed).await.unwrap();
    }
    let seen = lkm.seen();
    assert_eq!(seen.len(), 2);
    let authorization = seen[0].header("authorization").unwrap();
    let recording = sealed.envelope.recording.as_str();
    assert!(authorization.contains(&format!(r#"ext="keyreel-recording={recording}""#)));
    assert!(authorization.contains("hash="));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_differs_is_told_once_and_remembered() {
    let (lkm, client, sealed) = fixture().await;
    lkm.strictness(Strictness::Fresh);
    for skew in [3600, -7200] {
        lkm.clock(skew);
        client.unwrap(&sealed).await.unwrap();
        let refused: Vec<_> = lkm.seen().iter().map(|seen| seen.refused).collect();
        assert_eq!(refused, [Some("stale"), None], "{skew}");
        client.unwrap(&sealed).await.unwrap();
        assert_eq!(lkm.seen().len(), 1, "{skew}");
    }
    // Whoever does not have the key cannot set our clock: nothing is sent again.
    client.configure(&lkm.url, &lkm.api_id, "another key", "");
    let error = client.refusal(&sealed).await;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Denied, "lkm.401")
    );
    assert_eq!(lkm.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_fail_has_a_class_and_a_code() {
    use ErrorClass as C;
    let (lkm, client, mut sealed) = fixture().await;
    let text = |body: &str| Fault::Body(body.to_owned());
    let status = |status| Fault::Status(status, None);
    let table = [
        (Fault::Refuse, C::Unavailable, "lkm.interrupted"),
        (Fault::Hang, C::Timeout, "lkm.timeout"),
        (Fault::HangInBody, C::Timeout, "lkm.timeout"),
        (Fault::Drip, C::Timeout, "lkm.timeout"),
        (Fault::Cut, C::Unavailable, "lkm.interrupted"),
        (Fault::Endless, C::Internal, "lkm.too-large"),
        (Fault::Large(20_000), C::Internal, "lkm.too-large"),
        (Fault::Large(4 << 20), C::Internal, "lkm.too-large"),
        (Fault::Garbage, C::Internal, "lkm.protocol"),
        (Fault::TwoLengths, C::Internal, "lkm.protocol"),
        (Fault::Headers(5000), C::Internal, "lkm.too-large"),
        (Fault::Redirect(lkm.url.clone()), C::Config, "lkm.302"),
        (Fault::Page(200), C::Internal, "lkm.html"),
        (Fault::Page(400), C::Request, "lkm.400"),
        (Fault::Page(502), C::Unavailable, "lkm.502"),
        (status(400), C::NotFound, "lkm.400"),
        (status(401), C::Denied, "lkm.401"),
        (status(403), C::Denied, "lkm.403"),
        (status(404), C::NotFound, "lkm.404"),
        (status(409), C::KeyDisabled, "lkm.409"),
        (status(421), C::Config, "lkm.421"),
        (status(422), C::Integrity, "integrity"),
        (Fault::Page(422), C::Request, "lkm.422"),
        (Fault::Status(429, Some(7)), C::Throttled, "lkm.429"),
        (status(500), C::Unavailable, "lkm.500"),
        (Fault::Status(503, Some(7)), C::Unavailable, "lkm.503"),
        (status(504), C::Timeout, "lkm.504"),
        (text(r#"{"body":null}"#), C::Integrity, "integrity"),
        (text("{}"), C::Internal, "lkm.no-body"),
        (text(r#"{"body":7}"#), C::Internal, "lkm.no-body"),
        (text(""), C::Internal, "lkm.not-json"),
        (text("{\"body\""), C::Internal, "lkm.not-json"),
        (text(r#"{"body":"!"}"#), C::Internal, "lkm.not-base64"),
        (Fault::KeyLength(0), C::Internal, "lkm.dek-length"),
        (Fault::KeyLength(31), C::Internal, "lkm.dek-length"),
        (Fault::KeyLength(33), C::Internal, "lkm.dek-length"),
    ];
    for (fault, class, code) in table {
        lkm.fault(fault.clone());
        let waits = matches!(fault, Fault::Hang | Fault::HangInBody | Fault::Drip);
        sealed.call.deadline = Duration::from_secs(if waits { 1 } else { 3 });
        let begun = Instant::now();
        let mut error = client.refusal(&sealed).await;
        // It has 50 ms left to say so, which a busy machine may not have for it.
        let mut tries = 1;
        while waits && error.code == "sandbox.deadline" && tries < 5 {
            let _ = lkm.seen();
            error = client.refusal(&sealed).await;
            tries += 1;
        }
        assert_eq!(
            (error.class, error.code.as_str()),
            (class, code),
            "{fault:?}"
        );
        let longest = sealed.call.deadline * tries + Duration::from_secs(3);
        assert!(begun.elapsed() < longest, "{fault:?}");
        let after = matches!(fault, Fault::Status(_, Some(_))).then(|| Duration::from_secs(7));
        assert_eq!(error.retry_after, after, "{fault:?}");
        assert!(!error.message.contains(&lkm.api_key), "{}", error.message);
        // Asked once: only a clock that differs is a reason to ask again.
        assert!(lkm.seen().len() <= 1, "{fault:?}");
    }

    // The right form with another key in it: the plugin cannot tell; the recording's header does.
    lkm.fault(Fault::WrongKey);
    let answer = client
        .provider
        .unwrap_dek(&sealed.call, &sealed.kek, &sealed.envelope)
        .await
        .unwrap();
    assert_ne!(answer.dek.expose(), sealed.dek.expose());

    lkm.fault(Fault::None);
    client.unwrap(&sealed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_gets_as_far_as_an_answer() {
    use ErrorClass as C;
    let (lkm, client, sealed) = fixture().await;
    let (id, key) = (lkm.api_id.clone(), lkm.api_key.clone());

    // An origin that the configuration names and nobody granted.
    client.configure("https://keys.example/decrypt", &id, &key, "");
    let error = client.refusal(&sealed).await;
    assert_eq!(
        (error.class, error.code.as_str()),
        (C::Config, "lkm.egress-denied")
    );
    assert!(error.message.contains("grants"), "{}", error.message);

    // A pair that it does not have, and one for another algorithm.
    client.configure(&lkm.url, &id, &key, "");
    let unknown = kek(
        "00000000-0000-4000-8000-000000000000",
        SHA1,
        sealed.kek.public_key.clone(),
    );
    let error = client.refusal(&seal("acme", &unknown)).await;
    assert_eq!((error.class, error.code.as_str()), (C::NotFound, "lkm.400"));
    let mut other = seal("acme", &sealed.kek);
    "rsa-oaep-sha256".clone_into(&mut other.envelope.algorithm);
    let error = client.refusal(&other).await;
    assert_eq!(
        (error.class, error.code.as_str()),
        (C::Request, "lkm.algorithm-mismatch")
    );

    // No API key was saved.
    client.vault.secrets.lock().unwrap().clear();
    let error = client.refusal(&sealed).await;
    assert_eq!(error.class, C::Config, "{error:?}");

    // Nobody listens any more.
    client.configure(&lkm.url, &id, &key, "");
    drop(lkm);
    let error = client.refusal(&sealed).await;
    assert_eq!(
        (error.class, error.code.as_str()),
        (C::Unavailable, "lkm.connect")
    );
    let error = client.provider.health(&call("acme")).await.unwrap_err();
    assert_eq!(error.code, "lkm.connect");
}

#[tokio::test(flavor = "multi_thread")]
async fn validates_a_configuration_without_asking_anybody() {
    let (lkm, client, _) = fixture().await;
    let config = r#"{"url":"https://keys.example:8443/x/decrypt","apiId":"a"}"#;
    let validated = client.provider.validate(config).await.unwrap();
    assert_eq!(validated.outbound, ["https://keys.example:8443"]);
    assert!(validated.warnings[0].contains("SHA-1"));
    let config = r#"{"url":"https://keys.example/","apiId":"a","padding":"oaep-sha256"}"#;
    let validated = client.provider.validate(config).await.unwrap();
    assert_eq!(validated.outbound, ["https://keys.example"]);
    assert!(validated.warnings.is_empty());
    let config = r#"{"url":"http://keys.example/","apiId":"a"}"#;
    let error = client.provider.validate(config).await.unwrap_err();
    assert_eq!(error.code, "lkm.url-without-tls");
    assert!(lkm.seen().is_empty());

    // The probe tells a decrypt URL from something else that answers.
    lkm.fault(Fault::Page(200));
    let health = client.provider.health(&call("acme")).await.unwrap();
    assert_eq!(health.status, "degraded");
    lkm.fault(Fault::Status(404, None));
    let error = client.provider.health(&call("acme")).await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Config, "lkm.404")
    );
}

/// A Local Key Manager of others' code: tests/third-party/lkm_mohawk.py.
struct Foreign {
    child: Child,
    ready: serde_json::Value,
}

impl Foreign {
    fn start() -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
        let mut child = Command::new(tests.join(".venv/bin/python"))
            .arg(tests.join("third-party/lkm_mohawk.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/setup makes tests/.venv");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready = serde_json::from_str(&line).unwrap();
        Self { child, ready }
    }

    fn get(&self, name: &str) -> &str {
        self.ready
            .get(name)
            .and_then(|value| value.as_str())
            .unwrap()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn works_against_a_service_of_mohawk_and_cryptography() {
    let lkm = Foreign::start();
    let (url, id, key) = (lkm.get("url"), lkm.get("apiId"), lkm.get("apiKey"));
    let client = Client::new(url).await;
    client.configure(url, id, key, "");
    let health = client.provider.health(&call("acme")).await.unwrap();
    assert_eq!(health.status, "ok");

    let public_key = hex::decode(lkm.get("spkiHex")).unwrap();
    let sealed = seal("acme", &kek(lkm.get("keypairId"), SHA1, public_key.clone()));
    for _ in 0..20 {
        client.unwrap(&sealed).await.unwrap();
    }

    // Its refusals, each as the sample service has it.
    let mut damaged = seal("acme", &sealed.kek);
    damaged.envelope.wrapped_dek[7] ^= 1;
    assert_eq!(client.refusal(&damaged).await.class, ErrorClass::Integrity);
    let unknown = kek("00000000-0000-4000-8000-000000000000", SHA1, public_key);
    let error = client.refusal(&seal("acme", &unknown)).await;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::NotFound, "lkm.400")
    );
    client.configure(url, id, "not the key", "");
    let error = client.refusal(&sealed).await;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Denied, "lkm.401")
    );
    client.configure(url, id, key, r#","payloadHash":true"#);
    assert_eq!(client.refusal(&sealed).await.code, "lkm.401");
    let elsewhere = url.replace("/decrypt", "/decrypt-elsewhere");
    client.configure(&elsewhere, id, key, "");
    assert_eq!(client.refusal(&sealed).await.code, "lkm.404");
}
