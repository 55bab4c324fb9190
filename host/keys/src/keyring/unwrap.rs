//! One unwrap, from the recipients in a header to an audited DEK.
//! Not for: sharing its outcome (see `dek_cache`).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use keyreel_format::{ProviderId, Recipient, TenantId};
use tokio::time::{Instant, timeout};

use super::{Asker, DekRequest, Inner};
use crate::configuration::Configured;
use crate::error::KeyError;
use crate::kek::{Kek, KekState, StoreError};
use crate::observer::{ObserverError, UnwrapAttempt, UnwrapPurpose};
use crate::provider::{
    Attributes, CallInfo, Envelope, ErrorClass, Health, KeyProvider, PROVIDER_INFO, ProviderError,
    UnwrappedDek,
};
use crate::recovery::RECOVERY;

impl Inner {
    /// Unwraps a recording's DEK.
    pub(super) async fn open(
        self: Arc<Self>,
        request: DekRequest,
        purpose: UnwrapPurpose,
    ) -> Result<UnwrappedDek, KeyError> {
        let (recipient, kek) = self.choose(&request).await?;
        let envelope = Envelope {
            algorithm: recipient.algorithm.name().to_owned(),
            wrapped_dek: recipient.wrapped_dek.clone(),
            recording: request.recording.clone(),
            context: info_of(recipient),
        };
        let attempt = UnwrapAttempt {
            purpose,
            provider: recipient.provider.clone(),
            kek: kek.id.clone(),
            algorithm: envelope.algorithm.clone(),
            tenant: request.tenant,
            recording: request.recording,
            generation: request.generation,
            subject: request.subject,
            request_id: request.request_id,
        };
        self.ask(&attempt, &kek, &envelope, Configured::of(&kek))
            .await
    }

    /// The first recipient whose KEK the catalogue binds to the tenant under this provider and
    /// algorithm: the key block is not authenticated yet, and a planted one must not steer a
    /// tenant's ciphertext to another's key service.
    ///
    /// The other recipients are not tried if its owner refuses: that would undo a revocation. A
    /// recovery key is nobody's to ask, whatever the catalogue may hold under its name.
    async fn choose<'a>(&self, request: &'a DekRequest) -> Result<(&'a Recipient, Kek), KeyError> {
        let tenant = &request.tenant;
        let mut error = None;
        let asked = |recipient: &&Recipient| recipient.provider.as_str() != RECOVERY;
        for recipient in request.recipients.iter().filter(asked) {
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
            } else if state == KekState::Disabled {
                // No other recipient either: that would undo what the administrator did.
                return Err(KeyError::KekDisabled {
                    tenant: tenant.clone(),
                    provider: provider.clone(),
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
    ///
    /// A configuration that is tried passes no gate: its key service is another than the one that
    /// the gate knows. Whoever tries it does so one at a time.
    pub(super) async fn ask(
        &self,
        attempt: &UnwrapAttempt,
        kek: &Kek,
        envelope: &Envelope,
        configured: Configured,
    ) -> Result<UnwrappedDek, KeyError> {
        let UnwrapAttempt {
            tenant,
            provider: id,
            ..
        } = attempt;
        let provider = self.provider(id)?;
        let gate = configured
            .trial()
            .is_none()
            .then(|| self.gates.gate(tenant, id, configured.id()));
        let sound = gate.as_ref().is_none_or(|gate| gate.is_sound());
        let pass = match &gate {
            None => None,
            Some(gate) => Some(gate.enter().await.inspect_err(|error| match error {
                KeyError::Busy { .. } => self.counters.busy.add(),
                _ => self.counters.circuit_open.add(),
            })?),
        };
        self.recorded(self.observer.before(attempt)).await?;

        let limit = self.settings.unwrap_limit;
        let asker = Asker {
            subject: attempt.subject.clone(),
            request_id: attempt.request_id.clone(),
        };
        let call = call(tenant, configured, &asker, limit);
        let started = Instant::now();
        let once_more = if sound { OnceMore::Yes } else { OnceMore::No };
        let answer = limited(limit, unwrap(&**provider, call, kek, envelope, once_more)).await;
        let latency = started.elapsed();

        if let Some(pass) = pass {
            pass.settle(answer.as_ref().map(drop));
        }
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
        configured: Configured,
        asker: &Asker,
    ) -> Result<Health, KeyError> {
        let provider = self.provider(id)?;
        let call = call(tenant, configured, asker, self.settings.unwrap_limit);
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
    pub(super) async fn recorded(
        &self,
        word: impl Future<Output = Result<(), ObserverError>>,
    ) -> Result<(), KeyError> {
        match timeout(LOCAL_LIMIT, word).await {
            Ok(word) => Ok(word?),
            Err(_) => Err(ObserverError::new("it took too long").into()),
        }
    }
}

/// What stands beside a wrap for its provider. No more authentic than the wrap itself.
fn info_of(recipient: &Recipient) -> Attributes {
    if recipient.info.is_empty() {
        return Vec::new();
    }
    vec![(PROVIDER_INFO.to_owned(), hex::encode(&recipient.info))]
}

/// One call of a provider.
pub(super) fn call(
    tenant: &TenantId,
    configured: Configured,
    asker: &Asker,
    deadline: Duration,
) -> CallInfo {
    CallInfo {
        request_id: asker.request_id.clone(),
        tenant: tenant.clone(),
        subject: asker.subject.clone(),
        deadline,
        configured,
        attributes: Vec::new(),
    }
}

/// Whether an unwrap may be tried again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnceMore {
    Yes,
    No,
}

/// Unwraps; once more where that is safe and may help: the key service was not there, said so
/// early, asked for no pause, and had answered well before. Unwrapping changes nothing there. After
/// a failure in a row nothing is tried twice: retries of many recordings would keep a key service
/// down that is coming up.
async fn unwrap(
    provider: &dyn KeyProvider,
    mut call: CallInfo,
    kek: &Kek,
    envelope: &Envelope,
    once_more: OnceMore,
) -> Result<UnwrappedDek, ProviderError> {
    let started = Instant::now();
    let error = match provider.unwrap_dek(&call, kek, envelope).await {
        Err(error)
            if once_more == OnceMore::Yes
                && error.class == ErrorClass::Unavailable
                && error.retry_after.is_none()
                && started.elapsed() < call.deadline / 4 =>
        {
            error
        }
        answer => return answer,
    };
    tracing::info!(
        request_id = call.request_id,
        tenant = %call.tenant,
        %error,
        "the key service did not answer; asking once more"
    );
    tokio::time::sleep(jitter()).await;
    call.deadline = call.deadline.saturating_sub(started.elapsed());
    provider.unwrap_dek(&call, kek, envelope).await
}

/// 50 to 177 ms: those who failed together do not come back together.
fn jitter() -> Duration {
    let mut random = [0];
    // Without randomness there is no spread, and that is no reason to fail.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let [random] = random;
    Duration::from_millis(50 + u64::from(random) / 2)
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
pub(super) const LOCAL_LIMIT: Duration = Duration::from_secs(2);
