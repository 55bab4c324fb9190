//! Signatures by the host: only by grant, never without, and the credentials stay here. That the
//! signatures are right, the stand-in and third parties say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use keyreel_keys::{Clock, SystemClock};
use keyreel_sandbox::{AwsSigner, Egress, OriginGrant};

use super::server::{Reply, Server, ok};
use super::{Bench, local, requests};

const SIGN: &str = "keyreel-sign: aws-sigv4; region=eu-central-1; service=kms";

/// Credentials that last so long, or none; and how often they were asked for.
#[derive(Debug, Clone, Default)]
struct Wallet {
    asked: Arc<AtomicUsize>,
    lasts: Option<i64>,
    empty: bool,
}

impl ProvideCredentials for Wallet {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let nth = self.asked.fetch_add(1, Ordering::SeqCst);
        if self.empty {
            return future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("none")));
        }
        let expiry = self.lasts.map(|seconds| {
            let now = i64::try_from(SystemClock.now_ms()).unwrap();
            let then = u64::try_from(now + seconds * 1000).unwrap();
            UNIX_EPOCH + Duration::from_millis(then)
        });
        future::ProvideCredentials::ready(Ok(credentials(nth, expiry)))
    }
}

fn credentials(nth: usize, expiry: Option<SystemTime>) -> Credentials {
    let token = Some("the-session-token".to_owned());
    Credentials::new(
        format!("AKID{nth}"),
        "the-secret-key",
        token,
        expiry,
        "test",
    )
}

fn signed(origin: &str, wallet: &Wallet) -> Egress {
    let grant = OriginGrant::parse(origin).unwrap();
    Egress {
        origins: vec![grant.with_private_addresses().signed()],
        aws: Some(AwsSigner::new(SharedCredentialsProvider::new(
            wallet.clone(),
        ))),
        ..Egress::default()
    }
}

fn post(server: &Server, headers: &str) -> String {
    requests(
        &server.origin(),
        &[
            ("method", "post"),
            ("authority", &server.authority()),
            ("path", "/"),
            ("headers", headers),
            ("body", "{}"),
        ],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_signed_where_the_grant_says_so() {
    let server = Server::start(|_| Reply::Say(ok("x"))).await;
    let wallet = Wallet::default();
    let bench = Bench::new(signed(&server.origin(), &wallet)).await;
    let headers = format!("x-amz-target: TrentService.Decrypt|{SIGN}");
    assert_eq!(bench.ask(&post(&server, &headers)).await, "200 x");
    assert_eq!(bench.again("acme").await, "200 x");
    let seen = &server.requests()[0];
    let authorization = seen.header("authorization").unwrap();
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKID0/"),
        "{authorization}"
    );
    assert!(
        authorization.contains("/eu-central-1/kms/aws4_request"),
        "{authorization}"
    );
    assert!(
        authorization.contains("SignedHeaders=host;x-amz-date;x-amz-security-token;x-amz-target,"),
        "{authorization}"
    );
    assert_eq!(
        seen.header("x-amz-security-token"),
        Some("the-session-token")
    );
    assert_eq!(seen.header("keyreel-sign"), None);
    assert!(!seen.head.contains("the-secret-key"));
    // Credentials are kept.
    assert_eq!(wallet.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_signature_without_the_grant_and_none_missing_with_it() {
    let server = Server::start(|_| Reply::Say(ok("x"))).await;
    let wallet = Wallet::default();
    let bench = Bench::new(signed(&server.origin(), &wallet)).await;
    for (headers, code) in [
        ("x: y".to_owned(), "keyreel:aws.sign-required"),
        (
            "keyreel-sign: aws-sigv4".to_owned(),
            "keyreel:aws.sign-malformed",
        ),
        (
            "keyreel-sign: aws-sigv4; region=EU; service=kms".to_owned(),
            "keyreel:aws.sign-malformed",
        ),
        (format!("{SIGN}; x=y"), "keyreel:aws.sign-malformed"),
        (format!("{SIGN}|{SIGN}"), "keyreel:aws.sign-malformed"),
        (
            format!("{SIGN}|authorization: mine"),
            "keyreel:aws.sign-malformed",
        ),
        (
            format!("{SIGN}|x-amz-date: 20200101T000000Z"),
            "keyreel:aws.sign-malformed",
        ),
        (
            format!("{SIGN}|x-amz-security-token: mine"),
            "keyreel:aws.sign-malformed",
        ),
    ] {
        let said = bench.ask(&post(&server, &headers)).await;
        assert!(said.contains(code), "{headers}: {said}");
    }
    // Another origin of the same plugin, granted without signing.
    let mut egress = local(&server.origin());
    egress.aws = signed(&server.origin(), &wallet).aws;
    let bench = Bench::new(egress).await;
    let said = bench.ask(&post(&server, SIGN)).await;
    assert!(said.contains("keyreel:aws.sign-not-granted"), "{said}");
    assert!(server.requests().is_empty());
    assert_eq!(wallet.asked.load(Ordering::SeqCst), 0);
    assert_eq!(
        bench.ask(&post(&server, "authorization: mine")).await,
        "200 x"
    );
    assert_eq!(server.requests()[0].header("authorization"), Some("mine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_and_expired_credentials_have_a_code() {
    let server = Server::start(|_| Reply::Say(ok("x"))).await;
    let empty = Wallet {
        empty: true,
        ..Wallet::default()
    };
    let expired = Wallet {
        lasts: Some(-1),
        ..Wallet::default()
    };
    for wallet in [empty, expired] {
        let bench = Bench::new(signed(&server.origin(), &wallet)).await;
        for _ in 0..2 {
            let said = bench.ask(&post(&server, SIGN)).await;
            assert!(said.contains("keyreel:aws.credentials"), "{said}");
        }
        // A failure is not asked for again at once.
        assert_eq!(wallet.asked.load(Ordering::SeqCst), 1, "{wallet:?}");
    }
    let mut egress = signed(&server.origin(), &Wallet::default());
    egress.aws = None;
    let said = Bench::new(egress).await.ask(&post(&server, SIGN)).await;
    assert!(said.contains("keyreel:aws.credentials"), "{said}");
    assert!(server.requests().is_empty());
}

/// Credentials that are about to end are used, and renewed as soon as it makes sense to.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_renewed_before_they_end() {
    let server = Server::start(|_| Reply::Say(ok("x"))).await;
    let wallet = Wallet {
        lasts: Some(60),
        ..Wallet::default()
    };
    let bench = Bench::new(signed(&server.origin(), &wallet)).await;
    assert_eq!(bench.ask(&post(&server, SIGN)).await, "200 x");
    tokio::time::sleep(Duration::from_millis(5200)).await;
    assert_eq!(bench.again("acme").await, "200 x");
    let keys: Vec<bool> = ["AKID0/", "AKID1/"]
        .iter()
        .zip(server.requests())
        .map(|(key, seen)| seen.header("authorization").unwrap().contains(key))
        .collect();
    assert_eq!(keys, [true, true]);
}

/// One request with whatever the environment holds: run by the test below, with an environment.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by `the_standard_chain_is_read_and_no_proxy_is_asked`"]
async fn with_the_environment() {
    let server = Server::start(|_| Reply::Say(ok("x"))).await;
    let mut egress = signed(&server.origin(), &Wallet::default());
    egress.aws = Some(AwsSigner::standard_chain());
    let said = Bench::new(egress).await.ask(&post(&server, SIGN)).await;
    let requests = server.requests();
    let authorization = requests
        .first()
        .and_then(|seen| seen.header("authorization"));
    println!("said: {said}; {}", authorization.unwrap_or("unsigned"));
}

#[test]
fn the_standard_chain_is_read_and_no_proxy_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    let profile = "[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = x\n";
    std::fs::write(&file, profile).unwrap();
    let file = file.to_str().unwrap();
    let missing = folder.path().join("missing");
    let missing = missing.to_str().unwrap();
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIDENV"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ];
    let proxies = [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "all_proxy",
        "ALL_PROXY",
    ];
    for (environment, files, expected) in [
        (
            &keys[..],
            missing,
            "said: 200 x; AWS4-HMAC-SHA256 Credential=AKIDENV/",
        ),
        (
            &[],
            file,
            "said: 200 x; AWS4-HMAC-SHA256 Credential=AKIDFILE/",
        ),
        (&[], missing, "keyreel:aws.credentials"),
    ] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "egress::signing::with_the_environment",
                "--ignored",
                "--nocapture",
            ])
            .env_clear()
            .envs(
                std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("AWS_")),
            )
            // Nobody listens there.
            .envs(proxies.map(|name| (name, "http://127.0.0.1:1")))
            .env("AWS_SHARED_CREDENTIALS_FILE", files)
            .env("AWS_CONFIG_FILE", missing)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains(expected),
            "{expected}: {said}"
        );
    }
}
