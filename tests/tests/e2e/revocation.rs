//! Taking a key away while a stream is open: no byte comes later than the cache's time to live and
//! one chunk; after a purge, than one chunk. Measured for each provider, and printed.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use keyreel_tests::{Client, Demo, JsonResponse as _, keyreel, noise_wave, root};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const TTL: Duration = Duration::from_secs(4);
/// A chunk at the pace below, the machine's own delays, the last bytes in a small receive buffer.
const SLACK: Duration = Duration::from_millis(1500);
/// The longest that a first byte may take here.
const FIRST_BYTE: Duration = Duration::from_secs(20);
/// Bytes taken at a time, and how often: about 400 kB/s.
const BITE: usize = 8 << 10;
const PAUSE: Duration = Duration::from_millis(20);

/// A stream that is read slowly.
struct Paced {
    stream: TcpStream,
    last_byte: Instant,
    bytes: usize,
}

impl Paced {
    async fn open(demo: &Demo, client: &Client, id: &str) -> anyhow::Result<Self> {
        let uri = client.playback(id).await?.media_uri;
        let address = demo.ready.url.trim_start_matches("http://").parse()?;
        let socket = TcpSocket::new_v4()?;
        // What lies in this buffer was sent before: it must not be much.
        socket.set_recv_buffer_size(16 << 10)?;
        let mut stream = socket.connect(address).await?;
        let request = format!("GET {uri} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        // Before it come the unwrap, at a key service, and what is written down of it.
        let mut first = [0; 1];
        tokio::time::timeout(FIRST_BYTE, stream.read_exact(&mut first)).await??;
        Ok(Self {
            stream,
            last_byte: Instant::now(),
            bytes: first.len(),
        })
    }

    /// Reads for so long, or to the end; whether there is more.
    async fn read_for(&mut self, how_long: Duration) -> bool {
        let until = Instant::now() + how_long;
        let mut bite = vec![0; BITE];
        while Instant::now() < until {
            match tokio::time::timeout(how_long, self.stream.read(&mut bite)).await {
                Ok(Ok(read)) if read > 0 => {
                    self.bytes += read;
                    self.last_byte = Instant::now();
                }
                _ => return false,
            }
            tokio::time::sleep(PAUSE).await;
        }
        true
    }
}

/// Lets the owner of a provider's key take it away, or give it back.
fn switch(demo: &Demo, provider: &str, on: bool) -> anyhow::Result<()> {
    let mut command = match provider {
        "lkm" => {
            let data = &demo.ready.services.lkm.data;
            let pairs = keyreel()
                .args(["lkm", "pairs", "--data"])
                .arg(data)
                .output()?;
            let pair: Value = serde_json::from_slice(&pairs.stdout)?;
            let id = pair.get("keypairId").and_then(Value::as_str);
            let verb = if on { "enable-pair" } else { "disable-pair" };
            let mut command = keyreel();
            command.args(["lkm", verb, "--data"]).arg(data);
            command.arg(id.with_context(|| format!("{pair}"))?);
            command
        }
        "aws-kms" => {
            let kms = &demo.ready.services.kms;
            let verb = if on { "enable_key" } else { "disable_key" };
            let script = format!(
                "import boto3, sys\n\
                 kms = boto3.client('kms', endpoint_url=sys.argv[1], region_name=sys.argv[2],\n\
                 \x20   aws_access_key_id=sys.argv[3], aws_secret_access_key=sys.argv[4])\n\
                 kms.{verb}(KeyId=sys.argv[5])\n"
            );
            let mut command = Command::new(root().join("tests/.venv/bin/python"));
            command.args(["-c", &script, &kms.url, &kms.region, &kms.access_key_id]);
            command.args([&kms.secret_access_key, &kms.key_arn]);
            command
        }
        other => anyhow::bail!("nobody but Keyreel keeps the keys of {other}"),
    };
    let out = command.output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    anyhow::ensure!(out.status.success(), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_byte_comes_within_the_time_to_live() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let ttl = TTL.as_secs().to_string();
    let demo = Demo::start_with(&folder.path().join("data"), &["--dek-ttl", &ttl])?;
    for provider in ["lkm", "aws-kms"] {
        let tenant = demo.tenant_of(provider);
        let admin = Client::new(&demo.ready.url, &tenant.admin_token);
        let audio = noise_wave(8_000_000, 21);
        let id = admin.ingest("c-1", audio.clone()).await?;
        let mut stream = Paced::open(&demo, &admin, &id).await?;
        // Early in the life of the key in the cache: most of it is still to come.
        let plays = stream.read_for(Duration::from_millis(500)).await;
        assert!(plays, "it plays");
        switch(&demo, provider, false)?;
        let revoked = Instant::now();
        assert!(
            !stream.read_for(Duration::from_secs(10)).await,
            "{provider}: it plays on"
        );
        let late = stream.last_byte.saturating_duration_since(revoked);
        println!(
            "revocation, {provider}: the last byte {} ms after the key was disabled (time to live \
             {} ms), after {} of {} bytes",
            late.as_millis(),
            TTL.as_millis(),
            stream.bytes,
            audio.len(),
        );
        assert!(
            stream.bytes < audio.len() / 2 && late <= TTL + SLACK,
            "{provider}: {late:?}"
        );

        // Whoever asks now is told whose turn it is.
        let playback = admin.playback(&id).await?;
        let refused = admin.send(Method::GET, &playback.media_uri, &[]).await?;
        let status = refused.status().as_u16();
        let said: Value = refused.json().await?;
        assert_eq!(
            (status, &said["code"]),
            (403, &json!("key-disabled")),
            "{said}"
        );
        assert_eq!(
            (&said["provider"], &said["turn"]),
            (&json!(provider), &json!("key-owner"))
        );
        // Refusals are kept for five seconds; then it plays again.
        switch(&demo, provider, true)?;
        tokio::time::sleep(Duration::from_millis(5200)).await;
        assert_eq!(admin.range(&playback.media_uri, 0, 99).await?.len(), 100);
        assert!(
            audited(&admin, &id, provider).await?,
            "the audit names both"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_purge_the_last_byte_comes_within_a_chunk() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let demo = Demo::start(&folder.path().join("data"))?;
    for provider in ["managed", "lkm", "aws-kms"] {
        let tenant = demo.tenant_of(provider);
        let admin = Client::new(&demo.ready.url, &tenant.admin_token);
        let id = admin.ingest("c-1", noise_wave(8_000_000, 22)).await?;
        let mut stream = Paced::open(&demo, &admin, &id).await?;
        assert!(stream.read_for(Duration::from_secs(1)).await, "it plays");
        if provider != "managed" {
            switch(&demo, provider, false)?;
        }
        let purge = format!("/api/v1/tenants/{}/keys/purge", tenant.id);
        let started = Instant::now();
        let reading = tokio::spawn(async move {
            let more = stream.read_for(Duration::from_secs(10)).await;
            (more, stream.last_byte)
        });
        let (status, purged) = admin.json(Method::POST, &purge, &json!({})).await?;
        assert_eq!(
            (status.as_u16(), &purged["cutPlays"]),
            (200, &json!(1)),
            "{purged}"
        );
        let (more, last_byte) = reading.await?;
        assert!(!more, "{provider}: it plays on");
        let late = last_byte.saturating_duration_since(started);
        println!(
            "purge, {provider}: the last byte {} ms after it was asked for",
            late.as_millis()
        );
        assert!(late <= SLACK, "{provider}: {late:?}");
        let playback = admin.playback(&id).await?;
        let answer = admin
            .send(Method::GET, &playback.media_uri, &[("range", "bytes=0-9")])
            .await?;
        let expected = if provider == "managed" { 206 } else { 403 };
        assert_eq!(answer.status().as_u16(), expected, "{provider}");
        if provider != "managed" {
            switch(&demo, provider, true)?;
        }
    }
    Ok(())
}

/// Whether the audit log has an unwrap and a refusal of a recording, with all that they should say.
async fn audited(admin: &Client, id: &str, provider: &str) -> anyhow::Result<bool> {
    let mut found = Vec::new();
    for action in ["key.unwrapped", "key.unwrap.refused"] {
        let path = format!("/api/v1/audit?recording={id}&action={action}");
        let page = admin.send(Method::GET, &path, &[]).await?;
        let page: Value = page.error_for_status()?.json().await?;
        let event = page.pointer("/entities/0").cloned().unwrap_or_default();
        let said = |path: &str| event.pointer(path).and_then(Value::as_str);
        let outcome = match action {
            "key.unwrapped" => "ok",
            _ => "key-disabled",
        };
        found.push(
            said("/fields/provider") == Some(provider)
                && said("/fields/kek").is_some()
                && event
                    .pointer("/fields/latencyMs")
                    .is_some_and(Value::is_u64)
                && said("/subject").is_some_and(|subject| !subject.is_empty())
                && said("/outcome") == Some(outcome),
        );
    }
    Ok(found == [true, true])
}
