//! What has to be done so that the catalogue is as a file wants it. Asks no key service, and
//! changes nothing.
//! Not for: doing it (see `apply`).

use std::fmt;

use anyhow::Context;
use keyreel_keys::{KekRecord, KeyConfiguration, NewConfiguration, Policy, ProviderId, TenantId};
use keyreel_library::{RotationPeriod, Tenant};
use serde_json::{Map, Value};

use super::file::{File, KeyPair, Service, Wanted};
use crate::assemble::Parts;
use crate::providers::MANAGED;

/// One thing to do.
pub(crate) struct Step {
    pub(crate) tenant: TenantId,
    pub(crate) change: Change,
    /// In a few words.
    what: String,
}

/// What to do.
pub(crate) enum Change {
    /// Adds the tenant.
    Tenant {
        name: String,
        policy: Policy,
        /// Whether Keyreel makes and keeps its first key; else a key service comes next.
        first_key: bool,
    },
    /// Changes its policy, and with it its key.
    Policy(Policy),
    /// Registers a key service.
    NewService(NewConfiguration),
    /// Changes what the configuration of this id says.
    ChangedService(String, NewConfiguration),
    /// Registers an owner's key pair under the configuration of this id; `None`: under the one that
    /// was registered just before.
    KeyPair(Option<String>, KeyPair),
    /// Sets or ends its rotation schedule.
    Rotation(Option<RotationPeriod>),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.change {
            Change::Tenant { .. } | Change::NewService(_) | Change::KeyPair(..) => '+',
            Change::Policy(_) | Change::ChangedService(..) | Change::Rotation(_) => '~',
        };
        write!(f, "{sign} {}: {}", self.tenant, self.what)
    }
}

/// A tenant as it is.
struct Present {
    row: Option<Tenant>,
    keks: Vec<KekRecord>,
    configurations: Vec<KeyConfiguration>,
    rotation: Option<RotationPeriod>,
}

/// The steps for one tenant, in their order.
///
/// # Errors
/// What is wanted cannot be: the file's fault; or the catalogue or the keystore fails.
pub(crate) async fn steps(
    file: &File,
    wanted: &Wanted,
    parts: &Parts,
) -> anyhow::Result<Vec<Step>> {
    let id = &wanted.tenant;
    if parts.catalogue.destroyed_ms(id).await?.is_some() {
        let message = format!("{id} was destroyed: nothing is made for it any more");
        return Err(file.wrong(wanted, message).into());
    }
    let present = Present::read(wanted, parts).await?;
    let planner = Planner {
        file,
        wanted,
        parts,
        present: &present,
    };
    planner.steps().await
}

/// What of this tenant is in the catalogue, and not in the file: in words.
///
/// # Errors
/// The catalogue fails.
pub(crate) async fn left_alone(wanted: &Wanted, parts: &Parts) -> anyhow::Result<Vec<String>> {
    let present = Present::read(wanted, parts).await?;
    let mut left = Vec::new();
    let id = &wanted.tenant;
    let Some(row) = &present.row else {
        return Ok(left);
    };
    if wanted.name.as_ref().is_some_and(|name| *name != row.name) {
        left.push(format!("{id}: its name stays {:?}", row.name));
    }
    if wanted.policy.is_none() {
        left.push(format!("{id}: its policy, {}", row.policy.as_str()));
    }
    if let (None, Some(period)) = (wanted.rotation, present.rotation) {
        left.push(format!("{id}: its rotation, {}", name_of(Some(period))));
    }
    let in_force = present.in_force();
    for known in &present.configurations {
        let is_meant = wanted.service.as_ref().is_some_and(|service| {
            service.provider == known.provider
                && (in_force.is_some_and(|used| used.id == known.id)
                    || said(known) == service.configuration)
        });
        if !is_meant {
            let (configuration, provider) = (&known.id, &known.provider);
            left.push(format!("{id}: the key service {provider} {configuration}"));
        }
    }
    Ok(left)
}

struct Planner<'a> {
    file: &'a File,
    wanted: &'a Wanted,
    parts: &'a Parts,
    present: &'a Present,
}

impl Planner<'_> {
    async fn steps(&self) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        let row = self.present.row.as_ref();
        let policy = row.map_or(Policy::Compatible, |row| row.policy);
        let policy = self.wanted.policy.unwrap_or(policy);
        let mut services = Vec::new();
        if let Some(service) = &self.wanted.service {
            services = self.service(service, policy).await?;
        }
        self.rotation_is_possible()?;
        if row.is_none() || (self.present.keks.is_empty() && services.is_empty()) {
            let name = self.wanted.name.clone();
            let name = name.unwrap_or_else(|| self.wanted.tenant.to_string());
            let first_key = services.is_empty();
            let what = match (row, first_key) {
                (None, true) => {
                    format!(
                        "the tenant {name:?}, policy {}, with its first key",
                        policy.as_str()
                    )
                }
                (None, false) => format!("the tenant {name:?}, policy {}", policy.as_str()),
                (Some(_), _) => "its first key".to_owned(),
            };
            let change = Change::Tenant {
                name,
                policy,
                first_key,
            };
            steps.push(self.step(change, what));
        }
        let changed = row.filter(|row| row.policy != policy).map(|row| {
            let (former, new) = (row.policy.as_str(), policy.as_str());
            let what = format!("policy {former} -> {new}, with a new key");
            self.step(Change::Policy(policy), what)
        });
        // A policy is changed by the next key, which its present provider makes where it can.
        let mints = row.is_some_and(|row| self.parts.keyring.mints(&row.provider).unwrap_or(false));
        let (before, after) = if mints {
            (changed, None)
        } else {
            (None, changed)
        };
        steps.extend(before);
        steps.extend(services);
        steps.extend(after);
        if let Some(period) = self.wanted.rotation
            && period != self.present.rotation
        {
            let (former, new) = (name_of(self.present.rotation), name_of(period));
            let what = format!("rotation {former} -> {new}");
            steps.push(self.step(Change::Rotation(period), what));
        }
        Ok(steps)
    }

    /// What is to be done about the key service.
    async fn service(&self, service: &Service, policy: Policy) -> anyhow::Result<Vec<Step>> {
        let new = self.configuration(service).await?;
        let Some(pair) = &service.key_pair else {
            return self.minting(service, new).await;
        };
        if policy != Policy::Compatible {
            let message = format!(
                "key_pair: policy {} asks for more than an owner's RSA key pair is worth",
                policy.as_str()
            );
            return Err(self.file.wrong(self.wanted, message).into());
        }
        let of_pair = |record: &&KekRecord| {
            record.provider == service.provider && record.kek.id.as_str() == pair.id
        };
        let keks = &self.present.keks;
        if let Some(known) = keks.iter().find(of_pair) {
            if keks.first().is_none_or(|newest| !of_pair(&newest)) {
                let message = format!(
                    "key_pair: {} was registered before, and another key since: name that one, or \
                     a new pair",
                    known.kek.id
                );
                return Err(self.file.wrong(self.wanted, message).into());
            }
            let used = self.present.in_force();
            let used = used.with_context(|| format!("the configuration of {}", known.kek.id))?;
            return Ok(self
                .changed(used, service, new)
                .await?
                .into_iter()
                .collect());
        }
        let mut configurations = self.present.configurations.iter();
        let same = configurations.find(|known| {
            known.provider == service.provider && said(known) == service.configuration
        });
        let mut steps = Vec::new();
        match same {
            Some(known) => steps.extend(self.changed(known, service, new).await?),
            None => steps.push(self.registered(service, new)),
        }
        let configuration = same.map(|known| known.id.clone());
        let what = format!("the key pair {}", pair.id);
        steps.push(self.step(Change::KeyPair(configuration, pair.clone()), what));
        Ok(steps)
    }

    /// The same where the provider makes the keys.
    async fn minting(&self, service: &Service, new: NewConfiguration) -> anyhow::Result<Vec<Step>> {
        let plain = service.configuration.is_empty() && service.secrets.is_empty();
        let newest = self.present.keks.first();
        let newest = newest.filter(|newest| newest.provider == service.provider);
        let step = match (newest, self.present.in_force()) {
            (Some(_), Some(used)) => {
                return Ok(Vec::from_iter(self.changed(used, service, new).await?));
            }
            // Made without any configuration, as a tenant's first key is.
            (Some(_), None) if plain => return Ok(Vec::new()),
            (Some(_), None) => self.registered(service, new),
            (None, _) => {
                let mut known = self.present.configurations.iter();
                let same = known.find(|known| {
                    known.provider == service.provider && said(known) == service.configuration
                });
                match same {
                    Some(known) => {
                        let what = format!("back to the key service {}", service.provider);
                        self.step(Change::ChangedService(known.id.clone(), new), what)
                    }
                    None if self.present.keks.is_empty() && plain && is_managed(service) => {
                        return Ok(Vec::new());
                    }
                    None => self.registered(service, new),
                }
            }
        };
        Ok(vec![step])
    }

    /// A configuration that is there, where it is not as it should be.
    async fn changed(
        &self,
        known: &KeyConfiguration,
        service: &Service,
        new: NewConfiguration,
    ) -> anyhow::Result<Option<Step>> {
        let registrar = &self.parts.registrar;
        let secrets = registrar.changed_secrets(known, &service.secrets).await?;
        let before = said(known);
        let mut names: Vec<_> = before
            .keys()
            .chain(service.configuration.keys())
            .filter(|name| before.get(*name) != service.configuration.get(*name))
            .map(|name| match before.get(name) {
                Some(former) if !service.configuration.contains_key(name) => {
                    format!("{name} {former} -> (default)")
                }
                _ => name.clone(),
            })
            .chain(secrets.iter().map(|name| format!("secret {name}")))
            .collect();
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Ok(None);
        }
        let what = format!("key service {}: {}", known.provider, names.join(", "));
        Ok(Some(
            self.step(Change::ChangedService(known.id.clone(), new), what),
        ))
    }

    fn registered(&self, service: &Service, new: NewConfiguration) -> Step {
        let names = service.configuration.keys().cloned();
        let secrets = service.secrets.keys().map(|name| format!("secret {name}"));
        let names: Vec<_> = names.chain(secrets).collect();
        let what = match names.as_slice() {
            [] => format!("key service {}", service.provider),
            names => format!("key service {}: {}", service.provider, names.join(", ")),
        };
        self.step(Change::NewService(new), what)
    }

    /// As it is registered, once its plugin accepts it.
    async fn configuration(&self, service: &Service) -> anyhow::Result<NewConfiguration> {
        let json = Value::Object(service.configuration.clone()).to_string();
        let validated = self.parts.keyring.validate(&service.provider, &json).await;
        validated.map_err(|error| self.file.wrong(self.wanted, error))?;
        Ok(NewConfiguration {
            provider: service.provider.clone(),
            json,
            secrets: service.secrets.clone(),
        })
    }

    fn rotation_is_possible(&self) -> anyhow::Result<()> {
        let Some(Some(_)) = self.wanted.rotation else {
            return Ok(());
        };
        let managed = ProviderId::parse(MANAGED)?;
        let present = self.present.row.as_ref().map(|row| &row.provider);
        let service = self
            .wanted
            .service
            .as_ref()
            .map(|service| &service.provider);
        let provider = service.or(present).unwrap_or(&managed);
        if self.parts.keyring.mints(provider)? {
            return Ok(());
        }
        let message = format!(
            "rotation: the provider {provider} makes no key pairs; expected \"disabled\", and a \
             new key_pair for each rotation"
        );
        Err(self.file.wrong(self.wanted, message).into())
    }

    fn step(&self, change: Change, what: String) -> Step {
        Step {
            tenant: self.wanted.tenant.clone(),
            change,
            what,
        }
    }
}

impl Present {
    async fn read(wanted: &Wanted, parts: &Parts) -> anyhow::Result<Self> {
        let (catalogue, id) = (&parts.catalogue, &wanted.tenant);
        let schedule = catalogue.rotation_schedule(id).await?;
        Ok(Self {
            row: catalogue.tenant(id).await?,
            keks: catalogue.keks(id).await?,
            configurations: catalogue.key_configurations(id).await?,
            rotation: schedule.map(|schedule| schedule.period),
        })
    }

    /// The configuration of the newest key.
    fn in_force(&self) -> Option<&KeyConfiguration> {
        let id = self.keks.first()?.kek.configuration()?;
        self.configurations.iter().find(|known| known.id == id)
    }
}

fn is_managed(service: &Service) -> bool {
    service.provider.as_str() == MANAGED
}

/// What a configuration says.
fn said(known: &KeyConfiguration) -> Map<String, Value> {
    serde_json::from_str(&known.config_json).unwrap_or_default()
}

fn name_of(period: Option<RotationPeriod>) -> String {
    period.map_or("disabled".to_owned(), |period| {
        period.as_str().to_ascii_lowercase()
    })
}
