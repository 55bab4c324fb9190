//! The bytes that players get: against the plaintext, against curl, against ffmpeg.

use std::ops::Range;
use std::process::Command;

use keyreel_tests::{Client, Demo, Recording, root};

/// A `Range` header; the status that answers it, and for 206 which bytes.
type Row = (String, (u16, Option<Range<usize>>));

async fn find(client: &Client, content_type: &str) -> anyhow::Result<Recording> {
    let recordings = client.recordings(200).await?;
    recordings
        .into_iter()
        .find(|recording| recording.content_type.starts_with(content_type))
        .ok_or_else(|| anyhow::anyhow!("no sample of {content_type}"))
}

/// The file that a recording was imported from, found by the id in its metadata.
fn original(id: &str) -> anyhow::Result<std::path::PathBuf> {
    for tenant in std::fs::read_dir(root().join("examples/quickstart"))? {
        let tenant = tenant?.path();
        if !tenant.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(tenant)? {
            let path = entry?.path();
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if path.extension().is_some_and(|e| e == "json") && text.contains(&format!("\"{id}\""))
            {
                let media = ["wav", "mp3", "ogg", "opus"].map(|e| path.with_extension(e));
                return media
                    .into_iter()
                    .find(|m| m.exists())
                    .ok_or_else(|| anyhow::anyhow!("{id}"));
            }
        }
    }
    anyhow::bail!("no sample has the id {id}")
}

fn pcm(input: &str) -> anyhow::Result<Vec<u8>> {
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-i", input, "-f", "s16le", "-"])
        .output()?;
    anyhow::ensure!(
        out.status.success(),
        "ffmpeg: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(out.stdout)
}

#[tokio::test]
async fn ffmpeg_decodes_the_stream_to_the_original() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let demo = Demo::start(&folder.path().join("data"))?;
    for policy in ["compatible", "aes256"] {
        let client = demo.agent(policy);
        for recording in client.recordings(200).await? {
            let playback = client.playback(&recording.id).await?;
            let original = original(&recording.id)?;
            let expected = pcm(original.to_str().expect("UTF-8"))?;
            assert!(expected.len() > 100_000);
            assert!(
                pcm(&client.url(&playback.media_uri))? == expected,
                "{}",
                recording.id
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn curl_gets_the_right_bytes_for_the_table() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let demo = Demo::start(&folder.path().join("data"))?;
    let client = demo.agent("compatible");
    let recording = find(&client, "audio/wav").await?;
    let plaintext = std::fs::read(original(&recording.id)?)?;
    let url = client.url(&client.playback(&recording.id).await?.media_uri);
    let length = plaintext.len();
    let whole = (200, None);
    let table: Vec<Row> = vec![
        ("bytes=0-".into(), (206, Some(0..length))),
        ("bytes=0-1".into(), (206, Some(0..2))),
        (format!("bytes=-{}", length + 1000), (206, Some(0..length))),
        ("bytes=-500".into(), (206, Some(length - 500..length))),
        (
            format!("bytes={},0-5", length + 4000).replace(',', "-,"),
            (206, Some(0..6)),
        ),
        ("bytes=5-4".into(), (416, None)),
        (format!("bytes={length}-"), (416, None)),
        ("items=0-5".into(), whole.clone()),
        ("Bytes=0-5".into(), (206, Some(0..6))),
        ("bytes=,0-5".into(), (206, Some(0..6))),
        ("bytes=00-05".into(), (206, Some(0..6))),
        (
            "bytes=0-99999999999999999999999".into(),
            (206, Some(0..length)),
        ),
        ("bytes=0-5,3-10".into(), (206, Some(0..11))),
        (
            format!("bytes={}-{}", 16383, 16384),
            (206, Some(16383..16385)),
        ),
        (
            format!("bytes={}-", length - 1),
            (206, Some(length - 1..length)),
        ),
    ];
    for (range, (status, bytes)) in table {
        let out = Command::new("curl")
            .args([
                "-s",
                "-D",
                "/dev/stderr",
                "-H",
                &format!("Range: {range}"),
                &url,
            ])
            .output()?;
        let headers = String::from_utf8_lossy(&out.stderr).to_lowercase();
        assert!(
            headers.starts_with(&format!("http/1.1 {status}")),
            "{range}: {headers}"
        );
        match (status, bytes) {
            (206, Some(bytes)) => {
                let content_range = format!(
                    "content-range: bytes {}-{}/{length}",
                    bytes.start,
                    bytes.end - 1
                );
                assert!(headers.contains(&content_range), "{range}: {headers}");
                assert!(out.stdout == plaintext[bytes], "{range}: wrong bytes");
            }
            (200, _) => assert!(out.stdout == plaintext, "{range}: wrong bytes"),
            _ => assert!(
                headers.contains(&format!("content-range: bytes */{length}")),
                "{range}"
            ),
        }
    }
    // Two parts far apart are a multipart answer; each part is byte-exact.
    let out = Command::new("curl")
        .args(["-s", "-r", "0-9,50000-50009", &url])
        .output()?;
    let body = out.stdout;
    let contains = |part: &[u8]| body.windows(part.len()).any(|window| window == part);
    assert!(contains(&plaintext[0..10]) && contains(&plaintext[50_000..50_010]));
    assert!(contains(format!("bytes 50000-50009/{length}").as_bytes()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_random_ranges_equal_the_plaintext() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let demo = Demo::start(&folder.path().join("data"))?;
    let client = demo.agent("compatible");
    let recording = find(&client, "audio/wav").await?;
    let plaintext = std::sync::Arc::new(std::fs::read(original(&recording.id)?)?);
    let media = client.playback(&recording.id).await?.media_uri;
    let length = plaintext.len();
    let random = |below: usize| {
        let value = getrandom::u32().expect("the system has randomness");
        usize::try_from(value).expect("32 bits fit") % below
    };
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let ranges: Vec<(usize, usize)> = (0..1250)
            .map(|_| {
                let first = random(length);
                let span = [1, 17, 16_384, 100_000, length][random(5)];
                (first, (first + random(span)).min(length - 1))
            })
            .collect();
        let (client, media, plaintext) = (client.clone(), media.clone(), plaintext.clone());
        tasks.push(tokio::spawn(async move {
            for (first, last) in ranges {
                let bytes = client.range(&media, first as u64, last as u64).await?;
                anyhow::ensure!(
                    bytes == plaintext[first..=last],
                    "bytes {first}-{last} differ"
                );
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}
