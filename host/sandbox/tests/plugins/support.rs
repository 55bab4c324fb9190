//! What the tests share: the guests, built once, and a vault in memory.
//! Not for: testing anything by itself.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::allow_attributes,
    reason = "shared by the unit tests, the integration tests and the bench, which use parts of it"
)]

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use keyreel_format::wrap::{self, PrivateKey};
use keyreel_format::{Dek, KekId, ProviderId, RecordingId, TenantId, WrapAlgorithm};
use keyreel_keys::{CallInfo, Configured, Envelope, Kek, TenantVault, VaultError};
use zeroize::Zeroizing;

pub const RSA: &str = "rsa-oaep-sha256";
pub const HPKE: &str = "hpke-mlkem1024-p384";

/// The guests, as components.
pub struct Guests {
    pub managed: Vec<u8>,
    pub aws_kms: Vec<u8>,
    pub lkm: Vec<u8>,
    pub hostile: Vec<u8>,
}

/// Builds the guests with the cargo that built this test.
pub fn guests() -> &'static Guests {
    static GUESTS: OnceLock<Guests> = OnceLock::new();
    GUESTS.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["build", "--profile", "plugin", "--target", "wasm32-wasip2"])
            .args([
                "--package",
                "keyreel-plugin-managed",
                "--package",
                "keyreel-plugin-aws-kms",
                "--package",
                "keyreel-plugin-lkm",
                "--package",
                "keyreel-guest-hostile",
            ])
            .args(["--message-format", "json", "--quiet"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_remove("RUSTFLAGS")
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "the guests do not build (is wasm32-wasip2 installed?)"
        );
        let messages = String::from_utf8(output.stdout).unwrap();
        Guests {
            managed: component(&messages, "keyreel_plugin_managed.wasm"),
            aws_kms: component(&messages, "keyreel_plugin_aws_kms.wasm"),
            lkm: component(&messages, "keyreel_plugin_lkm.wasm"),
            hostile: component(&messages, "keyreel_guest_hostile.wasm"),
        }
    })
}

fn component(messages: &str, name: &str) -> Vec<u8> {
    let path = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["filenames"].as_array().cloned())
        .flatten()
        .filter_map(|file| file.as_str().map(str::to_owned))
        .find(|file| file.ends_with(name));
    std::fs::read(path.unwrap()).unwrap()
}

/// Tenants' secrets, in memory.
#[derive(Default)]
pub struct MemoryVault {
    pub configurations: Mutex<HashMap<String, String>>,
    pub secrets: Mutex<HashMap<(String, String), Vec<u8>>>,
    pub keys: Mutex<HashMap<(String, String), Arc<PrivateKey>>>,
    /// How long it takes to find a configuration.
    pub slow: Mutex<Duration>,
}

impl MemoryVault {
    pub fn configure(&self, tenant: &str, configuration: &str) {
        self.configurations
            .lock()
            .unwrap()
            .insert(tenant.to_owned(), configuration.to_owned());
    }

    pub fn key(&self, tenant: &str, name: &str) -> Option<Arc<PrivateKey>> {
        self.keys
            .lock()
            .unwrap()
            .get(&(tenant.to_owned(), name.to_owned()))
            .cloned()
    }

    pub fn put_key(&self, tenant: &str, name: &str, key: PrivateKey) {
        self.keys
            .lock()
            .unwrap()
            .insert((tenant.to_owned(), name.to_owned()), Arc::new(key));
    }
}

#[async_trait]
impl TenantVault for MemoryVault {
    async fn configuration(
        &self,
        t: &TenantId,
        _: &ProviderId,
        _: Option<&str>,
    ) -> Result<String, VaultError> {
        let slow = *self.slow.lock().unwrap();
        tokio::time::sleep(slow).await;
        let configurations = self.configurations.lock().unwrap();
        Ok(configurations
            .get(t.as_str())
            .cloned()
            .unwrap_or_else(|| "{}".to_owned()))
    }

    async fn secret(
        &self,
        tenant: &TenantId,
        _: &ProviderId,
        _: Option<&str>,
        name: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let secrets = self.secrets.lock().unwrap();
        let key = (tenant.as_str().to_owned(), name.to_owned());
        Ok(secrets.get(&key).cloned().map(Zeroizing::new))
    }

    async fn private_key(
        &self,
        tenant: &TenantId,
        _: &ProviderId,
        name: &str,
    ) -> Result<Option<Arc<PrivateKey>>, VaultError> {
        Ok(self.key(tenant.as_str(), name))
    }

    async fn keep_private_key(
        &self,
        tenant: &TenantId,
        _: &ProviderId,
        name: &str,
        key: Arc<PrivateKey>,
    ) -> Result<(), VaultError> {
        let mut keys = self.keys.lock().unwrap();
        let taken = keys.insert((tenant.as_str().to_owned(), name.to_owned()), key);
        assert!(taken.is_none(), "a name was used twice");
        Ok(())
    }
}

/// A DEK wrapped for one recording, with all that a call needs.
pub struct Sealed {
    pub call: CallInfo,
    pub kek: Kek,
    pub envelope: Envelope,
    pub dek: Dek,
}

/// Wraps a fresh DEK under `kek` for a recording of `tenant`.
pub fn seal(tenant: &str, kek: &Kek) -> Sealed {
    let call = call(tenant);
    let recording = RecordingId::parse("11111111-2222-3333-4444-555555555555").unwrap();
    let dek = Dek::generate();
    let algorithm = WrapAlgorithm::parse(&kek.algorithm).unwrap();
    let context = wrap::context(&call.tenant, &recording);
    let wrapped_dek = wrap::wrap(algorithm, &kek.public_key, &context, &dek).unwrap();
    let envelope = Envelope {
        algorithm: kek.algorithm.clone(),
        wrapped_dek,
        recording,
        context: vec![("tenant".to_owned(), "forged".to_owned())],
    };
    Sealed {
        call,
        kek: kek.clone(),
        envelope,
        dek,
    }
}

/// A KEK whose private half lies in the vault.
pub fn kek(vault: &MemoryVault, tenant: &str, name: &str, algorithm: &str) -> Kek {
    let key = PrivateKey::generate(WrapAlgorithm::parse(algorithm).unwrap()).unwrap();
    let kek = Kek {
        id: KekId::parse(name).unwrap(),
        algorithm: algorithm.to_owned(),
        public_key: key.public_key().unwrap(),
        sealed: Vec::new(),
        attributes: Vec::new(),
    };
    vault.put_key(tenant, name, key);
    kek
}

pub fn call(tenant: &str) -> CallInfo {
    CallInfo {
        request_id: "request-1".to_owned(),
        tenant: TenantId::parse(tenant).unwrap(),
        subject: "user-1".to_owned(),
        deadline: Duration::from_secs(20),
        configured: Configured::default(),
        attributes: Vec::new(),
    }
}
