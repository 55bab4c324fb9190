//! `[shutdown]`: how the server ends.

use std::time::Duration;

/// The first signal drains; the second one, or the end of the drain, cuts.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownSettings {
    /// Seconds in which open streams may finish.
    pub drain_seconds: u32,
    /// Seconds during which `/readyz` already fails and connections are still accepted, so that a
    /// load balancer can turn away first.
    pub notice_seconds: u32,
}

impl ShutdownSettings {
    /// For open streams to finish.
    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_secs(u64::from(self.drain_seconds))
    }

    /// For a load balancer to turn away.
    #[must_use]
    pub fn notice(&self) -> Duration {
        Duration::from_secs(u64::from(self.notice_seconds))
    }
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self {
            drain_seconds: 30,
            notice_seconds: 0,
        }
    }
}
