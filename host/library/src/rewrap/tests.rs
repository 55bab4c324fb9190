//! Whole re-wraps: real KEKs, a real folder, and what happens when something is in the way.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use keyreel_format::{KekId, ProviderId, Reader, RecordingId, TenantId};
use keyreel_keys::{
    DekRequest, ErrorClass, KekState, KeyError, Keyring, KeyringParts, KeyringSettings, Keystore,
    Policy, SystemClock, UnwrapPurpose, Vault, ensure_master_key,
};
use keyreel_keys_testing::{Behaviour, LocalProvider, MemoryMetadataKeys, MemoryObserver, Seen};
use url::Url;

use super::recording::Step;
use super::*;
use crate::audit_chain::AuditKey;
use crate::catalogue::{Details, Media, Part, Recording, RewrapState, RewrapStore as _, Tenant};
use crate::head::{Head, key_record_path};
use crate::{Ingest, NewRecording, Objects, SqliteCatalogue};

mod killed;
mod recovery;

pub(crate) struct House {
    pub(crate) folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
    pub(crate) catalogue: Arc<SqliteCatalogue>,
    pub(crate) objects: Objects,
    pub(crate) keyring: Arc<Keyring>,
    provider: Arc<LocalProvider>,
    observer: Arc<MemoryObserver>,
    pub(crate) tenant: TenantId,
    pub(crate) managed: ProviderId,
    ingest: Ingest,
    pub(crate) rewrapper: Rewrapper,
    pub(crate) keystore: Arc<Keystore>,
    pub(crate) audit_seed: [u8; 32],
}

impl House {
    pub(crate) async fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut house = Self::at(temporary.path()).await;
        house._temporary = Some(temporary);
        let row = Tenant {
            id: house.tenant.clone(),
            name: "Meridian Health".to_owned(),
            policy: Policy::Aes256,
            provider: house.managed.clone(),
            created_ms: 0,
        };
        Catalogue::add_tenant(&*house.catalogue, &row)
            .await
            .unwrap();
        house.keystore.create_root(&house.tenant).unwrap();
        house.rotate().await;
        house
    }

    /// With what is in a folder.
    pub(crate) async fn at(folder: &Path) -> Self {
        let url = format!("sqlite://{}", folder.join("catalogue.db").display());
        let metadata = Arc::new(MemoryMetadataKeys::default());
        let catalogue = Arc::new(SqliteCatalogue::open_with(&url, metadata).await.unwrap());
        let managed: ProviderId = "managed".parse().unwrap();
        let tenant: TenantId = "meridian-health".parse().unwrap();
        let master = folder.join("master");
        ensure_master_key(&folder.join("keystore"), &master).unwrap();
        let keystore = Keystore::open_or_create(&folder.join("keystore"), &master).unwrap();
        let keystore = Arc::new(keystore);
        let audit_seed = [5; 32];
        catalogue.sign_audit_with(AuditKey::from_seed(&audit_seed).unwrap());
        let ttl = KeyringSettings::default().dek_ttl;
        let vault = Vault::new(keystore.clone(), catalogue.clone(), ttl);
        let provider = Arc::new(LocalProvider::new());
        let observer = Arc::new(MemoryObserver::default());
        let keyring = Arc::new(Keyring::new(KeyringParts {
            store: catalogue.clone(),
            providers: HashMap::from([(managed.clone(), provider.clone() as _)]),
            observer: observer.clone(),
            clock: Arc::new(SystemClock),
            settings: KeyringSettings::default(),
            vault: Some(Arc::new(vault)),
        }));
        let url = Url::from_directory_path(folder.join("objects")).unwrap();
        let objects = Objects::open(url.as_str()).unwrap();
        let clock = Arc::new(SystemClock);
        let parts = (catalogue.clone(), objects.clone(), keyring.clone());
        let ingest = Ingest::new(parts.0, parts.1, parts.2, clock.clone());
        let parts = (catalogue.clone(), objects.clone(), keyring.clone());
        let rewrapper = Rewrapper::new(parts.0, parts.1, parts.2, clock);
        Self {
            folder: folder.to_owned(),
            _temporary: None,
            catalogue,
            objects,
            keyring,
            provider,
            observer,
            tenant,
            managed,
            ingest,
            rewrapper,
            keystore,
            audit_seed,
        }
    }

    async fn rotate(&self) -> KekId {
        let minted = self
            .keyring
            .mint_kek(&self.tenant, &self.managed, Policy::Aes256);
        minted.await.unwrap().id
    }

    /// A recording of two parts.
    pub(crate) async fn add(&self, id: &str) -> Recording {
        self.try_add(id).await.unwrap()
    }

    /// Changes the catalogue behind everybody's back.
    pub(crate) async fn sql(&self, statement: &str) {
        let url = format!("sqlite://{}", self.folder.join("catalogue.db").display());
        let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::query(statement).execute(&pool).await.unwrap();
        pool.close().await;
    }

    pub(crate) async fn try_add(&self, id: &str) -> Result<Recording, Error> {
        let new = NewRecording {
            id: id.parse().unwrap(),
            tenant: self.tenant.clone(),
            conversation_id: "c".to_owned(),
            media: Media::Chat,
            content_type: None,
            start_ms: 1_700_000_000_000,
            duration_ms: None,
            details: Details::default(),
            transcript: Some(Bytes::from(format!("{{\"said\":\"{id}\"}}"))),
        };
        let text = text(id);
        let sealed = self.ingest.seal(new, text.as_bytes(), &|_| {}).await;
        Ok(sealed?.recording)
    }

    async fn row(&self, id: &RecordingId) -> Recording {
        let tenants = std::slice::from_ref(&self.tenant);
        let found = Catalogue::recording(&*self.catalogue, tenants, id).await;
        found.unwrap().unwrap()
    }

    /// A part's plaintext, by the way a player's request takes.
    async fn open(&self, recording: &Recording, part: &Part) -> Result<Vec<u8>, KeyError> {
        let head = Head::read(&self.objects, &part.object, recording.generation)
            .await
            .unwrap();
        head.check(recording, part).unwrap();
        let request = DekRequest {
            tenant: self.tenant.clone(),
            recording: recording.id.clone(),
            generation: recording.generation,
            recipients: head.header.key_block().recipients.clone(),
            subject: "maya".to_owned(),
            request_id: "r".to_owned(),
        };
        let dek = self.keyring.dek(&request).await?;
        let header = head.header.verify(&dek).unwrap();
        let len = head.handle.version().len;
        let reader = Reader::new(&header, &dek, &head.prefix, len).unwrap();
        let mut plaintext = Vec::new();
        for span in reader.spans(0..part.plaintext_len, 1 << 20).unwrap() {
            let range = span.object_range.clone();
            let sealed = head.handle.read(range, BytesMut::new()).await.unwrap();
            for chunk in reader.open(&span, sealed).unwrap() {
                plaintext.extend_from_slice(&chunk);
            }
        }
        Ok(plaintext)
    }

    /// Opens all of it, and it is what was sealed.
    pub(crate) async fn check(&self, id: &RecordingId) -> Recording {
        let recording = self.row(id).await;
        let expected = [text(id.as_str()), format!("{{\"said\":\"{id}\"}}")];
        for (part, expected) in recording.parts.iter().zip(expected) {
            let opened = self.open(&recording, part).await.unwrap();
            assert_eq!(opened, expected.as_bytes(), "{id} {}", part.name);
        }
        recording
    }

    pub(crate) async fn start(&self) -> RewrapJob {
        let asker = Asker {
            subject: "admin".to_owned(),
            ..Asker::default()
        };
        let by = By {
            asker,
            credential: None,
        };
        let started = self.rewrapper.start(&self.tenant, &by, Some(5000)).await;
        started.unwrap()
    }

    async fn run(&self) -> RewrapJob {
        self.start().await;
        self.rewrapper.run(&self.tenant).await.unwrap().unwrap()
    }

    async fn retire(&self, kek: &KekId, lost: u64) -> Result<KekState, String> {
        let named = (&self.managed, kek);
        let by = By::default();
        let retired = self.rewrapper.retire(&self.tenant, named, lost, &by).await;
        self.rewrapper.sweep().await.unwrap();
        retired
            .map(|record| record.state)
            .map_err(|error| error.to_string())
    }

    async fn records(&self, recording: &Recording) -> Vec<String> {
        let folder = format!("{}/{}", self.tenant, recording.id);
        let mut listed = self.objects.list(&folder).await.unwrap();
        listed.retain(|path| path.contains(".key."));
        let object = &recording.parts[0].object;
        let mut ends: Vec<_> = listed
            .iter()
            .filter_map(|path| path.strip_prefix(object))
            .map(str::to_owned)
            .collect();
        assert_eq!(listed.len(), ends.len() * recording.parts.len());
        ends.sort();
        ends
    }

    async fn counts(&self) -> Vec<(String, u64)> {
        let counts = self.catalogue.recordings_by_kek(&self.tenant).await;
        let counts = counts.unwrap().into_iter();
        counts
            .map(|count| (count.kek.to_string(), count.recordings))
            .collect()
    }
}

fn text(id: &str) -> String {
    format!("a chat of {id}: {}", "word ".repeat(8000))
}

fn kek(n: u32) -> KekId {
    format!("kek/{n}").parse().unwrap()
}

#[tokio::test]
async fn recordings_move_and_old_keys_go() {
    let house = House::new().await;
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(house.add(&format!("r-{n}")).await.id);
    }
    assert_eq!(house.run().await.total, 0, "all are under the current one");
    let second = house.rotate().await;
    let late = house.add("late").await.id;
    assert_eq!(house.start().await.total, 12);
    let job = house.rewrapper.run(&house.tenant).await.unwrap().unwrap();
    assert_eq!(
        (job.state, job.total, job.done, job.failed),
        (RewrapState::Done, 12, 12, 0)
    );
    assert_eq!(job.owner, None);
    assert_eq!(house.counts().await, [("kek/2".to_owned(), 13)]);
    for id in &ids {
        let recording = house.check(id).await;
        assert_eq!((&recording.kek, recording.generation), (&second, 1));
        assert_eq!(house.records(&recording).await, [".key.1"]);
    }
    assert_eq!(house.check(&late).await.generation, 0);
    // Asked for under its own name, and never for a listener.
    let purposes = house
        .observer
        .seen()
        .into_iter()
        .filter_map(|seen| match seen {
            Seen::Before(attempt) if attempt.purpose == UnwrapPurpose::Rewrap => Some(attempt),
            _ => None,
        });
    let purposes: Vec<_> = purposes.collect();
    assert_eq!(purposes.len(), 12);
    assert!(purposes.iter().all(|attempt| attempt.subject == "admin"));

    assert!(
        house
            .retire(&second, 0)
            .await
            .unwrap_err()
            .contains("current")
    );
    let needed = house.retire(&kek(2), 13).await.unwrap_err();
    assert!(needed.contains("current"), "{needed}");
    assert_eq!(house.retire(&kek(1), 0).await, Ok(KekState::Retired));
    assert_eq!(house.retire(&kek(1), 0).await, Ok(KekState::Retired));
    for id in &ids {
        house.check(id).await;
    }

    // Key records stay until their KEK goes.
    for generation in 2..5u32 {
        let current = house.rotate().await;
        let job = house.run().await;
        assert_eq!((job.state, job.done), (RewrapState::Done, 13));
        let recording = house.check(&ids[0]).await;
        assert_eq!(
            (&recording.kek, recording.generation),
            (&current, generation)
        );
        let kept: Vec<_> = (1..=generation).map(|n| format!(".key.{n}")).collect();
        assert_eq!(house.records(&recording).await, kept);
    }
    for (retired, kept) in [
        (2, &[".key.2", ".key.3", ".key.4"][..]),
        (4, &[".key.2", ".key.4"]),
    ] {
        assert_eq!(house.retire(&kek(retired), 0).await, Ok(KekState::Retired));
        let recording = house.check(&ids[0]).await;
        assert_eq!(
            house.records(&recording).await,
            kept,
            "without kek/{retired}"
        );
    }
    let log = crate::AuditQuery {
        tenants: vec![house.tenant.clone()],
        action: Some("key.rewrapped".to_owned()),
        limit: 200,
        ..crate::AuditQuery::default()
    };
    let log = Catalogue::audit(&*house.catalogue, &log).await.unwrap();
    assert_eq!(log.items.len(), 12 + 3 * 13);
}

#[tokio::test]
async fn the_slot_can_be_told_from_what_a_rewrap_leaves() {
    let house = House::new().await;
    let id = house.add("r").await.id;
    house.rotate().await;
    house.run().await;
    let recording = house.check(&id).await;
    let macs = house.catalogue.slot_macs(&house.tenant, &id).await.unwrap();
    assert_eq!(macs.len(), recording.parts.len());
    for (part, mac) in recording.parts.iter().zip(macs) {
        assert_eq!((&mac.part, mac.generation), (&part.name, 1));
        let record = crate::read_key_record(&house.objects, &part.object, 1).await;
        let slot = record.unwrap().slot_with(&mac.mac).unwrap();
        // The object with this slot opens with the new KEK alone.
        let handle = house.objects.get(&part.object, None).await.unwrap();
        let mut object = handle
            .read(0..handle.version().len, BytesMut::new())
            .await
            .unwrap();
        object[..slot.len()].copy_from_slice(&slot);
        house
            .objects
            .put(&part.object, object.freeze())
            .await
            .unwrap();
        let alone = Recording {
            generation: 0,
            ..recording.clone()
        };
        house.retire(&kek(1), 0).await.unwrap();
        let opened = house.open(&alone, part).await.unwrap();
        assert_eq!(opened.len() as u64, part.plaintext_len);
    }
}

#[tokio::test]
async fn what_is_damaged_or_planted_stays_and_the_others_go_on() {
    let house = House::new().await;
    let mut rows = Vec::new();
    for n in 0..6 {
        rows.push(house.add(&format!("r-{n}")).await);
    }
    let file =
        |row: &Recording, part: usize| house.folder.join("objects").join(&row.parts[part].object);
    // Its header was changed; its body's beginning was changed; it is gone; it is another's.
    let flip = |row: &Recording, part: usize, at: usize| {
        let mut bytes = std::fs::read(file(row, part)).unwrap();
        bytes[at] ^= 1;
        std::fs::write(file(row, part), bytes).unwrap();
    };
    flip(&rows[0], 0, 4096 - 1);
    flip(&rows[1], 1, 4096 + 3);
    std::fs::remove_file(file(&rows[2], 1)).unwrap();
    // Sealed by somebody who has the public key, under the same names.
    let planted = house.add("planted").await;
    for part in 0..2 {
        let bytes = std::fs::read(file(&planted, part)).unwrap();
        std::fs::write(file(&rows[3], part), bytes).unwrap();
    }
    house.rotate().await;
    let job = house.run().await;
    assert_eq!(
        (job.state, job.total, job.done, job.failed),
        (RewrapState::Failed, 7, 3, 4),
        "{job:?}"
    );
    let mut failed: Vec<_> = job.failures.iter().map(|(id, _)| id.as_str()).collect();
    failed.sort_unstable();
    assert_eq!(failed, ["r-0", "r-1", "r-2", "r-3"]);
    // Classes for anybody to read; what the objects' paths are is the log's.
    let mut classes: Vec<_> = job
        .failures
        .iter()
        .map(|(id, class)| (id.as_str(), class.as_str()))
        .collect();
    classes.sort_unstable();
    let damaged = ["r-0", "r-1", "r-3"].map(|id| (id, "integrity"));
    assert_eq!(classes[2], ("r-2", "not-found"));
    classes.remove(2);
    assert_eq!(classes, damaged);
    assert!(["integrity", "not-found"].contains(&job.last_error.as_deref().unwrap()));
    let log = crate::AuditQuery {
        tenants: vec![house.tenant.clone()],
        action: Some("key.rewrap.failed".to_owned()),
        limit: 200,
        ..crate::AuditQuery::default()
    };
    let log = Catalogue::audit(&*house.catalogue, &log).await.unwrap();
    let mut recorded: Vec<_> = log
        .items
        .iter()
        .map(|of| {
            (
                of.event.recording.as_ref().unwrap().as_str(),
                of.event.outcome.as_str(),
            )
        })
        .collect();
    recorded.sort_unstable();
    let all = ["integrity", "integrity", "not-found", "integrity"];
    let all: Vec<_> = ["r-0", "r-1", "r-2", "r-3"].into_iter().zip(all).collect();
    assert_eq!(recorded, all, "each once, though it was tried again");
    let stats = RewrapStats {
        done: 3,
        failed: 4,
        remaining: 0,
    };
    assert_eq!(house.rewrapper.stats(), stats);
    for row in &rows[..4] {
        assert_eq!(house.row(&row.id).await, *row, "as it was");
        assert!(house.records(row).await.is_empty(), "nothing was written");
    }
    for row in &rows[4..] {
        assert_eq!(house.check(&row.id).await.generation, 1);
    }
    let needed = house.retire(&kek(1), 0).await.unwrap_err();
    assert!(needed.contains("4 recordings"), "{needed}");
    assert!(house.retire(&kek(1), 3).await.is_err(), "another number");

    // Mended, it is tried again.
    flip(&rows[0], 0, 4096 - 1);
    let job = house.run().await;
    assert_eq!((job.done, job.failed), (1, 3));
    assert_eq!(house.check(&rows[0].id).await.generation, 1);
    // The loss is confirmed by its number.
    assert_eq!(house.retire(&kek(1), 3).await, Ok(KekState::Retired));
    house.check(&rows[0].id).await;
    let lost = house.row(&rows[1].id).await;
    let opened = house.open(&lost, &lost.parts[0]).await;
    assert!(
        matches!(opened, Err(KeyError::KekRetired { .. })),
        "{opened:?}"
    );
}

#[tokio::test]
async fn a_catalogue_from_before_the_last_rewraps_still_opens_what_is_there() {
    let house = House::new().await;
    let id = house.add("r").await.id;
    let mut restored = Vec::new();
    for _ in 0..3 {
        house.rotate().await;
        house.run().await;
        restored.push(house.row(&id).await);
    }
    for row in &restored {
        for part in &row.parts {
            let opened = house.open(row, part).await.unwrap();
            assert_eq!(
                opened.len() as u64,
                part.plaintext_len,
                "{}",
                row.generation
            );
        }
    }
    // It does not grow for ever.
    for _ in 0..recording::FORMER_KEPT {
        house.rotate().await;
        house.run().await;
    }
    let row = house.check(&id).await;
    assert_eq!(row.generation, 19);
    let records = house.records(&row).await;
    assert_eq!(records.len(), recording::FORMER_KEPT + 1, "{records:?}");
    assert!(records.contains(&".key.19".to_owned()) && records.contains(&".key.3".to_owned()));
    let known = house.catalogue.former_generations(&house.tenant, &id).await;
    assert_eq!(known.unwrap(), (3..19).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn leftovers_are_passed_over_and_generations_only_rise() {
    let house = House::new().await;
    let row = house.add("r").await;
    house.rotate().await;
    // As a node leaves it that dies between two parts, or before the commit.
    for (part, generation) in [(0, 1), (1, 1), (1, 2)] {
        let path = key_record_path(&row.parts[part].object, generation);
        house
            .objects
            .put(&path, Bytes::from_static(b"x"))
            .await
            .unwrap();
    }
    assert_eq!(house.run().await.done, 1);
    let recording = house.check(&row.id).await;
    assert_eq!(recording.generation, 3);
    assert_eq!(house.records(&recording).await, [".key.3"], "swept");
    // A recording that comes in again, in vain, sweeps no key record.
    let again = house.ingest.seal(
        NewRecording {
            id: row.id.clone(),
            tenant: house.tenant.clone(),
            conversation_id: "c".to_owned(),
            media: Media::Chat,
            content_type: None,
            start_ms: 0,
            duration_ms: None,
            details: Details::default(),
            transcript: None,
        },
        &b"text"[..],
        &|_| {},
    );
    assert!(matches!(again.await, Err(Error::Exists { .. })));
    let kept: Vec<&str> = row.parts.iter().map(|part| part.object.as_str()).collect();
    let folder = format!("{}/{}", house.tenant, row.id);
    house.objects.sweep(&folder, &kept).await.unwrap();
    house.check(&row.id).await;
}

#[tokio::test]
async fn of_two_nodes_one_moves_a_recording_and_neither_harms_it() {
    let house = House::new().await;
    for round in 0..8u32 {
        let row = house.add(&format!("r-{round}")).await;
        house.rotate().await;
        let inner = &house.rewrapper.inner;
        let nodes = (0..4).map(|_| inner.rewrap(&row, "admin"));
        let steps = futures::future::join_all(nodes).await;
        let moved = steps
            .iter()
            .filter(|step| matches!(step, Ok(Step::Moved)))
            .count();
        assert_eq!(moved, 1, "{steps:?}");
        house.check(&row.id).await;
        assert_eq!(house.records(&house.row(&row.id).await).await.len(), 1);
    }
}

#[tokio::test]
async fn a_key_service_that_is_away_is_waited_for() {
    let house = House::new().await;
    let id = house.add("r").await.id;
    house.rotate().await;
    house.provider.fail(&house.tenant, ErrorClass::Unavailable);
    house.start().await;
    let worker = house.rewrapper.clone();
    let tenant = house.tenant.clone();
    let running = tokio::spawn(async move { worker.run(&tenant).await });
    let waiting = loop {
        let job = house.rewrapper.job(&house.tenant).await.unwrap().unwrap();
        match job.last_error {
            Some(error) => break error,
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    assert_eq!(waiting, "unavailable");
    assert_eq!(house.rewrapper.stats().remaining, 1);
    let again = house.rewrapper.run(&house.tenant).await.unwrap();
    assert_eq!(again, None, "it runs here already");
    house.provider.behave(&house.tenant, Behaviour::default());
    let job = running.await.unwrap().unwrap().unwrap();
    assert_eq!(
        (job.state, job.done, job.last_error),
        (RewrapState::Done, 1, None)
    );
    house.check(&id).await;
}

#[tokio::test]
async fn a_key_that_is_refused_is_not_asked_for_a_thousand_times() {
    let house = House::new().await;
    for n in 0..60 {
        house.add(&format!("r-{n}")).await;
    }
    house.rotate().await;
    // A listener who was refused has nothing to do with it.
    house.provider.fail(&house.tenant, ErrorClass::Denied);
    let row = house.row(&"r-0".parse().unwrap()).await;
    assert!(house.open(&row, &row.parts[0]).await.is_err());
    let before = house.provider.unwraps();
    let job = house.run().await;
    assert_eq!(
        (job.state, job.total, job.done, job.failed),
        (RewrapState::Failed, 60, 0, 60)
    );
    let asked = house.provider.unwraps() - before;
    assert!(asked < 30, "{asked}");
    house.provider.behave(&house.tenant, Behaviour::default());
    assert_eq!(house.run().await.done, 60, "at once, whatever was refused");
    // A disabled KEK is not unwrapped with either: that would undo what the administrator did.
    house.rotate().await;
    house
        .keyring
        .disable_kek(&house.tenant, &house.managed, &kek(2))
        .await
        .unwrap();
    let job = house.run().await;
    assert_eq!((job.done, job.failed), (0, 60));
    assert_eq!(job.last_error.as_deref(), Some("key-disabled"));
}

#[tokio::test]
async fn it_stops_goes_on_and_another_node_takes_over() {
    let house = House::new().await;
    for n in 0..40 {
        house.add(&format!("r-{n}")).await;
    }
    house.rotate().await;
    let by = By::default();
    house
        .rewrapper
        .start(&house.tenant, &by, Some(10))
        .await
        .unwrap();
    let worker = house.rewrapper.clone();
    let tenant = house.tenant.clone();
    let running = tokio::spawn(async move { worker.run(&tenant).await });
    let job = async || house.rewrapper.job(&house.tenant).await.unwrap().unwrap();
    while job().await.done == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    house.rewrapper.stop(&house.tenant, &by).await.unwrap();
    let stopped = running.await.unwrap().unwrap().unwrap();
    assert_eq!((stopped.state, stopped.owner), (RewrapState::Stopped, None));
    assert!(stopped.done > 0 && stopped.done < 40, "{}", stopped.done);
    assert!(stopped.ended_ms.is_some());
    assert_eq!(house.rewrapper.run(&house.tenant).await.unwrap(), None);

    // A node that dies holds it for a while.
    let dead = Lease {
        owner: "dead".to_owned(),
        ..house.rewrapper.inner.lease()
    };
    let started = house.rewrapper.start(&house.tenant, &by, Some(1000)).await;
    let started = started.unwrap();
    assert_eq!(
        (started.done, started.total),
        (stopped.done, 40),
        "it goes on"
    );
    let claimed = house.catalogue.claim_rewrap(&house.tenant, &dead).await;
    assert!(claimed.unwrap().is_some());
    assert_eq!(house.rewrapper.run(&house.tenant).await.unwrap(), None);
    let over = Lease {
        until_ms: dead.now_ms,
        ..dead
    };
    house
        .catalogue
        .claim_rewrap(&house.tenant, &over)
        .await
        .unwrap();
    let worker = house.rewrapper.clone();
    let working = tokio::spawn(async move { worker.work().await });
    while job().await.state == RewrapState::Running {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    working.abort();
    let ended = job().await;
    assert_eq!(
        (ended.state, ended.total, ended.done),
        (RewrapState::Done, 40, 40)
    );
    assert_eq!(ended.started_ms, stopped.started_ms);
}

#[tokio::test]
async fn nothing_is_added_under_a_key_that_is_gone() {
    let house = House::new().await;
    let row = house.add("r").await;
    house.rotate().await;
    house.run().await;
    house.retire(&kek(1), 0).await.unwrap();
    let late = Recording {
        id: "late".parse().unwrap(),
        ..row
    };
    let added = Catalogue::add_recording(&*house.catalogue, &late).await;
    assert!(matches!(added, Err(Error::Retired { .. })), "{added:?}");
}
