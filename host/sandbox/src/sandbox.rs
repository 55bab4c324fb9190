//! The sandbox: one engine, one linker, and the way in for plugins.
//! Not for: calling them (see `provider`).

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest;
use keyreel_keys::{Clock, ProviderDescription, ProviderId, TenantVault};
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::admission::{self, Exports};
use crate::artefact::Artefacts;
use crate::bindings::exports::keyreel::key_provider::{key_admin, provider};
use crate::bindings::keyreel::key_provider as contract;
use crate::call::Call;
use crate::egress::{Lookups, Pool};
use crate::engine::{self, Ticker};
use crate::error::{AdmissionError, SandboxError};
use crate::provider::{Grants, Host, Plugin, PluginProvider, within};
use crate::sessions::Sessions;
use crate::settings::SandboxSettings;
use crate::state::{CallState, Purpose};
use crate::text::sanitised;

/// Where plugins run.
pub struct Sandbox {
    pub(crate) host: Arc<Host>,
    pub(crate) linker: Linker<CallState>,
    artefacts: Option<Arc<Artefacts>>,
}

impl Sandbox {
    /// Sets the engine up. `vault` is all that plugins may reach of tenants' secrets.
    ///
    /// # Errors
    /// The engine does not fit this machine, or the directory of compiled plugins cannot be used.
    pub fn new(
        settings: SandboxSettings,
        vault: Arc<dyn TenantVault>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SandboxError> {
        let config = engine::config(&settings.limits);
        Self::with_config(&config, settings, vault, clock)
    }

    /// With an engine of another configuration: tests look into guests' memories.
    pub(crate) fn with_config(
        config: &wasmtime::Config,
        settings: SandboxSettings,
        vault: Arc<dyn TenantVault>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SandboxError> {
        let failed = |error: wasmtime::Error| SandboxError::Engine {
            message: format!("{error:#}"),
        };
        let engine = Engine::new(config).map_err(failed)?;
        let ticker = Arc::new(Ticker::start(engine.clone(), settings.limits.tick)?);
        let linker = linker(&engine).map_err(failed)?;
        let artefacts = settings
            .cache
            .map(Artefacts::open)
            .transpose()?
            .map(Arc::new);
        let host = Arc::new(Host {
            engine,
            ticker,
            limits: settings.limits,
            vault,
            clock,
            lookups: Lookups::default(),
        });
        Ok(Self {
            host,
            linker,
            artefacts,
        })
    }

    /// Admits a component as the provider `id`, with no grants. `expected` is its pinned SHA-256.
    ///
    /// # Errors
    /// See [`AdmissionError`], whose text is for the plugin's vendor.
    pub async fn admit(
        &self,
        id: ProviderId,
        component: &[u8],
        expected: Option<[u8; 32]>,
    ) -> Result<PluginProvider, AdmissionError> {
        self.admit_with(id, component, expected, Grants::default())
            .await
    }

    /// As [`Sandbox::admit`], with what the operator grants.
    ///
    /// # Errors
    /// See [`AdmissionError`].
    pub async fn admit_with(
        &self,
        id: ProviderId,
        component: &[u8],
        expected: Option<[u8; 32]>,
        grants: Grants,
    ) -> Result<PluginProvider, AdmissionError> {
        let digest = sha256(component);
        admission::check_digest(&digest, expected)?;
        let surface = admission::survey(component, &self.host.limits)?;
        let compiled = self.compiled(component, digest).await?;
        let types = |what| {
            move |error: wasmtime::Error| AdmissionError::Types {
                what,
                message: sanitised(&format!("{error:#}"), 500),
            }
        };
        let instance = self
            .linker
            .instantiate_pre(&compiled)
            .map_err(types("the imports"))?;
        let provider = provider::GuestIndices::new(&instance).map_err(types("export provider"))?;
        let key_admin = match surface.exports {
            Exports::Provider => None,
            Exports::ProviderAndKeyAdmin => {
                Some(key_admin::GuestIndices::new(&instance).map_err(types("export key-admin"))?)
            }
        };
        let plugin = Arc::new(Plugin {
            id,
            digest,
            host: Arc::clone(&self.host),
            grants,
            secrets: OnceLock::new(),
            instance,
            provider,
            key_admin,
            sessions: Sessions::new(),
            speaks_http: surface.speaks_http,
            connections: Pool::default(),
        });
        let description = describe(&plugin).await?;
        plugin.secrets.get_or_init(|| description.secrets.clone());
        tracing::info!(
            plugin = %plugin.id,
            name = description.name,
            version = description.version,
            digest = hex::encode(digest),
            "plugin admitted"
        );
        Ok(PluginProvider::new(plugin, description))
    }

    /// From the cache, or compiled on a thread of its own.
    async fn compiled(
        &self,
        component: &[u8],
        digest: [u8; 32],
    ) -> Result<Component, AdmissionError> {
        let engine = self.host.engine.clone();
        let artefacts = self.artefacts.clone();
        let component = component.to_vec();
        let limit = self.host.limits.compile_time;
        let work = tokio::task::spawn_blocking(move || {
            let artefacts = artefacts.as_deref();
            if let Some(found) = artefacts.and_then(|cache| cache.find(&engine, &digest)) {
                return Ok(found);
            }
            let compiled = Component::new(&engine, &component)?;
            if let Some(cache) = artefacts {
                cache.keep(&engine, &digest, &compiled);
            }
            Ok(compiled)
        });
        let invalid = |message: String| AdmissionError::Invalid {
            message: sanitised(&message, 500),
        };
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(Ok(compiled))) => Ok(compiled),
            Ok(Ok(Err(error))) => {
                let error: wasmtime::Error = error;
                Err(invalid(format!("{error:#}")))
            }
            Ok(Err(_)) => Err(invalid("the compiler gave up".to_owned())),
            Err(_) => Err(AdmissionError::CompileTime { limit }),
        }
    }
}

/// The host functions. All of `wasi:cli/imports` is there, because language runtimes import more
/// than they use; the context behind it denies everything.
fn linker(engine: &Engine) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    contract::types::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    contract::secrets::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    contract::sealed_keys::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    contract::session_cache::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    contract::log::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    Ok(linker)
}

async fn describe(plugin: &Arc<Plugin>) -> Result<ProviderDescription, AdmissionError> {
    let description = within(plugin, plugin.host.limits.describe_time, async {
        Call::begin(plugin, Purpose::Pure, "describe")
            .await?
            .describe()
            .await
    });
    let description = description
        .await
        .map_err(|source| AdmissionError::Describe { source })?;
    admission::check_description(description, plugin.key_admin.is_some())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    digest
}
