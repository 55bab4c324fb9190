//! The DEK cache: DEKs for a minute, refusals for a few seconds, one unwrap at a time for each
//! recording however many ask.
//! Not for: the unwrap itself (see `keyring`), nor who may hear what.
//!
//! A DEK is shared between subjects, by design: who may hear a recording is decided, each time,
//! before its DEK is asked for, and the subject that a provider is told is for its audit. But a
//! provider that says no may mean the one who asked, so "denied" is kept for that subject alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use keyreel_format::{Dek, Recipient, RecordingId, TenantId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::KeyError;
use crate::provider::UnwrappedDek;
use crate::purge::PurgeWatch;
use crate::secret_cache::SecretCache;
use crate::settings::KeyringSettings;

/// What every waiter of a flight gets.
pub(crate) type Outcome = Result<Arc<Dek>, KeyError>;

/// Which DEK.
///
/// The digest of the recipients belongs to it because the key block is not authenticated when the
/// DEK is asked for: a planted block could otherwise put a wrong DEK in the right one's place.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct DekKey {
    tenant: TenantId,
    recording: RecordingId,
    generation: u32,
    recipients: [u8; 32],
}

impl DekKey {
    pub(crate) fn new(
        tenant: &TenantId,
        recording: &RecordingId,
        generation: u32,
        recipients: &[Recipient],
    ) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for recipient in recipients {
            context.update(&recipient.algorithm.code().to_be_bytes());
            let fields: [&[u8]; 4] = [
                recipient.provider.as_str().as_bytes(),
                recipient.kek.as_str().as_bytes(),
                &recipient.wrapped_dek,
                &recipient.info,
            ];
            for field in fields {
                context.update(&(field.len() as u64).to_be_bytes());
                context.update(field);
            }
        }
        let mut recipients = [0; 32];
        recipients.copy_from_slice(context.finish().as_ref());
        Self {
            tenant: tenant.clone(),
            recording: recording.clone(),
            generation,
            recipients,
        }
    }
}

/// What the cache knows of a DEK without asking anybody.
pub(crate) enum Known {
    Dek(Arc<Dek>),
    Refusal(KeyError),
}

/// How a request came by its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seat {
    /// It started the unwrap.
    Leader,
    /// It joined one under way.
    Follower,
    /// The unwrap ended as it was about to join.
    Late,
}

/// The cache.
pub(crate) struct DekCache {
    deks: SecretCache<DekKey, Dek>,
    refusals: SecretCache<RefusalKey, KeyError>,
    flights: Mutex<HashMap<FlightKey, Flight>>,
    ttl: Duration,
    refusal_ttl: Duration,
}

/// What was refused, and to whom: to this subject, or to everybody.
type RefusalKey = (DekKey, Option<Arc<str>>);

/// Which flight.
#[derive(Clone, PartialEq, Eq, Hash)]
struct FlightKey {
    dek: DekKey,
    /// After a purge nobody joins a flight from before it.
    epoch: u64,
    /// The one subject who may join. The others' flight ended in "denied" for somebody else.
    only: Option<Arc<str>>,
}

/// An unwrap under way.
#[derive(Clone)]
struct Flight {
    /// Whom the provider is told of.
    subject: Arc<str>,
    outcome: Shared<BoxFuture<'static, Outcome>>,
}

impl DekCache {
    pub(crate) fn new(settings: &KeyringSettings) -> Self {
        Self {
            deks: SecretCache::new(settings.cached_deks),
            refusals: SecretCache::new(settings.cached_refusals),
            flights: Mutex::default(),
            ttl: settings.dek_ttl.duration(),
            refusal_ttl: settings.refusal_ttl,
        }
    }

    /// What was learnt in this epoch and still holds.
    pub(crate) fn known(&self, key: &DekKey, subject: &Arc<str>, epoch: u64) -> Option<Known> {
        if let Some(dek) = self.deks.get(key, epoch) {
            return Some(Known::Dek(dek));
        }
        let refused = |to| self.refusals.get(&(key.clone(), to), epoch);
        refused(None)
            .or_else(|| refused(Some(subject.clone())))
            .map(|refusal| Known::Refusal((*refusal).clone()))
    }

    /// Until when a DEK is served without asking anybody.
    pub(crate) fn until(&self, key: &DekKey, epoch: u64) -> Option<Instant> {
        self.deks.ends(key, epoch)
    }

    /// Joins the flight for `key`, or starts one that runs `unwrap` for `subject`. Where another
    /// subject's flight ends in "denied", `subject` gets one of its own.
    ///
    /// A flight is a task of its own: it ends, and the others get its outcome, even if the
    /// request that started it is gone.
    pub(crate) async fn fly<F>(
        self: &Arc<Self>,
        key: &DekKey,
        subject: &Arc<str>,
        watch: &PurgeWatch,
        seated: impl Fn(Seat),
        unwrap: impl Fn() -> F,
    ) -> Outcome
    where
        F: Future<Output = Result<UnwrappedDek, KeyError>> + Send + 'static,
    {
        for only in [None, Some(subject.clone())] {
            let id = FlightKey {
                dek: key.clone(),
                epoch: watch.epoch(),
                only,
            };
            let (seat, flight) = match self.board(id, subject, watch, &unwrap) {
                Ok(boarded) => boarded,
                Err(known) => {
                    seated(Seat::Late);
                    return match known {
                        Known::Dek(dek) => Ok(dek),
                        Known::Refusal(refusal) => Err(refusal),
                    };
                }
            };
            seated(seat);
            match flight.outcome.await {
                Err(error) if error.is_denied() && flight.subject != *subject => {}
                outcome => return outcome,
            }
        }
        // The second flight is nobody else's, so that it never comes to this.
        Err(KeyError::Died)
    }

    /// Forgets everything of `tenant` from before `epoch`.
    pub(crate) fn purge(&self, tenant: &TenantId, epoch: u64) {
        self.deks.purge(epoch, |key| key.tenant == *tenant);
        self.refusals.purge(epoch, |(key, _)| key.tenant == *tenant);
    }

    /// Wipes what is over.
    pub(crate) fn sweep(&self) {
        self.deks.sweep();
        self.refusals.sweep();
    }

    /// How many DEKs it holds.
    pub(crate) fn len(&self) -> usize {
        self.deks.len()
    }

    /// How many flights are under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.flights().len()
    }

    /// A seat in the flight, or what is known without one.
    fn board<F>(
        self: &Arc<Self>,
        id: FlightKey,
        subject: &Arc<str>,
        watch: &PurgeWatch,
        unwrap: impl Fn() -> F,
    ) -> Result<(Seat, Flight), Known>
    where
        F: Future<Output = Result<UnwrappedDek, KeyError>> + Send + 'static,
    {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&id) {
            return Ok((Seat::Follower, flight.clone()));
        }
        // A flight fills the cache before it leaves the list: one may just have done both.
        if let Some(known) = self.known(&id.dek, subject, id.epoch) {
            return Err(known);
        }
        let (tell, told) = oneshot::channel();
        let flight = Flight {
            subject: subject.clone(),
            outcome: async move { told.await.unwrap_or(Err(KeyError::Died)) }
                .boxed()
                .shared(),
        };
        flights.insert(id.clone(), flight.clone());
        // A runtime that shuts down drops the task within `spawn`, and the task takes this lock.
        drop(flights);
        let landing = Landing {
            cache: self.clone(),
            id,
            tell: Some(tell),
        };
        let (subject, watch, unwrap) = (subject.clone(), watch.clone(), unwrap());
        tokio::spawn(async move {
            // Dropped whether the unwrap ends, panics, or the runtime shuts down.
            let landing = landing;
            let outcome = unwrap.await;
            let outcome = landing
                .cache
                .keep(&landing.id.dek, &subject, &watch, outcome);
            landing.land(outcome);
        });
        Ok((Seat::Leader, flight))
    }

    fn keep(
        &self,
        key: &DekKey,
        subject: &Arc<str>,
        watch: &PurgeWatch,
        outcome: Result<UnwrappedDek, KeyError>,
    ) -> Outcome {
        let purged = || KeyError::Purged {
            tenant: key.tenant.clone(),
        };
        if watch.is_purged() {
            return Err(purged());
        }
        let unwrapped = match outcome {
            Ok(unwrapped) => unwrapped,
            Err(error) => {
                if error.is_refusal() {
                    let to = error.is_denied().then(|| subject.clone());
                    let refusal = Arc::new(error.clone());
                    self.refusals.insert(
                        (key.clone(), to),
                        refusal,
                        watch.epoch(),
                        self.refusal_ttl,
                    );
                }
                return Err(error);
            }
        };
        let ttl = unwrapped
            .max_cache
            .map_or(self.ttl, |max| max.min(self.ttl));
        let dek = Arc::new(unwrapped.dek);
        self.deks
            .insert(key.clone(), dek.clone(), watch.epoch(), ttl);
        if watch.is_purged() {
            // The purge may have come before the entry: it is never served, but it must go now.
            self.deks.forget(key);
            return Err(purged());
        }
        Ok(dek)
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, HashMap<FlightKey, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a flight off the list when it ends, however it ends, and only then lets its passengers
/// know: dropped without [`Landing::land`], that it died.
struct Landing {
    cache: Arc<DekCache>,
    id: FlightKey,
    tell: Option<oneshot::Sender<Outcome>>,
}

impl Landing {
    fn land(mut self, outcome: Outcome) {
        let tell = self.tell.take();
        drop(self);
        // Where nobody waits any more, nobody is told.
        let _ = tell.map(|tell| tell.send(outcome));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let landed = self.cache.flights().remove(&self.id);
        drop(landed);
    }
}
