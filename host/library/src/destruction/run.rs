//! A destruction, step by step. Each step can be done twice.

use std::time::Duration;

use jiff::Timestamp;
use keyreel_format::TenantId;
use keyreel_keys::{Asker, KekRecord, KekState, KeyError, Occasion, VaultError, crash};
use serde_json::Value;

use super::{Certificate, Inner};
use crate::Error;
use crate::catalogue::{
    Destruction, DestructionNote, DestructionPlan, DestructionScope, DestructionState, Doomed,
    DoomedKey, KekCount, RewrapState,
};
use crate::head::object_of;
use crate::recovery::openable;
use crate::rewrap::By;

/// Recordings that are taken out at once.
const BATCH: u32 = 100;
/// How long a re-wrap that was stopped may need to end what it has in hand.
const STOPPING: Duration = Duration::from_secs(3);
/// How often it is said that it goes on.
const BEAT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Whose KEKs Keyreel keeps all of.
const MANAGED: &str = "managed";

const METHOD: &str = "NIST SP 800-88 cryptographic erase: the keys were destroyed, and the keystore's \
    epoch key with which every copy of them was sealed";

/// Why it does not go on.
enum Halt {
    /// Somebody has to do something first.
    Until(String),
    /// The catalogue or the object store fails: another try will do.
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Runs one that this node holds.
pub(super) async fn run(inner: &Inner, destruction: Destruction) -> Result<Destruction, Error> {
    crash::point("destroy.claimed");
    let run = Run {
        inner,
        tenant: &destruction.tenant,
        destruction: &destruction,
        by: By {
            asker: Asker {
                subject: destruction.requested_by.clone(),
                request_id: format!("destruction-{}", destruction.id),
            },
            credential: None,
        },
    };
    let ended = tokio::select! {
        ended = run.all() => ended,
        error = run.beat() => Err(Halt::Failed(error)),
    };
    match ended {
        Ok(()) => {}
        Err(Halt::Until(reason)) => run.halt(reason).await?,
        Err(Halt::Failed(error)) => {
            let note = DestructionNote {
                last_error: Some("the catalogue or the object store does not answer".to_owned()),
                ..DestructionNote::default()
            };
            let _ = inner
                .catalogue
                .note_destruction(&destruction.id, &inner.lease(), &note)
                .await;
            return Err(error);
        }
    }
    let now = inner
        .catalogue
        .destruction(&destruction.tenant, &destruction.id);
    Ok(now.await?.unwrap_or(destruction))
}

struct Run<'a> {
    inner: &'a Inner,
    tenant: &'a TenantId,
    destruction: &'a Destruction,
    by: By,
}

impl Run<'_> {
    async fn all(&self) -> Result<(), Halt> {
        self.is_meant()?;
        let plan = match &self.destruction.plan {
            Some(plan) => plan.clone(),
            None => self.plan().await?,
        };
        crash::point("destroy.planned");
        let (epoch, plan) = match &self.destruction.scope {
            DestructionScope::Tenant => (self.tenant().await?, plan),
            DestructionScope::Key { .. } => self.key(plan).await?,
            DestructionScope::Recordings { .. } => self.recordings(plan).await?,
        };
        let note = DestructionNote {
            epoch: Some(epoch),
            ..DestructionNote::default()
        };
        self.note(&note).await?;
        crash::point("destroy.keys-gone");
        self.forget().await?;
        self.take_out().await?;
        self.inner.catalogue.scrub().await?;
        crash::point("destroy.rows-gone");
        self.certify(plan, epoch).await
    }

    /// Whether people asked for it, as many as are needed: who can write the database alone has
    /// nothing destroyed.
    fn is_meant(&self) -> Result<(), Halt> {
        let Destruction {
            requested_by,
            decided_by,
            ..
        } = self.destruction;
        let agreed = !self.inner.two_people
            || decided_by
                .as_ref()
                .is_some_and(|other| other != requested_by);
        if self.inner.key.sealed(self.destruction) && agreed {
            return Ok(());
        }
        Err(Halt::Until(
            "it was not asked for, or not confirmed, by whom it says: somebody changed the database. \
             Call it off, and look into the audit log"
                .to_owned(),
        ))
    }

    /// What there is, written down before anything of it goes.
    async fn plan(&self) -> Result<DestructionPlan, Halt> {
        let catalogue = &self.inner.catalogue;
        let all = self.keks().await?;
        let counts = catalogue.recordings_by_kek(self.tenant).await?;
        let mut objects = Vec::new();
        let (keks, recordings): (Vec<&KekRecord>, u64) = match &self.destruction.scope {
            DestructionScope::Tenant => {
                let recordings = counts.iter().map(|count| count.recordings).sum();
                (all.iter().collect(), recordings)
            }
            DestructionScope::Key { provider, id } => {
                let mut keks = all.iter();
                let record = keks.find(|kek| kek.provider == *provider && kek.kek.id == *id);
                let lost = record.map_or(0, |record| KekCount::of(&counts, record));
                (record.into_iter().collect(), lost)
            }
            DestructionScope::Recordings { ids } => {
                let found = catalogue.doomed(self.tenant, ids).await?;
                // Whichever they were wrapped to before: all of the others leave them all. Those
                // that were retired too: what opened them may be there yet. Whether the current one
                // goes as well is seen when they do: see `meet_rewrap`.
                let goes = |record: &&KekRecord| record.state != KekState::Current;
                objects = found
                    .iter()
                    .flat_map(|doomed| doomed.objects.clone())
                    .collect();
                let recordings = u64::try_from(found.len()).unwrap_or(u64::MAX);
                (all.iter().filter(goes).collect(), recordings)
            }
        };
        let mut keys = Vec::with_capacity(keks.len());
        for record in keks {
            keys.push(self.doomed_key(record).await?);
        }
        let recovery = catalogue.every_recovery_key(self.tenant).await?;
        let plan = DestructionPlan {
            keys,
            recordings,
            objects,
            recovery,
        };
        self.note_plan(&plan).await?;
        Ok(plan)
    }

    async fn tenant(&self) -> Result<u64, Halt> {
        let inner = self.inner;
        let now_ms = inner.clock.now_ms();
        inner.catalogue.destroy_tenant(self.tenant, now_ms).await?;
        crash::point("destroy.retired");
        let destroyed = inner.keyring.destroy_tenant(self.tenant).await;
        destroyed.map_err(keystore_error)
    }

    async fn key(&self, mut plan: DestructionPlan) -> Result<(u64, DestructionPlan), Halt> {
        for key in plan.keys.clone() {
            while !self.is_retired(&key).await? {
                // Others may have come under it, or left it, since it was confirmed.
                plan.recordings = self.needing(&key).await?;
                if plan.recordings > self.destruction.lost {
                    return Err(Halt::Until(format!(
                        "{} recordings need {} by now, and the loss of {} was confirmed: call this \
                         off, and ask for it anew",
                        plan.recordings, key.id, self.destruction.lost
                    )));
                }
                self.note_plan(&plan).await?;
                match self.retire(&key, plan.recordings).await {
                    // Counted anew.
                    Err(Halt::Until(_)) if self.needing(&key).await? != plan.recordings => {}
                    retired => retired?,
                }
            }
        }
        crash::point("destroy.retired");
        Ok((self.destroy_keys(&plan).await?, plan))
    }

    async fn recordings(&self, mut plan: DestructionPlan) -> Result<(u64, DestructionPlan), Halt> {
        self.forget().await?;
        self.meet_rewrap(&mut plan).await?;
        self.take_out().await?;
        crash::point("destroy.recordings-gone");
        self.rotate_if_doomed(&plan).await?;
        self.rewrap().await?;
        // What a re-wrap that was under way has written beside them.
        self.delete_objects(&plan.objects).await?;
        let counts = openable(&*self.inner.catalogue, self.tenant).await?;
        for key in &plan.keys {
            let left: u64 = counts
                .iter()
                .filter(|count| key.is(&count.provider, &count.kek))
                .map(|count| count.recordings)
                .sum();
            if left > 0 {
                return Err(Halt::Until(format!(
                    "{left} recordings still need {}, which has to go: see why the re-wrap could not \
                     move them, mend that (enable the key, answer at the key service), or give them \
                     up (`keyreel keys retire {} --provider {} --confirm \"lose {left} recordings\"`); \
                     then let this go on",
                    key.id, key.id, key.provider
                )));
            }
        }
        for key in &plan.keys {
            if !self.is_retired(key).await? {
                self.retire(key, 0).await?;
            }
        }
        crash::point("destroy.retired");
        Ok((self.destroy_keys(&plan).await?, plan))
    }

    /// Adds to the plan what they are under now: a re-wrap may have moved some of them meanwhile.
    async fn meet_rewrap(&self, plan: &mut DestructionPlan) -> Result<(), Halt> {
        let DestructionScope::Recordings { ids } = &self.destruction.scope else {
            return Ok(());
        };
        let catalogue = &self.inner.catalogue;
        let rewrap = catalogue.rewrap_job(self.tenant).await?;
        if rewrap.is_some_and(|job| job.state == RewrapState::Running) {
            self.inner.rewrapper.stop(self.tenant, &self.by).await?;
            // What it has in hand is finished by then.
            tokio::time::sleep(STOPPING).await;
        }
        let keks = self.keks().await?;
        for Doomed { provider, kek, .. } in catalogue.doomed(self.tenant, ids).await? {
            let is_it = |record: &&KekRecord| record.provider == provider && record.kek.id == kek;
            let known = plan.keys.iter().any(|key| key.is(&provider, &kek));
            if let (false, Some(record)) = (known, keks.iter().find(is_it)) {
                plan.keys.push(self.doomed_key(record).await?);
            }
        }
        self.note_plan(plan).await
    }

    async fn doomed_key(&self, record: &KekRecord) -> Result<DoomedKey, Halt> {
        let (provider, id) = (&record.provider, &record.kek.id);
        let kept = self
            .inner
            .catalogue
            .sealed_key(self.tenant, provider, id.as_str());
        Ok(DoomedKey {
            provider: provider.clone(),
            id: id.clone(),
            algorithm: record.kek.algorithm.clone(),
            // Retiring deletes what was kept.
            held_here: kept.await.map_err(Error::from)?.is_some()
                || (record.state == KekState::Retired && provider.as_str() == MANAGED),
        })
    }

    async fn note_plan(&self, plan: &DestructionPlan) -> Result<(), Halt> {
        let note = DestructionNote {
            plan: Some(plan.clone()),
            ..DestructionNote::default()
        };
        self.note(&note).await
    }

    async fn is_retired(&self, key: &DoomedKey) -> Result<bool, Halt> {
        let keks = self.keks().await?;
        Ok(keks.iter().any(|record| {
            key.is(&record.provider, &record.kek.id) && record.state == KekState::Retired
        }))
    }

    async fn needing(&self, key: &DoomedKey) -> Result<u64, Halt> {
        let counts = self.inner.catalogue.recordings_by_kek(self.tenant).await?;
        let of = |count: &&KekCount| key.is(&count.provider, &count.kek);
        Ok(counts.iter().filter(of).map(|count| count.recordings).sum())
    }

    async fn destroy_keys(&self, plan: &DestructionPlan) -> Result<u64, Halt> {
        let keks: Vec<_> = plan
            .keys
            .iter()
            .map(|key| (key.provider.clone(), key.id.clone()))
            .collect();
        let destroyed = self.inner.keyring.destroy_private_keys(self.tenant, &keks);
        destroyed.await.map_err(keystore_error)
    }

    async fn retire(&self, key: &DoomedKey, lost: u64) -> Result<(), Halt> {
        let name = (&key.provider, &key.id);
        let retired = self
            .inner
            .rewrapper
            .retire(self.tenant, name, lost, &self.by);
        match retired.await {
            Ok(_) => Ok(()),
            Err(Error::Wrap { source }) => Err(Halt::Until(match source.downcast::<KeyError>() {
                Ok(error) => format!("{error}"),
                Err(_) => format!("{} cannot be retired", key.id),
            })),
            Err(error) => Err(error.into()),
        }
    }

    async fn rotate_if_doomed(&self, plan: &DestructionPlan) -> Result<(), Halt> {
        let inner = self.inner;
        let doomed = |record: &KekRecord| {
            plan.keys
                .iter()
                .any(|key| key.is(&record.provider, &record.kek.id))
        };
        let keks = self.keks().await?;
        let current = keks.iter().find(|record| record.state == KekState::Current);
        if current.is_none_or(|record| !doomed(record)) {
            return Ok(());
        }
        let tenant = inner.catalogue.tenant(self.tenant).await?;
        let policy = tenant
            .map(|tenant| tenant.policy)
            .ok_or_else(|| Halt::Until("the organisation is not there any more".to_owned()))?;
        let rotated = inner.keyring.rotate(
            self.tenant,
            (policy, policy),
            Occasion::Asked,
            &self.by.asker,
        );
        match rotated.await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(tenant = %self.tenant, %error, "a destruction cannot rotate");
                Err(Halt::Until(
                    "the recordings are under the current key, and no new one could be made: rotate, \
                     or register another, then let this go on"
                        .to_owned(),
                ))
            }
        }
    }

    /// Moves everything else to the current KEK, here or wherever that is being done already.
    async fn rewrap(&self) -> Result<(), Halt> {
        let rewrapper = &self.inner.rewrapper;
        let counts = self.inner.catalogue.recordings_by_kek(self.tenant).await?;
        let keks = self.keks().await?;
        let current = keks.iter().find(|record| record.state == KekState::Current);
        let is_current = |count: &KekCount| current.is_some_and(|record| count.is_of(record));
        if counts.iter().all(is_current) {
            return Ok(());
        }
        match rewrapper.start(self.tenant, &self.by, None).await {
            Ok(_) => {}
            Err(Error::Wrap { source }) => {
                return Err(Halt::Until(format!(
                    "other recordings have to be moved to a current key first: {source}"
                )));
            }
            Err(error) => return Err(error.into()),
        }
        loop {
            let job = match rewrapper.run(self.tenant).await? {
                Some(job) => Some(job),
                None => rewrapper.job(self.tenant).await?,
            };
            if job.is_none_or(|job| job.state != RewrapState::Running) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Caches here and everywhere; streams end with them.
    async fn forget(&self) -> Result<(), Halt> {
        let inner = self.inner;
        inner.keyring.purge(self.tenant);
        let now_ms = inner.clock.now_ms();
        Ok(inner.catalogue.announce_purge(self.tenant, now_ms).await?)
    }

    /// Takes what cannot be opened any more out of the store and the catalogue.
    async fn take_out(&self) -> Result<(), Halt> {
        let catalogue = &self.inner.catalogue;
        loop {
            let some = match &self.destruction.scope {
                DestructionScope::Tenant => {
                    catalogue
                        .doomed_recordings(self.tenant, None, BATCH)
                        .await?
                }
                DestructionScope::Key { provider, id } => {
                    let kek = Some((provider, id));
                    catalogue.doomed_recordings(self.tenant, kek, BATCH).await?
                }
                DestructionScope::Recordings { ids } => catalogue.doomed(self.tenant, ids).await?,
            };
            if some.is_empty() {
                return Ok(());
            }
            for doomed in &some {
                self.delete_objects(&doomed.objects).await?;
            }
            crash::point("destroy.objects-gone");
            let ids: Vec<_> = some.into_iter().map(|doomed| doomed.recording).collect();
            catalogue.delete_recordings(self.tenant, &ids).await?;
        }
    }

    async fn delete_objects(&self, doomed: &[String]) -> Result<(), Halt> {
        let objects = &self.inner.objects;
        for object in doomed {
            let folder = object.rsplit_once('/').map_or("", |(folder, _)| folder);
            let there = match objects.list(folder).await {
                Ok(there) => there,
                Err(Error::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            // Its key records first: the object's path is what finds them.
            let records = there.iter().filter(|path| object_of(path) == Some(object));
            for path in records.chain(there.iter().filter(|path| *path == object)) {
                match objects.delete(path).await {
                    Ok(()) | Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    async fn certify(&self, plan: DestructionPlan, epoch: u64) -> Result<(), Halt> {
        let (inner, destruction) = (self.inner, self.destruction);
        let certificate = Certificate {
            id: destruction.id.clone(),
            tenant: self.tenant.clone(),
            scope: destruction.scope.clone(),
            reason: destruction.reason.clone(),
            requested_by: destruction.requested_by.clone(),
            requested_at: rfc3339(destruction.requested_ms),
            confirmed_by: destruction.decided_by.clone(),
            completed_at: rfc3339(inner.clock.now_ms()),
            method: METHOD.to_owned(),
            keystore_epoch: epoch,
            remaining: remaining(&destruction.scope, &plan, epoch),
            keys: plan.keys,
            recordings: plan.recordings,
        };
        let envelope = inner.key.sign(&certificate)?;
        let mut event = inner.event("destruction.done", destruction, &self.by);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, envelope.as_bytes());
        let fields = [
            ("keystoreEpoch", Value::from(epoch)),
            ("recordings", Value::from(certificate.recordings)),
            ("certificateSha256", Value::from(hex::encode(digest))),
        ];
        for (name, value) in fields {
            event.fields.insert(name.to_owned(), value);
        }
        inner.catalogue.append_audit(&[event]).await?;
        let note = DestructionNote {
            state: Some(DestructionState::Done),
            certificate: Some(envelope),
            ..DestructionNote::default()
        };
        self.note(&note).await
    }

    async fn halt(&self, reason: String) -> Result<(), Error> {
        let (inner, destruction) = (self.inner, self.destruction);
        tracing::warn!(tenant = %self.tenant, id = destruction.id, reason, "a destruction waits");
        let mut event = inner.event("destruction.halted", destruction, &self.by);
        event.outcome = "failed".to_owned();
        let said = Value::from(reason.as_str());
        event.fields.insert("reason".to_owned(), said);
        inner.catalogue.append_audit(&[event]).await?;
        let note = DestructionNote {
            state: Some(DestructionState::Halted),
            last_error: Some(reason),
            ..DestructionNote::default()
        };
        let lease = inner.lease();
        let noted = inner
            .catalogue
            .note_destruction(&destruction.id, &lease, &note);
        noted.await.map(drop)
    }

    async fn note(&self, note: &DestructionNote) -> Result<(), Halt> {
        let (id, lease) = (&self.destruction.id, self.inner.lease());
        let noted = self
            .inner
            .catalogue
            .note_destruction(id, &lease, note)
            .await?;
        if noted {
            Ok(())
        } else {
            Err(Halt::Failed(taken()))
        }
    }

    /// Ends where it is no longer this node's.
    async fn beat(&self) -> Error {
        let id = &self.destruction.id;
        loop {
            tokio::time::sleep(BEAT).await;
            // A key service that is waited for is no silence.
            let rewrap = match self.inner.catalogue.rewrap_job(self.tenant).await {
                Ok(job) => job.filter(|job| job.state == RewrapState::Running),
                Err(error) => return error,
            };
            let note = DestructionNote {
                last_error: rewrap.and_then(|job| job.last_error),
                ..DestructionNote::default()
            };
            let lease = self.inner.lease();
            match self
                .inner
                .catalogue
                .note_destruction(id, &lease, &note)
                .await
            {
                Ok(true) => {}
                Ok(false) => return taken(),
                Err(error) => return error,
            }
        }
    }

    async fn keks(&self) -> Result<Vec<KekRecord>, Halt> {
        let keks = self.inner.catalogue.keks(self.tenant).await;
        keks.map_err(|error| Halt::Failed(error.into()))
    }
}

/// What is not Keyreel's to do, and is not claimed.
fn remaining(scope: &DestructionScope, plan: &DestructionPlan, epoch: u64) -> Vec<String> {
    let mut steps = vec![format!(
        "Whoever copied the keystore's epoch key file before epoch {epoch} destroys that copy: with \
         it, with the master key and with a copy of the keystore from then, copies of what was \
         destroyed would open. Keep that file's copies where the old ones can be destroyed."
    )];
    for key in plan.keys.iter().filter(|key| !key.held_here) {
        steps.push(format!(
            "The private half of {} lies with the key service behind {}: its owner destroys it \
             there. Until then it opens copies of the sealed recordings.",
            key.id, key.provider
        ));
    }
    if *scope != DestructionScope::Tenant {
        steps.push(
            "Copies of the catalogue from before have names, numbers and subjects of what was \
             destroyed, sealed under a key that the tenant goes on using: whoever keeps such copies \
             destroys them."
                .to_owned(),
        );
    }
    for id in &plan.recovery {
        steps.push(format!(
            "Whoever holds the recovery key {id} destroys it: copies of sealed recordings that were \
             wrapped to it open with it."
        ));
    }
    steps
}

fn keystore_error(error: VaultError) -> Halt {
    tracing::error!(%error, "a destruction cannot change the keystore");
    Halt::Until(
        "the keystore could not be changed, and the server's log says why: mend that, then let this \
         go on"
            .to_owned(),
    )
}

fn taken() -> Error {
    Error::Backend {
        source: "another node has taken it over".into(),
    }
}

fn rfc3339(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |time| time.to_string())
}
