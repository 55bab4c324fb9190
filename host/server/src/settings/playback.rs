//! `[playback]`: grants and media.

use std::time::Duration;

/// How recordings are played.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlaybackSettings {
    /// How long a grant opens its media, in minutes. Longer than people listen: a browser gives a
    /// media element up at the first 403.
    #[schemars(range(min = 1, max = 1440))]
    pub grant_ttl_minutes: u32,
    /// Whether a grant that was made with a bearer token opens its media without it, for players
    /// that send no credentials (ffmpeg, VLC). Whoever has such a URL can listen until it expires.
    pub bare_grants: bool,
    /// A play has ended when nobody has read from it for so many seconds.
    #[schemars(range(min = 1, max = 86_400))]
    pub idle_seconds: u32,
    /// The most ciphertext that is read and opened at a time, in KiB.
    #[schemars(range(min = 64, max = 1024))]
    pub span_kib: u32,
}

impl PlaybackSettings {
    /// How long a grant lives.
    #[must_use]
    pub fn grant_ttl(&self) -> Duration {
        Duration::from_secs(u64::from(self.grant_ttl_minutes) * 60)
    }

    /// After how much silence a play has ended.
    #[must_use]
    pub fn idle(&self) -> Duration {
        Duration::from_secs(u64::from(self.idle_seconds))
    }
}

impl Default for PlaybackSettings {
    fn default() -> Self {
        Self {
            grant_ttl_minutes: 60,
            bare_grants: false,
            idle_seconds: 60,
            span_kib: 256,
        }
    }
}
