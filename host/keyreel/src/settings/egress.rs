//! `[providers.<id>.limits]`: how much a plugin may send and be answered.

use std::time::Duration;

use keyreel_keys::KeyringSettings;
use keyreel_sandbox::EgressLimits;

use super::in_range;
use crate::output::Usage;

/// Bounds on the requests that one plugin sends. How long one may take in all is not among them: a
/// call ends with `[keys] unwrap_limit_ms`, one that makes a key pair after 30 seconds.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EgressSettings {
    /// Milliseconds from the name to the end of the TLS handshake.
    #[schemars(range(min = 50, max = 30_000))]
    pub(crate) connect_ms: u32,
    /// Seconds that a connection waits for its next request, unless its server says less.
    #[schemars(range(min = 0, max = 3600))]
    pub(crate) idle_seconds: u32,
    /// Seconds after which a connection is closed: bounds how late a change of a name's address is
    /// seen.
    #[schemars(range(min = 1, max = 86_400))]
    pub(crate) age_seconds: u32,
    /// Requests in one call of the plugin.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) requests: u32,
    /// KiB of a request's body.
    #[schemars(range(min = 1, max = 65_536))]
    pub(crate) request_kib: u32,
    /// Header fields of an answer.
    #[schemars(range(min = 8, max = 1000))]
    pub(crate) answer_fields: u32,
    /// KiB of an answer's head.
    #[schemars(range(min = 8, max = 256))]
    pub(crate) answer_head_kib: u32,
    /// KiB of an answer's body.
    #[schemars(range(min = 1, max = 65_536))]
    pub(crate) answer_kib: u32,
}

impl EgressSettings {
    /// Whether all of them are in range.
    ///
    /// # Errors
    /// One is not.
    pub(crate) fn check(&self) -> Result<(), Usage> {
        in_range(&[
            ("connect_ms", self.connect_ms, 50..=30_000),
            ("idle_seconds", self.idle_seconds, 0..=3600),
            ("age_seconds", self.age_seconds, 1..=86_400),
            ("requests", self.requests, 1..=1000),
            ("request_kib", self.request_kib, 1..=65_536),
            ("answer_fields", self.answer_fields, 8..=1000),
            ("answer_head_kib", self.answer_head_kib, 8..=256),
            ("answer_kib", self.answer_kib, 1..=65_536),
        ])
    }

    /// As the sandbox takes them. A call has its own deadline, which ends its requests; beyond that
    /// a request may take as long as the longest call.
    pub(crate) fn limits(&self, keyring: &KeyringSettings) -> EgressLimits {
        let longest = keyring.unwrap_limit.max(keyring.mint_limit);
        let kib = |kib: u32| (kib as usize) << 10;
        EgressLimits {
            connect: Duration::from_millis(self.connect_ms.into()),
            first_byte: longest,
            total: longest,
            idle: Duration::from_secs(self.idle_seconds.into()),
            age: Duration::from_secs(self.age_seconds.into()),
            requests: self.requests,
            request_bytes: kib(self.request_kib),
            answer_fields: self.answer_fields as usize,
            answer_head_bytes: kib(self.answer_head_kib),
            answer_bytes: kib(self.answer_kib),
        }
    }
}

impl Default for EgressSettings {
    fn default() -> Self {
        Self {
            connect_ms: 2000,
            idle_seconds: 30,
            age_seconds: 300,
            requests: 16,
            request_kib: 1024,
            answer_fields: 64,
            answer_head_kib: 16,
            answer_kib: 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_the_sandboxs_own_and_time_is_the_calls() {
        let mut keyring = KeyringSettings::default();
        let limits = EgressSettings::default().limits(&keyring);
        let expected = EgressLimits {
            first_byte: keyring.mint_limit,
            total: keyring.mint_limit,
            ..EgressLimits::default()
        };
        assert_eq!(limits, expected);
        keyring.unwrap_limit = Duration::from_secs(20);
        keyring.mint_limit = Duration::from_secs(15);
        let limits = EgressSettings::default().limits(&keyring);
        assert_eq!(
            (limits.first_byte.as_secs(), limits.total.as_secs()),
            (20, 20)
        );
    }
}
