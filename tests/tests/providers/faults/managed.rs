//! Managed keys: there is no key service to fail, so what fails is what lies in the catalogue, the
//! keystore and the recordings themselves.

use keyreel_format::{Dek, KekId, Recipient, RecordingId, WrapAlgorithm, wrap};
use keyreel_keys::{ErrorClass as C, KekStore as _};
use sha2::{Digest as _, Sha256};

use crate::rig::{MANAGED, MANAGED_AES256, Rig, keep_logs, new_recording, provider, tenant};

/// What the audit log is to have.
enum Record {
    /// The provider was asked and refused.
    Refused(C),
    /// It gave a key, and the key was not the recording's.
    WrongKey,
    /// Nobody was asked: what the header names is not bound to the tenant, or cannot be looked up.
    NobodyAsked,
}

use Record::{NobodyAsked, Refused, WrongKey};

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_managed_keys() {
    keep_logs();
    let rig = Rig::new().await;
    let mut count = 0;
    for of in [MANAGED, MANAGED_AES256] {
        count += recordings(&rig, of).await;
        count += keys(&rig, of).await;
    }
    count += stores(&rig).await;
    assert!(count >= 30, "{count}");
    rig.assert_no_secret_was_told().await;
}

/// Its name, what it does to a header's recipient, and what is to come of it.
type Fault = (&'static str, fn(&mut Recipient), Record, u16);

/// Faults of what a recording's header holds.
async fn recordings(rig: &Rig, of: &str) -> usize {
    let (_, kek) = rig
        .catalogue
        .current_kek(&tenant(of))
        .await
        .unwrap()
        .unwrap();
    let algorithm = WrapAlgorithm::parse(&kek.algorithm).unwrap();
    let other = if algorithm == WrapAlgorithm::RsaOaepSha256 {
        WrapAlgorithm::RsaOaepSha1
    } else {
        WrapAlgorithm::RsaOaepSha256
    };
    let others_key = wrap::PrivateKey::generate(algorithm).unwrap();
    let faults: Vec<Fault> = vec![
        (
            "first bit",
            |r| r.wrapped_dek[0] ^= 0x80,
            Refused(C::Integrity),
            422,
        ),
        (
            "a bit in the middle",
            |r| {
                let middle = r.wrapped_dek.len() / 2;
                r.wrapped_dek[middle] ^= 1;
            },
            Refused(C::Integrity),
            422,
        ),
        (
            "last bit",
            |r| *r.wrapped_dek.last_mut().unwrap() ^= 1,
            Refused(C::Integrity),
            422,
        ),
        (
            "a byte less",
            |r| r.wrapped_dek.truncate(r.wrapped_dek.len() - 1),
            Refused(C::Integrity),
            422,
        ),
        (
            "a byte more",
            |r| r.wrapped_dek.push(0),
            Refused(C::Integrity),
            422,
        ),
        (
            "one byte only",
            |r| r.wrapped_dek.truncate(1),
            Refused(C::Integrity),
            422,
        ),
        (
            "all zeros",
            |r| r.wrapped_dek.fill(0),
            Refused(C::Integrity),
            422,
        ),
        (
            "all ones",
            |r| r.wrapped_dek.fill(0xff),
            Refused(C::Integrity),
            422,
        ),
        (
            "an unknown KEK",
            |r| r.kek = KekId::parse("kek/77").unwrap(),
            NobodyAsked,
            404,
        ),
        (
            "another provider",
            |r| r.provider = provider("lkm"),
            NobodyAsked,
            404,
        ),
        (
            "a provider that is not there",
            |r| r.provider = provider("nobody"),
            NobodyAsked,
            404,
        ),
    ];
    let mut count = faults.len();
    for (name, fault, record, status) in faults {
        let (id, dek) = (new_recording(), Dek::generate());
        let mut wrapped = rig.keyring.wrap(&tenant(of), &id, &dek).await.unwrap();
        fault(&mut wrapped.recipients[0]);
        rig.add(of, &id, wrapped.recipients, &dek).await;
        check(rig, of, &id, name, &record, status).await;
    }

    // Those that need keys.
    let wrapped_for = |public_key: &[u8], recording: &RecordingId, dek: &Dek| {
        let context = wrap::context(&tenant(of), recording);
        wrap::wrap(algorithm, public_key, &context, dek).unwrap()
    };
    let recipient = |algorithm, wrapped_dek| Recipient {
        algorithm,
        provider: provider("managed"),
        kek: kek.id.clone(),
        wrapped_dek,
        info: Vec::new(),
    };
    for name in [
        "another algorithm",
        "another tenant's key",
        "another DEK",
        "another recording",
    ] {
        let (id, dek) = (new_recording(), Dek::generate());
        let right = wrapped_for(&kek.public_key, &id, &dek);
        let (recipient, record, status) = match name {
            "another algorithm" => (recipient(other, right), NobodyAsked, 404),
            "another tenant's key" => {
                let wrapped = wrapped_for(&others_key.public_key().unwrap(), &id, &dek);
                (recipient(algorithm, wrapped), Refused(C::Integrity), 422)
            }
            "another DEK" => {
                let wrapped = wrapped_for(&kek.public_key, &id, &Dek::generate());
                (recipient(algorithm, wrapped), WrongKey, 422)
            }
            _ if algorithm == WrapAlgorithm::HpkeMlkem1024P384 => {
                let wrapped = wrapped_for(&kek.public_key, &new_recording(), &dek);
                (recipient(algorithm, wrapped), Refused(C::Integrity), 422)
            }
            // RSA-OAEP has no place for a context: there the header's MAC binds the recording.
            _ => continue,
        };
        rig.add(of, &id, vec![recipient], &dek).await;
        check(rig, of, &id, name, &record, status).await;
        count += 1;
    }
    count
}

/// Faults of the tenant's keys, mended afterwards.
async fn keys(rig: &Rig, of: &str) -> usize {
    let key = format!("FROM tenant WHERE id = '{of}'");
    let mine = format!("tenant = (SELECT key {key})");
    let others = if of == MANAGED {
        MANAGED_AES256
    } else {
        MANAGED
    };
    let theirs = format!("tenant = (SELECT key FROM tenant WHERE id = '{others}')");
    let faults = [
        (
            "private key damaged",
            format!("UPDATE sealed_key SET sealed = zeroblob(length(sealed)) WHERE {mine}"),
            Refused(C::Internal),
            502,
        ),
        (
            "private key cut",
            format!("UPDATE sealed_key SET sealed = substr(sealed, 1, 20) WHERE {mine}"),
            Refused(C::Internal),
            502,
        ),
        (
            "another tenant's private key",
            format!(
                "UPDATE sealed_key SET sealed = (SELECT sealed FROM sealed_key WHERE {theirs} AND \
                 provider = 'managed') WHERE {mine}"
            ),
            Refused(C::Internal),
            502,
        ),
        (
            "private key said to be of another algorithm",
            format!("UPDATE sealed_key SET algorithm = 'rsa-oaep-sha1' WHERE {mine}"),
            Refused(C::Internal),
            502,
        ),
        (
            "private key gone",
            format!("DELETE FROM sealed_key WHERE {mine}"),
            Refused(C::NotFound),
            404,
        ),
        (
            "KEK retired",
            format!("UPDATE kek SET state = 'retired' WHERE {mine}"),
            NobodyAsked,
            403,
        ),
        (
            "KEK gone",
            format!("DELETE FROM kek WHERE {mine}"),
            NobodyAsked,
            404,
        ),
    ];
    let (id, plaintext) = rig.recording(of).await;
    let mut count = 0;
    for (name, statement, record, status) in faults {
        rig.sql("CREATE TABLE sealed_key_kept AS SELECT * FROM sealed_key")
            .await;
        rig.sql("CREATE TABLE kek_kept AS SELECT * FROM kek").await;
        rig.sql(&statement).await;
        check(rig, of, &id, name, &record, status).await;
        for table in ["sealed_key", "kek"] {
            rig.sql(&format!("DELETE FROM {table}")).await;
            rig.sql(&format!("INSERT INTO {table} SELECT * FROM {table}_kept"))
                .await;
            rig.sql(&format!("DROP TABLE {table}_kept")).await;
        }
        plays_again(rig, of, &id, name, &plaintext).await;
        count += 1;
    }

    let root = root_file(rig, of);
    let kept = std::fs::read(&root).unwrap();
    let mut damaged = kept.clone();
    *damaged.last_mut().unwrap() ^= 1;
    // What is known of the recording is sealed under the root as well: no key is asked for then.
    for (name, content, status) in [
        ("root key damaged", Some(damaged), 500),
        ("root key cut", Some(kept[..7].to_vec()), 500),
        (
            "root key of another tenant",
            Some(std::fs::read(root_file(rig, others)).unwrap()),
            500,
        ),
        ("root key gone", None, 410),
    ] {
        match content {
            Some(content) => std::fs::write(&root, content).unwrap(),
            None => std::fs::remove_file(&root).unwrap(),
        }
        check(rig, of, &id, name, &NobodyAsked, status).await;
        std::fs::write(&root, &kept).unwrap();
        plays_again(rig, of, &id, name, &plaintext).await;
        count += 1;
    }
    count
}

/// Faults of the catalogue itself.
async fn stores(rig: &Rig) -> usize {
    let (id, plaintext) = rig.recording(MANAGED).await;
    let tables = [
        ("sealed_key", Refused(C::Unavailable), 503),
        ("kek", NobodyAsked, 503),
    ];
    let count = tables.len() + 1;
    for (table, record, status) in tables {
        rig.sql(&format!("ALTER TABLE {table} RENAME TO {table}_away"))
            .await;
        check(rig, MANAGED, &id, table, &record, status).await;
        rig.sql(&format!("ALTER TABLE {table}_away RENAME TO {table}"))
            .await;
        plays_again(rig, MANAGED, &id, table, &plaintext).await;
    }
    // Nothing is unwrapped that cannot be recorded.
    rig.keyring.purge(&tenant(MANAGED));
    rig.sql(
        "CREATE TRIGGER no_audit BEFORE INSERT ON audit WHEN NEW.action LIKE 'key.%' \
         BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .await;
    let before = rig.audit(MANAGED, &id).await.len();
    let played = rig.play(MANAGED, &id).await;
    assert_eq!(
        (played.status, played.code.as_deref()),
        (503, Some("audit-unavailable"))
    );
    assert_eq!(rig.audit(MANAGED, &id).await.len(), before);
    rig.sql("DROP TRIGGER no_audit").await;
    plays_again(rig, MANAGED, &id, "audit", &plaintext).await;
    count
}

async fn check(rig: &Rig, of: &str, id: &RecordingId, name: &str, record: &Record, status: u16) {
    rig.keyring.purge(&tenant(of));
    let before = rig.audit(of, id).await.len();
    let played = rig.play(of, id).await;
    let audit = rig.audit(of, id).await;
    let lines: Vec<_> = audit[before..]
        .iter()
        .map(|event| (event.action.as_str(), event.outcome.as_str()))
        .collect();
    let expected = match record {
        Refused(C::Integrity) => vec![
            ("key.unwrap.requested", "ok"),
            ("key.unwrap.refused", "integrity"),
            ("integrity.failed", "integrity"),
        ],
        Refused(class) => vec![
            ("key.unwrap.requested", "ok"),
            ("key.unwrap.refused", class.as_str()),
        ],
        WrongKey => vec![
            ("key.unwrap.requested", "ok"),
            ("key.unwrapped", "ok"),
            ("integrity.failed", "integrity"),
        ],
        NobodyAsked => Vec::new(),
    };
    assert_eq!(lines, expected, "{of}: {name}: {:?}", played.code);
    assert_eq!(played.status, status, "{of}: {name}: {:?}", played.code);
    assert_eq!(played.retry_after.is_some(), status == 503, "{of}: {name}");
}

async fn plays_again(rig: &Rig, of: &str, id: &RecordingId, name: &str, plaintext: &[u8]) {
    rig.keyring.purge(&tenant(of));
    let played = rig.play(of, id).await;
    assert_eq!(played.status, 200, "{of}: after {name}: {:?}", played.code);
    assert!(played.body == plaintext, "{of}: after {name}");
}

/// Where the keystore has a tenant's root.
fn root_file(rig: &Rig, of: &str) -> std::path::PathBuf {
    let name = format!("{}.root", hex::encode(Sha256::digest(of)));
    let keystore = rig.folder.path().join("keystore");
    std::fs::read_dir(keystore)
        .unwrap()
        .map(|entry| entry.unwrap().path().join(&name))
        .find(|path| path.exists())
        .unwrap()
}
