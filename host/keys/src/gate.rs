//! The gate before a provider: so many calls at once, none to one that is down. One for each
//! tenant, provider and key configuration, so that a dead key service slows nobody but its own
//! tenant, and not even that one's other key service.
//! Not for: retries (see `keyring`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keyreel_format::{ProviderId, TenantId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::error::KeyError;
use crate::provider::{ErrorClass, ProviderError};
use crate::settings::GateSettings;

/// All gates.
pub(crate) struct Gates {
    settings: GateSettings,
    gates: Mutex<HashMap<Before, Arc<Gate>>>,
}

/// Whose gate, before whom, under which key configuration.
type Before = (TenantId, ProviderId, Option<Arc<str>>);

impl Gates {
    pub(crate) fn new(settings: GateSettings) -> Self {
        Self {
            settings,
            gates: Mutex::default(),
        }
    }

    /// The gate of `tenant` before `provider`. Ask only for what the catalogue binds: gates are kept
    /// for good.
    pub(crate) fn gate(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        configuration: Option<&str>,
    ) -> Arc<Gate> {
        let before = (
            tenant.clone(),
            provider.clone(),
            configuration.map(Arc::from),
        );
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.entry(before).or_insert_with(|| {
            Arc::new(Gate {
                provider: provider.clone(),
                settings: self.settings,
                permits: Arc::new(Semaphore::new(self.settings.concurrency)),
                state: Mutex::new(State::Closed { failures: 0 }),
            })
        });
        gate.clone()
    }

    /// Forgets what is held against the key service of a configuration: it was changed.
    pub(crate) fn forget(&self, tenant: &TenantId, configuration: &str) {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|(owner, _, id), _| owner != tenant || id.as_deref() != Some(configuration));
    }

    /// The state of every breaker that is not closed.
    pub(crate) fn breakers(&self) -> Vec<(TenantId, ProviderId, BreakerState)> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates
            .iter()
            .map(|((tenant, provider, _), gate)| (tenant.clone(), provider.clone(), gate.breaker()))
            .filter(|(_, _, state)| *state != BreakerState::Closed)
            .collect()
    }
}

/// Whether a provider is asked at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// It is.
    Closed,
    /// It is not: it failed too often.
    Open,
    /// One call is let through to see whether it is back.
    HalfOpen,
}

impl BreakerState {
    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// The gate of one tenant before one provider.
pub(crate) struct Gate {
    provider: ProviderId,
    settings: GateSettings,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

impl Gate {
    /// Whether the last call went well: then one failure may be a hiccup.
    pub(crate) fn is_sound(&self) -> bool {
        matches!(*self.state(), State::Closed { failures: 0 })
    }

    /// Waits for a turn, within bounds.
    pub(crate) async fn enter(self: &Arc<Self>) -> Result<Pass, KeyError> {
        self.peek()?;
        let turn = self.permits.clone().acquire_owned();
        let permit = match timeout(self.settings.queue, turn).await {
            Ok(Ok(permit)) => permit,
            // The semaphore is never closed; late is the same answer.
            Ok(Err(_)) | Err(_) => {
                return Err(KeyError::Busy {
                    provider: self.provider.clone(),
                    retry_after: self.settings.queue.max(Duration::from_secs(1)),
                });
            }
        };
        // The breaker may have opened while this call waited.
        let trial = self.admit()?;
        Ok(Pass {
            gate: self.clone(),
            trial,
            settled: false,
            _permit: permit,
        })
    }

    fn breaker(&self) -> BreakerState {
        match *self.state() {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until, .. } if Instant::now() < until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Refuses at once where waiting for a turn would be in vain.
    fn peek(&self) -> Result<(), KeyError> {
        match *self.state() {
            State::Open { until, .. } if Instant::now() < until => Err(self.open_for(until)),
            _ => Ok(()),
        }
    }

    fn admit(&self) -> Result<Trial, KeyError> {
        let mut state = self.state();
        match *state {
            State::Closed { .. } => Ok(Trial::No),
            State::Open { until, .. } if Instant::now() < until => Err(self.open_for(until)),
            State::Open { pause, .. } => {
                *state = State::HalfOpen { pause };
                Ok(Trial::Yes)
            }
            State::HalfOpen { .. } => Err(KeyError::CircuitOpen {
                provider: self.provider.clone(),
                retry_after: Duration::from_secs(1),
            }),
        }
    }

    fn settle(&self, trial: Trial, verdict: Verdict) {
        let mut state = self.state();
        let settings = &self.settings;
        *state = match (*state, trial, verdict) {
            (State::Closed { .. }, _, Verdict::Answered) => State::Closed { failures: 0 },
            (State::Closed { failures }, _, Verdict::Failed { hint }) => {
                let failures = failures.saturating_add(1);
                if failures >= settings.failures {
                    State::open(settings.pause, hint, settings)
                } else {
                    State::Closed { failures }
                }
            }
            (State::HalfOpen { .. }, Trial::Yes, Verdict::Answered) => {
                State::Closed { failures: 0 }
            }
            (State::HalfOpen { pause }, Trial::Yes, Verdict::Failed { hint }) => {
                State::open(pause.saturating_mul(2), hint, settings)
            }
            // The trial call was given up: the same pause again. Without one, callers who give up
            // would keep calling a service that is down.
            (State::HalfOpen { pause }, Trial::Yes, Verdict::Unknown) => {
                State::open(pause, None, settings)
            }
            // A call from before the breaker opened says nothing new.
            (unchanged, _, _) => unchanged,
        };
    }

    fn open_for(&self, until: Instant) -> KeyError {
        KeyError::CircuitOpen {
            provider: self.provider.clone(),
            retry_after: until.saturating_duration_since(Instant::now()),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call that may be made. Dropped without [`Pass::settle`], it says nothing of the provider: it
/// neither counts as a failure nor closes a breaker.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    trial: Trial,
    settled: bool,
    _permit: OwnedSemaphorePermit,
}

impl Pass {
    /// Ends the call and tells the breaker how it went.
    pub(crate) fn settle(mut self, outcome: Result<(), &ProviderError>) {
        self.settled = true;
        self.gate.settle(self.trial, Verdict::of(outcome));
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.settled {
            self.gate.settle(self.trial, Verdict::Unknown);
        }
    }
}

#[derive(Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, pause: Duration },
    HalfOpen { pause: Duration },
}

impl State {
    fn open(pause: Duration, hint: Option<Duration>, settings: &GateSettings) -> Self {
        let pause = pause.min(settings.pause_max);
        let wait = hint.unwrap_or_default().max(pause).min(settings.pause_max);
        Self::Open {
            until: Instant::now() + wait,
            pause,
        }
    }
}

/// Whether a call is the one that tries a provider which had failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trial {
    Yes,
    No,
}

enum Verdict {
    /// The provider answered, if only to refuse.
    Answered,
    /// It did not, or it broke down.
    Failed { hint: Option<Duration> },
    /// The pass was dropped: there was no call, or nobody waited for its end.
    Unknown,
}

impl Verdict {
    fn of(outcome: Result<(), &ProviderError>) -> Self {
        match outcome {
            Ok(()) => Self::Answered,
            Err(error) => match error.class {
                ErrorClass::Unavailable | ErrorClass::Timeout => Self::Failed {
                    hint: error.retry_after,
                },
                // A trap, a limit, a malformed answer: each costs as much as a call may, and more
                // of them open nothing. What it says of when to come back is not to be believed.
                ErrorClass::Internal => Self::Failed { hint: None },
                ErrorClass::Config
                | ErrorClass::Request
                | ErrorClass::NotFound
                | ErrorClass::Denied
                | ErrorClass::KeyDisabled
                | ErrorClass::Integrity
                | ErrorClass::Throttled => Self::Answered,
            },
        }
    }
}

#[cfg(test)]
mod tests;
