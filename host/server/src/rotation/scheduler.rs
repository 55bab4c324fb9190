//! Runs rotations that are due: once per due date, whatever the number of nodes. A node claims one in
//! the catalogue, runs it and says how it went; where it ends before that, its claim runs out and
//! another node finds the date met or meets it. A failure is kept, recorded, and tried again later
//! and later; dates that were missed while no server ran are met by one rotation.
//! Not for: rotations that somebody asks for.

use std::time::Duration;

use keyreel_keys::{Asker, KeyError, Occasion, Rotated};
use keyreel_library::{By, DueRotation, RotationPeriod};
use tokio::sync::watch;
use uuid::Uuid;

use super::{RotationError, Rotations, rotated};
use crate::audit::Event;
use crate::metrics::Trigger;
use crate::problem::Problem;
use crate::shutdown::Phase;

/// Runs what is due until the server ends. What is under way then is finished.
pub(crate) async fn run(rotations: Rotations, phases: watch::Receiver<Phase>) {
    let workers = (0..WORKERS).map(|_| work(&rotations, phases.clone()));
    futures::future::join_all(workers).await;
}

async fn work(rotations: &Rotations, mut phases: watch::Receiver<Phase>) {
    while *phases.borrow() == Phase::Serving {
        let pause = match rotations.run_due().await {
            Ok(Some(_)) => continue,
            Ok(None) => ASK_EVERY,
            Err(error) => {
                tracing::warn!(%error, "the rotation schedules cannot be read or written");
                ASK_AGAIN_AFTER
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = phases.wait_for(|phase| *phase > Phase::Serving) => {}
        }
    }
}

impl Rotations {
    /// Claims one rotation that is due and runs it. The outcome: "ok", "met" where there was nothing
    /// left to do, or an error's code. `None`: nothing is due.
    pub(super) async fn run_due(&self) -> Result<Option<&'static str>, RotationError> {
        let now_ms = self.clock.now_ms();
        let claim = Uuid::new_v4().to_string();
        let until_ms = now_ms.saturating_add(millis(CLAIM));
        let claimed = self.catalogue.claim_rotation(&claim, now_ms, until_ms);
        let Some(due) = claimed.await? else {
            return Ok(None);
        };
        let by = By {
            asker: Asker {
                subject: SUBJECT.to_owned(),
                request_id: format!("rotation-{claim}"),
            },
            credential: None,
        };
        let ran = self.meet(&due, &by).await;
        let now_ms = self.clock.now_ms();
        let schedule = &due.schedule;
        let (next, outcome) = match ran {
            Ok(outcome) => (schedule.met(now_ms), outcome),
            Err(error) => {
                let problem = Problem::from(&error);
                let pause = pause(schedule.period, schedule.failures, &error);
                let try_ms = now_ms.saturating_add(millis(pause));
                let next = schedule.failed(try_ms, problem.detail().to_owned());
                tracing::warn!(
                    tenant = %due.tenant, %error, failures = next.failures,
                    "a rotation that is due failed; it is tried again in {pause:?}"
                );
                let event = Event::of_keys("key.rotation.failed", &due.tenant, &by)
                    .outcome(problem.code().as_str())
                    .field("reason", problem.detail())
                    .field("due", crate::api::time(schedule.due_ms))
                    .field("failures", next.failures)
                    .field("nextTry", crate::api::time(try_ms));
                self.audit.conclude(event).await;
                (next, problem.code().as_str())
            }
        };
        self.count(Trigger::Schedule, outcome);
        if !self.catalogue.settle_rotation(&due, &next).await? {
            tracing::info!(tenant = %due.tenant, "a rotation schedule was changed meanwhile");
        }
        Ok(Some(outcome))
    }

    /// Meets a due date, and records it.
    async fn meet(&self, due: &DueRotation, by: &By) -> Result<&'static str, RotationError> {
        let rotated_to = match self.rotate_due(due, by).await {
            // Somebody changed a key or the policy just now: that may be it already.
            Err(RotationError::Key(KeyError::Overtaken { .. })) => self.rotate_due(due, by).await,
            done => done,
        };
        let (event, outcome) = match rotated_to? {
            Rotated::New { former, current } => {
                let event = Event::of_keys("key.rotated", &due.tenant, by);
                (rotated(event, &former, &current), "ok")
            }
            Rotated::Met(current) => {
                let event = Event::of_keys("key.rotation.met", &due.tenant, by)
                    .field("provider", current.provider.as_str())
                    .field("kek", current.kek.id.as_str());
                (event, "met")
            }
        };
        let event = event.field("due", crate::api::time(due.schedule.due_ms));
        self.audit.conclude(event).await;
        Ok(outcome)
    }

    async fn rotate_due(&self, due: &DueRotation, by: &By) -> Result<Rotated, RotationError> {
        let tenant = self.catalogue.tenant(&due.tenant).await?;
        let policy = tenant.map(|tenant| tenant.policy);
        let policy = policy.ok_or_else(|| KeyError::NoCurrentKek {
            tenant: due.tenant.clone(),
        })?;
        let occasion = Occasion::Due(due.schedule.due_ms);
        let policies = (policy, policy);
        Ok(self
            .keyring
            .rotate(&due.tenant, policies, occasion, &by.asker)
            .await?)
    }
}

/// How long to leave a rotation alone that failed `failures` times before: a minute, twice as long
/// each time, as long as the key service asks for; never longer than a part of the period.
fn pause(period: RotationPeriod, failures: u32, error: &RotationError) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures));
    let longest = match period {
        RotationPeriod::Daily => LONGEST_PAUSE,
        _ => 4 * LONGEST_PAUSE,
    };
    let asked_for = match error {
        RotationError::Key(error) => error.retry_after(),
        _ => None,
    };
    doubled.max(asked_for.unwrap_or_default()).min(longest)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Who it is in the audit log.
const SUBJECT: &str = "keyreel:scheduler";
/// One tenant's dead key service must not keep the others waiting.
const WORKERS: usize = 4;
const ASK_EVERY: Duration = Duration::from_secs(1);
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(15);
/// Much longer than making and trying a KEK may take.
const CLAIM: Duration = Duration::from_mins(5);
const FIRST_PAUSE: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
