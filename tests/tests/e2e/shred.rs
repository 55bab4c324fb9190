//! Crypto-shredding, proven with copies: whatever backups of the data and of the keystore are put
//! together, nothing that was destroyed opens, and all else does.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

mod search;

use anyhow::Context;
use bytes::BytesMut;
use keyreel_format::Header;
use keyreel_keys::{
    DekTtl, KekId, KekStore as _, Keystore, ProviderId, TenantId, TenantVault as _, Vault,
};
use keyreel_library::{Catalogue as _, DestructionStore as _, Objects, SqliteCatalogue};
use keyreel_tests::{Client, Demo, JsonResponse as _, keyreel, noise_wave};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Sent in for each of two tenants, beside what the demo has.
const RECORDINGS: u32 = 250;
const LEN: u32 = 4000;

/// What was sent in, by recording.
type Calls = HashMap<String, Vec<u8>>;

#[tokio::test(flavor = "multi_thread")]
async fn no_backup_brings_back_a_shredded_tenant() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let demo = Demo::start_with(&data, &["--dek-ttl", "1"])?;
    let (doomed, kept) = ("compatible", "aes256");
    let mut calls: HashMap<&str, Calls> = HashMap::new();
    let mut backups = Vec::new();
    // Half before the first backup, half before the second, under another key and another epoch.
    for half in 0..2 {
        for policy in [doomed, kept] {
            let admin = demo.admin(policy);
            for n in 0..RECORDINGS / 2 {
                let audio = noise_wave(LEN + n, u64::from(half * 1000 + n));
                let id = admin
                    .ingest(&format!("c-{half}-{n}"), audio.clone())
                    .await?;
                calls.entry(policy).or_default().insert(id, audio);
            }
        }
        backups.push(Backup::take(
            &demo,
            &folder.path().join(format!("backup-{half}")),
        )?);
        let tenant = &demo.tenant(doomed).id;
        ok(&run(&demo, &["keys", "rotate", "--tenant", tenant])?)?;
        ok(&run(&demo, &["keystore", "rekey"])?)?;
    }
    let mut found = Vec::new();
    for policy in [doomed, kept] {
        let opened = opened(&demo.agent(policy), &calls[policy]).await;
        found.push(opened);
    }
    assert_eq!(found, [RECORDINGS as usize; 2], "all open before");

    // A stream that is open meanwhile ends. What is not confirmed does nothing.
    let tenant = demo.tenant(doomed).id.clone();
    let path = format!("/api/v1/tenants/{tenant}/destructions");
    let admin = demo.admin(doomed);
    let asked = json!({"scope": {"kind": "tenant"}});
    let (status, preview) = admin
        .json(Method::POST, &format!("{path}/preview"), &asked)
        .await?;
    assert_eq!(
        (status, &preview["confirm"]),
        (StatusCode::OK, &json!(format!("destroy {tenant}")))
    );
    let mut wanted =
        json!({"scope": {"kind": "tenant"}, "reason": "the contract has ended", "confirm": "yes"});
    let (status, refused) = admin.json(Method::POST, &path, &wanted).await?;
    assert_eq!(status, 400, "{refused}");
    wanted["confirm"] = preview["confirm"].clone();
    let (status, asked) = admin.json(Method::POST, &path, &wanted).await?;
    assert_eq!(status, 202, "{asked}");
    let id = asked["id"].as_str().context("id")?.to_owned();
    let done = until_done(&admin, &path).await?;
    assert_eq!(done["certified"], json!(true), "{done}");

    // Here and now.
    assert_eq!(opened(&demo.agent(doomed), &calls[doomed]).await, 0);
    assert_eq!(
        opened(&demo.agent(kept), &calls[kept]).await,
        RECORDINGS as usize
    );
    let (status, made) = admin
        .json(
            Method::POST,
            "/api/v2/recording/keyconfigurations",
            &json!({"keyConfigurationType": "Native"}),
        )
        .await?;
    assert!(status.as_u16() >= 400, "nothing new is made for it: {made}");
    certificate(&demo, &tenant, &id)?;
    let verified = run(&demo, &["audit", "verify"])?;
    ok(&verified)?;
    demo.stop()?;
    backups.push(Backup::of(&data, &folder.path().join("backup-after"))?);

    // Every combination: the catalogue and the objects of one moment, the keystore of another, with
    // the master key and the epoch key as they are now.
    for (d, with) in backups.iter().enumerate() {
        for (k, keys) in backups.iter().enumerate() {
            let place = folder.path().join(format!("restored-{d}-{k}"));
            put_together(&place, &with.folder, &keys.folder, &data)?;
            let current = k == backups.len() - 1;
            if current && d < k {
                resume_audit(&place)?;
            }
            let started = Demo::start_with(&place, &["--dek-ttl", "1"]);
            let Ok(demo) = started else {
                let log = std::fs::read_to_string(place.with_extension("log"))?;
                assert!(
                    !current && log.contains("it is from a backup"),
                    "{d} {k}: {log}"
                );
                continue;
            };
            assert!(current, "a keystore from before opens: {d} {k}");
            assert_eq!(
                opened(&demo.agent(doomed), &calls[doomed]).await,
                0,
                "data {d}"
            );
            let expected = if d == 0 { RECORDINGS / 2 } else { RECORDINGS };
            assert_eq!(
                opened(&demo.agent(kept), &calls[kept]).await,
                expected as usize,
                "data {d}"
            );
        }
    }
    // Single files of older keystores among those of now.
    for keys in &backups[..2] {
        let place = folder.path().join("mixed");
        remove(&place)?;
        put_together(&place, &backups[1].folder, &backups[2].folder, &data)?;
        resume_audit(&place)?;
        for entry in std::fs::read_dir(keys.folder.join("keystore/roots"))? {
            let entry = entry?;
            let target = place.join("keystore/roots").join(entry.file_name());
            if !target.exists() {
                std::fs::copy(entry.path(), target)?;
            }
        }
        let error = Demo::start_with(&place, &["--dek-ttl", "1"]).map(drop);
        let error = format!(
            "{:#}",
            error.err().context("a root of a former epoch opens")?
        );
        assert!(error.contains("it is from a backup"), "{error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_recording_goes_and_all_others_stay() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let demo = Demo::start_with(&data, &["--dek-ttl", "1"])?;
    let (admin, agent) = (demo.admin("compatible"), demo.agent("compatible"));
    let mut calls = Calls::new();
    for n in 0..20 {
        let audio = noise_wave(LEN + n, u64::from(n));
        calls.insert(admin.ingest(&format!("c-{n}"), audio.clone()).await?, audio);
    }
    let backup = Backup::take(&demo, &folder.path().join("backup"))?;
    let tenant = demo.tenant("compatible").id.clone();
    let gone = calls.keys().next().context("a call")?.clone();
    let asked = [
        "keys",
        "shred",
        "--tenant",
        &tenant,
        "--recording",
        &gone,
        "--reason",
        "asked for by its owner",
    ];
    let unconfirmed = run(&demo, &asked)?;
    assert_eq!(unconfirmed.status.code(), Some(64));
    let hint = String::from_utf8_lossy(&unconfirmed.stderr).into_owned();
    assert!(hint.contains("destroy 1 recordings"), "{hint}");
    let confirmed = [&asked[..], &["--confirm", "destroy 1 recordings"]].concat();
    let done = ok(&run(&demo, &confirmed)?)?;
    assert_eq!(
        (&done["state"], &done["recordings"]),
        (&json!("done"), &json!(1)),
        "{done}"
    );

    let audio = calls.remove(&gone).context("its audio")?;
    let one = Calls::from([(gone.clone(), audio)]);
    // The server hears of it within a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(opened(&agent, &one).await, 0);
    assert_eq!(opened(&agent, &calls).await, calls.len());
    // The next key is another one, and what was under the former one plays from a key record.
    let keys = run(&demo, &["keys", "list", "--tenant", &tenant])?;
    let listed = String::from_utf8_lossy(&keys.stdout).into_owned();
    assert!(
        listed.contains("retired") && listed.contains("current"),
        "{listed}"
    );
    demo.stop()?;

    // From the backup of the data, with the keystore of now: it is there, and does not open; neither
    // do the others, of which that backup has no later key record.
    let place = folder.path().join("restored");
    put_together(&place, &backup.folder, &data, &data)?;
    resume_audit(&place)?;
    let demo = Demo::start_with(&place, &["--dek-ttl", "1"])?;
    assert_eq!(opened(&demo.agent("compatible"), &one).await, 0);
    Ok(())
}

/// What an operator does who put back an older catalogue: the audit log would not go on by itself.
fn resume_audit(place: &Path) -> anyhow::Result<()> {
    let mut command = keyreel();
    command.args([
        "audit",
        "resume",
        "--reason",
        "a backup was put back",
        "--config",
    ]);
    let resumed = command.arg(place.join("keyreel.toml")).output()?;
    anyhow::ensure!(resumed.status.success(), "{resumed:?}");
    Ok(())
}

/// What a tenant's keys are, read with the keystore while it is there.
struct Secrets {
    /// DEKs, and pieces of the private KEK as it is stored and as aws-lc has it in memory.
    keys: Vec<Vec<u8>>,
    /// The sealed private KEK, as the catalogue has it.
    sealed: Vec<Vec<u8>>,
}

impl Secrets {
    async fn of(demo: &Demo, tenant: &str) -> anyhow::Result<Self> {
        let (tenant, managed): (TenantId, ProviderId) = (tenant.parse()?, "managed".parse()?);
        let kek: KekId = "kek/1".parse()?;
        let data = &demo.data;
        let keystore = Keystore::open(&data.join("keystore"), &data.join("secrets/master.key"))?;
        // A copy: the program alone has its own open.
        let copy = tempfile::tempdir()?;
        let backup = Backup::take(demo, &copy.path().join("data"))?;
        let url = format!(
            "sqlite://{}",
            backup.folder.join("catalogue.sqlite").display()
        );
        let catalogue = std::sync::Arc::new(SqliteCatalogue::open(&url).await?);
        let vault = Vault::new(keystore.into(), catalogue.clone(), DekTtl::default());
        let private = vault.private_key(&tenant, &managed, kek.as_str()).await?;
        let private = private.context("the private KEK")?;
        let der = private.secret_bytes()?;
        let middle = der
            .get(der.len() / 2..der.len() / 2 + 40)
            .context("a long key")?;
        let mut keys = vec![middle.to_vec(), middle.iter().rev().copied().collect()];
        let objects = url::Url::from_directory_path(data.join("objects"))
            .ok()
            .context("a URL")?;
        let objects = Objects::open(objects.as_str())?;
        for doomed in catalogue.doomed_recordings(&tenant, None, 1000).await? {
            let object = doomed.objects.first().context("an object")?;
            let handle = objects.get(object, None).await?;
            let head = handle.read(0..4096, BytesMut::new()).await?;
            let header = Header::parse(&head)?;
            let recipient = header
                .key_block()
                .recipients
                .first()
                .context("a recipient")?;
            let dek = private.unwrap(recipient.algorithm, &recipient.wrapped_dek, &[])?;
            keys.push(dek.expose().to_vec());
        }
        let sealed = catalogue
            .sealed_key(&tenant, &managed, kek.as_str())
            .await?;
        let sealed = sealed.context("the sealed KEK")?.sealed;
        catalogue.close().await;
        Ok(Self {
            keys,
            sealed: vec![sealed.get(..64).context("a long key")?.to_vec()],
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_memory_nor_disk_keeps_a_shredded_tenants_keys() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let demo = Demo::start(&folder.path().join("data"))?;
    let (admin, agent) = (demo.admin("compatible"), demo.agent("compatible"));
    let mut calls = Calls::new();
    for n in 0..20 {
        let audio = noise_wave(LEN + n, u64::from(n));
        calls.insert(admin.ingest(&format!("c-{n}"), audio.clone()).await?, audio);
    }
    let tenant = demo.tenant("compatible").id.clone();
    let secrets = Secrets::of(&demo, &tenant).await?;
    assert_eq!(opened(&agent, &calls).await, calls.len());
    // That it finds them while they are in use is what makes it worth anything that it does not later.
    let in_use = search::in_memory(demo.process(), &secrets.keys)?;
    assert!(in_use > calls.len(), "{in_use} of {}", secrets.keys.len());
    assert_eq!(search::on_disk(&demo.data, &secrets.sealed)?, 1);
    assert_eq!(
        search::on_disk(&demo.data, &secrets.keys)?,
        0,
        "never in the clear"
    );

    let path = format!("/api/v1/tenants/{tenant}/destructions");
    let wanted = json!({"scope": {"kind": "tenant"}, "reason": "a test", "confirm": format!("destroy {tenant}")});
    let (status, asked) = admin.json(Method::POST, &path, &wanted).await?;
    assert_eq!(status, StatusCode::ACCEPTED, "{asked}");
    until_done(&admin, &path).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        search::in_memory(demo.process(), &secrets.keys)?,
        0,
        "in memory"
    );
    assert_eq!(search::on_disk(&demo.data, &secrets.keys)?, 0, "on disk");
    assert_eq!(
        search::on_disk(&demo.data, &secrets.sealed)?,
        0,
        "not even sealed"
    );
    Ok(())
}

/// How many open, and as what was sent in.
async fn opened(client: &Client, calls: &Calls) -> usize {
    let mut opened = 0;
    for (id, audio) in calls {
        let played = async {
            let media = client.playback(id).await?.media_uri;
            client.range(&media, 0, audio.len() as u64 - 1).await
        };
        let played: anyhow::Result<_> = played.await;
        if let Ok(bytes) = played {
            assert_eq!(bytes, *audio, "{id} plays as something else");
            opened += 1;
        }
    }
    opened
}

async fn until_done(admin: &Client, path: &str) -> anyhow::Result<Value> {
    for _ in 0..600 {
        let all: Value = admin.send(Method::GET, path, &[]).await?.json().await?;
        let newest = all.pointer("/entities/0").context("none")?.clone();
        match newest.get("state").and_then(Value::as_str) {
            Some("running") => tokio::time::sleep(Duration::from_millis(100)).await,
            Some("done") => return Ok(newest),
            _ => anyhow::bail!("{all}"),
        }
    }
    anyhow::bail!("it does not end")
}

/// The certificate is checked by the program, and by Python's `cryptography` alone.
fn certificate(demo: &Demo, tenant: &str, id: &str) -> anyhow::Result<()> {
    let shown = run(
        demo,
        &["keys", "certificate", "show", id, "--tenant", tenant],
    )?;
    let envelope = String::from_utf8(shown.stdout)?;
    let file = demo.data.with_extension("certificate.json");
    std::fs::write(&file, &envelope)?;
    let key: Value = ok(&run(demo, &["audit", "key"])?)?;
    let key = key.get("publicKey").and_then(Value::as_str);
    let key = key.context("publicKey")?.to_owned();
    let verify = |key: &str| {
        let mut command = keyreel();
        command.args(["keys", "certificate", "verify"]).arg(&file);
        command.args(["--key", key]).output()
    };
    let says = verify(&key)?;
    anyhow::ensure!(says.status.success(), "{says:?}");
    let says: Value = serde_json::from_slice(&says.stdout)?;
    assert_eq!(
        (says.get("tenant"), says.get("reason")),
        (Some(&json!(tenant)), Some(&json!("the contract has ended")))
    );
    assert!(
        says.get("recordings").and_then(Value::as_u64) >= Some(u64::from(RECORDINGS)),
        "{says}"
    );
    assert!(
        says.pointer("/remaining/0")
            .and_then(Value::as_str)
            .is_some_and(|step| step.contains("epoch")),
        "{says}"
    );
    let other = "A".repeat(43) + "=";
    assert!(!verify(&other)?.status.success(), "another key's");
    let script = keyreel_tests::root().join("tests/interop/certificate.py");
    let python = keyreel_tests::root().join("tests/.venv/bin/python");
    let checked = Command::new(python)
        .arg(script)
        .arg(&file)
        .arg(&key)
        .output()?;
    anyhow::ensure!(checked.status.success(), "{checked:?}");
    Ok(())
}

fn run(demo: &Demo, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = keyreel();
    command.args(arguments).arg("--config").arg(demo.config());
    Ok(command.output()?)
}

/// What a command that succeeded printed, if that is JSON.
fn ok(output: &Output) -> anyhow::Result<Value> {
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// A copy of everything but the keys outside the keystore.
struct Backup {
    folder: PathBuf,
}

impl Backup {
    /// Of a running demo, with SQLite's own means for a sound copy.
    fn take(demo: &Demo, folder: &Path) -> anyhow::Result<Self> {
        let backup = Self::of(&demo.data, folder)?;
        for extra in [
            "catalogue.sqlite-wal",
            "catalogue.sqlite-shm",
            "catalogue.sqlite",
        ] {
            let _ = std::fs::remove_file(folder.join(extra));
        }
        let script = "import sqlite3, sys\n\
                      source, target = map(sqlite3.connect, sys.argv[1:])\n\
                      source.backup(target)\ntarget.close()";
        let out = Command::new(keyreel_tests::root().join("tests/.venv/bin/python"))
            .args(["-c", script])
            .arg(demo.data.join("catalogue.sqlite"))
            .arg(folder.join("catalogue.sqlite"))
            .output()?;
        anyhow::ensure!(out.status.success(), "{out:?}");
        Ok(backup)
    }

    fn of(data: &Path, folder: &Path) -> anyhow::Result<Self> {
        copy(data, folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }
}

/// The data of one backup and the keystore of another, with the keys outside it as they are now.
fn put_together(place: &Path, data: &Path, keystore: &Path, now: &Path) -> anyhow::Result<()> {
    copy(data, place)?;
    remove(&place.join("keystore"))?;
    copy(&keystore.join("keystore"), &place.join("keystore"))?;
    for secret in ["secrets/master.key", "secrets/master.key.epoch"] {
        std::fs::copy(now.join(secret), place.join(secret))?;
    }
    Ok(())
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if entry.file_type()?.is_file() {
            // What goes while it is copied was not to be in it.
            match std::fs::copy(entry.path(), target) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
    }
    Ok(())
}
