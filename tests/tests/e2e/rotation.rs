//! Keys that change all the time under listeners and recordings that come in: nobody notices.
//!
//! `KEYREEL_ROTATION_SECONDS` sets how long: 20 unless said; the full length is 600.
#![expect(
    clippy::indexing_slicing,
    reason = "what is not as expected ends a test, helpers included"
)]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::stream::{FuturesUnordered, StreamExt as _};
use keyreel_tests::{Client, Demo, JsonResponse as _, keyreel, noise_wave};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

const KEYS: &str = "/api/v2/recording/recordingkeys";
const SCHEDULE: &str = "/api/v2/recording/recordingkeys/rotationschedule";

const PLAYS_PER_SECOND: u32 = 50;
const ROTATE_EVERY: Duration = Duration::from_secs(5);
const INGEST_EVERY: Duration = Duration::from_millis(1500);
/// What one play asks for at most: a player's first range.
const RANGE: usize = 65_536;

/// A recording that can be played: its id and what it is.
type Known = (String, Arc<Vec<u8>>);

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_rotations() -> anyhow::Result<()> {
    let length = length()?;
    let folder = tempfile::tempdir()?;
    let demo = Demo::start(&folder.path().join("data"))?;
    let (admin, agent) = (demo.admin("compatible"), demo.agent("compatible"));
    let before = keys(&admin).await?.len();

    let mut first = Vec::new();
    for n in 0..8 {
        first.push(ingested(&admin, n).await?);
    }
    let known = Arc::new(Mutex::new(first));
    let began = Instant::now();
    let (rotated, ingested, plays) = tokio::join!(
        rotate(&admin, began + length),
        ingest(&admin, &known, began + length),
        play(&agent, &known, began, length),
    );
    let (rotated, ingested, plays) = (rotated?, ingested?, plays);
    println!(
        "{:.1} s: {} plays, {} failed; p50 {:?}, p99 {:?}, longest {:?}, begun at most {:?} late; \
         {rotated} rotations; {ingested} recordings sealed",
        began.elapsed().as_secs_f64(),
        plays.times.len(),
        plays.failures.len(),
        plays.at(50),
        plays.at(99),
        plays.at(100),
        plays.latest,
    );
    assert!(plays.failures.is_empty(), "{:#?}", plays.failures);
    let expected = length.as_secs_f64() * f64::from(PLAYS_PER_SECOND);
    assert!(plays.times.len() as f64 >= expected * 0.99, "an open loop");
    let due = length.as_secs() / ROTATE_EVERY.as_secs();
    assert!(
        rotated as u64 * 4 >= due * 3,
        "{rotated} of {due} rotations"
    );

    // Every recording opens to its last byte, those of the demo as well.
    let known = known.lock().expect("no panic").clone();
    for (id, audio) in &known {
        let playback = agent.playback(id).await?;
        let played = agent.send(Method::GET, &playback.media_uri, &[]).await?;
        let played = played.error_for_status()?.bytes().await?;
        anyhow::ensure!(played == audio.as_slice(), "{id} plays as something else");
    }
    let listed = agent.recordings(200).await?;
    for recording in &listed {
        let playback = agent.playback(&recording.id).await?;
        let played = agent.send(Method::GET, &playback.media_uri, &[]).await?;
        anyhow::ensure!(!played.error_for_status()?.bytes().await?.is_empty());
    }

    // The counts add up: each rotation is one key, each recording lies under one of the keys, and
    // every key but the last ones had its turn.
    let keys = keys(&admin).await?;
    assert_eq!(keys.len(), before + rotated);
    let current: Vec<_> = keys
        .iter()
        .filter(|key| key["state"] == "current")
        .collect();
    assert_eq!(current, [&keys[0]], "one is current, the newest");
    let mut sealed = BTreeMap::<&str, usize>::new();
    for recording in &listed {
        *sealed.entry(recording.kek_id.as_str()).or_default() += 1;
    }
    let ids: Vec<_> = keys.iter().filter_map(|key| key["id"].as_str()).collect();
    assert!(sealed.keys().all(|kek| ids.contains(kek)), "{sealed:?}");
    assert_eq!(sealed.values().sum::<usize>(), listed.len());
    assert!(
        known
            .iter()
            .all(|(id, _)| listed.iter().any(|row| row.id == *id))
    );
    assert!(
        sealed.len() > rotated / 2,
        "new recordings use new keys: {sealed:?}"
    );
    let counted = demo
        .metric("keyreel_key_rotations_total", "outcome=\"ok\"")
        .await?;
    assert_eq!(counted, rotated as f64);
    assert_eq!(demo.metric("keyreel_streams_cut_total", "").await?, 0.0);
    assert_eq!(demo.metric("keyreel_purges_total", "").await?, 0.0);
    Ok(())
}

fn length() -> anyhow::Result<Duration> {
    let Some(seconds) = std::env::var_os("KEYREEL_ROTATION_SECONDS") else {
        return Ok(Duration::from_secs(20));
    };
    let seconds = seconds.to_str().and_then(|text| text.parse().ok());
    let seconds = seconds.context("KEYREEL_ROTATION_SECONDS: expected a number")?;
    Ok(Duration::from_secs(seconds))
}

async fn keys(admin: &Client) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    let mut next = Some(format!("{KEYS}?pageSize=200"));
    while let Some(path) = next {
        let page = admin.send(Method::GET, &path, &[]).await?;
        let page: Value = page.error_for_status()?.json().await?;
        all.extend(
            page["entities"]
                .as_array()
                .context("entities")?
                .iter()
                .cloned(),
        );
        next = page["nextUri"].as_str().map(str::to_owned);
    }
    Ok(all)
}

async fn ingested(admin: &Client, n: u64) -> anyhow::Result<Known> {
    let audio = noise_wave(60_000, n);
    let id = admin.ingest(&format!("c-{n}"), audio.clone()).await?;
    Ok((id, Arc::new(audio)))
}

/// How many rotations there were.
async fn rotate(admin: &Client, end: Instant) -> anyhow::Result<usize> {
    let mut tick = tokio::time::interval(ROTATE_EVERY);
    // A slow machine rotates later, not twice in a row.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rotated = 0;
    loop {
        tick.tick().await;
        if Instant::now() >= end {
            return Ok(rotated);
        }
        let (status, made) = admin.json(Method::POST, KEYS, &json!({})).await?;
        anyhow::ensure!(status == StatusCode::OK, "{status} {made}");
        rotated += 1;
    }
}

async fn ingest(admin: &Client, known: &Mutex<Vec<Known>>, end: Instant) -> anyhow::Result<u64> {
    let mut tick = tokio::time::interval(INGEST_EVERY);
    let mut count = 0;
    loop {
        tick.tick().await;
        if Instant::now() >= end {
            return Ok(count);
        }
        let new = ingested(admin, 1000 + count).await?;
        known.lock().expect("no panic").push(new);
        count += 1;
    }
}

#[derive(Default)]
struct Plays {
    times: Vec<Duration>,
    failures: Vec<String>,
    /// By how much the load itself was late, at most.
    latest: Duration,
}

impl Plays {
    fn at(&self, percent: usize) -> Duration {
        let last = self.times.len().saturating_sub(1);
        self.times
            .get(last * percent / 100)
            .copied()
            .unwrap_or_default()
    }
}

/// An open loop: a play begins when its time has come, whatever became of those before.
async fn play(
    agent: &Client,
    known: &Arc<Mutex<Vec<Known>>>,
    began: Instant,
    length: Duration,
) -> Plays {
    let count = u32::try_from(length.as_secs()).unwrap_or(u32::MAX) * PLAYS_PER_SECOND;
    let mut under_way = FuturesUnordered::new();
    let mut plays = Plays::default();
    let turn = Arc::new(AtomicUsize::new(0));
    for n in 0..count {
        let due = began + Duration::from_secs(1) / PLAYS_PER_SECOND * n;
        tokio::time::sleep_until(due.into()).await;
        plays.latest = plays.latest.max(due.elapsed());
        let (agent, known, turn) = (agent.clone(), known.clone(), turn.clone());
        under_way.push(tokio::spawn(async move {
            let started = Instant::now();
            let recording = {
                let known = known.lock().expect("no panic");
                // Old and new ones in turns; the newest are the ones that a rotation concerns.
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                let at = if turn % 4 == 0 {
                    known.len() - 1
                } else {
                    turn % known.len()
                };
                known[at].clone()
            };
            one(&agent, &recording, n).await.map(|()| started.elapsed())
        }));
    }
    while let Some(done) = under_way.next().await {
        match done {
            Ok(Ok(took)) => plays.times.push(took),
            Ok(Err(error)) => plays.failures.push(format!("{error:#}")),
            Err(panic) => plays.failures.push(panic.to_string()),
        }
    }
    plays.times.sort_unstable();
    plays
}

/// Asks for a grant and plays a range somewhere in the recording.
async fn one(agent: &Client, (id, audio): &Known, n: u32) -> anyhow::Result<()> {
    let playback = agent.playback(id).await?;
    let first = n as usize * 7919 % audio.len();
    let last = (first + RANGE).min(audio.len()) - 1;
    let played = agent
        .range(&playback.media_uri, first as u64, last as u64)
        .await?;
    anyhow::ensure!(
        played == audio[first..=last],
        "{id} plays as something else"
    );
    Ok(())
}

/// The same from the command line, beside the running server.
#[tokio::test]
async fn keys_are_rotated_from_the_command_line() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let demo = Demo::start(&folder.path().join("data"))?;
    let (admin, agent) = (demo.admin("compatible"), demo.agent("compatible"));
    let tenant = demo.tenant("compatible").id.clone();
    let run = |arguments: &[&str]| -> anyhow::Result<(Option<i32>, Vec<Value>, String)> {
        let mut command: Command = keyreel();
        command
            .arg("keys")
            .args(arguments)
            .arg("--config")
            .arg(demo.config());
        let out = command.output()?;
        let lines = String::from_utf8(out.stdout)?;
        let lines = lines
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        Ok((out.status.code(), lines, stderr))
    };
    let old = ingested(&admin, 1).await?;
    let (code, made, stderr) = run(&["rotate", "--tenant", &tenant])?;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(
        (&made[0]["id"], &made[0]["state"]),
        (&json!("kek/2"), &json!("current"))
    );
    // The running server seals with it, and opens what it sealed before.
    let new = ingested(&admin, 2).await?;
    for recording in [&old, &new] {
        one(&agent, recording, 5).await?;
    }
    let rows = agent.recordings(200).await?;
    let row = rows.iter().find(|row| row.id == new.0).context("listed")?;
    assert_eq!(row.kek_id, "kek/2");
    let (_, listed, _) = run(&["list", "--tenant", &tenant])?;
    let shown = admin
        .send(Method::GET, &format!("/api/v1/tenants/{tenant}/keys"), &[])
        .await?;
    let shown: Value = shown.error_for_status()?.json().await?;
    let states: Vec<_> = listed.iter().map(|key| &key["state"]).collect();
    assert_eq!(states, ["current", "previous"]);
    let ids = |keys: &[Value]| keys.iter().map(|key| key["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&listed), ids(shown["keys"].as_array().context("keys")?));

    let (_, nothing, _) = run(&["schedule", "--tenant", &tenant])?;
    assert_eq!(nothing[0]["period"], "DISABLED");
    let (code, set, stderr) = run(&["schedule", "monthly", "--tenant", &tenant])?;
    assert_eq!(code, Some(0), "{stderr}");
    let over_http = admin.send(Method::GET, SCHEDULE, &[]).await?;
    let over_http: Value = over_http.error_for_status()?.json().await?;
    assert_eq!(
        (&set[0], &over_http["period"]),
        (&over_http, &json!("MONTHLY"))
    );
    // Keys that their owner makes are not made here.
    let lkm = demo.tenant_of("lkm").id.clone();
    for arguments in [&["rotate"][..], &["schedule", "daily"]] {
        let (code, data, stderr) = run(&[arguments, &["--tenant", &lkm]].concat())?;
        assert_eq!((code, data.len()), (Some(1), 0));
        assert!(stderr.contains("does not make KEKs"), "{stderr}");
    }
    let (code, _, stderr) = run(&["list", "--tenant", "nobody"])?;
    assert_eq!(code, Some(64), "{stderr}");
    Ok(())
}
