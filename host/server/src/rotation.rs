//! Changing a tenant's KEK: now, by policy, or when its schedule says so. Everything that is done or
//! fails is in the audit log.
//! Not for: how a KEK is made and tried (see `keyreel_keys`), when it is due (see
//! `keyreel_library`), HTTP (see `api::keys`).

mod scheduler;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;

use keyreel_format::TenantId;
use keyreel_keys::{Clock, KekRecord, KekState, KeyError, Keyring, Occasion, Policy, Rotated};
use keyreel_library::{By, Catalogue, RotationPeriod, RotationSchedule, Tenant};

use crate::audit::{AuditError, AuditLog, Event};
use crate::metrics::{Metrics, Trigger};
use crate::problem::Problem;

pub(crate) use scheduler::run;
pub(crate) use view::strength_bits;
pub use view::{KeyRotationSchedule, KeyVersion, TenantKeys, key_versions};

/// Changes KEKs and their schedules. Cheap to clone.
#[derive(Clone)]
pub struct Rotations {
    catalogue: Arc<dyn Catalogue>,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    audit: AuditLog,
    metrics: Option<Arc<Metrics>>,
}

/// A KEK or its schedule was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// No KEK was made, or it cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] keyreel_library::Error),
    /// What was to be done could not be recorded, so it was not.
    #[error("{0}")]
    Audit(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The work died of a defect of this program.
    #[error("the rotation failed unexpectedly")]
    Died,
}

impl Rotations {
    /// Rotations of the KEKs that `keyring` keeps in `catalogue`.
    #[must_use]
    pub fn new(
        catalogue: Arc<dyn Catalogue>,
        keyring: Arc<Keyring>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let audit = AuditLog::new(catalogue.clone(), clock.clone());
        Self {
            catalogue,
            keyring,
            clock,
            audit,
            metrics: None,
        }
    }

    /// As one that counts what it does.
    pub(crate) fn counted(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    fn count(&self, trigger: Trigger, outcome: &'static str) {
        if let Some(metrics) = &self.metrics {
            metrics.rotated(trigger, outcome);
        }
    }

    /// Changes a tenant's KEK now, for one of the same provider, configuration and policy. Goes on
    /// where the caller no longer waits: a KEK is never changed without a record.
    ///
    /// # Errors
    /// See [`RotationError`]; the former KEK stays current then.
    pub async fn rotate(&self, tenant: &Tenant, by: &By) -> Result<KekRecord, RotationError> {
        let (this, tenant, by) = (self.clone(), tenant.clone(), by.clone());
        let work = tokio::spawn(async move {
            let policies = (tenant.policy, tenant.policy);
            let (occasion, asker) = (Occasion::Asked, &by.asker);
            let done = this.keyring.rotate(&tenant.id, policies, occasion, asker);
            this.noted(&tenant, &by, done.await).await
        });
        work.await.unwrap_or(Err(RotationError::Died))
    }

    /// Changes a tenant's policy, and with it its KEK for one of that policy. Where both are so
    /// already, nothing is changed.
    ///
    /// # Errors
    /// As [`Rotations::rotate`].
    pub async fn change_policy(
        &self,
        tenant: &Tenant,
        policy: Policy,
        by: &By,
    ) -> Result<KekRecord, RotationError> {
        let newest = self.keks(&tenant.id).await?.into_iter().next();
        if let Some(newest) = newest
            && tenant.policy == policy
            && newest.state == KekState::Current
            // An owner's keys kept the policy when they were registered.
            && (newest.kek.algorithm == policy.algorithm() || !self.keyring.mints(&newest.provider)?)
        {
            return Ok(newest);
        }
        let (this, tenant, by) = (self.clone(), tenant.clone(), by.clone());
        let work = tokio::spawn(async move {
            let (policies, asker) = ((tenant.policy, policy), &by.asker);
            let done = this
                .keyring
                .rotate(&tenant.id, policies, Occasion::Asked, asker)
                .await;
            let event = Event::of_keys("tenant.policy.changed", &tenant.id, &by)
                .field("former", tenant.policy.as_str())
                .field("policy", policy.as_str());
            let event = match &done {
                Ok(_) => event,
                Err(error) => event.outcome(problem(error).code().as_str()),
            };
            this.audit.conclude(event).await;
            this.noted(&tenant, &by, done).await
        });
        work.await.unwrap_or(Err(RotationError::Died))
    }

    /// When a tenant's KEK was changed and is to be changed.
    ///
    /// # Errors
    /// The catalogue fails.
    pub async fn schedule(&self, tenant: &TenantId) -> Result<KeyRotationSchedule, RotationError> {
        let schedule = self.catalogue.rotation_schedule(tenant).await?;
        let keks = self.keks(tenant).await?;
        let now_ms = self.clock.now_ms();
        Ok(KeyRotationSchedule::new(schedule.as_ref(), &keks, now_ms))
    }

    /// Has a tenant's KEK changed by itself, once in every `period` from now on, or no more. A
    /// schedule of that period goes on as it is.
    ///
    /// # Errors
    /// The tenant's provider makes no KEKs ([`KeyError::CannotMint`]), or see [`RotationError`];
    /// nothing has changed then.
    pub async fn set_schedule(
        &self,
        tenant: &Tenant,
        period: Option<RotationPeriod>,
        by: &By,
    ) -> Result<(), RotationError> {
        let provider = &tenant.provider;
        if period.is_some() && !self.keyring.mints(provider)? {
            let provider = provider.clone();
            return Err(KeyError::CannotMint { provider }.into());
        }
        let former = self.catalogue.rotation_schedule(&tenant.id).await?;
        let former = former.map(|schedule| schedule.period);
        if former == period {
            return Ok(());
        }
        let new = period.map(|period| RotationSchedule::starting(period, self.clock.now_ms()));
        // Before: a schedule that ends without a record would not be missed.
        let event = Event::of_keys("key.schedule.changed", &tenant.id, by)
            .field("former", view::period_name(former))
            .field("period", view::period_name(period));
        self.audit.record(event).await?;
        self.catalogue
            .set_rotation_schedule(&tenant.id, new.as_ref())
            .await?;
        Ok(())
    }

    /// A tenant's KEKs, newest first, and who makes them.
    ///
    /// # Errors
    /// The catalogue fails.
    pub async fn keys(&self, tenant: &Tenant) -> Result<TenantKeys, RotationError> {
        let keks = self.keks(&tenant.id).await?;
        let needed = self.catalogue.recordings_by_kek(&tenant.id).await?;
        Ok(TenantKeys {
            tenant: tenant.id.to_string(),
            policy: tenant.policy.as_str().to_owned(),
            provider: tenant.provider.to_string(),
            mints_keks: self.keyring.mints(&tenant.provider).unwrap_or(false),
            keys: key_versions(&keks, &needed),
        })
    }

    async fn keks(&self, tenant: &TenantId) -> Result<Vec<KekRecord>, KeyError> {
        Ok(self.catalogue.keks(tenant).await?)
    }

    /// Writes down what came of what somebody wanted.
    async fn noted(
        &self,
        tenant: &Tenant,
        by: &By,
        done: Result<Rotated, KeyError>,
    ) -> Result<KekRecord, RotationError> {
        match done {
            Ok(Rotated::New { former, current }) => {
                self.count(Trigger::Request, "ok");
                let event = Event::of_keys("key.rotated", &tenant.id, by);
                self.audit.conclude(rotated(event, &former, &current)).await;
                Ok(current)
            }
            Ok(Rotated::Met(current)) => Ok(current),
            Err(error) => {
                let problem = problem(&error);
                self.count(Trigger::Request, problem.code().as_str());
                let event = Event::of_keys("key.rotation.failed", &tenant.id, by)
                    .outcome(problem.code().as_str())
                    .field("provider", tenant.provider.as_str())
                    .field("reason", problem.detail());
                self.audit.conclude(event).await;
                Err(error.into())
            }
        }
    }
}

/// A failure, in words for the administrator.
fn problem(error: &KeyError) -> Problem {
    Problem::from(RotationError::Key(error.clone()))
}

impl From<AuditError> for RotationError {
    fn from(error: AuditError) -> Self {
        Self::Audit(Box::new(error))
    }
}

fn rotated(event: Event, former: &KekRecord, current: &KekRecord) -> Event {
    event
        .field("provider", current.provider.as_str())
        .field("former", former.kek.id.as_str())
        .field("kek", current.kek.id.as_str())
        .field("algorithm", current.kek.algorithm.clone())
}
