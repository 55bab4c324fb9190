//! What lies on disk: sealed, private, and moved in and out as PEM.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use keyreel_format::WrapAlgorithm;
use keyreel_keys::SystemClock;
use keyreel_lkm::{Error, KeyPairs, Padding, Settings};
use uuid::Uuid;

use crate::client::Sending;
use crate::{Fixture, wrapped};

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(folder)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[tokio::test]
async fn nothing_secret_lies_open() {
    let fixture = Fixture::new().await;
    let (body, dek) = fixture.wrapped();
    let sending = Sending::new(fixture.now(), &body);
    assert_eq!(fixture.client.ask(&sending).await.0, 200);
    let pem = fixture.pairs.export_pair(fixture.pair.id).unwrap();
    let line = pem.lines().nth(20).unwrap().to_owned();
    let key = fixture.client.key.clone();
    let folder = fixture.stop().await;
    let found = files(folder.path());
    assert!(found.len() >= 6, "{found:?}");
    for path in found {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
        let contents = std::fs::read(&path).unwrap();
        for secret in [line.as_bytes(), key.as_bytes(), dek.expose()] {
            let there = contents.windows(secret.len()).any(|part| part == secret);
            assert!(!there, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn pairs_rotate_and_old_ones_go_on() {
    let fixture = Fixture::new().await;
    let (old, _) = fixture.wrapped();
    let newer = fixture
        .pairs
        .add_pair(Padding::OaepSha1, &*fixture.clock)
        .unwrap();
    let (sha1, _) = wrapped(&newer, WrapAlgorithm::RsaOaepSha1, &fixture.pairs);
    for body in [old, sha1] {
        let sending = Sending::new(fixture.now(), &body);
        assert_eq!(fixture.client.ask(&sending).await.0, 200);
    }
    // A pair has one padding: the other one does not open.
    let (sha256, _) = wrapped(&newer, WrapAlgorithm::RsaOaepSha256, &fixture.pairs);
    let sending = Sending::new(fixture.now(), &sha256);
    assert_eq!(fixture.client.ask(&sending).await.0, 422);
}

#[test]
fn keys_come_and_go_as_pem() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::new(&folder.path().join("data"));
    let pairs = KeyPairs::create(&settings.data, &settings.key_file).unwrap();
    let pair = pairs.add_pair(Padding::OaepSha1, &SystemClock).unwrap();
    let pem = pairs.export_pair(pair.id).unwrap();

    let other = folder.path().join("other");
    let settings = Settings::new(&other);
    let others = KeyPairs::create(&settings.data, &settings.key_file).unwrap();
    let imported = others
        .import_pair(pair.id, pem.as_bytes(), Padding::OaepSha1, &SystemClock)
        .unwrap();
    assert_eq!(imported.public_key, pair.public_key);
    assert_eq!(*others.export_pair(pair.id).unwrap(), *pem);
    let again = others.import_pair(pair.id, pem.as_bytes(), Padding::OaepSha1, &SystemClock);
    assert!(matches!(again, Err(Error::Exists { .. })));
    let nonsense = others.import_pair(Uuid::nil(), b"hello", Padding::OaepSha1, &SystemClock);
    assert!(matches!(nonsense, Err(Error::NotAPrivateKey)));

    // PKCS#1, as openssl writes it.
    let file = folder.path().join("key.pem");
    std::fs::write(&file, pem.as_bytes()).unwrap();
    let converted = std::process::Command::new("openssl")
        .args(["rsa", "-traditional", "-in"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(converted.status.success());
    let id = Uuid::from_u128(7);
    let imported = others
        .import_pair(id, &converted.stdout, Padding::OaepSha1, &SystemClock)
        .unwrap();
    assert_eq!(imported.public_key, pair.public_key);
}

#[test]
fn files_cannot_stand_in_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::new(&folder.path().join("data"));
    let pairs = KeyPairs::create(&settings.data, &settings.key_file).unwrap();
    let one = pairs.add_pair(Padding::OaepSha256, &SystemClock).unwrap();
    let two = pairs.add_pair(Padding::OaepSha256, &SystemClock).unwrap();
    let file = |id: Uuid| settings.data.join(format!("pairs/{id}.json"));
    std::fs::copy(file(one.id), file(two.id)).unwrap();
    assert!(matches!(
        pairs.export_pair(two.id),
        Err(Error::Damaged { .. })
    ));
    // Nor can the padding be lowered.
    let text = std::fs::read_to_string(file(one.id)).unwrap();
    std::fs::write(file(one.id), text.replace("oaep-sha256", "oaep-sha1")).unwrap();
    assert!(matches!(
        pairs.export_pair(one.id),
        Err(Error::Damaged { .. })
    ));
    // Another key file opens nothing, and none is made where one is missing.
    let missing = folder.path().join("missing.key");
    assert!(KeyPairs::create(&settings.data, &missing).is_err());
    assert!(!missing.exists());
    let other = folder.path().join("other.key");
    keyreel_keys::generate_master_key(&other).unwrap();
    assert!(KeyPairs::open(&settings.data, &other).is_err());
}
