//! Registration: a tenant's key service and its keys become the tenant's, each after it was tried.
//! Nothing that does not work is ever saved, so that a typing mistake never seals a recording.
//! Not for: what the API looks like (see `keyreel-server`), which providers there are, key pairs that
//! their owner makes (see `owners_key`).
//!
//! ```text
//! a provider that mints:   validate ─▶ health ─▶ mint ─▶ sample DEK ─▶ save ─▶ current
//! keys made by their owner: validate ─▶ health ─▶ save      then      sample DEK ─▶ current
//! ```

mod error;
mod owners_key;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use keyreel_format::{ProviderId, TenantId};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::configuration::{Configured, KeyConfiguration, TrialConfiguration};
use crate::error::KeyError;
use crate::kek::{Kek, KekState, Policy, Registration};
use crate::keyring::{Asker, Former, Keyring};
use crate::vault::{TenantVault as _, Vault};

pub use error::RegistrationError;
pub use owners_key::OwnersKey;

/// Registers key services and keys. Cheap to clone.
#[derive(Clone)]
pub struct Registrar {
    keyring: Keyring,
    vault: Arc<Vault>,
    turns: Arc<Mutex<HashMap<TenantId, Arc<tokio::sync::Mutex<()>>>>>,
}

/// A configuration as its administrator gives it.
#[derive(Clone)]
pub struct NewConfiguration {
    /// Whom it configures.
    pub provider: ProviderId,
    /// What it says, a JSON object. No secrets.
    pub json: String,
    /// Its secrets, by the names that the provider knows them by.
    pub secrets: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

/// What came of a registration.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The configuration, saved.
    pub configuration: KeyConfiguration,
    /// The KEK that was minted under it and is the tenant's current one now.
    pub kek: Option<Kek>,
    /// What the administrator should know.
    pub warnings: Vec<String>,
}

/// A configuration on its way to be saved.
struct Registering {
    configuration: KeyConfiguration,
    /// As it is tried, with the secrets that stay.
    new: NewConfiguration,
    /// The secrets that were sent.
    secrets: BTreeMap<String, Zeroizing<Vec<u8>>>,
    former: Former,
}

impl Registrar {
    /// A registrar for the tenants of `keyring`, whose secrets lie in `vault`.
    #[must_use]
    pub fn new(keyring: &Keyring, vault: Arc<Vault>) -> Self {
        Self {
            keyring: keyring.clone(),
            vault,
            turns: Arc::default(),
        }
    }

    /// Whether a key service can be reached and used as `new` says. Nothing is saved. Gives what
    /// the administrator should know.
    ///
    /// # Errors
    /// It cannot, and why.
    pub async fn check(
        &self,
        tenant: &TenantId,
        new: &NewConfiguration,
        asker: &Asker,
    ) -> Result<Vec<String>, RegistrationError> {
        let _turn = self.turn(tenant).await;
        self.check_now(tenant, new, asker).await
    }

    /// Saves a configuration after its key service was asked. Where the provider mints, a KEK is
    /// minted under it, tried, and becomes the tenant's current one.
    ///
    /// # Errors
    /// It does not work, and why. Nothing has changed then.
    pub async fn create(
        &self,
        tenant: &TenantId,
        policy: Policy,
        new: NewConfiguration,
        asker: &Asker,
    ) -> Result<Registered, RegistrationError> {
        let _turn = self.turn(tenant).await;
        let configuration = KeyConfiguration {
            id: Uuid::new_v4().to_string(),
            tenant: tenant.clone(),
            provider: new.provider.clone(),
            config_json: new.json.clone(),
            created_ms: self.keyring.now_ms(),
        };
        let secrets = new.secrets.clone();
        let registering = Registering {
            configuration,
            new,
            secrets,
            former: Former::None,
        };
        self.check_and_save(registering, policy, asker).await
    }

    /// Replaces what a configuration says, after its key service was asked as `new` says. Secrets
    /// that `new` does not name stay, unless the key service is at another origin now: whoever
    /// may change a configuration need not know its secrets, and must not send them elsewhere.
    ///
    /// The KEKs that were registered under it, and that are in use, must open what they seal; where
    /// the provider mints, a new one is minted.
    ///
    /// # Errors
    /// It does not work, and why. Nothing has changed then.
    pub async fn replace(
        &self,
        tenant: &TenantId,
        policy: Policy,
        id: &str,
        mut new: NewConfiguration,
        asker: &Asker,
    ) -> Result<Registered, RegistrationError> {
        let _turn = self.turn(tenant).await;
        let known = self.configuration(tenant, id).await?;
        if known.provider != new.provider {
            return Err(RegistrationError::OtherProvider {
                id: id.to_owned(),
                found: known.provider,
                asked: new.provider,
            });
        }
        // Only what was sent is saved: what stays is not written again.
        let secrets = new.secrets.clone();
        let kept = self.kept(&known, &new).await?;
        if !kept.is_empty() {
            let origins = self.new_origins(&known, &new).await?;
            if !origins.is_empty() {
                return Err(RegistrationError::OriginChanged {
                    origins,
                    secrets: kept.into_keys().collect(),
                });
            }
        }
        new.secrets.extend(kept);
        let trial = trial_of(&new);
        let keks = self.keyring.store().keks(tenant).await?;
        for record in keks {
            let in_use = matches!(record.state, KekState::Current | KekState::Previous);
            if in_use && record.provider == new.provider && record.kek.configuration() == Some(id) {
                let configured = Configured::Trial(trial.clone());
                self.keyring
                    .try_kek(tenant, &record.provider, &record.kek, configured, asker)
                    .await?;
            }
        }
        let registering = Registering {
            configuration: KeyConfiguration {
                config_json: new.json.clone(),
                ..known
            },
            new,
            secrets,
            former: Former::Replaced,
        };
        self.check_and_save(registering, policy, asker).await
    }

    /// The origins that a key service would be reached at, as its provider says. No key service is
    /// asked.
    ///
    /// # Errors
    /// It is no configuration for the provider.
    pub async fn origins(&self, new: &NewConfiguration) -> Result<Vec<String>, KeyError> {
        let validated = self.keyring.validate(&new.provider, &new.json).await?;
        Ok(validated.outbound)
    }

    /// The names of those of `secrets` that are not what is kept for `configuration`. They are
    /// compared as they are, in constant time: the kept ones open with the tenant's root alone, and
    /// nothing that could be guessed at is stored beside them.
    ///
    /// # Errors
    /// The vault fails.
    pub async fn changed_secrets(
        &self,
        configuration: &KeyConfiguration,
        secrets: &BTreeMap<String, Zeroizing<Vec<u8>>>,
    ) -> Result<Vec<String>, RegistrationError> {
        let KeyConfiguration {
            id,
            tenant,
            provider,
            ..
        } = configuration;
        let mut changed = Vec::new();
        for (name, secret) in secrets {
            let kept = self.vault.secret(tenant, provider, Some(id), name).await?;
            let same = kept.is_some_and(|kept| bool::from(kept.ct_eq(secret)));
            if !same {
                changed.push(name.clone());
            }
        }
        Ok(changed)
    }

    /// The stored secrets of a configuration that `new` does not name.
    async fn kept(
        &self,
        known: &KeyConfiguration,
        new: &NewConfiguration,
    ) -> Result<BTreeMap<String, Zeroizing<Vec<u8>>>, RegistrationError> {
        let mut kept = BTreeMap::new();
        for name in &self.keyring.describe(&new.provider)?.secrets {
            if !new.secrets.contains_key(name) {
                let secret =
                    self.vault
                        .secret(&known.tenant, &known.provider, Some(&known.id), name);
                if let Some(secret) = secret.await? {
                    kept.insert(name.clone(), secret);
                }
            }
        }
        Ok(kept)
    }

    /// The origins that `new` needs and `known` does not. What a provider does not know any more as
    /// a configuration had none.
    async fn new_origins(
        &self,
        known: &KeyConfiguration,
        new: &NewConfiguration,
    ) -> Result<Vec<String>, RegistrationError> {
        let mut origins = self.origins(new).await?;
        let former = self
            .keyring
            .validate(&known.provider, &known.config_json)
            .await;
        let former = former.map(|validated| validated.outbound);
        let former = former.unwrap_or_default();
        origins.retain(|origin| !former.contains(origin));
        Ok(origins)
    }

    /// One of the tenant's configurations.
    ///
    /// # Errors
    /// There is none of this id.
    pub async fn configuration(
        &self,
        tenant: &TenantId,
        id: &str,
    ) -> Result<KeyConfiguration, RegistrationError> {
        let found = self.keyring.store().key_configuration(tenant, id).await?;
        found.ok_or_else(|| RegistrationError::NoConfiguration { id: id.to_owned() })
    }

    async fn check_now(
        &self,
        tenant: &TenantId,
        new: &NewConfiguration,
        asker: &Asker,
    ) -> Result<Vec<String>, RegistrationError> {
        let validated = self.keyring.validate(&new.provider, &new.json).await?;
        let mut warnings = validated.warnings;
        let configured = Configured::Trial(trial_of(new));
        let health = self
            .keyring
            .health(tenant, &new.provider, configured, asker)
            .await?;
        match health.status.as_str() {
            "ok" => {}
            "down" => {
                return Err(RegistrationError::Down {
                    provider: new.provider.clone(),
                    detail: health.detail,
                });
            }
            _ => warnings.push(health.detail),
        }
        Ok(warnings)
    }

    async fn check_and_save(
        &self,
        registering: Registering,
        policy: Policy,
        asker: &Asker,
    ) -> Result<Registered, RegistrationError> {
        let Registering {
            configuration,
            new,
            secrets,
            former,
        } = registering;
        let KeyConfiguration {
            id,
            tenant,
            provider,
            ..
        } = &configuration;
        let warnings = self.check_now(tenant, &new, asker).await?;
        let mut sealed = Vec::new();
        for (name, secret) in &secrets {
            let sealing = self
                .vault
                .seal_secret(tenant, provider, Some(id), name, secret);
            sealed.push(sealing.await?);
        }
        let tried = if self.keyring.mints(provider)? {
            let configured = Configured::Trial(trial_of(&new));
            let minting = self
                .keyring
                .try_minting(tenant, provider, policy, configured, asker);
            Some(minting.await?)
        } else {
            None
        };
        let registration = Registration {
            configuration: configuration.clone(),
            secrets: sealed,
            kek: None,
            now_ms: self.keyring.now_ms(),
        };
        let kek = self.keyring.save(registration, tried, former).await?;
        Ok(Registered {
            configuration,
            kek,
            warnings,
        })
    }

    /// One registration of a tenant at a time: each asks a key service, which its administrator
    /// names.
    async fn turn(&self, tenant: &TenantId) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.entry(tenant.clone()).or_default().clone()
        };
        turn.lock_owned().await
    }
}

fn trial_of(new: &NewConfiguration) -> Arc<TrialConfiguration> {
    Arc::new(TrialConfiguration {
        json: new.json.clone(),
        secrets: new.secrets.clone(),
    })
}
