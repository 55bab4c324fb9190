//! An admitted plugin, as the rest of Keyreel sees it.
//! Not for: admission (see `sandbox`), the host functions (see `secrets`).

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use keyreel_keys::{
    CallInfo, Clock, Configured, Envelope, ErrorClass, Health, Kek, KekId, KeyProvider,
    ProviderDescription, ProviderError, ProviderId, TenantId, TenantVault, UnwrappedDek, Validated,
};
use moka::sync::Cache;
use tokio::time::Instant;
use wasmtime::Engine;
use wasmtime::component::InstancePre;

use crate::bindings::exports::keyreel::key_provider::{key_admin, provider};
use crate::call::{Call, no_key_admin};
use crate::configuration::Configuration;
use crate::convert;
use crate::egress::{Egress, Lookups, Pool};
use crate::engine::Ticker;
use crate::epoch::Remembered;
use crate::error::Fault;
use crate::sessions::Sessions;
use crate::settings::Limits;
use crate::state::{CallState, Keeper, Purpose, Tenancy};
use crate::text::sanitised;

/// How long a tenant's configuration is remembered: bounds how late a change is seen by a node
/// that nobody told (see [`PluginProvider::forget`]).
const CONFIGURATION_TTL: Duration = Duration::from_secs(5);
/// Tenants whose configuration is remembered.
const CONFIGURATIONS: u64 = 10_000;
/// Origins and warnings that `validate` may return.
const MAX_VALIDATED: usize = 32;

/// What all plugins of a sandbox share.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) limits: Limits,
    pub(crate) vault: Arc<dyn TenantVault>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lookups: Lookups,
}

/// One plugin, compiled and linked. It holds no instance: every call makes its own.
pub(crate) struct Plugin {
    pub(crate) id: ProviderId,
    pub(crate) digest: [u8; 32],
    pub(crate) host: Arc<Host>,
    pub(crate) grants: Grants,
    /// The secrets that `describe` names; empty until it has.
    pub(crate) secrets: OnceLock<Vec<String>>,
    pub(crate) instance: InstancePre<CallState>,
    pub(crate) provider: provider::GuestIndices,
    pub(crate) key_admin: Option<key_admin::GuestIndices>,
    pub(crate) sessions: Sessions,
    /// Whether it imports outbound HTTP: for one that does not, nothing of it is set up.
    pub(crate) speaks_http: bool,
    pub(crate) connections: Pool,
}

/// What an operator allows one plugin beyond the contract. By default nothing.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// Names of secrets whose bytes the plugin may read.
    pub reveal: BTreeSet<String>,
    /// What it may reach.
    pub egress: Egress,
}

/// A plugin as a [`KeyProvider`]: each call runs in a fresh instance, within the limits.
pub struct PluginProvider {
    pub(crate) plugin: Arc<Plugin>,
    description: ProviderDescription,
    configurations: Remembered<(TenantId, Option<Arc<str>>), Arc<Configuration>>,
}

impl PluginProvider {
    pub(crate) fn new(plugin: Arc<Plugin>, description: ProviderDescription) -> Self {
        let configurations = Cache::builder()
            .max_capacity(CONFIGURATIONS)
            .time_to_live(CONFIGURATION_TTL)
            .support_invalidation_closures()
            .build();
        Self {
            plugin,
            description,
            configurations: Remembered::new(configurations),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &ProviderId {
        &self.plugin.id
    }

    /// SHA-256 of its component.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.plugin.digest
    }

    /// An instance with the tenant's configuration.
    async fn configured(&self, call: &CallInfo, purpose: Purpose) -> Result<Call, ProviderError> {
        let began = Instant::now();
        let configuration = self.configuration(call).await?;
        let mut instance = Call::begin(&self.plugin, purpose, &call.request_id).await?;
        instance.configure(&configuration, call, began).await?;
        Ok(instance)
    }

    async fn configuration(&self, call: &CallInfo) -> Result<Arc<Configuration>, ProviderError> {
        let id = match &call.configured {
            Configured::Plain => None,
            Configured::Saved(id) => Some(Arc::clone(id)),
            Configured::Trial(trial) => return Ok(Arc::new(Configuration::new(&trial.json))),
        };
        let key = (call.tenant.clone(), id);
        if let Some(configuration) = self.configurations.get(&key) {
            return Ok(configuration);
        }
        let epoch = self.configurations.epoch();
        let vault = &self.plugin.host.vault;
        let json = vault
            .configuration(&call.tenant, &self.plugin.id, call.configured.id())
            .await
            .map_err(|error| convert::vault_error(&error))?;
        let configuration = Arc::new(Configuration::new(&json));
        let kept = Arc::clone(&configuration);
        self.configurations
            .unless_purged(epoch, |all| all.insert(key, kept));
        Ok(configuration)
    }
}

#[async_trait]
impl KeyProvider for PluginProvider {
    /// Its configuration, its upstream tokens and its connections.
    fn purge(&self, tenant: &TenantId) {
        let owner = tenant.clone();
        self.configurations
            .purge(move |(tenant, _)| *tenant == owner);
        self.plugin.sessions.forget(tenant);
        self.plugin.connections.purge(tenant);
    }

    fn describe(&self) -> &ProviderDescription {
        &self.description
    }

    async fn validate(&self, config: &str) -> Result<Validated, ProviderError> {
        validated(&self.plugin, config).await
    }

    async fn unwrap_dek(
        &self,
        call: &CallInfo,
        kek: &Kek,
        envelope: &Envelope,
    ) -> Result<UnwrappedDek, ProviderError> {
        within(&self.plugin, call.deadline, async {
            let instance = self
                .configured(call, Purpose::Use(Tenancy::of(call, &self.plugin)))
                .await?;
            instance.unwrap_dek(call, kek, envelope).await
        })
        .await
    }

    async fn generate_kek(
        &self,
        call: &CallInfo,
        id: &KekId,
        algorithm: &str,
    ) -> Result<Kek, ProviderError> {
        if self.plugin.key_admin.is_none() {
            return Err(no_key_admin(&self.plugin));
        }
        let (kek, minted) = within(&self.plugin, call.deadline, async {
            let purpose = Purpose::Mint(Tenancy::of(call, &self.plugin), id.clone());
            let instance = self.configured(call, purpose).await?;
            instance.generate_kek(call, id, algorithm).await
        })
        .await?;
        let Some(minted) = minted else { return Ok(kek) };
        if minted.algorithm.name() != algorithm {
            return Err(ProviderError::new(
                ErrorClass::Internal,
                "sandbox.malformed",
                format!(
                    "plugin {} generated a key for another algorithm",
                    self.plugin.id
                ),
            ));
        }
        if minted.keeper == Keeper::KeyService {
            return Ok(kek);
        }
        // Kept only now: a call that failed leaves no key behind, and its name free.
        let vault = &self.plugin.host.vault;
        vault
            .keep_private_key(&call.tenant, &self.plugin.id, id.as_str(), minted.key)
            .await
            .map_err(|error| convert::vault_error(&error))?;
        Ok(kek)
    }

    async fn health(&self, call: &CallInfo) -> Result<Health, ProviderError> {
        within(&self.plugin, call.deadline, async {
            let instance = self
                .configured(call, Purpose::Use(Tenancy::of(call, &self.plugin)))
                .await?;
            instance.health(call).await
        })
        .await
    }
}

/// What the plugin says of a configuration, within bounds.
pub(crate) async fn validated(
    plugin: &Arc<Plugin>,
    config: &str,
) -> Result<Validated, ProviderError> {
    let answer = within(plugin, plugin.host.limits.describe_time, async {
        Call::begin(plugin, Purpose::Pure, "validate")
            .await?
            .validate(config)
            .await
    });
    let answer = answer.await?;
    if answer.outbound.len() > MAX_VALIDATED || answer.warnings.len() > MAX_VALIDATED {
        let what = format!("expected at most {MAX_VALIDATED} origins and warnings");
        return Err(Fault::Malformed(what).into_error(&plugin.id, &plugin.host.limits));
    }
    let clean = |texts: Vec<String>| texts.iter().map(|text| sanitised(text, 300)).collect();
    Ok(Validated {
        outbound: clean(answer.outbound),
        warnings: clean(answer.warnings),
    })
}

/// Ends `work` at the deadline, wherever it stands: the store is dropped with it.
pub(crate) async fn within<T>(
    plugin: &Plugin,
    deadline: Duration,
    work: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    match tokio::time::timeout(deadline, work).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::Deadline.into_error(&plugin.id, &plugin.host.limits)),
    }
}
