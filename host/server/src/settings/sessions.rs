//! `[sessions]`: signing in.

use std::time::Duration;

/// How people sign in, and for how long.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionSettings {
    /// How long a session lasts, in minutes.
    #[schemars(range(min = 5, max = 43_200))]
    pub ttl_minutes: u32,
    /// Failed sign-ins after which a name has to wait, and ten times as many after which an address
    /// has to.
    #[schemars(range(min = 1, max = 1000))]
    pub failures_before_wait: u32,
    /// How long it then waits at first, in seconds; doubled with each further failure, up to a minute
    /// for a name, 15 minutes for an address.
    #[schemars(range(min = 1, max = 900))]
    pub wait_seconds: u32,
    /// How many passwords are verified at the same time. Each takes 19 MiB and some 20 ms of a
    /// core.
    #[schemars(range(min = 1, max = 64))]
    pub concurrent_verifications: u32,
}

impl SessionSettings {
    /// How long a session lasts.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(u64::from(self.ttl_minutes) * 60)
    }
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            ttl_minutes: 12 * 60,
            failures_before_wait: 5,
            wait_seconds: 2,
            concurrent_verifications: 2,
        }
    }
}
