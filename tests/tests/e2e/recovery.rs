//! The recovery drill, as an operator does it: a key made offline, set, older recordings taken
//! along; then everything is lost but the sealed objects and that key.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::Context;
use keyreel_tests::{Demo, keyreel, noise_wave};
use serde_json::{Value, json};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// One line of JSON of a command that went well.
fn data(output: &Output) -> anyhow::Result<Value> {
    anyhow::ensure!(output.status.success(), "{}", stderr(output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// `keyreel recovery new`; its answer and both files.
fn new_key(algorithm: &str, folder: &Path) -> anyhow::Result<(Value, PathBuf, PathBuf)> {
    let made = keyreel()
        .args(["recovery", "new", "--algorithm", algorithm, "--out"])
        .arg(folder)
        .output()?;
    let made = data(&made)?;
    let file = |name: &str| {
        let path = made.get(name).and_then(Value::as_str);
        path.map(PathBuf::from).context("a file")
    };
    let (private, public) = (file("privateKey")?, file("publicKey")?);
    Ok((made, private, public))
}

fn keys(demo: &Demo, policy: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = keyreel();
    command.arg("keys").args(arguments);
    command.args(["--tenant", &demo.tenant(policy).id, "--config"]);
    Ok(command.arg(demo.config()).output()?)
}

fn open(file: &Path, key: &Path) -> anyhow::Result<Output> {
    let mut command = keyreel();
    let command = command.arg("open").arg(file).arg("--recovery-key").arg(key);
    Ok(command.output()?)
}

/// The sealed media of every recording in a folder of objects, by recording.
fn sealed_media(objects: &Path) -> anyhow::Result<HashMap<String, PathBuf>> {
    let mut found = HashMap::new();
    for recording in std::fs::read_dir(objects)? {
        let recording = recording?;
        for file in std::fs::read_dir(recording.path())? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            if name.starts_with("media.") && name.ends_with(".krc") {
                let id = recording.file_name().to_string_lossy().into_owned();
                found.insert(id, file.path());
            }
        }
    }
    Ok(found)
}

#[test]
fn a_pair_is_made_offline_and_never_written_over() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for algorithm in ["rsa-3072", "rsa-4096", "mlkem1024-p384"] {
        let (made, private, public) = new_key(algorithm, folder.path())?;
        let mode = std::fs::metadata(&private)?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{algorithm}");
        let pem = std::fs::read_to_string(&private)?;
        assert!(pem.contains("PRIVATE KEY"), "{algorithm}");
        assert!(!std::fs::read_to_string(public)?.contains("PRIVATE"));
        let id = made["id"].as_str().context("id")?;
        assert!(private.to_string_lossy().contains(id));
    }
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 6);
    let unknown = keyreel()
        .args(["recovery", "new", "--algorithm", "rsa-2048", "--out"])
        .arg(folder.path())
        .output()?;
    assert_eq!(unknown.status.code(), Some(64));
    Ok(())
}

#[tokio::test]
async fn all_recordings_open_with_the_recovery_key_when_everything_else_is_lost()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let offline = folder.path().join("offline");
    let (made, private, public) = new_key("rsa-3072", &offline)?;
    let (_, wrong, wrong_public) = new_key("rsa-3072", &offline)?;
    let (_, mlkem, mlkem_public) = new_key("mlkem1024-p384", &offline)?;
    let demo = Demo::start(&folder.path().join("data"))?;
    let path = |file: &Path| file.to_str().map(str::to_owned).context("a path");

    // A tenant of each policy: recordings from before, the key, one from after.
    let mut calls = HashMap::new();
    for policy in ["compatible", "aes256"] {
        for n in 0..3 {
            let audio = noise_wave(30_000 + n, u64::from(n));
            let id = demo.admin(policy).ingest("c-before", audio.clone()).await?;
            calls.insert(id, audio);
        }
    }
    let set = ["recovery", "set", "--public-key"];
    let weak = keys(&demo, "aes256", &[&set[..], &[&path(&public)?]].concat())?;
    assert_eq!(weak.status.code(), Some(64));
    assert!(stderr(&weak).contains("128 bits"), "{}", stderr(&weak));
    let secret = keys(
        &demo,
        "compatible",
        &[&set[..], &[&path(&private)?]].concat(),
    )?;
    assert_eq!(secret.status.code(), Some(64));
    assert!(
        stderr(&secret).contains("private half"),
        "{}",
        stderr(&secret)
    );
    // The wrong one first, then the right one in its place.
    for (policy, public) in [
        ("compatible", &wrong_public),
        ("compatible", &public),
        ("aes256", &mlkem_public),
    ] {
        let done = keys(&demo, policy, &[&set[..], &[&path(public)?]].concat())?;
        let done = data(&done)?;
        assert!(done["key"]["id"].is_string(), "{done}");
        assert!(done["lacking"].as_u64() >= Some(3), "{done}");
    }
    let shown = data(&keys(&demo, "compatible", &["recovery", "show"])?)?;
    assert_eq!(shown["key"]["id"], made["id"]);
    for policy in ["compatible", "aes256"] {
        let audio = noise_wave(60_000, 9);
        let id = demo.admin(policy).ingest("c-after", audio.clone()).await?;
        calls.insert(id, audio);
        let arguments = ["rewrap", "--wait", "--per-second", "1000"];
        let (config, tenant) = (demo.config(), demo.tenant(policy).id.clone());
        let rewrapped = tokio::task::spawn_blocking(move || {
            let mut command = keyreel();
            command
                .arg("keys")
                .args(arguments)
                .args(["--tenant", &tenant]);
            command.arg("--config").arg(config).output()
        });
        let rewrapped = data(&rewrapped.await??)?;
        assert_eq!(rewrapped["state"], "done", "{rewrapped}");
        let shown = data(&keys(&demo, policy, &["recovery", "show"])?)?;
        assert_eq!(
            (&shown["lacking"], &shown["former"]),
            (&json!(0), &json!(0))
        );
    }
    let tenants = [("compatible", &private), ("aes256", &mlkem)]
        .map(|(policy, key)| (demo.tenant(policy).id.clone(), key));
    let data_folder = demo.data.clone();
    demo.stop()?;

    // The building burns down; the bucket of sealed objects and the safe are elsewhere.
    let objects = folder.path().join("objects");
    std::fs::rename(data_folder.join("objects"), &objects)?;
    std::fs::remove_dir_all(&data_folder)?;
    for (tenant, key) in tenants {
        let sealed = sealed_media(&objects.join(&tenant))?;
        assert!(sealed.len() >= 4, "{tenant}: {sealed:?}");
        for (id, file) in &sealed {
            let opened = open(file, key)?;
            assert!(opened.status.success(), "{id}: {}", stderr(&opened));
            // The demo's own samples are of another kind each; that they open is what counts.
            if let Some(audio) = calls.remove(id) {
                assert!(opened.stdout == audio, "{id}");
            }
            let refused = open(file, &wrong)?;
            assert_eq!(refused.status.code(), Some(1), "{id}");
            assert!(refused.stdout.is_empty(), "{id}");
            let text = stderr(&refused);
            assert!(text.contains("none of those"), "{id}: {text}");
        }
        // A changed file is refused, not half played.
        let file = sealed.values().next().context("a file")?;
        let mut bytes = std::fs::read(file)?;
        let at = bytes.len() - 9;
        bytes[at] ^= 1;
        let changed = folder.path().join("changed.krc");
        std::fs::write(&changed, bytes)?;
        for entry in std::fs::read_dir(file.parent().context("a folder")?)? {
            let record = entry?.path();
            let name = record.to_string_lossy().into_owned();
            if let Some(end) = name.strip_prefix(&*file.to_string_lossy())
                && end.starts_with(".key.")
            {
                let beside = format!("{}{end}", changed.display());
                std::fs::copy(&record, beside)?;
            }
        }
        let opened = open(&changed, key)?;
        assert!(!opened.status.success());
        assert!(
            stderr(&opened).contains("does not open"),
            "{}",
            stderr(&opened)
        );
        for entry in std::fs::read_dir(folder.path())? {
            let path = entry?.path();
            if path.to_string_lossy().contains("changed.krc") {
                std::fs::remove_file(path)?;
            }
        }
    }
    assert!(calls.is_empty(), "not in the store: {:?}", calls.keys());
    Ok(())
}
