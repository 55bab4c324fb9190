//! One unwrap, from the recipients in a header to an audited DEK.
//! Not for: sharing its outcome (see `dek_cache`).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use keyreel_format::{ProviderId, Recipient, TenantId};
use tokio::time::{Instant, timeout};

use super::{DekRequest, Inner};
use crate::error::KeyError;
use crate::kek::{Kek, KekState, StoreError};
use crate::observer::{ObserverError, UnwrapAttempt, UnwrapPurpose};
use crate::provider::{
    CallInfo, Envelope, ErrorClass, Health, KeyProvider, ProviderError, UnwrappedDek,
};

impl Inner {
    /// Unwraps a recording's DEK.
    pub(super) async fn open(
        self: Arc<Self>,
        request: DekRequest,
    ) -> Result<UnwrappedDek, KeyError> {
        let (recipient, kek) = self.choose(&request).await?;
        let envelope = Envelope {
            algorithm: recipient.algorithm.name().to_owned(),
            wrapped_dek: recipient.wrapped_dek.clone(),
            recording: request.recording.clone(),
            context: Vec::new(),
        };
        let attempt = UnwrapAttempt {
            purpose: UnwrapPurpose::Open,
            provider: recipient.provider.clone(),
            kek: kek.id.clone(),
            algorithm: envelope.algorithm.clone(),
            tenant: request.tenant,
            recording: request.recording,
            generation: request.generation,
            subject: request.subject,
            request_id: request.request_id,
        };
        self.ask(&attempt, &kek, &envelope).await
    }

    /// The first recipient whose KEK the catalogue binds to the tenant under this provider and
    /// algorithm: the key block is not authenticated yet, and a planted one must not steer a
    /// tenant's ciphertext to another's key service.
    ///
    /// The other recipients are not tried if its owner refuses: that would undo a revocation.
    async fn choose<'a>(&self, request: &'a DekRequest) -> Result<(&'a Recipient, Kek), KeyError> {
        let tenant = &request.tenant;
        let mut error = None;
        for recipient in &request.recipients {
            let (provider, id) = (&recipient.provider, &recipient.kek);
            let Some((kek, state)) = self.stored(self.store.kek(tenant, provider, id)).await?
            else {
                continue;
            };
            if kek.algorithm != recipient.algorithm.name() {
                continue;
            }
            if state == KekState::Retired {
                error = Some(KeyError::KekRetired {
                    tenant: tenant.clone(),
                    kek: kek.id,
                });
            } else if self.providers.contains_key(provider) {
                return Ok((recipient, kek));
            } else {
                error = Some(KeyError::ProviderMissing {
                    provider: provider.clone(),
                });
            }
        }
        Err(error.unwrap_or_else(|| KeyError::UnknownKek {
            tenant: tenant.clone(),
            named: name_all(&request.recipients),
        }))
    }

    /// Asks the provider: through the gate, within the limit, recorded before and after.
    pub(super) async fn ask(
        &self,
        attempt: &UnwrapAttempt,
        kek: &Kek,
        envelope: &Envelope,
    ) -> Result<UnwrappedDek, KeyError> {
        let UnwrapAttempt {
            tenant,
            provider: id,
            ..
        } = attempt;
        let provider = self.provider(id)?;
        let pass = self
            .gates
            .gate(tenant, id)
            .enter()
            .await
            .inspect_err(|error| match error {
                KeyError::Busy { .. } => self.counters.busy.add(),
                _ => self.counters.circuit_open.add(),
            })?;
        self.recorded(self.observer.before(attempt)).await?;

        let limit = self.settings.unwrap_limit;
        let call = self.call(tenant, &attempt.subject, &attempt.request_id, limit);
        let started = Instant::now();
        let answer = limited(limit, provider.unwrap_dek(&call, kek, envelope)).await;
        let latency = started.elapsed();

        pass.settle(answer.as_ref().map(drop));
        let outcome = answer
            .as_ref()
            .map_or_else(|error| error.class.as_str(), |_| "ok");
        self.counters.unwrapped(id, outcome, latency);
        let recorded = self
            .recorded(
                self.observer
                    .after(attempt, answer.as_ref().map(drop), latency),
            )
            .await;
        match (answer, recorded) {
            (Ok(unwrapped), Ok(())) => Ok(unwrapped),
            (Ok(_), Err(unrecorded)) => Err(unrecorded),
            (Err(error), recorded) => {
                if let Err(unrecorded) = recorded {
                    tracing::error!(
                        request_id = attempt.request_id,
                        error = %unrecorded,
                        "a refused unwrap could not be recorded"
                    );
                }
                Err(KeyError::Provider {
                    provider: id.clone(),
                    error,
                })
            }
        }
    }

    pub(super) async fn health(
        &self,
        tenant: &TenantId,
        id: &ProviderId,
        request_id: &str,
    ) -> Result<Health, KeyError> {
        let provider = self.provider(id)?;
        let call = self.call(tenant, "", request_id, self.settings.unwrap_limit);
        limited(call.deadline, provider.health(&call))
            .await
            .map_err(|error| KeyError::Provider {
                provider: id.clone(),
                error,
            })
    }

    pub(super) fn provider(&self, id: &ProviderId) -> Result<&Arc<dyn KeyProvider>, KeyError> {
        self.providers
            .get(id)
            .ok_or_else(|| KeyError::ProviderMissing {
                provider: id.clone(),
            })
    }

    pub(super) fn call(
        &self,
        tenant: &TenantId,
        subject: &str,
        request_id: &str,
        deadline: Duration,
    ) -> CallInfo {
        CallInfo {
            request_id: request_id.to_owned(),
            tenant: tenant.clone(),
            subject: subject.to_owned(),
            deadline,
            attributes: Vec::new(),
        }
    }

    /// An answer of the catalogue, within the limit.
    pub(super) async fn stored<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, KeyError> {
        match timeout(LOCAL_LIMIT, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(KeyError::StoreTimeout),
        }
    }

    /// The observer's word, within the limit: an audit log that hangs has recorded nothing.
    async fn recorded(
        &self,
        word: impl Future<Output = Result<(), ObserverError>>,
    ) -> Result<(), KeyError> {
        match timeout(LOCAL_LIMIT, word).await {
            Ok(word) => Ok(word?),
            Err(_) => Err(ObserverError::new("it took too long").into()),
        }
    }
}

/// A provider's answer within `limit`. A provider that panics has failed, no more.
pub(super) async fn limited<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    match timeout(limit, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(ProviderError::new(
            ErrorClass::Internal,
            "keyring.panic",
            "the provider failed unexpectedly",
        )),
        Err(_) => Err(ProviderError::new(
            ErrorClass::Timeout,
            "keyring.deadline",
            format!("no answer within {} ms", limit.as_millis()),
        )),
    }
}

fn name_all(recipients: &[Recipient]) -> String {
    let names = recipients
        .iter()
        .map(|r| format!("{} {}", r.provider, r.kek));
    names.collect::<Vec<_>>().join(", ")
}

/// How long the catalogue and the audit log may take, which are near by.
const LOCAL_LIMIT: Duration = Duration::from_secs(2);
