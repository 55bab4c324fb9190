//! The AWS KMS provider mints and unwraps against the stand-in, which checks every signature.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use keyreel_format::KekId;
use keyreel_keys::{ErrorClass, Kek, KeyProvider, ProviderError, ProviderId, SystemClock};
use keyreel_kms_stand_in::{KmsStandIn, REGION};
use keyreel_sandbox::{
    AwsSigner, Egress, Grants, OriginGrant, PluginProvider, Sandbox, SandboxSettings,
};
use tempfile::TempDir;

use crate::support::{HPKE, MemoryVault, RSA, call, guests, seal};

/// A stand-in and the provider before it.
struct Fixture {
    kms: KmsStandIn,
    vault: Arc<MemoryVault>,
    provider: PluginProvider,
    _folder: TempDir,
}

async fn stand_in() -> (TempDir, KmsStandIn) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock);
    let kms = KmsStandIn::bind(folder.path(), ([127, 0, 0, 1], 0).into(), clock).await;
    (folder, kms.unwrap())
}

impl Fixture {
    async fn new() -> Self {
        let (folder, kms) = stand_in().await;
        let credentials = kms.credentials.clone();
        let credentials = Credentials::new(
            credentials.access_key_id,
            credentials.secret_access_key,
            None,
            None,
            "test",
        );
        Self::with(folder, kms, credentials).await
    }

    async fn with(folder: TempDir, kms: KmsStandIn, credentials: Credentials) -> Self {
        let vault = Arc::new(MemoryVault::default());
        let settings = SandboxSettings::default();
        let sandbox = Sandbox::new(settings, vault.clone(), Arc::new(SystemClock)).unwrap();
        let grant = OriginGrant::parse(&kms.url).unwrap();
        let grants = Grants {
            egress: Egress {
                origins: vec![grant.with_private_addresses().signed()],
                aws: Some(AwsSigner::new(SharedCredentialsProvider::new(credentials))),
                ..Egress::default()
            },
            ..Grants::default()
        };
        let id = ProviderId::parse("aws-kms").unwrap();
        let provider = sandbox
            .admit_with(id, &guests().aws_kms, None, grants)
            .await
            .unwrap();
        Self {
            kms,
            vault,
            provider,
            _folder: folder,
        }
    }

    /// Configures `tenant`; `more` is JSON to go on with.
    fn configure(&self, tenant: &str, key_arn: &str, more: &str) {
        let url = &self.kms.url;
        let json = format!(r#"{{"keyArn":"{key_arn}","endpoint":"{url}"{more}}}"#);
        self.vault.configure(tenant, &json);
        self.provider.purge(&call(tenant).tenant);
    }

    async fn mint(&self, tenant: &str, algorithm: &str) -> Result<Kek, ProviderError> {
        let id = KekId::parse("kek/1").unwrap();
        self.provider
            .generate_kek(&call(tenant), &id, algorithm)
            .await
    }

    /// Whether a DEK wrapped with `kek` for `tenant` comes back.
    async fn unwrap(&self, tenant: &str, kek: &Kek) -> Result<(), ProviderError> {
        let sealed = seal(tenant, kek);
        let answer = self
            .provider
            .unwrap_dek(&sealed.call, kek, &sealed.envelope)
            .await?;
        assert_eq!(answer.dek.expose(), sealed.dek.expose());
        Ok(())
    }

    /// Has the stand-in do something to its key, as an administrator of AWS would: with curl, whose
    /// signatures are nobody's here.
    fn administer(&self, action: &str) {
        let kms = &self.kms;
        let user = format!(
            "{}:{}",
            kms.credentials.access_key_id, kms.credentials.secret_access_key
        );
        let output = std::process::Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body"])
            .args(["--aws-sigv4", &format!("aws:amz:{REGION}:kms")])
            .args(["--user", &user])
            .args(["--header", "Content-Type: application/x-amz-json-1.1"])
            .args(["--header", &format!("X-Amz-Target: TrentService.{action}")])
            .args(["--data", &format!(r#"{{"KeyId":"{}"}}"#, kms.key_arn)])
            .arg(&kms.url)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mints_both_ways_and_unwraps_for_both_policies() {
    let fixture = Fixture::new().await;
    assert!(fixture.provider.describe().mints_keks);
    assert_eq!(fixture.provider.describe().algorithms, [RSA, HPKE]);
    let (key, alias) = (fixture.kms.key_arn.clone(), fixture.kms.alias_arn.clone());
    for (tenant, arn, more) in [
        ("pair", &key, ""),
        ("encrypt", &key, r#","minting":"encrypt""#),
        ("alias", &alias, r#","minting":"data-key-pair""#),
        ("context", &alias, r#","contextKey":"acme-tenant""#),
    ] {
        fixture.configure(tenant, arn, more);
        let health = fixture.provider.health(&call(tenant)).await.unwrap();
        assert_eq!(health.status, "ok");
        assert!(health.detail.contains(&key), "{}", health.detail);
        for algorithm in [RSA, HPKE] {
            let kek = fixture.mint(tenant, algorithm).await.unwrap();
            // An alias may be pointed to another key: kept is the key that sealed.
            let kept = kek.sealed.iter().find(|(name, _)| name == "key-arn");
            assert_eq!(kept.unwrap().1, key.as_bytes(), "{tenant} {algorithm}");
            fixture.unwrap(tenant, &kek).await.unwrap();
            // A setting changed later leaves old keys opening.
            fixture.configure(tenant, arn, r#","contextKey":"another""#);
            fixture.unwrap(tenant, &kek).await.unwrap();
            fixture.configure(tenant, arn, more);
        }
        assert!(
            fixture.vault.key(tenant, "kek/1").is_none(),
            "the host kept a private key that KMS alone should have"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_has_another_context() {
    let fixture = Fixture::new().await;
    let arn = fixture.kms.alias_arn.clone();
    fixture.configure("acme", &arn, "");
    fixture.configure("globex", &arn, "");
    for algorithm in [RSA, HPKE] {
        let kek = fixture.mint("acme", algorithm).await.unwrap();
        let error = fixture.unwrap("globex", &kek).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Integrity, "{algorithm}");
        fixture.unwrap("acme", &kek).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_taken_away_ends_it_and_given_back_goes_on() {
    let fixture = Fixture::new().await;
    let arn = fixture.kms.key_arn.clone();
    fixture.configure("acme", &arn, "");
    let kek = fixture.mint("acme", RSA).await.unwrap();
    for (taken, given_back, code) in [
        ("DisableKey", "EnableKey", "aws.DisabledException"),
        (
            "ScheduleKeyDeletion",
            "EnableKey",
            "aws.KMSInvalidStateException",
        ),
    ] {
        fixture.administer(taken);
        let error = fixture.unwrap("acme", &kek).await.unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::KeyDisabled, code)
        );
        let error = fixture.mint("acme", HPKE).await.unwrap_err();
        assert_eq!(error.code, code);
        let error = fixture.provider.health(&call("acme")).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::KeyDisabled);
        fixture.administer(given_back);
        fixture.unwrap("acme", &kek).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_not_ours_is_told() {
    let fixture = Fixture::new().await;
    let unknown = fixture.kms.alias_arn.replace("demo", "nobodys");
    fixture.configure("acme", &unknown, "");
    let error = fixture.mint("acme", RSA).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
    assert_eq!(error.code, "aws.NotFoundException");

    // Another region than the key's: the signature is for the wrong place.
    let elsewhere = fixture.kms.alias_arn.replace(REGION, "eu-west-1");
    fixture.configure("acme", &elsewhere, "");
    let error = fixture.mint("acme", RSA).await.unwrap_err();
    assert_eq!(error.code, "aws.InvalidSignatureException");

    let arn = fixture.kms.key_arn.clone();
    fixture.configure("acme", &arn, "");
    let mut kek = fixture.mint("acme", RSA).await.unwrap();
    kek.sealed.retain(|(name, _)| name != "key-arn");
    let error = fixture.unwrap("acme", &kek).await.unwrap_err();
    assert_eq!(error.code, "aws-kms.not-its-kek");
    let error = fixture.mint("acme", "rsa-oaep-sha1").await.unwrap_err();
    assert_eq!(error.code, "aws-kms.unknown-algorithm");

    let validated = fixture
        .provider
        .validate(r#"{"keyArn":"arn:aws:kms:eu-west-1:111122223333:alias/x"}"#)
        .await
        .unwrap();
    assert_eq!(validated.outbound, ["https://kms.eu-west-1.amazonaws.com"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_the_operators_to_mend() {
    for (right_id, code) in [
        (false, "aws.UnrecognizedClientException"),
        (true, "aws.InvalidSignatureException"),
    ] {
        let (folder, kms) = stand_in().await;
        let id = kms.credentials.access_key_id.clone();
        let id = if right_id { id } else { "AKIAOTHER".to_owned() };
        let credentials = Credentials::new(id, "wrong", None, None, "test");
        let fixture = Fixture::with(folder, kms, credentials).await;
        let arn = fixture.kms.key_arn.clone();
        fixture.configure("acme", &arn, "");
        let error = fixture.mint("acme", RSA).await.unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::Config, code)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_kms_is_unavailable_at_once() {
    let fixture = Fixture::new().await;
    let arn = fixture.kms.key_arn.clone();
    fixture.configure("acme", &arn, "");
    let kek = fixture.mint("acme", RSA).await.unwrap();
    let Fixture {
        kms,
        provider,
        vault: _vault,
        _folder,
    } = fixture;
    drop(kms);
    // Whoever listened is gone with it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    provider.purge(&call("acme").tenant);
    let sealed = seal("acme", &kek);
    let error = provider
        .unwrap_dek(&sealed.call, &kek, &sealed.envelope)
        .await
        .err()
        .unwrap();
    assert_eq!(error.class, ErrorClass::Unavailable, "{error}");
    assert_eq!(error.code, "aws.connect");
}
