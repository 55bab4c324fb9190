//! A thousand listeners at once: one unwrap.

use std::process::Command;

use keyreel_tests::{Demo, keyreel, noise_wave, write_recording};

const UNWRAPS: &str = "keyreel_unwraps_total";

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_first_plays_make_one_unwrap() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let demo = Demo::start(&folder.path().join("data"))?;
    let (source, id) = (
        folder.path().join("source"),
        "3c1b1a52-6a6c-4f0e-8f1a-6f6d1b1f9d10",
    );
    std::fs::create_dir(&source)?;
    let wave = noise_wave(400_000, 7);
    write_recording(&source, "call", id, &wave)?;
    import(&demo, &source)?;

    let client = demo.agent("compatible");
    let mut grants = Vec::new();
    for _ in 0..1000 {
        grants.push(client.playback(id).await?.media_uri);
    }
    let before = demo.metric(UNWRAPS, "").await?;
    let plays = grants.iter().map(|media| {
        let (client, media) = (client.clone(), media.clone());
        tokio::spawn(async move { client.range(&media, 0, 65_535).await })
    });
    for play in futures::future::join_all(plays).await {
        assert!(play?? == wave[..65_536]);
    }
    assert_eq!(demo.metric(UNWRAPS, "").await? - before, 1.0, "one flight");

    // The rest of the call costs no further unwrap.
    let mut at = 65_536;
    while at < wave.len() {
        let end = (at + 100_000).min(wave.len());
        assert!(client.range(&grants[0], at as u64, end as u64 - 1).await? == wave[at..end]);
        at = end;
    }
    assert_eq!(demo.metric(UNWRAPS, "").await? - before, 1.0);
    Ok(())
}

/// `keyreel import` beside a running server.
pub(crate) fn import(demo: &Demo, source: &std::path::Path) -> anyhow::Result<()> {
    let mut command: Command = keyreel();
    let out = command
        .args([
            "import",
            "--tenant",
            &demo.tenant("compatible").id,
            "--config",
        ])
        .arg(demo.config())
        .arg(source)
        .output()?;
    anyhow::ensure!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}
