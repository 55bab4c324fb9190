//! Everything a plugin may try against its host: contained, named, and the next call works.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keyreel_format::KekId;
use keyreel_keys::{ErrorClass, Kek, KeyProvider, ProviderError, ProviderId, SystemClock};
use keyreel_sandbox::{Grants, Limits, PluginProvider, Sandbox, SandboxSettings};

use crate::support::{HPKE, MemoryVault, RSA, Sealed, guests, kek, seal};

/// Short, so that the tests are.
fn limits() -> Limits {
    Limits {
        cpu: Duration::from_millis(200),
        ..Limits::default()
    }
}

struct Bench {
    vault: Arc<MemoryVault>,
    provider: PluginProvider,
    kek: Kek,
}

impl Bench {
    async fn new() -> Self {
        Self::with(Grants::default()).await
    }

    async fn with(grants: Grants) -> Self {
        let vault = Arc::new(MemoryVault::default());
        let settings = SandboxSettings {
            limits: limits(),
            cache: None,
        };
        let shared = Arc::clone(&vault);
        let sandbox = Sandbox::new(settings, shared, Arc::new(SystemClock)).unwrap();
        let id = ProviderId::parse("hostile").unwrap();
        let provider = sandbox
            .admit_with(id, &guests().hostile, None, grants)
            .await
            .unwrap();
        vault.configure("acme", &behaviour("good"));
        let kek = kek(&vault, "acme", "kek/1", HPKE);
        Self {
            vault,
            provider,
            kek,
        }
    }

    /// How it fails when it behaves so, within `deadline`.
    async fn failure(&self, name: &str, deadline: Duration) -> ProviderError {
        let result = self.unwrap(name, deadline).await;
        result
            .err()
            .unwrap_or_else(|| panic!("{name}: expected an error"))
    }

    async fn unwrap(&self, name: &str, deadline: Duration) -> Result<[u8; 32], ProviderError> {
        let mut sealed = self.sealed(name).await;
        sealed.call.deadline = deadline;
        let answer = self
            .provider
            .unwrap_dek(&sealed.call, &sealed.kek, &sealed.envelope)
            .await?;
        Ok(*answer.dek.expose())
    }

    async fn sealed(&self, name: &str) -> Sealed {
        let sealed = seal("acme", &self.kek);
        self.vault.configure("acme", &behaviour(name));
        self.provider.purge(&sealed.call.tenant);
        sealed
    }

    async fn assert_next_call_works(&self) {
        let sealed = self.sealed("good").await;
        let answer = self
            .provider
            .unwrap_dek(&sealed.call, &sealed.kek, &sealed.envelope)
            .await;
        assert_eq!(answer.unwrap().dek.expose(), sealed.dek.expose());
    }
}

fn behaviour(name: &str) -> String {
    format!(r#"{{"behaviour":"{name}"}}"#)
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn each_attack_is_contained_and_named() {
    let bench = Bench::new().await;
    for (name, code, says) in [
        ("loop", "sandbox.cpu", "200ms of CPU time"),
        ("memory", "sandbox.memory", "67108864 bytes of memory"),
        ("recursion", "sandbox.stack", "524288 bytes of stack"),
        ("trap", "sandbox.trap", "unreachable"),
        ("panic", "sandbox.trap", "unreachable"),
        ("configure-trap", "sandbox.trap", "unreachable"),
        ("exit", "sandbox.exit", "exited"),
        ("handles", "sandbox.handles", "256 handles"),
        ("host-calls", "sandbox.host-calls", "10000 host calls"),
        (
            "host-call-bytes",
            "sandbox.host-call-bytes",
            "2097152 bytes",
        ),
        (
            "short-dek",
            "sandbox.malformed",
            "exactly 32 bytes, found 31 bytes",
        ),
        (
            "long-dek",
            "sandbox.malformed",
            "exactly 32 bytes, found 33 bytes",
        ),
        (
            "private-key-as-dek",
            "sandbox.malformed",
            "found a private key",
        ),
    ] {
        let started = Instant::now();
        let error = bench.failure(name, LONG).await;
        assert_eq!(error.code, code, "{name}: {error}");
        assert_eq!(error.class, ErrorClass::Internal, "{name}: {error}");
        assert!(error.message.contains(says), "{name}: {error}");
        assert!(error.message.contains("plugin hostile"), "{name}: {error}");
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{name}: {:?}",
            started.elapsed()
        );
        bench.assert_next_call_works().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_a_sleeper_and_a_spinner() {
    let bench = Bench::new().await;
    for name in ["sleep", "loop"] {
        let started = Instant::now();
        let error = bench.failure(name, Duration::from_millis(50)).await;
        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::Timeout, "sandbox.deadline")
        );
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{name}: {:?}",
            started.elapsed()
        );
        bench.assert_next_call_works().await;
    }
}

/// 600 ms in some two hundred naps, on a CPU budget of 200 ms.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_is_not_cpu_time() {
    let bench = Bench::new().await;
    assert_eq!(bench.unwrap("naps", LONG).await.unwrap(), [7; 32]);
}

/// On a runtime with one thread, a spinning guest must let others run.
#[tokio::test(flavor = "current_thread")]
async fn a_spinning_guest_slows_nobody() {
    let bench = Arc::new(Bench::new().await);
    let spinner = Arc::clone(&bench);
    let spinning = tokio::spawn(async move { spinner.failure("loop", LONG).await });
    let started = Instant::now();
    let mut turns = 0;
    while !spinning.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
        turns += 1;
    }
    assert_eq!(spinning.await.unwrap().code, "sandbox.cpu");
    assert!(turns > 10, "{turns} turns in {:?}", started.elapsed());
}

/// On one thread, so that the subscriber of this test hears all of it.
#[tokio::test(flavor = "current_thread")]
async fn a_flood_of_log_lines_is_capped_and_forges_nothing() {
    let bench = Bench::new().await;
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let error = bench.failure("log", LONG).await;
    drop(guard);
    assert_eq!(error.code, "hostile.flooded", "{error}");

    let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("keyreel::plugin"))
        .collect();
    assert_eq!(lines.len(), 101, "{text}");
    assert!(lines[99].contains("turn=99"), "{}", lines[99]);
    assert!(
        lines[100].contains("sandbox.log: the plugin has used up"),
        "{}",
        lines[100]
    );
    assert!(!text.contains('\u{1b}'), "an escape sequence got through");
    assert!(
        lines
            .iter()
            .all(|line| line.contains("hostile") && line.contains("acme")),
        "{text}"
    );
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_machine_is_in_reach() {
    let bench = Bench::new().await;
    let error = bench.failure("environment", LONG).await;
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("hostile.report", "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_reaches_what_is_not_the_tenants() {
    let bench = Bench::new().await;
    kek(&bench.vault, "globex", "kek/2", HPKE);
    bench.vault.secrets.lock().unwrap().extend([
        (("acme".to_owned(), "api-key".to_owned()), b"hush".to_vec()),
        (
            ("acme".to_owned(), "other-secret".to_owned()),
            b"hush".to_vec(),
        ),
    ]);
    let error = bench.failure("secrets", LONG).await;
    let report: Vec<&str> = error.message.split(' ').collect();
    assert_eq!(
        report,
        [
            "kek/2=secrets.no-such-key",
            "../globex/kek/1=secrets.bad-name",
            "globex/kek/1=secrets.undeclared",
            "kek/../kek/1=secrets.bad-name",
            "=secrets.bad-name",
            "kek/1\u{fffd}=secrets.bad-name",
            "undeclared=secrets.undeclared",
            "own=ok",
            "reveal-kek=secrets.reveal-not-granted",
            "mac-kek=secrets.wrong-kind",
            "api-key=ok",
            "reveal=secrets.reveal-not-granted",
            "mac=ok",
            "reveal-derived=secrets.reveal-not-granted",
            "reveal-own-bytes=ok",
            "generate=secrets.generate-refused",
        ]
    );
    let granted = Grants {
        reveal: ["api-key".to_owned()].into(),
        ..Grants::default()
    };
    let bench = Bench::with(granted).await;
    let key = ("acme".to_owned(), "api-key".to_owned());
    bench
        .vault
        .secrets
        .lock()
        .unwrap()
        .insert(key, b"hush".to_vec());
    let error = bench.failure("secrets", LONG).await;
    assert!(error.message.contains(" reveal=ok "), "{error}");
    assert!(
        error
            .message
            .contains(" reveal-kek=secrets.reveal-not-granted "),
        "{error}"
    );
    assert!(
        error
            .message
            .contains(" reveal-derived=secrets.reveal-not-granted "),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_kept_only_if_the_answer_is_the_one_asked_for() {
    let bench = Bench::new().await;
    let id = KekId::parse("kek/5").unwrap();
    for (name, code) in [
        ("other-id", "sandbox.malformed"),
        ("other-public-key", "sandbox.malformed"),
        ("fail-after-generate", "hostile.failed"),
        ("generate-twice", "secrets.generate-refused"),
        ("generate-other-name", "secrets.generate-refused"),
    ] {
        let call = bench.sealed(name).await.call;
        let error = bench
            .provider
            .generate_kek(&call, &id, HPKE)
            .await
            .unwrap_err();
        assert_eq!(error.code, code, "{name}: {error}");
        assert!(bench.vault.key("acme", "kek/5").is_none(), "{name}");
    }
    let call = bench.sealed("good").await.call;
    let kek = bench.provider.generate_kek(&call, &id, RSA).await.unwrap();
    assert_eq!(kek.sealed, [("note".to_owned(), b"kept".to_vec())]);
    assert!(bench.vault.key("acme", "kek/5").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_is_pure_and_bounded() {
    let bench = Bench::new().await;
    let error = bench
        .provider
        .validate(&behaviour("secrets"))
        .await
        .unwrap_err();
    assert_eq!(error.code, "secrets.pure");
    let error = bench
        .provider
        .validate(&behaviour("loop"))
        .await
        .unwrap_err();
    assert_eq!(error.code, "sandbox.cpu");
    let validated = bench.provider.validate(&behaviour("good")).await.unwrap();
    assert_eq!(validated.outbound, ["https://kms.example:443"]);
    assert_eq!(validated.warnings, ["will\u{fffd}misbehave: good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_cache_outlives_an_instance_and_is_the_tenants_own() {
    let bench = Bench::new().await;
    for tenant in ["acme", "globex"] {
        bench.vault.configure(tenant, &behaviour("session"));
    }
    let mut said = Vec::new();
    for (tenant, request) in [
        ("acme", "a1"),
        ("acme", "a2"),
        ("globex", "g1"),
        ("globex", "g2"),
    ] {
        let mut sealed = seal(tenant, &bench.kek);
        sealed.call.request_id = request.to_owned();
        let answer = bench
            .provider
            .unwrap_dek(&sealed.call, &sealed.kek, &sealed.envelope)
            .await;
        said.push(answer.err().unwrap().message);
    }
    assert_eq!(said, ["nothing", "a1", "nothing", "g1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_dek_is_a_dek() {
    let bench = Bench::new().await;
    assert_eq!(bench.unwrap("imported-dek", LONG).await.unwrap(), [7; 32]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_once_do_not_disturb_each_other() {
    let bench = Arc::new(Bench::new().await);
    let sealed = Arc::new(bench.sealed("good").await);
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let (bench, sealed) = (Arc::clone(&bench), Arc::clone(&sealed));
            tokio::spawn(async move {
                let answer = bench
                    .provider
                    .unwrap_dek(&sealed.call, &sealed.kek, &sealed.envelope);
                *answer.await.unwrap().dek.expose() == *sealed.dek.expose()
            })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap());
    }
}
