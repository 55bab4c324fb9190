//! A key provider in this process: it holds private keys, counts, and misbehaves on demand.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use keyreel_format::wrap::{self, PrivateKey, WrapAlgorithm};
use keyreel_keys::{
    Attributes, CallInfo, Configured, Dek, Envelope, ErrorClass, Health, Kek, KekId, KeyProvider,
    ProviderDescription, ProviderError, TenantId, UnwrappedDek, Validated,
};

use super::lock;

/// A key provider in this process.
pub struct LocalProvider {
    description: ProviderDescription,
    keys: Mutex<HashMap<(TenantId, KekId), Arc<PrivateKey>>>,
    behaviours: Mutex<HashMap<TenantId, Behaviour>>,
    unwraps: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
    purges: AtomicUsize,
    asked: Mutex<Vec<Configured>>,
    contexts: Mutex<Vec<Attributes>>,
}

/// How a provider answers for one tenant.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// It takes so long.
    pub delay: Duration,
    /// Then it fails like this.
    pub error: Option<ProviderError>,
    /// Or it panics.
    pub panics: bool,
    /// Or it answers with a DEK that is none of its business.
    pub wrong_dek: bool,
    /// Or never.
    pub hangs: bool,
    /// Its bound on caching.
    pub max_cache: Option<Duration>,
}

impl Default for LocalProvider {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalProvider {
    /// A provider without keys, that behaves.
    #[must_use]
    pub fn new() -> Self {
        let algorithms = WrapAlgorithm::ALL.map(|algorithm| algorithm.name().to_owned());
        Self {
            description: ProviderDescription {
                name: "local".to_owned(),
                vendor: "tests".to_owned(),
                version: "0".to_owned(),
                algorithms: algorithms.to_vec(),
                config_schema: "{}".to_owned(),
                secrets: Vec::new(),
                mints_keks: true,
            },
            keys: Mutex::default(),
            behaviours: Mutex::default(),
            unwraps: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            purges: AtomicUsize::new(0),
            asked: Mutex::default(),
            contexts: Mutex::default(),
        }
    }

    /// As one whose keys are made by their owner.
    #[must_use]
    pub fn without_minting(mut self) -> Self {
        self.description.mints_keks = false;
        self
    }

    /// As one that reads secrets of these names.
    #[must_use]
    pub fn with_secrets(mut self, names: &[&str]) -> Self {
        self.description.secrets = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// As one that unwraps by these algorithms alone.
    #[must_use]
    pub fn with_algorithms(mut self, names: &[&str]) -> Self {
        self.description.algorithms = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// How it answers for `tenant` from now on.
    pub fn behave(&self, tenant: &TenantId, behaviour: Behaviour) {
        lock(&self.behaviours).insert(tenant.clone(), behaviour);
    }

    /// How it fails for `tenant` from now on.
    pub fn fail(&self, tenant: &TenantId, class: ErrorClass) {
        let error = Some(ProviderError::new(
            class,
            "local.told",
            "it was told to fail",
        ));
        self.behave(
            tenant,
            Behaviour {
                error,
                ..Behaviour::default()
            },
        );
    }

    /// How often it was asked to unwrap.
    pub fn unwraps(&self) -> usize {
        self.unwraps.load(Ordering::SeqCst)
    }

    /// How many unwraps ran at once, at most.
    pub fn most_running(&self) -> usize {
        self.most_running.load(Ordering::SeqCst)
    }

    /// Under which configurations it was asked how it fares, to unwrap and to mint, in order.
    pub fn asked(&self) -> Vec<Configured> {
        lock(&self.asked).clone()
    }

    /// What stood in the envelopes' contexts, in order.
    pub fn contexts(&self) -> Vec<Attributes> {
        lock(&self.contexts).clone()
    }

    /// How often it was told to forget a tenant.
    pub fn purges(&self) -> usize {
        self.purges.load(Ordering::SeqCst)
    }

    /// Adds a private key, and describes it as the KEK that goes with it.
    ///
    /// # Errors
    /// The key has no public key.
    pub fn add_key(
        &self,
        tenant: &TenantId,
        id: &KekId,
        algorithm: WrapAlgorithm,
        key: PrivateKey,
    ) -> Result<Kek, ProviderError> {
        let public_key = key.public_key().map_err(internal)?;
        lock(&self.keys).insert((tenant.clone(), id.clone()), Arc::new(key));
        Ok(Kek {
            id: id.clone(),
            algorithm: algorithm.name().to_owned(),
            public_key,
            sealed: Vec::new(),
            attributes: Vec::new(),
        })
    }

    /// Takes a private key away.
    pub fn remove_key(&self, tenant: &TenantId, id: &KekId) {
        lock(&self.keys).remove(&(tenant.clone(), id.clone()));
    }

    async fn answer(
        &self,
        call: &CallInfo,
        kek: &Kek,
        envelope: &Envelope,
    ) -> Result<UnwrappedDek, ProviderError> {
        let behaviour = lock(&self.behaviours)
            .get(&call.tenant)
            .cloned()
            .unwrap_or_default();
        if behaviour.hangs {
            std::future::pending::<()>().await;
        }
        if !behaviour.delay.is_zero() {
            tokio::time::sleep(behaviour.delay).await;
        }
        assert!(!behaviour.panics, "it was told to panic");
        if let Some(error) = behaviour.error {
            return Err(error);
        }
        let key = lock(&self.keys)
            .get(&(call.tenant.clone(), kek.id.clone()))
            .cloned();
        let key = key.ok_or_else(|| {
            ProviderError::new(ErrorClass::NotFound, "local.no-key", "no such key")
        })?;
        let algorithm = WrapAlgorithm::parse(&envelope.algorithm).map_err(internal)?;
        let context = wrap::context(&call.tenant, &envelope.recording);
        let dek = key
            .unwrap(algorithm, &envelope.wrapped_dek, &context)
            .map_err(|_| ProviderError::new(ErrorClass::Integrity, "local.integrity", ""))?;
        let dek = if behaviour.wrong_dek {
            Dek::generate()
        } else {
            dek
        };
        Ok(UnwrappedDek {
            dek,
            max_cache: behaviour.max_cache,
        })
    }
}

#[async_trait]
impl KeyProvider for LocalProvider {
    fn describe(&self) -> &ProviderDescription {
        &self.description
    }

    /// Any JSON will do. Its `url` is where the key service is.
    async fn validate(&self, config: &str) -> Result<Validated, ProviderError> {
        if !config.trim_start().starts_with('{') {
            let message = "expected a JSON object";
            return Err(ProviderError::new(
                ErrorClass::Config,
                "local.config",
                message,
            ));
        }
        Ok(Validated {
            outbound: origin_of(config).into_iter().collect(),
            warnings: Vec::new(),
        })
    }

    async fn unwrap_dek(
        &self,
        call: &CallInfo,
        kek: &Kek,
        envelope: &Envelope,
    ) -> Result<UnwrappedDek, ProviderError> {
        self.unwraps.fetch_add(1, Ordering::SeqCst);
        lock(&self.asked).push(call.configured.clone());
        lock(&self.contexts).push(envelope.context.clone());
        let _running = Running::start(self);
        self.answer(call, kek, envelope).await
    }

    async fn generate_kek(
        &self,
        call: &CallInfo,
        id: &KekId,
        algorithm: &str,
    ) -> Result<Kek, ProviderError> {
        lock(&self.asked).push(call.configured.clone());
        let algorithm = WrapAlgorithm::parse(algorithm).map_err(internal)?;
        let key = PrivateKey::generate(algorithm).map_err(internal)?;
        self.add_key(&call.tenant, id, algorithm, key)
    }

    /// As it answers for the tenant.
    async fn health(&self, call: &CallInfo) -> Result<Health, ProviderError> {
        lock(&self.asked).push(call.configured.clone());
        let behaviour = lock(&self.behaviours).get(&call.tenant).cloned();
        if let Some(error) = behaviour.and_then(|behaviour| behaviour.error) {
            return Err(error);
        }
        Ok(Health {
            status: "ok".to_owned(),
            detail: String::new(),
        })
    }

    fn purge(&self, _: &TenantId) {
        self.purges.fetch_add(1, Ordering::SeqCst);
    }
}

/// "https://keys.example" of {"url":"https://keys.example/decrypt"}.
fn origin_of(config: &str) -> Option<String> {
    let config: serde_json::Value = serde_json::from_str(config).ok()?;
    let (scheme, rest) = config.get("url")?.as_str()?.split_once("://")?;
    let authority = rest.split('/').next()?;
    Some(format!("{scheme}://{authority}"))
}

struct Running<'a>(&'a LocalProvider);

impl<'a> Running<'a> {
    fn start(provider: &'a LocalProvider) -> Self {
        let now = provider.running.fetch_add(1, Ordering::SeqCst) + 1;
        provider.most_running.fetch_max(now, Ordering::SeqCst);
        Self(provider)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn internal(error: keyreel_format::Error) -> ProviderError {
    ProviderError::new(ErrorClass::Internal, "local.error", error.to_string())
}
