//! `[limits]`: how much anybody may ask for.

use std::time::Duration;

/// Bounds on connections and requests.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Open connections; further ones wait to be accepted.
    #[schemars(range(min = 1))]
    pub connections: u32,
    /// Open connections of one address (of IPv6, of one /64); further ones are closed at once. Does
    /// not apply to `server.trusted_proxies`; where none are named, not to this machine's own
    /// programs, and where `server.public_url` says that there is a proxy all the same, to nobody.
    #[schemars(range(min = 1))]
    pub connections_per_address: u32,
    /// Open streams of one playback grant. A player has one or two, a few more while it seeks; a
    /// further one is answered with 429.
    #[schemars(range(min = 1))]
    pub streams_per_grant: u32,
    /// Bytes of a request's body.
    #[schemars(range(min = 1024))]
    pub body_bytes: u32,
    /// MiB of a recording that is sent in one request.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub recording_mib: u32,
    /// Recordings that come in at once; each takes a few MiB of memory.
    #[schemars(range(min = 1, max = 1024))]
    pub uploads: u32,
    /// Recordings of one tenant that come in at once, of `uploads`: so that no tenant keeps the
    /// others' recordings out.
    #[schemars(range(min = 1, max = 1024))]
    pub uploads_per_tenant: u32,
    /// KiB a second that a recording has to come at, on average, `request_seconds` aside. Time that
    /// the server itself takes does not count.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub upload_kib_per_second: u32,
    /// Seconds for a request's head to arrive.
    #[schemars(range(min = 1, max = 300))]
    pub header_seconds: u32,
    /// Seconds until the answer to a request begins. What streams afterwards is not bound by it.
    #[schemars(range(min = 1, max = 300))]
    pub request_seconds: u32,
    /// Seconds after which a connection that takes no byte of a stream is closed; of HTTP/2, the
    /// stream alone, and a connection without any. A browser that has buffered enough stops reading
    /// for as long as its listener pauses, and asks again from where it was.
    #[schemars(range(min = 10))]
    pub stalled_seconds: u32,
}

impl LimitSettings {
    /// For a request's head to arrive.
    #[must_use]
    pub fn header_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.header_seconds))
    }

    /// For the answer to a request to begin.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.request_seconds))
    }

    /// For a connection that takes no byte.
    #[must_use]
    pub fn stalled(&self) -> Duration {
        Duration::from_secs(u64::from(self.stalled_seconds))
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_address: 4_096,
            streams_per_grant: 32,
            body_bytes: 64 * 1024,
            recording_mib: 4096,
            uploads: 32,
            uploads_per_tenant: 8,
            upload_kib_per_second: 16,
            header_seconds: 10,
            request_seconds: 30,
            stalled_seconds: 600,
        }
    }
}
