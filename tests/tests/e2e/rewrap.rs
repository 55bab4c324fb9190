//! Re-wraps that are killed with -9 at each of their named points, under a server that plays on:
//! nothing is lost, generations only rise, the old key is retired at zero.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use keyreel_tests::{Client, Demo, JsonResponse as _, keyreel, noise_wave};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Row;

const KEYS: &str = "/api/v2/recording/recordingkeys";
const RECORDINGS: u32 = 24;
const SIGKILL: i32 = 9;

/// A key of the tenant, its state and how many recordings need it, newest first.
async fn keys(admin: &Client) -> anyhow::Result<Vec<(String, String, u64)>> {
    let keys = admin.send(Method::GET, KEYS, &[]).await?;
    let keys: Value = keys.error_for_status()?.json().await?;
    let entities = keys.get("entities").and_then(Value::as_array);
    let entities = entities.context("entities")?;
    let key = |key: &Value| {
        let text = |name: &str| key.get(name)?.as_str().map(str::to_owned);
        let needed = key.get("recordings")?.as_u64()?;
        Some((text("id")?, text("state")?, needed))
    };
    entities
        .iter()
        .map(|entity| key(entity).with_context(|| entity.to_string()))
        .collect()
}

/// Makes a new key pair the current one.
async fn rotate(admin: &Client) -> anyhow::Result<()> {
    let native = json!({"keyConfigurationType": "Native"});
    let path = "/api/v2/recording/keyconfigurations";
    let (status, made) = admin.json(Method::POST, path, &native).await?;
    anyhow::ensure!(status == 200, "{made}");
    Ok(())
}

/// `keyreel keys …`, to be killed where `crash_at` says.
async fn run(demo: &Demo, arguments: &[&str], crash_at: Option<&str>) -> anyhow::Result<Output> {
    let mut command = keyreel();
    command.arg("keys").args(arguments);
    command.args(["--tenant", &demo.tenant("compatible").id, "--config"]);
    command.arg(demo.config());
    if let Some(point) = crash_at {
        command.env("KEYREEL_CRASH_AT", point);
    }
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

fn status(demo: &Demo) -> String {
    format!(
        "/api/v1/tenants/{}/keys/rewrap",
        demo.tenant("compatible").id
    )
}

async fn generations(demo: &Demo) -> anyhow::Result<HashMap<String, i64>> {
    let config: String = std::fs::read_to_string(demo.config())?;
    let line = config.lines().find(|line| line.starts_with("catalogue"));
    let path = line.and_then(|line| line.split('"').nth(1));
    let path = demo.data.join(path.context("catalogue")?);
    let url = format!("sqlite://{}?mode=ro", path.display());
    let pool = sqlx::SqlitePool::connect(&url).await?;
    let rows = sqlx::query("SELECT tenant || ' ' || id AS id, generation FROM recording")
        .fetch_all(&pool)
        .await?;
    pool.close().await;
    Ok(rows
        .iter()
        .map(|row| (row.get("id"), row.get("generation")))
        .collect())
}

/// Plays until it is told to end; how often, and what went wrong.
async fn play_on(
    client: Client,
    calls: Arc<HashMap<String, Vec<u8>>>,
    plays: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    while !end.load(Ordering::Relaxed) {
        for (id, audio) in calls.iter() {
            let played = async {
                let media = client.playback(id).await?.media_uri;
                client.range(&media, 0, audio.len() as u64 - 1).await
            };
            match played.await {
                Ok(bytes) if bytes == *audio => {}
                Ok(_) => wrong.push(format!("{id} plays as something else")),
                Err(error) => wrong.push(format!("{id}: {error:#}")),
            }
            plays.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    wrong
}

/// `cargo build -p keyreel && KEYREEL_PROGRAM=target/debug/keyreel cargo test -p keyreel-tests
/// --test e2e killed_at_any_point -- --ignored`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a program with named points: a build with debug assertions"]
async fn a_rewrap_killed_at_any_point_loses_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let demo = Demo::start_with(&folder.path().join("data"), &["--dek-ttl", "1"])?;
    let (admin, agent) = (demo.admin("compatible"), demo.agent("compatible"));
    let mut calls = HashMap::new();
    for n in 0..RECORDINGS {
        let audio = noise_wave(20_000 + n, u64::from(n));
        calls.insert(admin.ingest(&format!("c-{n}"), audio.clone()).await?, audio);
    }
    let calls = Arc::new(calls);
    let (plays, end) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let playing = tokio::spawn(play_on(agent, calls.clone(), plays.clone(), end.clone()));

    let mut before = generations(&demo).await?;
    let of_tenant = keys(&admin).await?.iter().map(|key| key.2).sum::<u64>();
    for point in [
        "rewrap.claimed",
        "rewrap.unwrapped:3",
        "rewrap.record-written:1",
        "rewrap.record-written:8",
        "rewrap.records-written:5",
        "rewrap.committed:4",
        "rewrap.committed:17",
        "rewrap.cleaned:9",
    ] {
        rotate(&admin).await?;
        let arguments = ["rewrap", "--wait", "--per-second", "200"];
        let killed = run(&demo, &arguments, Some(point)).await?;
        assert_eq!(killed.status.signal(), Some(SIGKILL), "{point}: {killed:?}");
        let status = status(&demo);
        // The server takes it over when the dead one's time is up.
        let ended = loop {
            let now: Value = admin.send(Method::GET, &status, &[]).await?.json().await?;
            if now["state"] != "running" {
                break now;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        assert_eq!(ended["state"], "done", "{point}: {ended}");
        assert_eq!(ended["done"], json!(of_tenant), "{point}: {ended}");
        assert_eq!(
            (&ended["total"], &ended["failed"]),
            (&ended["done"], &json!(0))
        );
        let now = generations(&demo).await?;
        for (id, generation) in &before {
            assert!(now[id] >= *generation, "{point}: {id}");
        }
        before = now;
        let all = keys(&admin).await?;
        assert_eq!((all[0].2, all[1].2), (of_tenant, 0), "{point}: {all:?}");
        // Now and then the old key goes while it is killed.
        let crash_at = match point {
            "rewrap.claimed" => Some("retire.recorded"),
            "rewrap.unwrapped:3" => Some("retire.done"),
            _ => None,
        };
        let old = all[1].0.as_str();
        let out = run(&demo, &["retire", old], crash_at).await?;
        if crash_at.is_some() {
            assert_eq!(out.status.signal(), Some(SIGKILL), "{point}: {out:?}");
            let again = run(&demo, &["retire", old], None).await?;
            assert!(again.status.success(), "{point}: {again:?}");
        } else {
            assert!(out.status.success(), "{point}: {out:?}");
        }
        assert_eq!(keys(&admin).await?[1].1, "retired", "{point}");
        eprintln!("{point}: {} plays so far", plays.load(Ordering::Relaxed));
    }
    // Everything once more, with no key but the last.
    let agent = demo.agent("compatible");
    for (id, audio) in calls.iter() {
        let media = agent.playback(id).await?.media_uri;
        let played = agent.range(&media, 0, audio.len() as u64 - 1).await?;
        assert!(played == *audio, "{id}");
    }
    end.store(true, Ordering::Relaxed);
    let wrong = playing.await?;
    let plays = plays.load(Ordering::Relaxed);
    assert!(wrong.is_empty(), "{} of {plays}: {wrong:#?}", wrong.len());
    assert!(plays > 500, "{plays} plays");
    Ok(())
}

/// As an administrator does it: rotate, re-wrap with a bar, retire; and the file that is left.
#[tokio::test]
async fn recordings_move_to_a_new_key_by_commands() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let demo = Demo::start(&folder.path().join("data"))?;
    let (admin, agent) = (demo.admin("compatible"), demo.agent("compatible"));
    let audio = noise_wave(60_000, 3);
    let id = admin.ingest("c-1", audio.clone()).await?;
    rotate(&admin).await?;
    let out = run(&demo, &["retire", "kek/1"], None).await?;
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(64), "{stderr}");
    assert!(stderr.contains("still need KEK kek/1"), "{stderr}");
    let out = run(&demo, &["rewrap", "--wait"], None).await?;
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{stderr}");
    let ended: Value = serde_json::from_slice(&out.stdout)?;
    assert_eq!(
        (&ended["state"], &ended["failed"]),
        (&json!("done"), &json!(0))
    );
    let out = run(&demo, &["retire", "kek/1"], None).await?;
    assert!(out.status.success(), "{out:?}");
    let media = agent.playback(&id).await?.media_uri;
    assert!(agent.range(&media, 0, audio.len() as u64 - 1).await? == audio);

    // The store's file names the old key, its key record and the API's file the new one.
    let path = format!("/api/v1/recordings/{id}/sealed");
    let mut shown = Vec::new();
    for form in ["file", "stored", "key-record"] {
        let path = format!("{path}?form={form}");
        let answer = admin.send(Method::GET, &path, &[]).await?;
        let bytes = answer.error_for_status()?.bytes().await?;
        let file = folder.path().join(form);
        std::fs::write(&file, bytes)?;
    }
    let (file, stored) = (folder.path().join("file"), folder.path().join("stored"));
    let record = folder.path().join("key-record");
    for (file, record) in [(&file, None), (&stored, None), (&stored, Some(&record))] {
        let mut inspect = keyreel();
        inspect.arg("inspect").arg("--json").arg(file);
        if let Some(record) = record {
            inspect.arg("--key-record").arg(record);
        }
        let header: Value = serde_json::from_slice(&inspect.output()?.stdout)?;
        let kek = header["recipients"][0]["kek"].as_str();
        shown.push((
            kek.unwrap_or_default().to_owned(),
            header["generation"].clone(),
        ));
    }
    let kek = |n: u32, generation: u32| (format!("kek/{n}"), json!(generation));
    assert_eq!(shown, [kek(2, 1), kek(1, 0), kek(2, 1)]);
    Ok(())
}
