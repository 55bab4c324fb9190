//! The keyring: what the server and the importer ask for keys.
//! Not for: who may hear a recording (see `keyreel-server`), what the provider does to unwrap.
//!
//! ```text
//! dek()   cache ─ miss ─▶ one flight ─▶ is the KEK the tenant's? ─▶ gate ─▶ audit ─▶ provider ─▶ audit
//! wrap()  current KEK ─▶ tried once? ─▶ wrapped in the host, no provider is asked
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Once};
use std::time::Duration;

use keyreel_format::{Dek, ProviderId, Recipient, RecordingId, TenantId};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::configuration::{Configured, Validated};
use crate::dek_cache::{DekCache, DekKey, Known, Seat};
use crate::error::KeyError;
use crate::gate::Gates;
use crate::kek::KekStore;
use crate::observer::{UnwrapObserver, UnwrapPurpose};
use crate::provider::{Health, KeyProvider, ProviderDescription, ProviderError};
use crate::purge::{PurgeWatch, Purges};
use crate::settings::KeyringSettings;
use crate::stats::{Counters, KeyringStats};
use crate::vault::Vault;

mod destroy;
mod rewrap;
mod rotate;
mod save;
mod seal;
mod states;
#[cfg(test)]
mod tests;
mod unwrap;

pub use rotate::{Occasion, Rotated};
pub(crate) use save::Former;
pub use seal::{TriedKek, Wrapped};

/// What a keyring is made of.
pub struct KeyringParts {
    /// Where KEKs lie: the catalogue.
    pub store: Arc<dyn KekStore>,
    /// Who holds them.
    pub providers: HashMap<ProviderId, Arc<dyn KeyProvider>>,
    /// Who is told of every unwrap.
    pub observer: Arc<dyn UnwrapObserver>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Its limits.
    pub settings: KeyringSettings,
    /// The vault, so that a purge reaches its cache too.
    pub vault: Option<Arc<Vault>>,
}

/// DEKs for those who may have them, wraps for those who seal. Cheap to clone.
#[derive(Clone)]
pub struct Keyring {
    inner: Arc<Inner>,
}

/// Which recording's DEK.
#[derive(Debug, Clone)]
pub struct DekRequest {
    /// Whose recording, as the catalogue says, never as the header says.
    pub tenant: TenantId,
    /// Which recording.
    pub recording: RecordingId,
    /// Which generation of its key block.
    pub generation: u32,
    /// The recipients in its header. All parts of a recording carry the same ones, so that one
    /// unwrap opens them all.
    pub recipients: Vec<Recipient>,
    /// Who asks, as an opaque id; empty where nobody does. For audit logs: a cached DEK is shared
    /// between subjects, so the caller has made sure that this one may hear the recording.
    pub subject: String,
    /// Names the request in logs, here and at the key service.
    pub request_id: String,
}

/// Who asks for something, for the audit logs here and at the key service.
#[derive(Debug, Clone, Default)]
pub struct Asker {
    /// Who, as an opaque id; empty where nobody does.
    pub subject: String,
    /// Names the request in logs.
    pub request_id: String,
}

/// A DEK, for as long as its tenant's keys are not purged.
pub struct DekLease {
    dek: Arc<Dek>,
    watch: PurgeWatch,
    until: Instant,
}

impl DekLease {
    /// The DEK.
    #[must_use]
    pub fn dek(&self) -> &Arc<Dek> {
        &self.dek
    }

    /// When the DEK has to be asked for again: the cache's time to live bounds how long a stream
    /// outlives its key. A DEK that is not cached at all is good for a second.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Whether the tenant's keys were purged since. A stream asks before every chunk and ends if so.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.watch.is_purged()
    }

    /// A watch that outlives the lease and its DEK.
    #[must_use]
    pub fn watch(&self) -> PurgeWatch {
        self.watch.clone()
    }
}

impl Keyring {
    /// A keyring with an empty cache.
    #[must_use]
    pub fn new(parts: KeyringParts) -> Self {
        let KeyringParts {
            store,
            providers,
            observer,
            clock,
            settings,
            vault,
        } = parts;
        let inner = Inner {
            store,
            providers,
            observer,
            clock,
            settings,
            vault,
            cache: Arc::new(DekCache::new(&settings)),
            gates: Gates::new(settings.gate),
            purges: Purges::default(),
            counters: Counters::default(),
            sealing: seal::Sealing::default(),
            sweeper: Once::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The DEK of a recording.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn dek(&self, request: &DekRequest) -> Result<Arc<Dek>, KeyError> {
        Ok(self.lease(request).await?.dek)
    }

    /// As [`Keyring::dek`], with the means to notice a purge from the very moment of the unwrap.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn lease(&self, request: &DekRequest) -> Result<DekLease, KeyError> {
        let inner = &self.inner;
        let DekRequest {
            tenant,
            recording,
            generation,
            recipients,
            subject,
            ..
        } = request;
        let subject = Arc::from(subject.as_str());
        let key = DekKey::new(tenant, recording, *generation, recipients);
        for _ in 0..PURGES_SURVIVED {
            let watch = inner.purges.watch(tenant);
            match inner.cache.known(&key, &subject, watch.epoch()) {
                Some(Known::Dek(dek)) => {
                    inner.counters.hits.add();
                    return Ok(inner.lease(&key, dek, watch));
                }
                Some(Known::Refusal(refusal)) => {
                    inner.counters.refusal_hits.add();
                    return Err(refusal);
                }
                None => {}
            }
            self.start_sweeper();
            let seated = |seat| {
                inner.counters.misses.add();
                if seat != Seat::Leader {
                    inner.counters.joined.add();
                }
            };
            let unwrap = || inner.clone().open(request.clone(), UnwrapPurpose::Open);
            let flown = inner
                .cache
                .fly(&key, &subject, &watch, seated, unwrap)
                .await;
            match flown {
                Ok(dek) if !watch.is_purged() => return Ok(inner.lease(&key, dek, watch)),
                // Unwrapped before the purge: not to be used. Whether the owner still says yes is
                // for a new unwrap to tell.
                Ok(_) | Err(KeyError::Purged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(KeyError::Purged {
            tenant: tenant.clone(),
        })
    }

    /// Forgets every DEK, refusal and opened private key of `tenant`, lets no unwrap under way be
    /// used, and ends the leases that are out.
    pub fn purge(&self, tenant: &TenantId) {
        let inner = &self.inner;
        inner.counters.purges.add();
        // First: nothing may be opened with a private key from before the purge.
        if let Some(vault) = &inner.vault {
            vault.purge(tenant);
        }
        let epoch = inner.purges.purge(tenant);
        inner.cache.purge(tenant, epoch);
        inner.sealing.purge(tenant);
        for provider in inner.providers.values() {
            provider.purge(tenant);
        }
    }

    /// Watches for purges of `tenant` from now on. For what holds no [`DekLease`].
    #[must_use]
    pub fn purges(&self, tenant: &TenantId) -> PurgeWatch {
        self.inner.purges.watch(tenant)
    }

    /// What it did and does.
    #[must_use]
    pub fn stats(&self) -> KeyringStats {
        let inner = &self.inner;
        KeyringStats {
            in_flight: inner.cache.in_flight(),
            cached: inner.cache.len(),
            breakers: inner.gates.breakers(),
            ..inner.counters.snapshot()
        }
    }

    /// What the installed providers say of themselves.
    pub fn providers(&self) -> impl Iterator<Item = (&ProviderId, &ProviderDescription)> {
        self.inner
            .providers
            .iter()
            .map(|(id, provider)| (id, provider.describe()))
    }

    /// Asks a provider how its key service fares for `tenant`, as a configuration has it. The
    /// caller limits how often.
    ///
    /// # Errors
    /// The provider is not installed, fails, or takes longer than an unwrap may.
    pub async fn health(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        configured: Configured,
        asker: &Asker,
    ) -> Result<Health, KeyError> {
        self.inner.health(tenant, provider, configured, asker).await
    }

    /// Asks a provider whether `config` (JSON) is a configuration for it. No key service is asked.
    ///
    /// # Errors
    /// The provider is not installed, says no (class `config`), or fails.
    pub async fn validate(
        &self,
        provider: &ProviderId,
        config: &str,
    ) -> Result<Validated, KeyError> {
        let answer = self.inner.provider(provider)?.validate(config);
        unwrap::limited(self.inner.settings.unwrap_limit, answer)
            .await
            .map_err(|error: ProviderError| KeyError::Provider {
                provider: provider.clone(),
                error,
            })
    }

    /// To be told when a configuration was changed: what was known of the former one is forgotten,
    /// what was held against its key service too.
    pub fn reconfigured(&self, tenant: &TenantId, configuration: &str) {
        self.inner.gates.forget(tenant, configuration);
        self.purge(tenant);
    }

    /// Whether a provider makes KEKs itself.
    ///
    /// # Errors
    /// It is not installed.
    pub fn mints(&self, provider: &ProviderId) -> Result<bool, KeyError> {
        Ok(self.inner.provider(provider)?.describe().mints_keks)
    }

    /// What a provider says of itself.
    pub(crate) fn describe(&self, provider: &ProviderId) -> Result<&ProviderDescription, KeyError> {
        Ok(self.inner.provider(provider)?.describe())
    }

    /// Where KEKs lie.
    pub(crate) fn store(&self) -> &dyn KekStore {
        self.inner.store.as_ref()
    }

    /// What time it is, ms since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        self.inner.clock.now_ms()
    }

    /// Wipes cached keys when their time is over, also where nobody asks for any.
    fn start_sweeper(&self) {
        self.inner.sweeper.call_once(|| {
            let inner = Arc::downgrade(&self.inner);
            let period = self.inner.settings.dek_ttl.duration().min(SWEEP_EVERY);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(period).await;
                    let Some(inner) = inner.upgrade() else { break };
                    inner.cache.sweep();
                    if let Some(vault) = &inner.vault {
                        vault.sweep();
                    }
                }
            });
        });
    }
}

/// What all clones of a keyring share.
struct Inner {
    store: Arc<dyn KekStore>,
    providers: HashMap<ProviderId, Arc<dyn KeyProvider>>,
    observer: Arc<dyn UnwrapObserver>,
    clock: Arc<dyn Clock>,
    settings: KeyringSettings,
    vault: Option<Arc<Vault>>,
    cache: Arc<DekCache>,
    gates: Gates,
    purges: Purges,
    counters: Counters,
    sealing: seal::Sealing,
    sweeper: Once,
}

impl Inner {
    fn lease(&self, key: &DekKey, dek: Arc<Dek>, watch: PurgeWatch) -> DekLease {
        let until = self.cache.until(key, watch.epoch());
        DekLease {
            dek,
            watch,
            until: until.unwrap_or_else(|| Instant::now() + UNCACHED),
        }
    }
}

/// How long a DEK may be used that its provider lets nobody keep: one stream asks once a second.
const UNCACHED: Duration = Duration::from_secs(1);

/// How many purges in a row one request sits out: a rotation or two may happen meanwhile.
const PURGES_SURVIVED: usize = 3;

/// How long an expired key may lie in an idle cache.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
