//! Crypto-shredding: keys destroyed in every copy there is of them, so that what they protect opens
//! nowhere any more, backups included; what they protected taken out; and a signed certificate.
//!
//! ```text
//! asked for ─▶ confirmed, where two people are needed ─▶ whichever node claims it (`run`):
//!   tenant      retired in the catalogue ─▶ root destroyed ─▶ new epoch ─▶ recordings, objects gone
//!   KEK         retired                  ─▶ its key destroyed ─▶ new epoch ─▶ recordings, objects gone
//!   recordings  gone ─▶ rotate, if one was under the current KEK ─▶ all others re-wrapped to the
//!               current one ─▶ as KEK, for every KEK but the current one
//!   ─▶ certificate
//! ```
//! Each step can be done twice: killed at any moment, the next node that claims it goes on.
//! A request and its confirmation are signed: a row in the database alone has nothing destroyed.
//! "Epoch" is the keystore's: see `keyreel_keys::Keystore::begin_epoch`. The method is what NIST
//! SP 800-88 calls cryptographic erase.
//! Not for: who may ask (see `keyreel-server`).

mod certificate;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use keyreel_format::{RecordingId, TenantId};
use keyreel_keys::{Clock, KekState, Keyring};
use serde_json::Value;
use tokio::task::JoinSet;
use uuid::Uuid;

pub use certificate::{Certificate, CertificateKey, verify_certificate};

use crate::catalogue::{
    AuditEvent, Catalogue, Destruction, DestructionScope, DestructionState, Lease,
};
use crate::rewrap::{By, Rewrapper};
use crate::{Error, Objects};

/// How many recordings one destruction may name.
pub const MAX_RECORDINGS: usize = 1000;
/// How long a reason may be.
pub const MAX_REASON: usize = 1000;

/// How long a node holds a destruction without a word.
const LEASE: Duration = Duration::from_secs(60);
/// How often a node looks for destructions that nobody holds.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Destroys. Cheap to clone.
#[derive(Clone)]
pub struct Destroyer {
    inner: Arc<Inner>,
}

struct Inner {
    catalogue: Arc<dyn Catalogue>,
    objects: Objects,
    keyring: Arc<Keyring>,
    rewrapper: Rewrapper,
    clock: Arc<dyn Clock>,
    key: CertificateKey,
    /// Names this process in the catalogue.
    owner: String,
    /// Whether somebody else has to confirm what somebody asked for.
    two_people: bool,
}

/// What a [`Destroyer`] is made of.
pub struct DestroyerParts {
    /// Where destructions are written down.
    pub catalogue: Arc<dyn Catalogue>,
    /// Where recordings lie.
    pub objects: Objects,
    /// Whose keys are destroyed.
    pub keyring: Arc<Keyring>,
    /// Moves recordings that stay away from keys that go.
    pub rewrapper: Rewrapper,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Signs certificates.
    pub key: CertificateKey,
    /// Whether somebody else has to confirm what somebody asked for.
    pub two_people: bool,
}

/// What somebody does with a destruction that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestructionStep {
    /// Confirms what somebody else asked for: it begins.
    Confirm,
    /// Calls off what nobody has confirmed, or what something is in the way of. What is gone by
    /// then stays gone.
    Cancel,
    /// Has one that something was in the way of go on.
    Resume,
}

impl DestructionStep {
    fn leads_from(self, state: DestructionState) -> Option<DestructionState> {
        match (self, state) {
            (Self::Confirm, DestructionState::Requested)
            | (Self::Resume, DestructionState::Halted) => Some(DestructionState::Running),
            (Self::Cancel, DestructionState::Requested | DestructionState::Halted) => {
                Some(DestructionState::Cancelled)
            }
            _ => None,
        }
    }

    fn action(self) -> &'static str {
        match self {
            Self::Confirm => "destruction.confirmed",
            Self::Cancel => "destruction.cancelled",
            Self::Resume => "destruction.resumed",
        }
    }
}

/// Why a destruction was not begun, confirmed or called off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DestructionError {
    /// What was typed is not what would have confirmed it.
    #[error("type exactly: {expected}")]
    NotConfirmed {
        /// What would have.
        expected: String,
    },
    /// There is no such tenant, key or recording.
    #[error("there is no {what}")]
    Unknown {
        /// What was named.
        what: String,
    },
    /// New recordings are sealed with that key.
    #[error("{kek} is the current key: rotate first")]
    Current {
        /// Which.
        kek: String,
    },
    /// It is not in a state in which that can be done.
    #[error("that cannot be done any more: its state is \"{state}\"")]
    State {
        /// In which it is.
        state: &'static str,
    },
    /// Another destruction of this tenant has not ended.
    #[error(
        "another destruction of {tenant} has not ended: see to that one first, it may have to be \
         confirmed, resumed or called off"
    )]
    Busy {
        /// Whose.
        tenant: TenantId,
    },
    /// Whoever asked for it cannot confirm it.
    #[error("whoever asked for it cannot confirm it: another administrator has to")]
    SamePerson,
    /// The reason is missing or too long, or too many recordings are named.
    #[error("{0}")]
    Invalid(&'static str),
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] Error),
}

impl Destroyer {
    /// With the parts that it works on.
    #[must_use]
    pub fn new(parts: DestroyerParts) -> Self {
        let DestroyerParts {
            catalogue,
            objects,
            keyring,
            rewrapper,
            clock,
            key,
            two_people,
        } = parts;
        let inner = Inner {
            catalogue,
            objects,
            keyring,
            rewrapper,
            clock,
            key,
            owner: Uuid::new_v4().to_string(),
            two_people,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Whether somebody else has to confirm what somebody asked for.
    #[must_use]
    pub fn needs_two_people(&self) -> bool {
        self.inner.two_people
    }

    /// What has to be typed to have `scope` of `tenant` destroyed: it names the loss.
    ///
    /// # Errors
    /// [`DestructionError::Unknown`], [`DestructionError::Current`], [`DestructionError::Invalid`].
    pub async fn phrase(
        &self,
        tenant: &TenantId,
        scope: &DestructionScope,
    ) -> Result<String, DestructionError> {
        Ok(self.weigh(tenant, scope).await?.0)
    }

    /// As [`Destroyer::phrase`], with how many recordings are lost.
    async fn weigh(
        &self,
        tenant: &TenantId,
        scope: &DestructionScope,
    ) -> Result<(String, u64), DestructionError> {
        let catalogue = &self.inner.catalogue;
        let unknown = |what: String| DestructionError::Unknown { what };
        if catalogue.tenant(tenant).await?.is_none() {
            return Err(unknown(format!("tenant {tenant}")));
        }
        match scope {
            DestructionScope::Tenant => {
                let counts = catalogue.recordings_by_kek(tenant).await?;
                let lost = counts.iter().map(|count| count.recordings).sum();
                Ok((format!("destroy {tenant}"), lost))
            }
            DestructionScope::Key { provider, id } => {
                let keks = catalogue.keks(tenant).await.map_err(Error::from)?;
                let mut keks = keks.iter();
                let record =
                    keks.find(|record| record.provider == *provider && record.kek.id == *id);
                let record = record.ok_or_else(|| unknown(format!("key {id} of {provider}")))?;
                if record.state == KekState::Current {
                    return Err(DestructionError::Current {
                        kek: id.to_string(),
                    });
                }
                let counts = catalogue.recordings_by_kek(tenant).await?;
                let lost = crate::KekCount::of(&counts, record);
                Ok((format!("destroy {id} and {lost} recordings"), lost))
            }
            DestructionScope::Recordings { ids } => {
                if ids.is_empty() || ids.len() > MAX_RECORDINGS {
                    return Err(DestructionError::Invalid("name 1 to 1000 recordings"));
                }
                let found = catalogue.doomed(tenant, ids).await?;
                let is_there =
                    |id: &RecordingId| found.iter().any(|doomed| doomed.recording == *id);
                if let Some(missing) = ids.iter().find(|id| !is_there(id)) {
                    return Err(unknown(format!("recording {missing}")));
                }
                let lost = u64::try_from(found.len()).unwrap_or(u64::MAX);
                Ok((format!("destroy {lost} recordings"), lost))
            }
        }
    }

    /// Has something destroyed: `confirm` is what [`Destroyer::phrase`] says, as a person typed it.
    /// A node that looks for them takes it up (see [`Destroyer::work`]), once somebody else has
    /// confirmed it where that is needed.
    ///
    /// # Errors
    /// See [`DestructionError`]; nothing is destroyed then.
    pub async fn request(
        &self,
        tenant: &TenantId,
        scope: DestructionScope,
        (confirm, reason): (&str, &str),
        by: &By,
    ) -> Result<Destruction, DestructionError> {
        let inner = &self.inner;
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > MAX_REASON {
            return Err(DestructionError::Invalid(
                "say why, in 1 to 1000 characters: it is in the certificate",
            ));
        }
        let (expected, lost) = self.weigh(tenant, &scope).await?;
        if confirm != expected {
            return Err(DestructionError::NotConfirmed { expected });
        }
        let now_ms = inner.clock.now_ms();
        let state = if inner.two_people {
            DestructionState::Requested
        } else {
            DestructionState::Running
        };
        let mut destruction = Destruction {
            id: AuditEvent::new("", now_ms, "").id,
            tenant: tenant.clone(),
            scope,
            reason: reason.to_owned(),
            lost,
            state,
            requested_by: by.asker.subject.clone(),
            requested_ms: now_ms,
            decided_by: None,
            decided_ms: None,
            seal: Vec::new(),
            plan: None,
            epoch: None,
            last_error: None,
            ended_ms: None,
            certificate: None,
        };
        destruction.seal = inner.key.seal(&destruction);
        // Before: what is destroyed cannot be brought back to be recorded.
        let mut event = inner.event("destruction.requested", &destruction, by);
        event
            .fields
            .insert("reason".to_owned(), Value::from(reason));
        event
            .fields
            .insert("recordings".to_owned(), Value::from(lost));
        inner.catalogue.append_audit(&[event]).await?;
        let added = inner.catalogue.add_destruction(&destruction).await;
        added.map_err(|error| match error {
            Error::Exists { .. } => DestructionError::Busy {
                tenant: tenant.clone(),
            },
            other => DestructionError::Catalogue(other),
        })?;
        Ok(destruction)
    }

    /// Confirms, calls off or resumes one.
    ///
    /// # Errors
    /// [`DestructionError::SamePerson`], [`DestructionError::State`],
    /// [`DestructionError::Unknown`]; the catalogue fails.
    pub async fn decide(
        &self,
        tenant: &TenantId,
        id: &str,
        step: DestructionStep,
        by: &By,
    ) -> Result<Destruction, DestructionError> {
        let inner = &self.inner;
        let before = self.one(tenant, id).await?;
        let state = |state: DestructionState| DestructionError::State {
            state: state.as_str(),
        };
        let subject = &by.asker.subject;
        if step == DestructionStep::Confirm && before.requested_by == *subject {
            return Err(DestructionError::SamePerson);
        }
        let to = step.leads_from(before.state).ok_or(state(before.state))?;
        // Of a tenant that was taken out of use, there is no way back.
        if to == DestructionState::Cancelled
            && before.scope == DestructionScope::Tenant
            && inner.catalogue.destroyed_ms(tenant).await?.is_some()
        {
            return Err(state(before.state));
        }
        let event = inner.event(step.action(), &before, by);
        inner.catalogue.append_audit(&[event]).await?;
        let now_ms = inner.clock.now_ms();
        let mut decided = Destruction {
            state: to,
            ..before.clone()
        };
        // Going on is no decision: who confirmed it stays.
        if step != DestructionStep::Resume {
            decided.decided_by = Some(subject.clone());
            decided.decided_ms = Some(now_ms);
            decided.seal = inner.key.seal(&decided);
        }
        decided.ended_ms = (to == DestructionState::Cancelled).then_some(now_ms);
        let done = inner.catalogue.decide_destruction(before.state, &decided);
        if !done.await? {
            return Err(state(self.one(tenant, id).await?.state));
        }
        self.one(tenant, id).await
    }

    /// One of a tenant's.
    ///
    /// # Errors
    /// [`DestructionError::Unknown`]; the catalogue fails.
    pub async fn one(&self, tenant: &TenantId, id: &str) -> Result<Destruction, DestructionError> {
        let found = self.inner.catalogue.destruction(tenant, id).await?;
        found.ok_or_else(|| DestructionError::Unknown {
            what: "such destruction".to_owned(),
        })
    }

    /// All of a tenant's, newest first.
    ///
    /// # Errors
    /// The catalogue fails.
    pub async fn all(&self, tenant: &TenantId) -> Result<Vec<Destruction>, Error> {
        self.inner.catalogue.destructions(tenant).await
    }

    /// Runs one that is to run, here, to its end or until something is in its way. `None`: another
    /// node holds it, or it does not run.
    ///
    /// # Errors
    /// The catalogue fails: somebody goes on with it later.
    pub async fn run(&self, id: &str) -> Result<Option<Destruction>, Error> {
        let inner = &self.inner;
        let lease = inner.lease();
        let claimed = inner.catalogue.claim_destruction(Some(id), &lease);
        match claimed.await? {
            Some(destruction) => run::run(inner, destruction).await.map(Some),
            None => Ok(None),
        }
    }

    /// Looks for destructions that nobody runs, for ever, and runs them beside each other: one that
    /// waits for a key service keeps no other tenant's waiting. One that failed is tried again when
    /// its lease is over.
    pub async fn work(&self) {
        let mut running = JoinSet::new();
        loop {
            let lease = self.inner.lease();
            match self.inner.catalogue.claim_destruction(None, &lease).await {
                Ok(Some(destruction)) => {
                    let inner = self.inner.clone();
                    running.spawn(async move {
                        let (tenant, id) = (destruction.tenant.clone(), destruction.id.clone());
                        if let Err(error) = run::run(&inner, destruction).await {
                            tracing::warn!(%tenant, id, %error, "a destruction was interrupted");
                        }
                    });
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "no word of destructions from the catalogue"),
            }
            while running.try_join_next().is_some() {}
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Inner {
    fn lease(&self) -> Lease {
        Lease::new(&self.owner, self.clock.now_ms(), LEASE)
    }

    fn event(&self, action: &str, destruction: &Destruction, by: &By) -> AuditEvent {
        let mut event = by.event(action, &destruction.tenant, self.clock.now_ms());
        let scope = serde_json::to_value(&destruction.scope).unwrap_or_default();
        let fields = [
            ("destruction", Value::from(destruction.id.as_str())),
            ("scope", scope),
        ];
        for (name, value) in fields {
            event.fields.insert(name.to_owned(), value);
        }
        event
    }
}
