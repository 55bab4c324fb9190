//! Registering keys with a running server: a Local Key Manager that a customer runs, a KMS key, and
//! back to keys that Keyreel keeps.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use keyreel_tests::{Client, Demo, JsonResponse as _, keyreel, noise_wave};
use reqwest::Method;
use serde_json::{Value, json};

use crate::start::files;

const CONFIGURATIONS: &str = "/api/v2/recording/keyconfigurations";
const LOCAL_KEYS: &str = "/api/v2/recording/localkeys";
const KEYS: &str = "/api/v2/recording/recordingkeys";

/// A `keyreel lkm serve` of a customer's own. Ends with the value.
pub(crate) struct Lkm {
    child: Child,
    pub(crate) url: String,
    init: Value,
}

impl Drop for Lkm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lkm {
    /// `keyreel lkm init` and `serve`, on a port that was free a moment ago.
    pub(crate) fn start(data: &Path, port: u16) -> anyhow::Result<Self> {
        let init = keyreel()
            .args(["lkm", "init", "--data"])
            .arg(data)
            .output()?;
        anyhow::ensure!(
            init.status.success(),
            "{}",
            String::from_utf8_lossy(&init.stderr)
        );
        let init: Value = serde_json::from_slice(&init.stdout)?;
        let address = format!("127.0.0.1:{port}");
        let mut child = keyreel()
            .args(["lkm", "serve", "--listen", &address, "--data"])
            .arg(data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        for _ in 0..1500 {
            if std::net::TcpStream::connect(&address).is_ok() {
                let url = format!("http://{address}/key-management/v1/decrypt");
                return Ok(Self { child, url, init });
            }
            if let Some(status) = child.try_wait()? {
                anyhow::bail!("`lkm serve` on {address} ended with {status}");
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        child.kill()?;
        anyhow::bail!("`lkm serve` on {address} did not answer within 30 seconds")
    }

    pub(crate) fn text(&self, name: &str) -> anyhow::Result<&str> {
        let found = self.init.get(name).and_then(Value::as_str);
        found.with_context(|| format!("`lkm init` says no {name}: {}", self.init))
    }
}

pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

async fn plays(client: &Client, id: &str, audio: &[u8]) -> anyhow::Result<()> {
    let playback = client.playback(id).await?;
    let last = audio.len() as u64 - 1;
    let played = client.range(&playback.media_uri, 0, last).await?;
    anyhow::ensure!(played == audio, "{id} plays as something else");
    Ok(())
}

#[tokio::test]
async fn a_tenant_moves_from_managed_keys_to_its_own_and_back() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let origin = format!("http://127.0.0.1:{port}");
    let demo = Demo::start_with(&folder.path().join("data"), &["--allow-origin", &origin])?;
    let (admin, agent) = (demo.admin("compatible"), demo.agent("compatible"));
    let audio = noise_wave(100_000, 11);
    let managed = admin.ingest("c-managed", audio.clone()).await?;

    // A Local Key Manager.
    let lkm = Lkm::start(&folder.path().join("lkm"), port)?;
    let mut configuration = json!({
        "keyConfigurationType": "LocalKeyManager", "url": lkm.url,
        "apiId": lkm.text("apiId")?, "apiKey": "not-the-key",
        "configuration": {"padding": "oaep-sha256", "payloadHash": true},
    });
    let (status, refused) = admin
        .json(Method::POST, CONFIGURATIONS, &configuration)
        .await?;
    assert_eq!(
        (status.as_u16(), &refused["code"]),
        (403, &json!("key-denied")),
        "{refused}"
    );
    configuration["apiKey"] = json!(lkm.text("apiKey")?);
    let (status, made) = admin
        .json(Method::POST, CONFIGURATIONS, &configuration)
        .await?;
    assert_eq!(status.as_u16(), 200, "{made}");
    let key = json!({
        "configId": made["id"], "publicKey": lkm.text("publicKey")?,
        "keypairId": lkm.text("keypairId")?,
    });
    let (status, registered) = admin.json(Method::POST, LOCAL_KEYS, &key).await?;
    assert_eq!(status.as_u16(), 200, "{registered}");
    let own = admin.ingest("c-lkm", audio.clone()).await?;
    plays(&agent, &own, &audio).await?;
    plays(&agent, &managed, &audio).await?;

    // The stand-in for AWS KMS, which the demo runs.
    let kms = &demo.ready.services.kms;
    let wrong = json!({
        "keyConfigurationType": "KmsSymmetric",
        "url": kms.key_arn.replace(":key/", ":key/0"), "configuration": {"endpoint": kms.url},
    });
    let (status, refused) = admin.json(Method::POST, CONFIGURATIONS, &wrong).await?;
    assert_eq!(
        (status.as_u16(), &refused["code"]),
        (404, &json!("key-not-found")),
        "{refused}"
    );
    let configuration = json!({
        "keyConfigurationType": "KmsSymmetric", "url": kms.alias_arn,
        "configuration": {"endpoint": kms.url},
    });
    let (status, made) = admin
        .json(Method::POST, CONFIGURATIONS, &configuration)
        .await?;
    assert_eq!(status.as_u16(), 200, "{made}");
    let in_kms = admin.ingest("c-kms", audio.clone()).await?;

    // An origin that nobody granted.
    let elsewhere = json!({
        "keyConfigurationType": "LocalKeyManager", "url": "http://127.0.0.1:1/decrypt",
        "apiId": "x", "apiKey": "y",
    });
    let (status, refused) = admin.json(Method::POST, CONFIGURATIONS, &elsewhere).await?;
    assert_eq!(status.as_u16(), 400, "{refused}");

    // And back.
    let native = json!({"keyConfigurationType": "Native"});
    let (status, made) = admin.json(Method::POST, CONFIGURATIONS, &native).await?;
    assert_eq!(status.as_u16(), 200, "{made}");
    let again = admin.ingest("c-again", audio.clone()).await?;
    for id in [&managed, &own, &in_kms, &again] {
        plays(&agent, id, &audio).await?;
    }
    let keys = admin.send(Method::GET, KEYS, &[]).await?;
    let keys: Value = keys.error_for_status()?.json().await?;
    let providers: Vec<_> = keys["entities"]
        .as_array()
        .context("entities")?
        .iter()
        .map(|key| key["provider"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(providers, ["managed", "aws-kms", "lkm", "managed"]);
    let shown = agent.recordings(200).await?;
    let own = shown.iter().find(|recording| recording.id == own);
    assert_eq!(own.context("listed")?.wrap_algorithm, "rsa-oaep-sha256");

    // The Hawk key and the AWS credentials are in no log, and nowhere in clear on the disk but
    // with the services that made them.
    let log = demo.log();
    let secrets = [lkm.text("apiKey")?, &kms.secret_access_key];
    for secret in secrets {
        assert!(!log.contains(secret));
    }
    let services = demo.data.join("services");
    let mut searched = 0;
    for path in files(&demo.data)? {
        if path.starts_with(&services) {
            continue;
        }
        let contents = std::fs::read(&path)?;
        searched += contents.len();
        for secret in secrets {
            let secret = secret.as_bytes();
            let found = contents.windows(secret.len()).any(|part| part == secret);
            assert!(!found, "a key service's secret is in {}", path.display());
        }
    }
    // The catalogue alone is longer than that.
    assert!(searched > 100_000, "{searched} bytes were searched");
    Ok(())
}

#[test]
fn the_sealed_file_is_what_lies_in_the_store() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = tempfile::tempdir()?;
    let demo = Demo::start(&folder.path().join("data"))?;
    let (admin, agent) = (demo.admin("compatible"), demo.agent("compatible"));
    runtime.block_on(async {
        let id = admin.ingest("c-1", noise_wave(50_000, 5)).await?;
        let path = format!("/api/v1/recordings/{id}/sealed");
        let refused = agent.send(Method::GET, &path, &[]).await?;
        anyhow::ensure!(refused.status() == 403, "an agent gets no files");
        let sealed = admin.send(Method::GET, &path, &[]).await?;
        let sealed = sealed.error_for_status()?.bytes().await?;
        let stored = files(&demo.data.join("objects"))?;
        let mut stored = stored.iter().map(std::fs::read);
        let same = stored.any(|object| object.is_ok_and(|object| object == sealed));
        anyhow::ensure!(same, "no object of the store has these bytes");
        let file = folder.path().join("sealed.krc");
        std::fs::write(&file, &sealed)?;
        let mut inspect: Command = keyreel();
        let out = inspect.arg("inspect").arg(&file).arg("--json").output()?;
        let header: Value = serde_json::from_slice(&out.stdout)?;
        anyhow::ensure!(header["recording"] == id.as_str(), "{header}");
        Ok(())
    })
}
