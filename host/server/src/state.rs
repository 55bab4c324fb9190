//! What every request can reach.
//! Not for: behaviour. The catalogue is reached by handlers only with what `access` gives them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use keyreel_format::{ProviderId, RecordingId, TenantId};
use keyreel_keys::{Clock, Keyring, ProviderDescription};
use keyreel_library::destruction::{Destroyer, DestroyerParts};
use keyreel_library::{Catalogue, Ingest, Objects, Recording, RecoveryKeys, Rewrapper};
use moka::future::Cache;
use tokio::sync::Semaphore;

use crate::access::Door;
use crate::api::{Keys, Places};
use crate::audit::AuditLog;
use crate::audit::plays::Plays;
use crate::grants::GrantKey;
use crate::media::Library;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::registration::Registrations;
use crate::rotation::Rotations;
use crate::server::{BuildInfo, ServerParts};
use crate::settings::Settings;

/// Shared by all requests.
pub(crate) type App = Arc<Shared>;

/// See [`App`].
pub(crate) struct Shared {
    catalogue: Arc<dyn Catalogue>,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    grants: GrantKey,
    settings: Settings,
    build: BuildInfo,
    providers: HashMap<ProviderId, ProviderDescription>,
    door: Door,
    audit: AuditLog,
    plays: Plays,
    library: Library,
    recordings: Cache<(TenantId, RecordingId), Arc<Recording>>,
    /// Places for what is fetched before somebody asks for it.
    ahead: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    keys: Keys,
    rotations: Rotations,
    ingest: Ingest,
    rewrapper: Rewrapper,
    destroyer: Destroyer,
    recovery_keys: RecoveryKeys,
    uploads: Places,
}

impl Shared {
    pub(crate) fn new(parts: ServerParts, metrics: Arc<Metrics>) -> Self {
        let ServerParts {
            catalogue,
            objects,
            keyring,
            clock,
            grant_key,
            certificate_key,
            settings,
            ..
        } = parts;
        let audit = AuditLog::new(catalogue.clone(), clock.clone());
        let idle = settings.playback.idle();
        let rewrapper = Rewrapper::new(
            catalogue.clone(),
            objects.clone(),
            keyring.clone(),
            clock.clone(),
        );
        Self {
            door: Door::new(catalogue.clone(), clock.clone(), &settings),
            keys: Keys::new(
                parts.registrar.map(|registrar| {
                    Registrations::new(registrar, catalogue.clone(), clock.clone())
                }),
            ),
            rotations: Rotations::new(catalogue.clone(), keyring.clone(), clock.clone())
                .counted(metrics.clone()),
            ingest: Ingest::new(
                catalogue.clone(),
                objects.clone(),
                keyring.clone(),
                clock.clone(),
            ),
            destroyer: Destroyer::new(DestroyerParts {
                catalogue: catalogue.clone(),
                objects: objects.clone(),
                keyring: keyring.clone(),
                rewrapper: rewrapper.clone(),
                clock: clock.clone(),
                key: certificate_key,
                two_people: settings.destruction.two_people,
            }),
            rewrapper,
            recovery_keys: RecoveryKeys::new(catalogue.clone(), clock.clone()),
            uploads: Places::new(&settings.limits),
            plays: Plays::new(
                audit.clone(),
                clock.clone(),
                idle,
                settings.limits.streams_per_grant,
            ),
            library: Library::new(objects, &settings.playback),
            recordings: Cache::builder()
                .max_capacity(10_000)
                .time_to_live(BELIEVED)
                .build(),
            ahead: Arc::new(Semaphore::new(AHEAD)),
            grants: grant_key,
            build: parts.build,
            providers: parts.providers,
            catalogue,
            keyring,
            clock,
            settings,
            audit,
            metrics,
        }
    }

    pub(crate) fn catalogue(&self) -> &dyn Catalogue {
        self.catalogue.as_ref()
    }

    pub(crate) fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(crate) fn grants(&self) -> &GrantKey {
        &self.grants
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn build(&self) -> &BuildInfo {
        &self.build
    }

    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    pub(crate) fn audit(&self) -> &AuditLog {
        &self.audit
    }

    pub(crate) fn plays(&self) -> &Plays {
        &self.plays
    }

    pub(crate) fn library(&self) -> &Library {
        &self.library
    }

    pub(crate) fn objects(&self) -> &Objects {
        self.library.objects()
    }

    /// Registers keys.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Changes keys.
    pub(crate) fn rotations(&self) -> &Rotations {
        &self.rotations
    }

    /// Takes recordings in.
    pub(crate) fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// Moves recordings to the current KEK.
    pub(crate) fn rewrapper(&self) -> &Rewrapper {
        &self.rewrapper
    }

    /// Destroys keys.
    pub(crate) fn destroyer(&self) -> &Destroyer {
        &self.destroyer
    }

    /// Sets and removes tenants' recovery keys.
    pub(crate) fn recovery_keys(&self) -> &RecoveryKeys {
        &self.recovery_keys
    }

    /// Places for recordings that come in at once.
    pub(crate) fn uploads(&self) -> &Places {
        &self.uploads
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What a provider calls itself; its id where it is not installed.
    pub(crate) fn provider_name(&self, id: &ProviderId) -> String {
        self.providers
            .get(id)
            .map_or_else(|| id.to_string(), |known| known.name.clone())
    }

    /// The recording that a grant names, believed for a moment: a player asks for many ranges.
    pub(crate) async fn recording(
        &self,
        tenant: &TenantId,
        id: &RecordingId,
    ) -> Result<Option<Arc<Recording>>, Problem> {
        let key = (tenant.clone(), id.clone());
        if let Some(recording) = self.recordings.get(&key).await {
            return Ok(Some(recording));
        }
        let found = self
            .catalogue
            .recording(std::slice::from_ref(tenant), id)
            .await?;
        let Some(recording) = found.map(Arc::new) else {
            return Ok(None);
        };
        self.recordings.insert(key, recording.clone()).await;
        Ok(Some(recording))
    }

    /// Somebody is about to listen to `recording`, as it was read just now: what that needs and
    /// touches no key is fetched meanwhile.
    pub(crate) async fn expect(self: &Arc<Self>, recording: Arc<Recording>) {
        let key = (recording.tenant.clone(), recording.id.clone());
        self.recordings.insert(key, recording.clone()).await;
        let Ok(place) = self.ahead.clone().try_acquire_owned() else {
            return;
        };
        let app = self.clone();
        tokio::spawn(async move {
            let media = recording
                .parts
                .iter()
                .find(|part| part.name.as_str() == "media");
            if let Some(media) = media {
                app.library().open_ahead(&recording, media).await;
            }
            drop(place);
        });
    }

    /// The recording as it is by now, where that is of another generation. A catalogue that does
    /// not answer knows of none.
    pub(crate) async fn newer(&self, than: &Recording) -> Option<Arc<Recording>> {
        let key = (than.tenant.clone(), than.id.clone());
        self.recordings.invalidate(&key).await;
        let now = self.recording(&than.tenant, &than.id).await;
        let now = now.ok().flatten()?;
        (now.generation != than.generation).then_some(now)
    }
}

const BELIEVED: Duration = Duration::from_secs(2);
/// A store that does not answer keeps no more than these waiting for nobody.
const AHEAD: usize = 64;
