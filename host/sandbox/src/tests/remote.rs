//! What of remote key services' secrets lies in a guest's memory: neither the Hawk key nor AWS
//! credentials ever, and private keys and DEKs only where an answer holds them, until the call is
//! over.

#[path = "../../tests/plugins/egress/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyreel_format::wrap::PrivateKey;
use keyreel_format::{KekId, WrapAlgorithm};
use keyreel_keys::{Kek, KeyProvider, SystemClock};
use keyreel_kms_stand_in::{KmsStandIn, REGION};

use self::server::{Reply, Server, ok};
use super::support::{HPKE, MemoryVault, RSA, call, guests, kek, seal};
use super::{Memories, admit_with, secrets_of};
use crate::egress::{AwsSigner, Egress, OriginGrant};
use crate::provider::{Grants, PluginProvider};

/// As the sample service makes it: 39 digits.
const HAWK_KEY: &str = "729184650193847561029384756102938475610";
/// As AWS makes them for the time of a session.
const SESSION_TOKEN: &str = "IQoJb3JpZ2luX2VjEHEaCWV1LWNlbnRyYWwtMSJHMEUCIQDkEyReElTeStToKeN";

fn granted(origin: &str, aws: Option<AwsSigner>) -> Grants {
    let grant = OriginGrant::parse(origin).unwrap().with_private_addresses();
    let grant = if aws.is_some() { grant.signed() } else { grant };
    Grants {
        egress: Egress {
            origins: vec![grant],
            aws,
            ..Egress::default()
        },
        ..Grants::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hawk_key_is_used_and_never_there() {
    let memories = Arc::new(Memories::default());
    let vault = Arc::new(MemoryVault::default());
    let kek = kek(&vault, "acme", "kek/1", RSA);
    let sealed = seal("acme", &kek);
    let answer = ok(&format!(
        r#"{{"body":"{}"}}"#,
        STANDARD.encode(sealed.dek.expose())
    ));
    let server = Server::start(move |_| Reply::Say(answer.clone())).await;
    let grants = granted(&server.origin(), None);
    let lkm = admit_with(&memories, &vault, "lkm", &guests().lkm, grants).await;
    let url = format!("{}/decrypt", server.origin());
    vault.configure(
        "acme",
        &format!(r#"{{"url":"{url}","apiId":"the-api-id","padding":"oaep-sha256"}}"#),
    );
    vault.secrets.lock().unwrap().insert(
        ("acme".to_owned(), "api-key".to_owned()),
        HAWK_KEY.as_bytes().to_vec(),
    );
    let opened = lkm
        .unwrap_dek(&sealed.call, &kek, &sealed.envelope)
        .await
        .unwrap();
    // The DEK is handed on, and the instance is gone.
    let (all, held) = memories.count();
    assert!(all > 0 && held == 0, "{held} of {all} memories are held");
    assert_eq!(opened.dek.expose(), sealed.dek.expose());
    let authorization = server.requests()[0]
        .header("authorization")
        .unwrap()
        .to_owned();
    assert!(
        authorization.starts_with("Hawk id=\"the-api-id\""),
        "{authorization}"
    );

    // What it was given is there: the scanner sees.
    assert!(memories.hold_any(&[b"the-api-id".as_slice()]));
    assert!(memories.hold_any(&[sealed.dek.expose()]));
    assert!(
        !memories.hold_any(&[HAWK_KEY.as_bytes()]),
        "the Hawk key was in the guest"
    );
}

/// A KMS, the plugin before it, and the credentials that the host signs with.
struct Fixture {
    memories: Arc<Memories>,
    kms: KmsStandIn,
    provider: PluginProvider,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn new(minting: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock);
        let kms = KmsStandIn::bind(folder.path(), ([127, 0, 0, 1], 0).into(), clock)
            .await
            .unwrap();
        let credentials = Credentials::new(
            kms.credentials.access_key_id.clone(),
            kms.credentials.secret_access_key.clone(),
            Some(SESSION_TOKEN.to_owned()),
            None,
            "test",
        );
        let signer = AwsSigner::new(SharedCredentialsProvider::new(credentials));
        let memories = Arc::new(Memories::default());
        let vault = Arc::new(MemoryVault::default());
        let grants = granted(&kms.url, Some(signer));
        let component = &guests().aws_kms;
        let provider = admit_with(&memories, &vault, "aws-kms", component, grants).await;
        let (arn, url) = (&kms.key_arn, &kms.url);
        let configuration =
            format!(r#"{{"keyArn":"{arn}","endpoint":"{url}","minting":"{minting}"}}"#);
        vault.configure("acme", &configuration);
        Self {
            memories,
            kms,
            provider,
            _folder: folder,
        }
    }

    /// The private key of a KEK, which KMS alone opens: with curl's signature.
    fn private_key(&self, kek: &Kek) -> Vec<u8> {
        let kms = &self.kms;
        let blob = kek.sealed.iter().find(|(name, _)| name == "private-key");
        let question = serde_json::json!({
            "CiphertextBlob": STANDARD.encode(&blob.unwrap().1),
            "EncryptionContext": {"genesys-cloud-organization-id": "acme"},
        });
        let secret = &kms.credentials.secret_access_key;
        let output = std::process::Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body"])
            .args(["--aws-sigv4", &format!("aws:amz:{REGION}:kms")])
            .args([
                "--user",
                &format!("{}:{secret}", kms.credentials.access_key_id),
            ])
            .args(["--header", "Content-Type: application/x-amz-json-1.1"])
            .args(["--header", "X-Amz-Target: TrentService.Decrypt"])
            .args(["--data", &question.to_string()])
            .arg(&kms.url)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        STANDARD
            .decode(answer["Plaintext"].as_str().unwrap())
            .unwrap()
    }

    fn assert_no_credentials(&self) {
        let credentials = &self.kms.credentials;
        for secret in [
            credentials.secret_access_key.as_str(),
            credentials.access_key_id.as_str(),
            SESSION_TOKEN,
        ] {
            assert!(
                !self.memories.hold_any(&[secret.as_bytes()]),
                "AWS credentials were in the guest"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_credentials_are_used_and_never_there_and_private_keys_only_in_answers() {
    for (minting, algorithm) in [("encrypt", RSA), ("data-key-pair", RSA), ("encrypt", HPKE)] {
        let fixture = Fixture::new(minting).await;
        let memories = &fixture.memories;
        let id = KekId::parse("kek/1").unwrap();
        let kek = fixture
            .provider
            .generate_kek(&call("acme"), &id, algorithm)
            .await
            .unwrap();
        let private_key = fixture.private_key(&kek);
        let algorithm_of = WrapAlgorithm::parse(algorithm).unwrap();
        let parsed = PrivateKey::from_secret_bytes(algorithm_of, &private_key).unwrap();
        let secrets = secrets_of(algorithm, &parsed);
        let secrets: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).collect();
        // In base64 it begins at any of three places.
        let encoded: Vec<String> = (0..3)
            .map(|skip| STANDARD.encode(&private_key[skip..]))
            .collect();
        let encoded: Vec<&[u8]> = encoded
            .iter()
            // RSA's begins with what is public.
            .map(|text| {
                text.as_bytes()
                    .split_at(if algorithm == RSA { 900 } else { 0 })
                    .1
            })
            .collect();
        assert!(
            memories.hold_any(&[kek.public_key.as_slice()]),
            "the scanner is blind"
        );
        assert!(
            !memories.hold_any(&secrets),
            "{minting} {algorithm}: minted in the guest"
        );
        assert!(
            !memories.hold_any(&encoded),
            "{minting} {algorithm}: sent by the guest"
        );
        fixture.assert_no_credentials();

        // KMS's answer brings the private key; with the call, all of it is gone.
        memories.forget();
        assert_eq!(memories.count(), (0, 0));
        let sealed = seal("acme", &kek);
        let opened = fixture
            .provider
            .unwrap_dek(&sealed.call, &kek, &sealed.envelope)
            .await
            .unwrap();
        let (all, held) = memories.count();
        assert!(all > 0 && held == 0, "{held} of {all} memories are held");
        assert_eq!(opened.dek.expose(), sealed.dek.expose());
        assert!(
            !memories.hold_any(&[sealed.dek.expose()]),
            "the DEK was in the guest"
        );
        fixture.assert_no_credentials();
    }
}

/// So also where the call fails, or is given up: nothing of the instance is left.
#[tokio::test(flavor = "multi_thread")]
async fn the_instance_is_gone_however_the_call_ends() {
    let memories = Arc::new(Memories::default());
    let vault = Arc::new(MemoryVault::default());
    let kek = kek(&vault, "acme", "kek/1", RSA);
    for (what, server) in [
        ("refused", Server::start(|_| Reply::Say(ok("{}"))).await),
        (
            "late",
            Server::start(|_| Reply::SayAndHang(Vec::new())).await,
        ),
    ] {
        let grants = granted(&server.origin(), None);
        let lkm = admit_with(&memories, &vault, "lkm", &guests().lkm, grants).await;
        let url = format!("{}/decrypt", server.origin());
        let configuration = format!(r#"{{"url":"{url}","apiId":"id","padding":"oaep-sha256"}}"#);
        vault.configure("acme", &configuration);
        vault.secrets.lock().unwrap().insert(
            ("acme".to_owned(), "api-key".to_owned()),
            HAWK_KEY.as_bytes().to_vec(),
        );
        memories.forget();
        let mut sealed = seal("acme", &kek);
        if what == "late" {
            sealed.call.deadline = Duration::from_millis(300);
        }
        let asked = lkm.unwrap_dek(&sealed.call, &kek, &sealed.envelope);
        assert!(asked.await.is_err(), "{what}");
        let (all, held) = memories.count();
        assert!(
            all > 0 && held == 0,
            "{what}: {held} of {all} memories are held"
        );
        if what != "late" {
            continue;
        }

        // Nobody waits for the answer any more.
        memories.forget();
        sealed.call.deadline = Duration::from_secs(60);
        let asked = lkm.unwrap_dek(&sealed.call, &kek, &sealed.envelope);
        let given_up = tokio::time::timeout(Duration::from_secs(1), asked).await;
        assert!(given_up.is_err());
        let (all, held) = memories.count();
        assert!(
            all > 0 && held == 0,
            "given up: {held} of {all} memories are held"
        );
    }
}
