//! Whole imports: real audio, real KEKs, a real folder; opened again with nothing but the DEK.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use keyreel_format::{Header, Reader};
use keyreel_keys::{
    DekRequest, Keyring, KeyringParts, KeyringSettings, Policy, ProviderId, SystemClock,
};
use keyreel_keys_testing::{LocalProvider, MemoryMetadataKeys, MemoryObserver};
use tokio::io::{AsyncRead, ReadBuf};
use url::Url;

use super::*;
use crate::catalogue::{Catalogue, Media, Part, Recording, RecordingQuery, Tenant};
use crate::peaks::tests::ffmpeg;
use crate::{Objects, SqliteCatalogue};

struct House {
    folder: tempfile::TempDir,
    calls: tempfile::TempDir,
    catalogue: Arc<dyn Catalogue>,
    objects: Objects,
    keyring: Keyring,
    tenant: TenantId,
    importer: Importer,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let calls = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("catalogue.db").display());
        let metadata = Arc::new(MemoryMetadataKeys::default());
        let sqlite = Arc::new(SqliteCatalogue::open_with(&url, metadata).await.unwrap());
        let catalogue: Arc<dyn Catalogue> = sqlite.clone();
        let managed: ProviderId = "managed".parse().unwrap();
        let tenant: TenantId = "meridian-health".parse().unwrap();
        let row = Tenant {
            id: tenant.clone(),
            name: "Meridian Health".to_owned(),
            policy: Policy::Aes256,
            provider: managed.clone(),
            created_ms: 0,
        };
        catalogue.add_tenant(&row).await.unwrap();
        let keyring = Keyring::new(KeyringParts {
            store: sqlite,
            providers: HashMap::from([(managed.clone(), Arc::new(LocalProvider::new()) as _)]),
            observer: Arc::new(MemoryObserver::default()),
            clock: Arc::new(SystemClock),
            settings: KeyringSettings::default(),
            vault: None,
        });
        keyring
            .mint_kek(&tenant, &managed, Policy::Aes256)
            .await
            .unwrap();
        let url = Url::from_directory_path(folder.path().join("objects")).unwrap();
        let objects = Objects::open(url.as_str()).unwrap();
        let importer = Importer::new(Ingest::new(
            catalogue.clone(),
            objects.clone(),
            Arc::new(keyring.clone()),
            Arc::new(SystemClock),
        ));
        Self {
            folder,
            calls,
            catalogue,
            objects,
            keyring,
            tenant,
            importer,
        }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.calls.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    async fn import(&self) -> Summary {
        let scan = scan(self.calls.path()).unwrap();
        self.importer
            .run(&self.tenant, scan.sources, Arc::new(()))
            .await
    }

    async fn recordings(&self) -> Vec<Recording> {
        let query = RecordingQuery {
            tenants: vec![self.tenant.clone()],
            limit: 200,
            ..Default::default()
        };
        self.catalogue.recordings(&query).await.unwrap().items
    }

    /// A part's plaintext, by the way a player's request takes.
    async fn open(&self, recording: &Recording, part: &Part) -> Bytes {
        let handle = self.objects.get(&part.object, None).await.unwrap();
        assert_eq!(handle.version().len, part.sealed_len);
        let start = handle.read(0..4096 + 56, BytesMut::new()).await.unwrap();
        let header = Header::parse(&start).unwrap();
        let request = DekRequest {
            tenant: recording.tenant.clone(),
            recording: recording.id.clone(),
            generation: header.key_block().generation,
            recipients: header.key_block().recipients.clone(),
            subject: String::new(),
            request_id: "test".to_owned(),
        };
        let dek = self.keyring.dek(&request).await.unwrap();
        let header = header.verify(&dek).unwrap();
        assert_eq!(header.identity().part, part.name);
        let reader = Reader::new(&header, &dek, start.last_chunk().unwrap(), part.sealed_len);
        let reader = reader.unwrap();
        let mut plaintext = BytesMut::new();
        for span in reader.spans(0..part.plaintext_len, 1 << 20).unwrap() {
            let sealed = handle
                .read(span.object_range.clone(), BytesMut::new())
                .await
                .unwrap();
            reader
                .open(&span, sealed)
                .unwrap()
                .for_each(|chunk| plaintext.extend(chunk));
        }
        plaintext.freeze()
    }

    /// Every file below the data directory.
    fn files(&self) -> Vec<PathBuf> {
        files(self.folder.path())
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}

const METADATA: &str = r#"{"recordingId":"4b0a2b6e-5e04-4a84-9e54-7a2c1f3d9b10",
    "conversationId":"11f4a0de-3d6b-4c26-8f3e-0c8a1f2b3c4d","media":"call",
    "startTime":"2026-11-03T09:12:44Z","contentType":"audio/wav","direction":"inbound",
    "queue":"Billing","subject":"Disputed invoice","labels":["refund"],
    "channels":[{"channel":0,"role":"agent","name":"Maya Chen"},
                {"channel":1,"role":"customer","name":"Tom Reyes","address":"+14155550134"}],
    "spans":[{"reason":"Hold","startMs":61000,"endMs":80000,"description":"Checks the order"}]}"#;
const TRANSCRIPT: &str = r#"{"version":1,"language":"en-US","utterances":[{"id":"u1","channel":0,
    "role":"agent","startMs":1200,"endMs":4300,"text":"KEYREEL-CANARY-TRANSCRIPT",
    "words":[{"text":"KEYREEL-CANARY-TRANSCRIPT","startMs":1200,"endMs":1520}]}]}"#;
const CANARY: &[u8] = b"KEYREEL-CANARY-";

/// Eight seconds of G.711, stereo, whose samples spell the canary.
fn canary_wav() -> Vec<u8> {
    let samples: Vec<u8> = CANARY.iter().copied().cycle().take(8 * 16_000).collect();
    let len = u32::try_from(samples.len()).unwrap();
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((4 + 8 + 18 + 8 + len).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(18u32.to_le_bytes());
    for (value, bytes) in [
        (7u32, 2),
        (2, 2),
        (8000, 4),
        (16_000, 4),
        (2, 2),
        (8, 2),
        (0, 2),
    ] {
        wav.extend(&value.to_le_bytes()[..bytes]);
    }
    wav.extend(b"data");
    wav.extend(len.to_le_bytes());
    wav.extend(samples);
    wav
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_in_comes_out_and_nowhere_lies_in_clear() {
    let temporary_before: Vec<_> = temporary_entries();
    let house = House::new().await;
    let wav = canary_wav();
    house.write("calls/dispute.wav", &wav);
    house.write("calls/dispute.json", METADATA);
    house.write("calls/dispute.transcript.json", TRANSCRIPT);
    let summary = house.import().await;
    let id = RecordingId::parse("4b0a2b6e-5e04-4a84-9e54-7a2c1f3d9b10").unwrap();
    let imported = Outcome::Imported {
        id: id.clone(),
        warnings: Vec::new(),
    };
    assert_eq!(
        summary.outcomes,
        [("calls/dispute.wav".to_owned(), imported)]
    );

    let recordings = house.recordings().await;
    let [recording] = recordings.as_slice() else {
        panic!("{recordings:?}")
    };
    assert_eq!(recording.id, id);
    assert_eq!(
        recording.conversation_id,
        "11f4a0de-3d6b-4c26-8f3e-0c8a1f2b3c4d"
    );
    assert_eq!(
        (recording.media, recording.start_ms),
        (Media::Call, 1_793_697_164_000)
    );
    assert_eq!(recording.duration_ms, 8000);
    assert_eq!(recording.wrap_algorithm, "hpke-mlkem1024-p384");
    assert_eq!(
        recording.details.channels[1].address.as_deref(),
        Some("+14155550134")
    );
    assert_eq!(recording.details.spans[0].end_ms, 80_000);
    let names: Vec<_> = recording
        .parts
        .iter()
        .map(|part| part.name.as_str())
        .collect();
    assert_eq!(names, ["media", "waveform", "transcript"]);
    assert_eq!(recording.parts[0].content_type.as_str(), "audio/wav");

    assert!(house.open(recording, &recording.parts[0]).await == wav);
    assert!(house.open(recording, &recording.parts[2]).await == TRANSCRIPT);
    let waveform = house.open(recording, &recording.parts[1]).await;
    let waveform: serde_json::Value = serde_json::from_slice(&waveform).unwrap();
    assert_eq!(waveform["version"], 2);
    assert_eq!(waveform["channels"], 2);
    assert_eq!(waveform["samples_per_pixel"], 80);
    assert_eq!(waveform["length"], 800);
    assert_eq!(waveform["data"].as_array().unwrap().len(), 800 * 4);

    let mut places = house.files();
    assert!(places.len() >= 4);
    for entry in temporary_entries() {
        let ours = [house.folder.path(), house.calls.path()].contains(&entry.as_path());
        if !ours && !temporary_before.contains(&entry) && entry.is_file() {
            places.push(entry);
        }
    }
    for file in places {
        // Another test's file may go while we look.
        let bytes = std::fs::read(&file).unwrap_or_default();
        let found = bytes.windows(CANARY.len()).any(|window| window == CANARY);
        assert!(!found, "plaintext in {}", file.display());
    }
}

fn temporary_entries() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(std::env::temp_dir()).unwrap();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_import_adds_what_is_new_and_nothing_else() {
    let house = House::new().await;
    house.write("a.wav", canary_wav());
    house.write("sub/b.wav", canary_wav());
    let first = house.import().await;
    assert_eq!(
        first.counts(),
        (2, 0, 0),
        "the same bytes under two names are two recordings"
    );
    let before = (house.recordings().await, house.files().len());
    let second = house.import().await;
    assert_eq!(second.counts(), (0, 2, 0));
    assert_eq!((house.recordings().await, house.files().len()), before);
    let mut changed = canary_wav();
    *changed.last_mut().unwrap() ^= 1;
    house.write("a.wav", &changed);
    house.write("c.wav", canary_wav());
    assert_eq!(
        house.import().await.counts(),
        (2, 1, 0),
        "a file that was replaced is another"
    );
    assert_eq!(house.recordings().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_breaks_off_leaves_nothing_and_is_run_again() {
    let house = House::new().await;
    house.write("a.wav", canary_wav());
    house.write("a.json", METADATA);
    let id = "4b0a2b6e-5e04-4a84-9e54-7a2c1f3d9b10";
    let new = NewRecording {
        id: id.parse().unwrap(),
        tenant: house.tenant.clone(),
        conversation_id: "c".to_owned(),
        media: Media::Call,
        content_type: None,
        start_ms: 0,
        duration_ms: None,
        details: Default::default(),
        transcript: None,
    };
    // The sender goes away in the middle.
    let body = Breaks {
        rest: canary_wav(),
        after: 70_000,
    };
    let result = house.importer.ingest.seal(new.clone(), body, &|_| {}).await;
    assert!(matches!(result, Err(Error::Input { .. })), "{result:?}");
    assert!(house.recordings().await.is_empty());
    let objects = format!("{}/{id}", house.tenant);
    assert_eq!(house.objects.list(&objects).await.unwrap(), [""; 0]);

    // The process is killed in the middle: an object without a row, and half of another.
    house
        .objects
        .put(&format!("{objects}/media.00.krc"), Bytes::from("old"))
        .await
        .unwrap();
    let folder = house.folder.path().join("objects").join(&objects);
    std::fs::write(folder.join(".unfinished-1"), "half").unwrap();
    assert_eq!(house.import().await.counts(), (1, 0, 0));
    let recordings = house.recordings().await;
    let mut expected: Vec<_> = recordings[0]
        .parts
        .iter()
        .map(|part| &part.object)
        .collect();
    let mut found = house.objects.list(&objects).await.unwrap();
    expected.sort();
    found.sort();
    assert_eq!(
        found.iter().collect::<Vec<_>>(),
        expected,
        "leftovers are swept"
    );
    assert!(house.open(&recordings[0], &recordings[0].parts[0]).await == canary_wav());

    let result = house
        .importer
        .ingest
        .seal(new, &*canary_wav(), &|_| {})
        .await;
    assert!(matches!(result, Err(Error::Exists { .. })), "{result:?}");
}

struct Breaks {
    rest: Vec<u8>,
    after: usize,
}

impl AsyncRead for Breaks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.after == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let len = self.after.min(buf.remaining()).min(1000);
        buf.put_slice(&self.rest.drain(..len).collect::<Vec<_>>());
        self.after -= len;
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_imports_of_one_folder_at_once_harm_nothing() {
    let house = House::new().await;
    for name in ["a.wav", "b.wav", "c.wav"] {
        house.write(name, canary_wav());
    }
    let (first, second) = tokio::join!(house.import(), house.import());
    let (first, second) = (first.counts(), second.counts());
    assert_eq!(
        (first.0 + second.0, first.1 + second.1, first.2 + second.2),
        (3, 3, 0)
    );
    let recordings = house.recordings().await;
    assert_eq!(recordings.len(), 3);
    for recording in &recordings {
        assert!(house.open(recording, &recording.parts[0]).await == canary_wav());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bad_is_named_and_the_others_go_on() {
    let house = House::new().await;
    house.write("good.wav", canary_wav());
    house.write("empty.wav", "");
    house.write("zip.wav", b"PK\x03\x04 and so on, as archives begin");
    house.write(
        "text.mp3",
        "This is no audio at all, it is a text of more than 64 characters.",
    );
    for (name, json) in [
        ("unknown-field", r#"{"agent":"Maya"}"#),
        ("bad-time", r#"{"startTime":"yesterday"}"#),
        ("bad-id", r#"{"recordingId":"../../etc"}"#),
        ("not-json", "media: call"),
        (
            "bad-span",
            r#"{"spans":[{"reason":"Hold","startMs":9,"endMs":3}]}"#,
        ),
        ("bad-media", r#"{"media":"fax"}"#),
    ] {
        house.write(&format!("{name}.wav"), canary_wav());
        house.write(&format!("{name}.json"), json);
    }
    house.write("bad-transcript.wav", canary_wav());
    house.write(
        "bad-transcript.transcript.json",
        r#"{"version":1,"text":"hello"}"#,
    );
    let expected = [
        ("bad-id.wav", "recording id"),
        ("bad-media.wav", "fax"),
        ("bad-span.wav", "spans: number 0 ends before it begins"),
        ("bad-time.wav", "yesterday"),
        ("bad-transcript.wav", "utterances"),
        ("empty.wav", "empty"),
        ("not-json.wav", "line 1"),
        ("text.mp3", "no audio"),
        ("unknown-field.wav", "unknown field `agent`"),
        ("zip.wav", "zip archive"),
    ];
    let summary = house.import().await;
    assert_eq!(summary.counts(), (1, 0, expected.len()));
    let failed: Vec<_> = summary
        .outcomes
        .iter()
        .filter_map(|(name, outcome)| match outcome {
            Outcome::Failed { reason } => Some((name.as_str(), reason.as_str())),
            _ => None,
        })
        .collect();
    for ((name, reason), (expected_name, part)) in failed.iter().zip(expected) {
        assert_eq!(*name, expected_name);
        assert!(reason.contains(part), "{name}: {reason}");
    }
    assert_eq!(house.recordings().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_that_is_damaged_or_unknown_is_kept_with_a_warning() {
    let house = House::new().await;
    let path = house.calls.path().join("cut.mp3");
    let tone = ["-f", "lavfi", "-i", "sine=d=20"];
    ffmpeg(&tone, &["-c:a", "libmp3lame", "-b:a", "64k"], &path);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2 + 7]).unwrap();
    ffmpeg(
        &tone,
        &["-c:a", "flac"],
        &house.calls.path().join("tone.flac"),
    );
    house.write(
        "tone.json",
        r#"{"durationMs":20000,"contentType":"audio/mpeg"}"#,
    );
    let mut broken = canary_wav();
    broken[20] = 0x99;
    house.write("codec.wav", broken);

    let summary = house.import().await;
    assert_eq!(summary.counts(), (3, 0, 0), "{summary:?}");
    let warnings: HashMap<&str, &Vec<String>> = summary
        .outcomes
        .iter()
        .map(|(name, outcome)| match outcome {
            Outcome::Imported { warnings, .. } => (name.as_str(), warnings),
            other => panic!("{name}: {other:?}"),
        })
        .collect();
    assert!(
        warnings["codec.wav"][0].contains("no waveform"),
        "{warnings:?}"
    );
    assert!(
        warnings["tone.flac"]
            .iter()
            .any(|text| text.contains("said to be audio/mpeg"))
    );
    let recordings = house.recordings().await;
    let of = |content_type: &str| {
        let matches = |r: &&Recording| r.parts[0].content_type.as_str() == content_type;
        recordings.iter().find(matches).unwrap()
    };
    assert!((9_000..11_000).contains(&of("audio/mpeg").duration_ms));
    assert_eq!(of("audio/mpeg").parts.len(), 2);
    assert_eq!(
        (of("audio/flac").duration_ms, of("audio/flac").parts.len()),
        (20_000, 1)
    );
    assert_eq!(
        (of("audio/wav").duration_ms, of("audio/wav").parts.len()),
        (0, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_in_memory_come_in_like_files_and_progress_adds_up() {
    struct Count(AtomicU64, Mutex<Vec<String>>);
    impl Progress for Count {
        fn bytes(&self, count: u64) {
            self.0.fetch_add(count, Ordering::Relaxed);
        }
        fn done(&self, name: &str, _: &Outcome) {
            self.1.lock().unwrap().push(name.to_owned());
        }
    }
    let house = House::new().await;
    let file = |name: &str, bytes: &[u8]| {
        let input = Input::Memory {
            name: name.to_owned(),
            bytes: Bytes::copy_from_slice(bytes),
        };
        (name.to_owned(), input, None)
    };
    let scan = pair([
        file("a.json", METADATA.as_bytes()),
        file("a.transcript.json", TRANSCRIPT.as_bytes()),
        file("a.wav", &canary_wav()),
        file("b.json", b"{}"),
        file("a.mp3", b"ID3"),
        file("notes.txt", b"not for us"),
    ]);
    let left_out: Vec<_> = scan
        .left_out
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    // Of two with one name the first by name is taken.
    assert_eq!(left_out, ["a.wav", "b.json"]);
    let scan = pair([
        file("a.json", METADATA.as_bytes()),
        file("a.wav", &canary_wav()),
        file("b.wav", &canary_wav()),
    ]);
    let total = scan.bytes();
    let count = Arc::new(Count(AtomicU64::new(0), Mutex::default()));
    for expected in [(2, 0, 0), (0, 2, 0)] {
        let summary = house
            .importer
            .run(&house.tenant, scan.sources.clone(), count.clone())
            .await;
        assert_eq!(summary.counts(), expected);
        assert_eq!(count.0.swap(0, Ordering::Relaxed), total);
        assert_eq!(std::mem::take(&mut *count.1.lock().unwrap()).len(), 2);
    }
}
