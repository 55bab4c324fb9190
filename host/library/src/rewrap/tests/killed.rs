//! A process that re-wraps is killed with -9 at each of its named points, and another goes on.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keyreel_format::wrap::{PrivateKey, WrapAlgorithm};
use keyreel_keys::{Asker, crash};

use super::*;

const FOLDER: &str = "KEYREEL_TEST_FOLDER";
const RETIRE: &str = "KEYREEL_TEST_RETIRE";
const SIGKILL: i32 = 9;
const RECORDINGS: u64 = 10;

impl House {
    /// A provider's keys that outlive the process.
    pub(crate) fn with_keys(self) -> Self {
        for entry in std::fs::read_dir(self.folder.join("keys")).unwrap() {
            let path = entry.unwrap().path();
            let id = format!("kek/{}", path.file_name().unwrap().to_str().unwrap());
            let secret = std::fs::read(&path).unwrap();
            self.hold(&id.parse().unwrap(), &secret);
        }
        self
    }

    fn hold(&self, id: &KekId, secret: &[u8]) -> keyreel_keys::Kek {
        let algorithm = WrapAlgorithm::HpkeMlkem1024P384;
        let key = PrivateKey::from_secret_bytes(algorithm, secret).unwrap();
        let added = self.provider.add_key(&self.tenant, id, algorithm, key);
        added.unwrap()
    }

    /// A key that another process knows too.
    pub(crate) async fn rotate_for_all(&self) -> KekId {
        let keys = self.folder.join("keys");
        std::fs::create_dir_all(&keys).unwrap();
        let number = 100 + std::fs::read_dir(&keys).unwrap().count();
        let id: KekId = format!("kek/{number}").parse().unwrap();
        let key = PrivateKey::generate(WrapAlgorithm::HpkeMlkem1024P384).unwrap();
        let secret = key.secret_bytes().unwrap();
        std::fs::write(keys.join(number.to_string()), &secret).unwrap();
        let kek = self.hold(&id, &secret);
        let (managed, asker) = (&self.managed, Asker::default());
        let registered = self
            .keyring
            .register_kek(&self.tenant, managed, (kek, Policy::Aes256), &asker)
            .await;
        registered.unwrap();
        id
    }

    /// Nobody waits for a dead process's time to be over.
    async fn forget_the_dead(&self) {
        let over = Lease {
            owner: "test".to_owned(),
            now_ms: u64::MAX >> 1,
            until_ms: 0,
        };
        let claimed = self.catalogue.claim_rewrap(&self.tenant, &over).await;
        claimed.unwrap();
    }

    /// As a listener's request does: where the key is gone, the recording was moved meanwhile.
    async fn play(&self, id: &RecordingId) {
        loop {
            let recording = self.row(id).await;
            match self.open(&recording, &recording.parts[0]).await {
                Ok(opened) => return assert_eq!(opened, text(id.as_str()).as_bytes()),
                Err(error) => {
                    let now = self.row(id).await.generation;
                    assert_ne!(now, recording.generation, "{id}: {error}");
                }
            }
        }
    }

    async fn generations(&self) -> Vec<u32> {
        let mut generations = Vec::new();
        for n in 0..RECORDINGS {
            let id = format!("r-{n}").parse().unwrap();
            generations.push(self.row(&id).await.generation);
        }
        generations
    }
}

/// Another process, killed where `crash_at` says.
async fn process(folder: &Path, crash_at: &str, retire: Option<&KekId>) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["rewrap::tests::killed::child", "--exact", "--ignored"])
        .env(FOLDER, folder)
        .env("KEYREEL_CRASH_AT", crash_at);
    if let Some(kek) = retire {
        command.env(RETIRE, kek.as_str());
    }
    let run = tokio::task::spawn_blocking(move || command.output());
    run.await.unwrap().unwrap().status
}

#[tokio::test]
#[ignore = "the other process of the test below"]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    crash::arm(crash::die_as_told);
    let house = House::at(Path::new(&folder)).await.with_keys();
    if let Some(kek) = std::env::var_os(RETIRE) {
        let kek = kek.to_str().unwrap().parse().unwrap();
        house.retire(&kek, 0).await.unwrap();
    } else {
        house.rewrapper.run(&house.tenant).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_nothing_is_lost() {
    let house = Arc::new(House::new().await);
    let mut old = house.rotate_for_all().await;
    for n in 0..RECORDINGS {
        house.add(&format!("r-{n}")).await;
    }
    let (plays, end) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let listening = {
        let (house, plays, end) = (house.clone(), plays.clone(), end.clone());
        tokio::spawn(async move {
            while !end.load(Ordering::Relaxed) {
                let n = plays.fetch_add(1, Ordering::Relaxed) % RECORDINGS;
                house.play(&format!("r-{n}").parse().unwrap()).await;
            }
        })
    };
    let mut before = house.generations().await;
    for (round, point) in [
        "rewrap.claimed",
        "rewrap.unwrapped",
        "rewrap.unwrapped:7",
        "rewrap.record-written",
        "rewrap.record-written:6",
        "rewrap.records-written:3",
        "rewrap.committed",
        "rewrap.committed:10",
        "rewrap.cleaned:4",
    ]
    .into_iter()
    .enumerate()
    {
        let new = house.rotate_for_all().await;
        house.start().await;
        let killed = process(&house.folder, point, None).await;
        assert_eq!(killed.signal(), Some(SIGKILL), "{point}: {killed}");
        // As it was left, everything opens; and again when another process went on.
        for n in 0..RECORDINGS {
            house.check(&format!("r-{n}").parse().unwrap()).await;
        }
        house.forget_the_dead().await;
        let job = house.rewrapper.run(&house.tenant).await.unwrap().unwrap();
        let counts = (job.state, job.total, job.done, job.failed);
        let all = (RewrapState::Done, RECORDINGS, RECORDINGS, 0);
        assert_eq!(counts, all, "{point}: {job:?}");
        assert_eq!(house.counts().await, [(new.to_string(), RECORDINGS)]);
        let now = house.generations().await;
        for (was, is) in before.iter().zip(&now) {
            assert!(was < is, "{point}: {before:?} {now:?}");
        }
        before = now;
        let crash_at = ["retire.recorded", "retire.done"].get(round).copied();
        if let Some(crash_at) = crash_at {
            let killed = process(&house.folder, crash_at, Some(&old)).await;
            assert_eq!(killed.signal(), Some(SIGKILL), "{crash_at}: {killed}");
        }
        assert_eq!(house.retire(&old, 0).await, Ok(KekState::Retired));
        old = new;
    }
    end.store(true, Ordering::Relaxed);
    listening.await.unwrap();
    // What was left between commit and tidying up goes with the next one.
    house.rotate_for_all().await;
    assert_eq!(house.run().await.done, RECORDINGS);
    for n in 0..RECORDINGS {
        let recording = house.check(&format!("r-{n}").parse().unwrap()).await;
        let listed = house.records(&recording).await;
        assert_eq!(listed.len(), 2, "the former one and this: {listed:?}");
    }
    assert!(plays.load(Ordering::Relaxed) > 20);
}
