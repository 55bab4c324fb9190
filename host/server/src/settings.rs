//! The server's part of `keyreel.toml`, one file per section. Unknown names are refused: a
//! misspelt limit that is silently ignored is no limit.
//! Not for: reading the file (see the binary), nor the settings of other crates.

mod destruction;
mod limits;
mod network;
mod playback;
mod server;
mod sessions;
mod shutdown;
mod tls;

pub use destruction::DestructionSettings;
pub use limits::LimitSettings;
pub use network::{InvalidNetwork, Network};
pub use playback::PlaybackSettings;
pub use server::{ForwardedHeader, ListenSettings};
pub use sessions::SessionSettings;
pub use shutdown::ShutdownSettings;
pub use tls::{CipherSuite, KeyExchange, TlsSettings, TlsVersion};

/// All that the server can be told.
#[derive(
    Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where it listens.
    pub server: ListenSettings,
    /// Certificates; without this section the server speaks plain HTTP.
    pub tls: Option<TlsSettings>,
    /// Grants and media.
    pub playback: PlaybackSettings,
    /// Signing in.
    pub sessions: SessionSettings,
    /// How much anybody may ask for.
    pub limits: LimitSettings,
    /// How it ends.
    pub shutdown: ShutdownSettings,
    /// Crypto-shredding.
    pub destruction: DestructionSettings,
}

/// A setting that is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: expected {min} to {max}, found {found}")]
pub struct InvalidSetting {
    name: &'static str,
    min: u64,
    max: u64,
    found: u64,
}

impl Settings {
    /// Checks the ranges that the schema says.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let Self {
            playback,
            sessions,
            limits,
            ..
        } = self;
        let most = u64::from(u32::MAX);
        let ranges = [
            (
                "playback.grant_ttl_minutes",
                playback.grant_ttl_minutes,
                1,
                1440,
            ),
            ("playback.idle_seconds", playback.idle_seconds, 1, 86_400),
            ("playback.span_kib", playback.span_kib, 64, 1024),
            ("sessions.ttl_minutes", sessions.ttl_minutes, 5, 43_200),
            (
                "sessions.failures_before_wait",
                sessions.failures_before_wait,
                1,
                1000,
            ),
            ("sessions.wait_seconds", sessions.wait_seconds, 1, 900),
            (
                "sessions.concurrent_verifications",
                sessions.concurrent_verifications,
                1,
                64,
            ),
            ("limits.connections", limits.connections, 1, most),
            (
                "limits.connections_per_address",
                limits.connections_per_address,
                1,
                most,
            ),
            (
                "limits.streams_per_grant",
                limits.streams_per_grant,
                1,
                most,
            ),
            ("limits.body_bytes", limits.body_bytes, 1024, most),
            ("limits.recording_mib", limits.recording_mib, 1, 1 << 20),
            ("limits.uploads", limits.uploads, 1, 1024),
            (
                "limits.uploads_per_tenant",
                limits.uploads_per_tenant,
                1,
                1024,
            ),
            (
                "limits.upload_kib_per_second",
                limits.upload_kib_per_second,
                1,
                1 << 20,
            ),
            ("limits.header_seconds", limits.header_seconds, 1, 300),
            ("limits.request_seconds", limits.request_seconds, 1, 300),
            ("limits.stalled_seconds", limits.stalled_seconds, 10, most),
        ];
        for (name, found, min, max) in ranges {
            let found = u64::from(found);
            if !(min..=max).contains(&found) {
                return Err(InvalidSetting {
                    name,
                    min,
                    max,
                    found,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn what_is_not_said_has_a_default_and_what_is_misspelt_is_refused() {
        let read = |text: &str| serde_json::from_str::<Settings>(text);
        let settings = read("{}").unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(settings.check(), Ok(()));
        assert!(read(r#"{"playback": {"grant_ttl": 5}}"#).is_err());
        assert!(read(r#"{"tls": {"certificate_file": "a"}}"#).is_err());
        assert!(read(r#"{"server": {"public_url": "ftp://x"}}"#).is_err());
        assert!(read(r#"{"server": {"public_url": "https://x.example"}}"#).is_ok());
        let written = serde_json::to_string(&settings).unwrap();
        assert_eq!(read(&written).unwrap(), settings);
    }

    #[test]
    fn the_ranges_of_the_schema_hold() {
        let schema = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
        let mut bounded = 0;
        for (section, of) in [
            ("playback", "PlaybackSettings"),
            ("sessions", "SessionSettings"),
            ("limits", "LimitSettings"),
        ] {
            for (name, property) in schema["$defs"][of]["properties"].as_object().unwrap() {
                for (bound, beyond) in [("minimum", -1), ("maximum", 1)] {
                    // 0 and 2^32 are bounds of the type, not ours.
                    let Some(value) = property[bound].as_i64().filter(|value| *value > 0) else {
                        continue;
                    };
                    if value > i64::from(u32::MAX) - 2 {
                        continue;
                    }
                    let text = format!("{{\"{section}\": {{\"{name}\": {}}}}}", value + beyond);
                    let settings: Settings = serde_json::from_str(&text).unwrap();
                    assert!(settings.check().is_err(), "{text}");
                    bounded += 1;
                }
            }
        }
        assert!(bounded >= 15, "{bounded}");
    }
}
