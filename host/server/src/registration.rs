//! Key services and owners' keys, registered on somebody's behalf: what is wanted is in the audit
//! log before a key service is asked, and how it ended is there afterwards. For the API and the
//! commands alike.
//! Not for: trying and saving them (see `keyreel_keys::Registrar`), HTTP (see `api::keys`).

use std::sync::Arc;

use keyreel_keys::{
    Clock, KekRecord, KekState, KeyConfiguration, NewConfiguration, OwnersKey, Registered,
    Registrar, RegistrationError,
};
use keyreel_library::{By, Catalogue, Tenant};
use serde_json::Value;
use uuid::Uuid;

use crate::audit::{AuditError, AuditLog, Event};
use crate::problem::Problem;

/// Registers key services and keys. Cheap to clone.
#[derive(Clone)]
pub struct Registrations {
    registrar: Registrar,
    clock: Arc<dyn Clock>,
    audit: AuditLog,
}

/// A key service or a key was not registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisteringError {
    /// It does not work, or cannot be saved.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// What was to be done could not be recorded, so it was not.
    #[error("{0}")]
    Audit(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Registrations {
    /// Registrations with `registrar`, recorded in `catalogue`.
    #[must_use]
    pub fn new(registrar: Registrar, catalogue: Arc<dyn Catalogue>, clock: Arc<dyn Clock>) -> Self {
        Self {
            registrar,
            audit: AuditLog::new(catalogue, clock.clone()),
            clock,
        }
    }

    /// Asks a key service as `new` says. Nothing is saved: the configuration of the answer has no
    /// id.
    ///
    /// # Errors
    /// It cannot be used so, or what is wanted cannot be recorded.
    pub async fn check(
        &self,
        tenant: &Tenant,
        new: NewConfiguration,
        by: &By,
    ) -> Result<Registered, RegisteringError> {
        let event = self.announced(tenant, "try", None, &new, by).await?;
        let checked = self.registrar.check(&tenant.id, &new, &by.asker).await;
        let unsaved = KeyConfiguration {
            id: String::new(),
            tenant: tenant.id.clone(),
            provider: new.provider,
            config_json: new.json,
            created_ms: self.clock.now_ms(),
        };
        let checked = checked.map(|warnings| Registered {
            configuration: unsaved,
            kek: None,
            warnings,
        });
        let event = event.renamed("key.configuration.tried");
        self.concluded(event, checked).await
    }

    /// Registers a key service: see [`Registrar::create`].
    ///
    /// # Errors
    /// It does not work, or what is wanted cannot be recorded. Nothing has changed then, unless the
    /// error is [`keyreel_keys::KeyError::StoreTimeout`].
    pub async fn create(
        &self,
        tenant: &Tenant,
        new: NewConfiguration,
        by: &By,
    ) -> Result<Registered, RegisteringError> {
        let event = self.announced(tenant, "create", None, &new, by).await?;
        let registrar = &self.registrar;
        let made = registrar
            .create(&tenant.id, tenant.policy, new, &by.asker)
            .await;
        let event = event.renamed("key.configuration.created");
        self.concluded(event, made).await
    }

    /// Changes what the configuration `id` says: see [`Registrar::replace`].
    ///
    /// # Errors
    /// As [`Registrations::create`].
    pub async fn replace(
        &self,
        tenant: &Tenant,
        id: &str,
        new: NewConfiguration,
        by: &By,
    ) -> Result<Registered, RegisteringError> {
        let event = self.announced(tenant, "change", Some(id), &new, by);
        let event = event.await?;
        let registrar = &self.registrar;
        let made = registrar
            .replace(&tenant.id, tenant.policy, id, new, &by.asker)
            .await;
        let event = event.renamed("key.configuration.changed");
        self.concluded(event, made).await
    }

    /// Makes a key pair whose private half its owner keeps the tenant's current KEK: see
    /// [`Registrar::register`]. Gives the configuration that it belongs to as well.
    ///
    /// # Errors
    /// As [`Registrations::create`].
    pub async fn register(
        &self,
        tenant: &Tenant,
        key: &OwnersKey,
        by: &By,
    ) -> Result<(KekRecord, KeyConfiguration), RegisteringError> {
        let registrar = &self.registrar;
        let configuration = registrar.configuration(&tenant.id, &key.configuration);
        let configuration = configuration.await?;
        let mut event = Event::of_keys("key.registration.requested", &tenant.id, by)
            .field("configuration", configuration.id.clone())
            .field("provider", configuration.provider.as_str());
        // What is no id of a key pair may be anything, of any length.
        if Uuid::parse_str(&key.id).is_ok() {
            event = event.field("kek", key.id.clone());
        }
        self.audit.record(event.clone()).await?;
        let event = event.renamed("key.registered");
        let kek = registrar
            .register(&tenant.id, tenant.policy, key, &by.asker)
            .await;
        match kek {
            Ok(kek) => {
                let event = event.field("algorithm", kek.algorithm.clone());
                self.audit.conclude(event).await;
                let record = KekRecord {
                    provider: configuration.provider.clone(),
                    kek,
                    state: KekState::Current,
                    created_ms: self.clock.now_ms(),
                };
                Ok((record, configuration))
            }
            Err(error) => Err(self.failed(event, error).await),
        }
    }

    /// Writes down what is wanted, and where the key service would be, before it is asked. Gives the
    /// event that says how it ended, but for that.
    async fn announced(
        &self,
        tenant: &Tenant,
        change: &'static str,
        id: Option<&str>,
        new: &NewConfiguration,
        by: &By,
    ) -> Result<Event, AuditError> {
        let mut event = Event::of_keys("key.configuration.requested", &tenant.id, by)
            .field("provider", new.provider.as_str());
        // What is no id of ours may be anything, of any length.
        if let Some(id) = id.filter(|id| Uuid::parse_str(id).is_ok()) {
            event = event.field("configuration", id);
        }
        // What its provider does not accept is not asked anything.
        if let Ok(origins) = self.registrar.origins(new).await {
            event = event.field("origins", origins);
            if let Some(address) = address(new) {
                event = event.field("url", address);
            }
        }
        let announced = event.clone().field("change", change);
        self.audit.record(announced).await?;
        Ok(event)
    }

    async fn concluded(
        &self,
        mut event: Event,
        made: Result<Registered, RegistrationError>,
    ) -> Result<Registered, RegisteringError> {
        let made = match made {
            Ok(made) => made,
            Err(error) => return Err(self.failed(event, error).await),
        };
        if !made.configuration.id.is_empty() {
            event = event.field("configuration", made.configuration.id.clone());
        }
        if let Some(kek) = &made.kek {
            event = event.field("kek", kek.id.as_str());
        }
        self.audit.conclude(event).await;
        Ok(made)
    }

    async fn failed(&self, event: Event, error: RegistrationError) -> RegisteringError {
        let code = Problem::from(&error).code();
        self.audit.conclude(event.outcome(code.as_str())).await;
        error.into()
    }
}

impl From<AuditError> for RegisteringError {
    fn from(error: AuditError) -> Self {
        Self::Audit(Box::new(error))
    }
}

/// What a configuration calls its key service, for the audit log: of the plugins whose settings are
/// known to hold no secret there.
fn address(of: &NewConfiguration) -> Option<String> {
    let name = match of.provider.as_str() {
        "lkm" => "url",
        "aws-kms" => "keyArn",
        _ => return None,
    };
    let json: Value = serde_json::from_str(&of.json).ok()?;
    Some(json.get(name)?.as_str()?.to_owned())
}
