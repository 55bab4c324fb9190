//! A tenant's KEKs and its rotation schedule, as people and programs see them: over the API and from
//! the command line alike.

use keyreel_format::wrap::WrapAlgorithm;
use keyreel_keys::KekRecord;
use keyreel_library::{KekCount, RotationPeriod, RotationSchedule};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::time;

/// A tenant's keys.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantKeys {
    /// Whose.
    pub tenant: String,
    /// "compatible" or "aes256".
    pub policy: String,
    /// Which plugin holds the current one.
    pub provider: String,
    /// Whether it makes key pairs itself, so that they can be rotated here.
    pub mints_keks: bool,
    /// All of them, newest first.
    pub keys: Vec<KeyVersion>,
}

/// One of a tenant's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyVersion {
    /// Which plugin holds it.
    pub provider: String,
    /// Its id: "kek/3", or the owner's UUID.
    pub id: String,
    /// How DEKs are wrapped with it.
    pub wrap_algorithm: String,
    /// What that is worth: 128 or 256.
    pub strength_bits: u16,
    /// Whether it uses what exists for old key services only: SHA-1 in OAEP.
    pub legacy: bool,
    /// "current", "previous", "disabled" or "retired".
    pub state: String,
    /// When it became the current one.
    pub date_created: String,
    /// The configuration that it was made or registered with.
    pub configuration: Option<String>,
    /// How many recordings can be opened with it alone.
    pub recordings: u64,
}

/// When a tenant's key is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRotationSchedule {
    /// "DISABLED", "DAILY", "WEEKLY", "MONTHLY" or "YEARLY".
    pub period: String,
    /// When it is changed next: the due date, or, after a failure, when it is tried again.
    pub next_rotation: Option<String>,
    /// When it was changed last, by the schedule or by hand; `null`: it is the first one.
    pub last_rotation: Option<String>,
    /// Why it could not be changed when it was due. It is tried again, and the former one goes on.
    pub last_error: Option<String>,
    /// Where it is.
    pub self_uri: String,
}

impl KeyRotationSchedule {
    /// A schedule beside the KEKs, newest first, that it made or that were made without it.
    #[must_use]
    pub fn new(schedule: Option<&RotationSchedule>, keks: &[KekRecord], now_ms: u64) -> Self {
        let newest_ms = keks.first().map_or(0, |newest| newest.created_ms);
        // What somebody did by hand meets the due date; the scheduler has only not seen it yet.
        let schedule = schedule.map(|schedule| {
            if schedule.due_ms <= newest_ms {
                schedule.met(now_ms)
            } else {
                schedule.clone()
            }
        });
        Self {
            period: period_name(schedule.as_ref().map(|schedule| schedule.period)).to_owned(),
            next_rotation: schedule.as_ref().map(|schedule| time(schedule.try_ms)),
            last_rotation: (keks.len() > 1).then(|| time(newest_ms)),
            last_error: schedule.and_then(|schedule| schedule.last_error),
            self_uri: SCHEDULE_URI.to_owned(),
        }
    }
}

/// KEKs, in their order, with how many recordings need each.
#[must_use]
pub fn key_versions(keks: &[KekRecord], needed: &[KekCount]) -> Vec<KeyVersion> {
    keks.iter()
        .map(|record| KeyVersion::new(record, KekCount::of(needed, record)))
        .collect()
}

impl KeyVersion {
    /// A KEK that so many recordings need.
    #[must_use]
    pub fn new(record: &KekRecord, recordings: u64) -> Self {
        let kek = &record.kek;
        let algorithm = WrapAlgorithm::parse(&kek.algorithm).ok();
        Self {
            provider: record.provider.to_string(),
            id: kek.id.to_string(),
            wrap_algorithm: kek.algorithm.clone(),
            strength_bits: algorithm.map_or(128, strength_bits),
            legacy: algorithm == Some(WrapAlgorithm::RsaOaepSha1),
            state: record.state.as_str().to_owned(),
            date_created: time(record.created_ms),
            configuration: kek.configuration().map(str::to_owned),
            recordings,
        }
    }
}

/// What an algorithm is worth.
pub(crate) fn strength_bits(algorithm: WrapAlgorithm) -> u16 {
    match algorithm {
        WrapAlgorithm::HpkeMlkem1024P384 => 256,
        WrapAlgorithm::RsaOaepSha256 | WrapAlgorithm::RsaOaepSha1 => 128,
    }
}

/// A period's name; of none, "DISABLED".
pub(super) fn period_name(period: Option<RotationPeriod>) -> &'static str {
    period.map_or("DISABLED", RotationPeriod::as_str)
}

const SCHEDULE_URI: &str = "/api/v2/recording/recordingkeys/rotationschedule";
