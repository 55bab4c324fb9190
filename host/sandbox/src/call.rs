//! One call of a plugin: a fresh store and instance, used once, dropped.
//! Not for: deadlines and configuration (see `provider`).

use std::sync::Arc;

use keyreel_format::Dek;
use keyreel_keys::{CallInfo, Envelope, Health, Kek, KekId, ProviderError, UnwrappedDek};
use tokio::time::Instant;
use wasmtime::component::{Instance, Resource};
use wasmtime::{Store, error::Context as _};

use crate::bindings::exports::keyreel::key_provider::provider::{Description, Guest, Validated};
use crate::configuration::Configuration;
use crate::convert;
use crate::engine::Ticking;
use crate::error::Fault;
use crate::provider::Plugin;
use crate::secrets::Secret;
use crate::state::{CallState, Minted, Purpose};

/// An instance, good for one call.
pub(crate) struct Call {
    plugin: Arc<Plugin>,
    store: Store<CallState>,
    instance: Instance,
    guest: Guest,
    _ticking: Ticking,
}

impl Call {
    /// Makes the store and the instance.
    pub(crate) async fn begin(
        plugin: &Arc<Plugin>,
        purpose: Purpose,
        request_id: &str,
    ) -> Result<Self, ProviderError> {
        let ticking = plugin.host.ticker.call();
        let mut store = CallState::store(Arc::clone(plugin), purpose, request_id);
        let started = start(plugin, &mut store).await;
        match started {
            Ok((instance, guest)) => {
                store.data_mut().limiter.instantiated();
                Ok(Self {
                    plugin: Arc::clone(plugin),
                    store,
                    instance,
                    guest,
                    _ticking: ticking,
                })
            }
            Err(error) => Err(failed(plugin, &store, &error)),
        }
    }

    pub(crate) async fn describe(mut self) -> Result<Description, ProviderError> {
        let answer = self.guest.call_describe(&mut self.store).await;
        self.answer(answer)
    }

    pub(crate) async fn validate(mut self, config: &str) -> Result<Validated, ProviderError> {
        let answer = self.guest.call_validate(&mut self.store, config).await;
        self.answer(answer)?
            .map_err(|error| convert::error_from_guest(&error))
    }

    /// Before any of the functions below. From now on the plugin may send requests.
    pub(crate) async fn configure(
        &mut self,
        configuration: &Arc<Configuration>,
        call: &CallInfo,
        began: Instant,
    ) -> Result<(), ProviderError> {
        self.store
            .data_mut()
            .open_egress(configuration, call, began);
        let config = configuration.json();
        let answer = self.guest.call_configure(&mut self.store, config).await;
        self.answer(answer)?
            .map_err(|error| convert::error_from_guest(&error))
    }

    pub(crate) async fn health(mut self, call: &CallInfo) -> Result<Health, ProviderError> {
        let info = convert::call_to_guest(call);
        let answer = self.guest.call_health(&mut self.store, &info).await;
        let report = self
            .answer(answer)?
            .map_err(|error| convert::error_from_guest(&error))?;
        convert::health_from_guest(&report).map_err(|fault| self.error(fault))
    }

    pub(crate) async fn unwrap_dek(
        mut self,
        call: &CallInfo,
        kek: &Kek,
        envelope: &Envelope,
    ) -> Result<UnwrappedDek, ProviderError> {
        let info = convert::call_to_guest(call);
        let kek = convert::kek_to_guest(kek);
        let envelope = convert::envelope_to_guest(&call.tenant, envelope);
        let answer = self
            .guest
            .call_unwrap_dek(&mut self.store, &info, &kek, &envelope)
            .await;
        let answer = self
            .answer(answer)?
            .map_err(|error| convert::error_from_guest(&error))?;
        let dek = self.dek(answer.material)?;
        let max_cache = answer
            .max_cache_ms
            .map(|ms| std::time::Duration::from_millis(ms.into()));
        Ok(UnwrappedDek { dek, max_cache })
    }

    /// The KEK, and the private key that the host is to keep for it, if it generated one.
    pub(crate) async fn generate_kek(
        mut self,
        call: &CallInfo,
        id: &KekId,
        algorithm: &str,
    ) -> Result<(Kek, Option<Minted>), ProviderError> {
        let Some(indices) = &self.plugin.key_admin else {
            return Err(no_key_admin(&self.plugin));
        };
        let info = convert::call_to_guest(call);
        let answer = match indices.load(&mut self.store, &self.instance) {
            Ok(guest) => {
                guest
                    .call_generate_kek(&mut self.store, &info, id.as_str(), algorithm)
                    .await
            }
            Err(error) => Err(error),
        };
        let kek = self
            .answer(answer)?
            .map_err(|error| convert::error_from_guest(&error))?;
        let minted = self.store.data_mut().minted.take();
        let public_key = match &minted {
            Some(minted) => Some(minted.key.public_key().map_err(|error| {
                self.error(Fault::Malformed(format!(
                    "its key has no public half: {error}"
                )))
            })?),
            None => None,
        };
        let kek = convert::kek_from_guest(kek, id, algorithm, public_key.as_deref())
            .map_err(|fault| self.error(fault))?;
        Ok((kek, minted))
    }

    /// The bytes behind the handle that the guest returned, if they can be a DEK.
    fn dek(&mut self, material: Resource<Secret>) -> Result<Dek, ProviderError> {
        let malformed = |what: String| {
            Fault::Malformed(format!(
                "expected a DEK of exactly {} bytes, found {what}",
                Dek::LEN
            ))
        };
        let fault = match self.store.data_mut().table.delete(material) {
            Ok(Secret::Dek(dek)) => return Ok(dek),
            Ok(Secret::Bytes { bytes, .. }) => match Dek::from_slice(&bytes) {
                Some(dek) => return Ok(dek),
                None => malformed(format!("{} bytes", bytes.len())),
            },
            Ok(Secret::PrivateKey(_)) => malformed("a private key".to_owned()),
            Err(_) => malformed("no secret at all".to_owned()),
        };
        Err(self.error(fault))
    }

    fn answer<T>(&self, answer: wasmtime::Result<T>) -> Result<T, ProviderError> {
        answer.map_err(|error| failed(&self.plugin, &self.store, &error))
    }

    fn error(&self, fault: Fault) -> ProviderError {
        fault.into_error(&self.plugin.id, &self.plugin.host.limits)
    }
}

/// What the plugin is asked to mint and cannot.
pub(crate) fn no_key_admin(plugin: &Plugin) -> ProviderError {
    ProviderError::new(
        keyreel_keys::ErrorClass::Request,
        "sandbox.no-key-admin",
        format!(
            "plugin {} does not mint keys: it exports no key-admin",
            plugin.id
        ),
    )
}

async fn start(
    plugin: &Plugin,
    store: &mut Store<CallState>,
) -> wasmtime::Result<(Instance, Guest)> {
    let instance = plugin.instance.instantiate_async(&mut *store).await?;
    let guest = plugin
        .provider
        .load(&mut *store, &instance)
        .context("loading the provider")?;
    Ok((instance, guest))
}

fn failed(plugin: &Plugin, store: &Store<CallState>, error: &wasmtime::Error) -> ProviderError {
    let fault = Fault::of(error, store.data().limiter.refused());
    // The backtrace names functions of the guest: for its vendor, not for a page.
    let detail = crate::text::sanitised(&format!("{error:#}"), 2000);
    tracing::debug!(plugin = %plugin.id, fault = fault.code(), detail, "a plugin's call failed");
    fault.into_error(&plugin.id, &plugin.host.limits)
}
