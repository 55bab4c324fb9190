//! The audit log of a running server: verified, verified without Keyreel, tampered with by somebody
//! who has the database's file, and on a disk that is full.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::Context;
use keyreel_tests::{Client, Demo, keyreel, program, root};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_the_log_is_found_and_stops_playback_until_it_was_looked_into()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let demo = Demo::start(&data)?;
    let config = demo.config();
    play_all(&demo.agent("compatible")).await?;

    // While the server writes on.
    let verified = audit(&config, &["verify"])?;
    assert!(verified.status.success(), "{verified:?}");
    let verified: Value = serde_json::from_slice(&verified.stdout)?;
    assert!(
        verified["events"].as_u64() > Some(10) && verified["head"]["signature"].is_string(),
        "{verified}"
    );
    let kept = folder.path().join("checkpoint.json");
    std::fs::write(&kept, audit(&config, &["checkpoint"])?.stdout)?;
    let kept = kept.to_str().context("a path in UTF-8")?;
    play_all(&demo.agent("aes256")).await?;
    let later = audit(&config, &["verify", "--checkpoint", kept])?;
    assert!(later.status.success(), "{later:?}");

    // Whoever has an export and the public key needs no Keyreel.
    let exported = audit(&config, &["export"])?.stdout;
    let key: Value = serde_json::from_slice(&audit(&config, &["key"])?.stdout)?;
    let head = audit(&config, &["checkpoint"])?.stdout;
    let export = folder.path().join("audit.jsonl");
    let without = |lines: &[u8]| -> anyhow::Result<Output> {
        std::fs::write(&export, lines)?;
        Ok(Command::new(root().join("tests/.venv/bin/python"))
            .arg(root().join("tests/interop/audit_chain.py"))
            .arg(&export)
            .arg(key["publicKey"].as_str().context("publicKey")?)
            .arg(String::from_utf8_lossy(&head).trim())
            .output()?)
    };
    let sound = without(&exported)?;
    assert!(sound.status.success(), "{sound:?}");
    let edited = String::from_utf8(exported)?.replacen("play.started", "play.starter", 1);
    assert!(!without(edited.as_bytes())?.status.success());
    demo.stop()?;

    // The newest three lines are taken away.
    sql(
        &data,
        "DELETE FROM audit WHERE seq > (SELECT max(seq) - 3 FROM audit)",
    )?;
    let found = audit(&config, &["verify"])?;
    assert_eq!(found.status.code(), Some(1));
    let text = String::from_utf8_lossy(&found.stderr).into_owned();
    assert!(text.contains("was signed as ending with"), "{text}");

    let demo = Demo::start(&data)?;
    let refused = play_all(&demo.agent("compatible")).await;
    let refused = refused.expect_err("nothing is unwrapped").to_string();
    assert!(refused.contains("503"), "{refused}");
    demo.stop()?;
    let resumed = audit(&config, &["resume", "--reason", "looked into, ticket 4711"])?;
    assert!(resumed.status.success(), "{resumed:?}");
    let demo = Demo::start(&data)?;
    play_all(&demo.agent("compatible")).await?;
    let found = audit(&config, &["verify", "--checkpoint", kept])?;
    assert!(
        found.status.success(),
        "what is left follows from what was kept: {found:?}"
    );
    let tail = audit(&config, &["tail", "--action", "audit.resumed"])?.stdout;
    let resumed: Value = serde_json::from_slice(&tail)?;
    assert_eq!(resumed["fields"]["reason"], "looked into, ticket 4711");
    Ok(())
}

/// Log, signed end and checkpoints: nothing in the database says that there ever was anything.
#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_log_is_told_by_what_the_keystore_has_marked() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let demo = Demo::start(&data)?;
    let config = demo.config();
    play_all(&demo.agent("compatible")).await?;
    demo.stop()?;
    for table in ["audit", "audit_head", "audit_checkpoint"] {
        sql(&data, &format!("DELETE FROM {table}"))?;
    }
    let found = audit(&config, &["verify"])?;
    assert_eq!(found.status.code(), Some(1));
    let text = String::from_utf8_lossy(&found.stderr).into_owned();
    assert!(
        text.contains("ends with event 0") && text.contains("keyreel audit resume"),
        "{text}"
    );

    let demo = Demo::start(&data)?;
    assert!(
        demo.log().contains("the keystore has event"),
        "{}",
        demo.log()
    );
    let refused = play_all(&demo.agent("compatible")).await;
    let refused = refused.expect_err("nothing is unwrapped").to_string();
    assert!(refused.contains("503"), "{refused}");
    demo.stop()?;
    let resumed = audit(&config, &["resume", "--reason", "it was me, ticket 4712"])?;
    assert!(resumed.status.success(), "{resumed:?}");
    let verified = audit(&config, &["verify"])?;
    assert!(verified.status.success(), "{verified:?}");
    let demo = Demo::start(&data)?;
    play_all(&demo.agent("compatible")).await?;
    Ok(())
}

/// No file may grow beyond what the catalogue has now and a little: for the catalogue and its
/// write-ahead log that is a full disk.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_means_that_nothing_is_unwrapped() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    Demo::start(&data)?.stop()?;
    let limited = folder.path().join("keyreel-on-a-small-disk");
    // A limit of a file's size: room for 300 KiB more than the database has, its log included.
    let size = |name: &str| std::fs::metadata(data.join(name)).map_or(0, |file| file.len());
    let kib = (size("catalogue.sqlite") + size("catalogue.sqlite-wal")) / 1024 + 300;
    let script = format!(
        "#!/bin/bash\ntrap '' XFSZ\nulimit -f {kib}\nexec {} \"$@\"\n",
        program().canonicalize()?.display()
    );
    std::fs::write(&limited, script)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&limited, mode)?;

    let demo = Demo::start_program(&limited, &data)?;
    let client = demo.agent("compatible");
    let mut refused = None;
    for _ in 0..400 {
        if let Err(error) = play_all(&client).await {
            refused = Some(error.to_string());
            break;
        }
    }
    let refused = refused.context("the disk never fills")?;
    assert!(refused.contains("503"), "{refused}");
    let unwraps = demo.metric("keyreel_unwraps_total", "").await?;
    // Not even what is in the cache: each play is recorded before it is heard.
    for _ in 0..3 {
        let again = play_all(&client).await;
        assert!(again.is_err(), "nothing plays");
    }
    let after = demo.metric("keyreel_unwraps_total", "").await?;
    assert!(
        (after - unwraps).abs() < f64::EPSILON,
        "{unwraps} unwraps, then {after}"
    );
    drop(demo);

    // Room again: nothing that was written is lost, and all plays.
    let demo = Demo::start(&data)?;
    play_all(&demo.agent("compatible")).await?;
    let verified = audit(&demo.config(), &["verify"])?;
    assert!(verified.status.success(), "{verified:?}");
    Ok(())
}

async fn play_all(client: &Client) -> anyhow::Result<()> {
    for recording in client.recordings(200).await? {
        let playback = client.playback(&recording.id).await?;
        client.range(&playback.media_uri, 0, 99).await?;
    }
    Ok(())
}

fn audit(config: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = keyreel();
    command.arg("audit").args(arguments);
    command.arg("--config").arg(config);
    Ok(command.stdin(Stdio::null()).output()?)
}

/// What somebody does who has the file, and no Keyreel.
pub(crate) fn sql(data: &Path, statement: &str) -> anyhow::Result<()> {
    let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); \
                  c.commit(); c.close()";
    let out = Command::new(root().join("tests/.venv/bin/python"))
        .args(["-c", script])
        .arg(data.join("catalogue.sqlite"))
        .arg(statement)
        .output()?;
    anyhow::ensure!(out.status.success(), "{out:?}");
    Ok(())
}
