//! The AWS KMS provider against KMS as others built it: moto keeps the keys, botocore checks every
//! signature, a proxy before them refuses what moto does not (tests/third-party/kms_proxy.py).

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use keyreel_format::wrap::PrivateKey;
use keyreel_format::{Dek, KekId, ProviderId, TenantId, WrapAlgorithm, wrap};
use keyreel_keys::{
    CallInfo, Configured, Envelope, ErrorClass, Kek, KeyProvider, ProviderError, SystemClock,
    TenantVault, VaultError,
};
use keyreel_sandbox::{
    AwsSigner, Egress, Grants, OriginGrant, PluginProvider, Sandbox, SandboxSettings,
};
use keyreel_tests::{JsonRequest as _, JsonResponse as _, root};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::rig::{Turn, new_recording, plugin, provider, tenant};

const RSA: &str = "rsa-oaep-sha256";
const HPKE: &str = "hpke-mlkem1024-p384";

#[tokio::test(flavor = "multi_thread")]
async fn mints_and_unwraps_with_contexts_keys_and_aliases() {
    let kms = Kms::start().await;
    for (name, arn, more, algorithm, action) in [
        (
            "pair",
            &kms.ready.key_arn,
            "",
            RSA,
            "GenerateDataKeyPairWithoutPlaintext",
        ),
        (
            "alias",
            &kms.ready.alias_arn,
            "",
            RSA,
            "GenerateDataKeyPairWithoutPlaintext",
        ),
        (
            "encrypt",
            &kms.ready.alias_arn,
            r#","minting":"encrypt""#,
            RSA,
            "Encrypt",
        ),
        ("aes256", &kms.ready.key_arn, "", HPKE, "Encrypt"),
        (
            "named",
            &kms.ready.key_arn,
            r#","contextKey":"acme-org""#,
            RSA,
            "GenerateDataKeyPairWithoutPlaintext",
        ),
    ] {
        kms.configure(name, arn, more);
        let health = kms.provider.health(&call(name)).await.unwrap();
        assert_eq!(health.status, "ok");
        kms.requests().await;
        let kek = kms.mint(name, algorithm).await.unwrap();
        kms.unwrap(name, &kek).await.unwrap();

        let asked = kms.requests().await;
        let actions: Vec<_> = asked.iter().map(|request| &request["action"]).collect();
        assert_eq!(actions, [action, "Decrypt"], "{name}");
        let context_key = if name == "named" {
            "acme-org"
        } else {
            "genesys-cloud-organization-id"
        };
        for request in &asked {
            // botocore computed the same signature over the same request.
            assert_eq!(request["signature"], "valid", "{name}: {request}");
            assert_eq!(request["context"], json!({ context_key: name }), "{name}");
            let headers: Vec<_> = request["headers"].as_array().unwrap().iter().collect();
            assert!(!headers.contains(&&json!("keyreel-sign")), "{headers:?}");
        }
        assert_eq!(asked[0]["keyId"], arn.as_str());
        assert_eq!(
            asked[1]["keyId"],
            kms.ready.key_arn.as_str(),
            "by key, not by alias"
        );
        if action == "Encrypt" {
            // A key, not the text that stood for it.
            let expected = if algorithm == HPKE {
                32..33
            } else {
                1700..1900
            };
            let sent = asked[0]["plaintextBytes"].as_u64().unwrap();
            assert!(expected.contains(&sent), "{name}: {sent} bytes");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_context_is_refused() {
    let kms = Kms::start().await;
    let arn = kms.ready.alias_arn.clone();
    for name in ["acme", "globex"] {
        kms.configure(name, &arn, "");
    }
    for algorithm in [RSA, HPKE] {
        let kek = kms.mint("acme", algorithm).await.unwrap();
        let error = kms.unwrap("globex", &kek).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Integrity, "{algorithm}: {error}");
        // Another name for the same value is another context too.
        let mut renamed = kek.clone();
        for (name, value) in &mut renamed.sealed {
            if name == "context-key" {
                *value = b"another".to_vec();
            }
        }
        let error = kms.unwrap("acme", &renamed).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Integrity, "{algorithm}: {error}");
        kms.unwrap("acme", &kek).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_pointed_elsewhere_leaves_old_keys_opening() {
    let kms = Kms::start().await;
    kms.configure("acme", &kms.ready.alias_arn, "");
    let old = kms.mint("acme", RSA).await.unwrap();
    let other = kms.moto("create_key", json!({})).await;
    let other = other["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();
    let arguments = json!({"AliasName": "alias/keyreel", "TargetKeyId": other});
    kms.moto("update_alias", arguments).await;
    let new = kms.mint("acme", RSA).await.unwrap();
    let arn = |kek: &Kek| {
        let sealed = kek.sealed.iter().find(|(name, _)| name == "key-arn");
        String::from_utf8(sealed.unwrap().1.clone()).unwrap()
    };
    assert_eq!((arn(&old), arn(&new)), (kms.ready.key_arn.clone(), other));
    kms.unwrap("acme", &old).await.unwrap();
    kms.unwrap("acme", &new).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_disabled_or_about_to_go_opens_nothing() {
    let kms = Kms::start().await;
    let arn = kms.ready.key_arn.clone();
    kms.configure("acme", &arn, "");
    let kek = kms.mint("acme", RSA).await.unwrap();
    // moto changes keys by their id alone.
    let id = arn.rsplit('/').next().unwrap();
    for (taken, arguments, given_back, code) in [
        (
            "disable_key",
            json!({"KeyId": id}),
            &["enable_key"][..],
            "aws.DisabledException",
        ),
        (
            "schedule_key_deletion",
            json!({"KeyId": id, "PendingWindowInDays": 7}),
            &["cancel_key_deletion", "enable_key"][..],
            "aws.KMSInvalidStateException",
        ),
    ] {
        kms.moto(taken, arguments).await;
        let error = kms.unwrap("acme", &kek).await.unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::KeyDisabled, code)
        );
        let error = kms.provider.health(&call("acme")).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::KeyDisabled);
        for call in given_back {
            kms.moto(call, json!({"KeyId": id})).await;
        }
        kms.unwrap("acme", &kek).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_proxy_breaks_is_told() {
    use ErrorClass as C;
    let kms = Kms::start().await;
    kms.configure("acme", &kms.ready.key_arn, "");
    let kek = kms.mint("acme", RSA).await.unwrap();
    for (fault, class, retry_after) in [
        ("exception:AccessDeniedException", C::Denied, None),
        ("exception:KMSInternalException:500", C::Unavailable, None),
        ("exception:DependencyTimeoutException:503", C::Timeout, None),
        ("throttle:7", C::Throttled, Some(7)),
        ("status:502", C::Unavailable, None),
        ("html", C::Internal, None),
        ("hang", C::Timeout, None),
        ("cut", C::Unavailable, None),
        ("endless", C::Internal, None),
    ] {
        // Twice, since the plugin asks again where it is throttled.
        kms.fault("Decrypt", fault, 2).await;
        let error = kms.unwrap("acme", &kek).await.unwrap_err();
        assert_eq!(error.class, class, "{fault}: {error}");
        assert_eq!(
            error.retry_after,
            retry_after.map(Duration::from_secs),
            "{fault}"
        );
        assert!(!error.message.contains("said by"), "{fault}: {error}");
        kms.clear_faults().await;
        kms.unwrap("acme", &kek).await.unwrap();
    }
    // Once is not noticed. (Where KMS is not there at all, the keyring asks again.)
    kms.fault("Decrypt", "exception:ThrottlingException", 1)
        .await;
    kms.unwrap("acme", &kek).await.unwrap();
    // A key pair is not asked for twice.
    kms.requests().await;
    kms.fault("GenerateDataKeyPairWithoutPlaintext", "status:503", 1)
        .await;
    let error = kms.mint("acme", RSA).await.unwrap_err();
    assert_eq!(error.class, C::Unavailable);
    assert_eq!(kms.requests().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn botocore_does_not_take_other_credentials() {
    let kms = Kms::start_with(Some("not-the-secret")).await;
    kms.configure("acme", &kms.ready.key_arn, "");
    let error = kms.mint("acme", RSA).await.unwrap_err();
    assert_eq!(error.code, "aws.InvalidSignatureException");
    assert_eq!(kms.requests().await[0]["signature"], "invalid");
}

/// moto behind its proxy, and the provider before it.
struct Kms {
    ready: Ready,
    vault: Arc<Configurations>,
    provider: PluginProvider,
    http: reqwest::Client,
    process: Child,
    _turn: Turn,
    _stdin: Option<ChildStdin>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    url: String,
    key_arn: String,
    alias_arn: String,
    access_key_id: String,
    secret_access_key: String,
}

impl Kms {
    async fn start() -> Self {
        Self::start_with(None).await
    }

    async fn start_with(secret: Option<&str>) -> Self {
        let turn = Turn::beside().await;
        let mut process = Command::new(root().join("tests/.venv/bin/python"))
            .arg(root().join("tests/third-party/kms_proxy.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take();
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let ready: Ready = serde_json::from_str(&line).unwrap();

        let credentials = Credentials::new(
            ready.access_key_id.clone(),
            secret.unwrap_or(&ready.secret_access_key),
            None,
            None,
            "test",
        );
        let grant = OriginGrant::parse(&ready.url).unwrap();
        let grants = Grants {
            egress: Egress {
                origins: vec![grant.with_private_addresses().signed()],
                aws: Some(AwsSigner::new(SharedCredentialsProvider::new(credentials))),
                ..Egress::default()
            },
            ..Grants::default()
        };
        let vault = Arc::new(Configurations::default());
        let settings = SandboxSettings::default();
        let sandbox = Sandbox::new(settings, vault.clone(), Arc::new(SystemClock)).unwrap();
        let admitted = sandbox
            .admit_with(provider("aws-kms"), plugin("aws-kms"), None, grants)
            .await;
        Self {
            ready,
            vault,
            provider: admitted.unwrap(),
            http: reqwest::Client::new(),
            process,
            _turn: turn,
            _stdin: stdin,
        }
    }

    fn configure(&self, of: &str, key_arn: &str, more: &str) {
        let url = &self.ready.url;
        let json = format!(r#"{{"keyArn":"{key_arn}","endpoint":"{url}"{more}}}"#);
        self.vault.0.lock().unwrap().insert(of.to_owned(), json);
        self.provider.purge(&tenant(of));
    }

    async fn mint(&self, of: &str, algorithm: &str) -> Result<Kek, ProviderError> {
        let id = KekId::parse("kek/1").unwrap();
        let mut call = call(of);
        // A key pair takes its time to find.
        call.deadline = Duration::from_secs(30);
        self.provider.generate_kek(&call, &id, algorithm).await
    }

    /// Whether a DEK wrapped with `kek` for the tenant comes back.
    async fn unwrap(&self, of: &str, kek: &Kek) -> Result<(), ProviderError> {
        let (recording, dek) = (new_recording(), Dek::generate());
        let algorithm = WrapAlgorithm::parse(&kek.algorithm).unwrap();
        let context = wrap::context(&tenant(of), &recording);
        let envelope = Envelope {
            algorithm: kek.algorithm.clone(),
            wrapped_dek: wrap::wrap(algorithm, &kek.public_key, &context, &dek).unwrap(),
            recording,
            context: Vec::new(),
        };
        let answer = self.provider.unwrap_dek(&call(of), kek, &envelope).await?;
        assert_eq!(answer.dek.expose(), dek.expose());
        Ok(())
    }

    async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_proxy/{path}", self.ready.url);
        let answer = self
            .http
            .post(url)
            .json(&body)
            .unwrap()
            .send()
            .await
            .unwrap();
        answer.error_for_status().unwrap().json().await.unwrap()
    }

    async fn fault(&self, action: &str, fault: &str, times: u32) {
        let body = json!({"action": action, "fault": fault, "times": times});
        self.control("faults", body).await;
    }

    async fn clear_faults(&self) {
        self.control("faults", json!({"action": null})).await;
    }

    async fn moto(&self, call: &str, arguments: Value) -> Value {
        self.control("moto", json!({"call": call, "arguments": arguments}))
            .await
    }

    /// What was asked since the last time.
    async fn requests(&self) -> Vec<Value> {
        let url = format!("{}/_proxy/requests", self.ready.url);
        self.http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }
}

impl Drop for Kms {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn call(of: &str) -> CallInfo {
    CallInfo {
        request_id: "request-1".to_owned(),
        tenant: tenant(of),
        subject: "user-1".to_owned(),
        deadline: Duration::from_secs(3),
        configured: Configured::default(),
        attributes: Vec::new(),
    }
}

/// A vault with configurations and nothing else: a provider that asks for more fails.
#[derive(Default)]
struct Configurations(Mutex<HashMap<String, String>>);

#[async_trait]
impl TenantVault for Configurations {
    async fn configuration(
        &self,
        tenant: &TenantId,
        _: &ProviderId,
        _: Option<&str>,
    ) -> Result<String, VaultError> {
        Ok(self.0.lock().unwrap()[tenant.as_str()].clone())
    }

    async fn secret(
        &self,
        _: &TenantId,
        _: &ProviderId,
        _: Option<&str>,
        name: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        unreachable!("the provider asked for the secret {name}")
    }

    async fn private_key(
        &self,
        _: &TenantId,
        _: &ProviderId,
        name: &str,
    ) -> Result<Option<Arc<PrivateKey>>, VaultError> {
        unreachable!("the provider asked for the private key {name}")
    }

    async fn keep_private_key(
        &self,
        _: &TenantId,
        _: &ProviderId,
        name: &str,
        _: Arc<PrivateKey>,
    ) -> Result<(), VaultError> {
        unreachable!("the host was to keep {name}, which KMS keeps")
    }
}
