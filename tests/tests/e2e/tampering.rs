//! Somebody changes a stored object: never a wrong byte out, a clear error, an audit line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use keyreel_tests::{Demo, JsonResponse as _, noise_wave, write_recording};
use reqwest::Method;

use crate::flights::import;

const ID: &str = "9d0f4f0e-2d7e-4a3f-9f55-0e9f6f1f5c20";

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_anywhere_never_becomes_sound() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let demo = Demo::start(&folder.path().join("data"))?;
    let source = folder.path().join("source");
    std::fs::create_dir(&source)?;
    // Thirteen chunks: the last and the first are verified before the status line, the others later.
    let wave = noise_wave(100_000, 11);
    write_recording(&source, "call", ID, &wave)?;
    import(&demo, &source)?;
    let object = object(&demo.data)?;
    let sealed = std::fs::read(&object)?;

    let client = demo.agent("compatible");
    let media = client.playback(ID).await?.media_uri;
    let http = reqwest::Client::new();
    let url = client.url(&media);
    assert!(http.get(&url).send().await?.bytes().await? == wave[..]);

    // Every byte of the header slot's used parts and of the body's prefix; of chunks every 211th.
    let positions =
        (0..sealed.len()).filter(|at| *at < 1200 || (4032..4160).contains(at) || at % 211 == 0);
    let (mut refused, mut broken_off) = (0, 0);
    // The server holds an open object for five seconds, and lets go of one found damaged at once.
    let mut damaged = sealed.clone();
    damaged[0] ^= 1;
    replace(&object, &damaged)?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    for at in positions {
        let mut damaged = sealed.clone();
        damaged[at] ^= 1 << (at % 8);
        replace(&object, &damaged)?;
        let answer = http.get(&url).send().await?;
        let status = answer.status();
        if status.is_success() {
            // Broken in mid-body: what came is right, and the connection ends in an error.
            let mut answer = answer;
            let mut got = Vec::new();
            let ended = loop {
                match answer.chunk().await {
                    Ok(Some(chunk)) => got.extend_from_slice(&chunk),
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            assert!(!ended, "byte {at}: a damaged recording ended cleanly");
            assert!(wave.starts_with(&got), "byte {at}: a wrong byte came out");
            broken_off += 1;
        } else {
            let problem: serde_json::Value = answer.json().await?;
            assert_eq!(problem["code"], "integrity", "byte {at}: {problem}");
            assert_eq!(status, 422);
            refused += 1;
        }
    }
    assert!(
        refused > 1000 && broken_off > 10,
        "{refused} refused, {broken_off} broken off"
    );

    replace(&object, &sealed)?;
    assert!(
        http.get(&url).send().await?.bytes().await? == wave[..],
        "whole again, plays again"
    );
    let path = format!("/api/v1/audit?action=integrity.failed&recording={ID}&limit=10");
    let audit: serde_json::Value = demo
        .admin("compatible")
        .send(Method::GET, &path, &[])
        .await?
        .error_for_status()?
        .json()
        .await?;
    assert!(!audit["entities"].as_array().expect("entities").is_empty());
    Ok(())
}

/// A new file in the old one's place, as a restore or an attacker would put it.
fn replace(object: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = object.with_extension("new");
    std::fs::write(&new, bytes)?;
    std::fs::rename(new, object)
}

/// The sealed media of the imported recording: `<tenant>/<recording>/media.<object id>.krc`.
fn object(data: &Path) -> anyhow::Result<PathBuf> {
    for tenant in std::fs::read_dir(data.join("objects"))? {
        let folder = tenant?.path().join(ID);
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.starts_with("media.") && name.ends_with(".krc") {
                return Ok(path);
            }
        }
    }
    anyhow::bail!("the imported recording's object is not below the data directory")
}
