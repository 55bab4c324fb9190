//! What an operator may set about the keyring.
//! Not for: reading it from a file (see `keyreel-server`).

use std::time::Duration;

/// How long a DEK may be kept: the time within which a revocation takes effect by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DekTtl(Duration);

impl DekTtl {
    /// The shortest.
    pub const MIN: Duration = Duration::from_secs(1);
    /// The longest.
    pub const MAX: Duration = Duration::from_secs(300);

    /// Parses a duration.
    ///
    /// # Errors
    /// It is under [`DekTtl::MIN`] or over [`DekTtl::MAX`].
    pub fn new(duration: Duration) -> Result<Self, InvalidDekTtl> {
        if (Self::MIN..=Self::MAX).contains(&duration) {
            Ok(Self(duration))
        } else {
            Err(InvalidDekTtl { found: duration })
        }
    }

    /// As a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl Default for DekTtl {
    fn default() -> Self {
        Self(Duration::from_secs(60))
    }
}

/// A time to live out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a DEK may be kept for 1 to 300 seconds, not for {found:?}")]
pub struct InvalidDekTtl {
    found: Duration,
}

/// The keyring's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyringSettings {
    /// How long a DEK is kept; a provider may ask for less.
    pub dek_ttl: DekTtl,
    /// How many DEKs are kept.
    pub cached_deks: u64,
    /// How long a refusal is kept. Transport errors never are.
    pub refusal_ttl: Duration,
    /// How many refusals are kept.
    pub cached_refusals: u64,
    /// How long one unwrap may take.
    pub unwrap_limit: Duration,
    /// How long making a KEK may take.
    pub mint_limit: Duration,
    /// Concurrency and the breaker, for each tenant and provider.
    pub gate: GateSettings,
}

impl Default for KeyringSettings {
    fn default() -> Self {
        Self {
            dek_ttl: DekTtl::default(),
            cached_deks: 100_000,
            refusal_ttl: Duration::from_secs(5),
            cached_refusals: 10_000,
            unwrap_limit: Duration::from_secs(2),
            mint_limit: Duration::from_secs(30),
            gate: GateSettings::default(),
        }
    }
}

/// Limits of the calls to one provider for one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GateSettings {
    /// How many calls run at once.
    pub concurrency: usize,
    /// How long a call waits for its turn before it is sent away.
    pub queue: Duration,
    /// How many failures in a row open the breaker.
    pub failures: u32,
    /// How long it stays open at first; doubled each time the trial call fails.
    pub pause: Duration,
    /// How long at most; also the longest `Retry-After` of a provider that counts.
    pub pause_max: Duration,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            concurrency: 64,
            queue: Duration::from_secs(1),
            failures: 5,
            pause: Duration::from_secs(5),
            pause_max: Duration::from_secs(60),
        }
    }
}
