//! `keyreel demo`: what it prints, what it keeps, what lies on disk.

use std::path::Path;

use keyreel_tests::{Client, Demo, JsonResponse as _, root};

#[tokio::test]
async fn a_demo_has_tenants_of_all_kinds_and_keeps_what_is_there() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let demo = Demo::start(&data)?;
    let (compatible, aes256) = (demo.tenant("compatible"), demo.tenant("aes256"));
    assert_eq!(
        (&*compatible.provider, &*aes256.provider),
        ("managed", "managed")
    );

    let providers: Vec<_> = demo.ready.tenants.iter().map(|t| &*t.provider).collect();
    assert_eq!(providers, ["managed", "managed", "lkm", "aws-kms"]);

    let mine = demo.agent("compatible").recordings(2).await?;
    let theirs = demo.agent("aes256").recordings(200).await?;
    assert!(mine.len() + theirs.len() >= 6);
    assert!(
        mine.is_sorted_by(|a, b| a.start_time >= b.start_time),
        "newest first"
    );
    assert!(
        mine.iter()
            .all(|recording| recording.wrap_algorithm == "rsa-oaep-sha256")
    );
    assert!(
        theirs
            .iter()
            .all(|recording| recording.wrap_algorithm == "hpke-mlkem1024-p384")
    );
    assert!(mine.iter().all(
        |recording| (60_000..=300_000).contains(&recording.duration_ms)
            || recording.content_type.starts_with("audio/wav")
    ));
    let foreign = demo.agent("compatible").playback(&theirs[0].id).await;
    assert!(foreign.is_err_and(|error| error.to_string().contains("404")));

    let owners: Vec<_> = ["lkm", "aws-kms"]
        .map(|provider| Client::new(&demo.ready.url, &demo.tenant_of(provider).agent_token))
        .to_vec();
    let (lkm, kms) = (
        owners[0].recordings(200).await?,
        owners[1].recordings(200).await?,
    );
    assert!(!lkm.is_empty() && lkm.iter().all(|recording| recording.provider == "lkm"));
    assert!(!kms.is_empty() && kms.iter().all(|recording| recording.provider == "aws-kms"));

    // Every sample plays: the first unwrap of each goes through the sandbox.
    for (client, recordings) in [
        (demo.agent("compatible"), &mine),
        (demo.agent("aes256"), &theirs),
        (owners[0].clone(), &lkm),
        (owners[1].clone(), &kms),
    ] {
        for recording in recordings {
            let playback = client.playback(&recording.id).await?;
            assert_eq!(client.range(&playback.media_uri, 0, 3).await?.len(), 4);
            let waveform = playback.waveform_uri.expect("every sample has peaks");
            let peaks: serde_json::Value =
                reqwest::get(client.url(&waveform)).await?.json().await?;
            assert_eq!(peaks["version"], 2);
        }
    }
    assert_no_plaintext(&data)?;

    let before = demo.ready.clone();
    demo.stop()?;
    let again = Demo::start(&data)?;
    let same = again.agent("compatible").recordings(200).await?;
    assert_eq!(
        same.len(),
        mine.len(),
        "a second start imports nothing twice"
    );
    let old_token = Client::new(&again.ready.url, &before.tenants[0].agent_token);
    assert!(
        !old_token.recordings(200).await?.is_empty(),
        "tokens of the first start still open"
    );
    // What was registered still holds: its key services are where they were, or are followed.
    for (provider, recordings) in [("lkm", &lkm), ("aws-kms", &kms)] {
        let client = Client::new(&again.ready.url, &again.tenant_of(provider).agent_token);
        assert_eq!(client.recordings(200).await?.len(), recordings.len());
        let playback = client.playback(&recordings[0].id).await?;
        assert_eq!(client.range(&playback.media_uri, 0, 3).await?.len(), 4);
    }
    // Their ports are somebody else's: they move, and what was registered follows them.
    let before_that = again.ready.clone();
    let again = {
        again.stop()?;
        let services = &before_that.services;
        let taken = [&services.lkm.url, &services.kms.url]
            .map(|url| std::net::TcpListener::bind(url.trim_start_matches("http://")));
        let again = Demo::start(&data)?;
        assert!(taken.iter().all(Result::is_ok), "{taken:?}");
        again
    };
    assert_ne!(again.ready.services.lkm.url, before_that.services.lkm.url);
    for (provider, recordings) in [("lkm", &lkm), ("aws-kms", &kms)] {
        let client = Client::new(&again.ready.url, &again.tenant_of(provider).agent_token);
        let playback = client.playback(&recordings[0].id).await?;
        assert_eq!(client.range(&playback.media_uri, 0, 3).await?.len(), 4);
    }
    let log = again.log();
    for tenant in &before.tenants {
        assert!(!log.contains(&tenant.agent_token) && !log.contains(&tenant.admin_token));
    }
    assert!(!log.contains("/media/k"), "no grant in a log");
    Ok(())
}

/// No file below `data` has 64 bytes from the middle of any sample, or the name, address or subject
/// that stands beside it.
fn assert_no_plaintext(data: &Path) -> anyhow::Result<()> {
    let mut canaries = Vec::new();
    let mut texts = Vec::new();
    for file in files(&root().join("examples/quickstart"))? {
        let extension = file
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        if matches!(extension, "wav" | "mp3" | "ogg" | "opus") {
            let bytes = std::fs::read(&file)?;
            let middle = bytes.len() / 2;
            let canary = bytes.get(middle..middle + 64);
            canaries.push(canary.expect("a sample has more bytes").to_vec());
            let metadata = std::fs::read(file.with_extension("json"))?;
            texts.extend(known_of(&serde_json::from_slice(&metadata)?));
        }
    }
    assert!(canaries.len() >= 6 && texts.len() >= 24);
    for file in files(data)? {
        let bytes = std::fs::read(&file)?;
        for canary in &canaries {
            let found = bytes.windows(64).any(|window| window == canary);
            assert!(!found, "plaintext of a recording in {}", file.display());
        }
        let bytes = String::from_utf8_lossy(&bytes).to_lowercase();
        for text in &texts {
            for reading in [text.clone(), hex::encode(text)] {
                assert!(!bytes.contains(&reading), "{text} in {}", file.display());
            }
        }
    }
    Ok(())
}

/// What people find a sample by, in lower case.
fn known_of(metadata: &serde_json::Value) -> Vec<String> {
    let channels = metadata["channels"].as_array().into_iter().flatten();
    let people = channels.flat_map(|channel| [&channel["name"], &channel["address"]]);
    people
        .chain([&metadata["subject"]])
        .filter_map(serde_json::Value::as_str)
        .map(str::to_lowercase)
        .collect()
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?)
        } else {
            found.push(path)
        }
    }
    Ok(found)
}
