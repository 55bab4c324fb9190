//! The key services of the demo: a Local Key Manager and a stand-in for AWS KMS, on this machine,
//! started with the demo and ended with it. Their data lies in the demo's folder, and so do the
//! ports that they had, so that what was registered still holds at the next start.
//! Not for production: whoever keeps the keys and the recordings in one folder protects nothing.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use keyreel_keys::{Clock, SystemClock};
use keyreel_kms_stand_in::KmsStandIn;
use keyreel_lkm::{Credential, KeyPairs, Padding, Server, Settings};
use keyreel_sandbox::AwsSigner;
use tokio::sync::oneshot;

/// The demo's key services. They end with the value.
pub(super) struct Services {
    pub(super) lkm: Lkm,
    pub(super) kms: KmsStandIn,
    before: Ports,
}

/// A running Local Key Manager.
pub(super) struct Lkm {
    /// "http://127.0.0.1:…"
    pub(super) url: String,
    /// What is registered.
    pub(super) decrypt_url: String,
    /// Where its data lies.
    pub(super) data: PathBuf,
    /// Its key pairs and credentials.
    pub(super) pairs: Arc<KeyPairs>,
    _end: oneshot::Sender<()>,
}

/// A key pair and a credential, to be registered.
pub(super) struct NewPair {
    pub(super) id: String,
    pub(super) public_key: String,
    pub(super) api_id: String,
    pub(super) api_key: zeroize::Zeroizing<String>,
}

/// The ports of the start before.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Ports {
    lkm: u16,
    kms: u16,
}

impl Services {
    /// Starts both below `data`.
    ///
    /// # Errors
    /// Their data is damaged, or they cannot listen on this machine.
    pub(super) async fn start(data: &Path) -> anyhow::Result<Self> {
        let folder = data.join("services");
        fs::create_dir_all(&folder)?;
        let file = folder.join("ports.json");
        let ports = fs::read(&file).ok();
        let before: Ports = ports
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let lkm = Lkm::start(&folder.join("lkm"), before.lkm)
            .await
            .context("the demo's Local Key Manager")?;
        let kms = kms(&folder.join("kms-stand-in"), before.kms)
            .await
            .context("the demo's stand-in for AWS KMS")?;
        let now = Ports {
            lkm: port(&lkm.url),
            kms: port(&kms.url),
        };
        fs::write(&file, serde_json::to_vec(&now)?)?;
        Ok(Self { lkm, kms, before })
    }

    /// Where the Local Key Manager's decrypts were posted at the start before.
    pub(super) fn lkm_before(&self) -> String {
        let path = self.lkm.decrypt_url.trim_start_matches(&self.lkm.url);
        format!("http://127.0.0.1:{}{path}", self.before.lkm)
    }

    /// Where the stand-in for AWS KMS was at the start before.
    pub(super) fn kms_before(&self) -> String {
        format!("http://127.0.0.1:{}", self.before.kms)
    }

    /// What plugins may reach.
    pub(super) fn origins(&self) -> [String; 2] {
        [self.lkm.url.clone(), self.kms.url.clone()]
    }

    /// What requests to the stand-in are signed with.
    pub(super) fn signer(&self) -> AwsSigner {
        let credentials = &self.kms.credentials;
        AwsSigner::new(SharedCredentialsProvider::new(Credentials::new(
            credentials.access_key_id.as_str(),
            credentials.secret_access_key.as_str(),
            None,
            None,
            "the demo's stand-in",
        )))
    }

    /// What the line on stdout says of them.
    pub(super) fn describe(&self) -> serde_json::Value {
        serde_json::json!({
            "lkm": {
                "url": self.lkm.url,
                "decrypt_url": self.lkm.decrypt_url,
                "data": self.lkm.data,
            },
            "kms": {
                "url": self.kms.url,
                "key_arn": self.kms.key_arn,
                "alias_arn": self.kms.alias_arn,
                "region": keyreel_kms_stand_in::REGION,
                "access_key_id": self.kms.credentials.access_key_id,
                "secret_access_key": self.kms.credentials.secret_access_key,
            },
        })
    }
}

impl Lkm {
    async fn start(data: &Path, port: u16) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut settings = Settings::new(data);
        KeyPairs::create(&settings.data, &settings.key_file)?;
        settings.listen = SocketAddr::from(([127, 0, 0, 1], port));
        let bound = match Server::bind(settings.clone(), clock.clone()).await {
            // Somebody else has the port now.
            Err(keyreel_lkm::Error::Listen { .. }) if port != 0 => {
                settings.listen.set_port(0);
                Server::bind(settings, clock).await?
            }
            bound => bound?,
        };
        let (end, ended) = oneshot::channel();
        let lkm = Self {
            url: bound.url().to_owned(),
            decrypt_url: bound.decrypt_url(),
            data: data.to_owned(),
            pairs: bound.pairs(),
            _end: end,
        };
        tokio::spawn(bound.serve(async move { drop(ended.await) }));
        Ok(lkm)
    }

    /// A new credential: the keys of those before were told once.
    pub(super) async fn new_credential(&self) -> anyhow::Result<Credential> {
        let pairs = self.pairs.clone();
        let made = tokio::task::spawn_blocking(move || pairs.add_credential(None, &SystemClock));
        Ok(made.await??)
    }

    /// A new key pair and a new credential.
    pub(super) async fn new_pair(&self) -> anyhow::Result<NewPair> {
        let pairs = self.pairs.clone();
        // A key pair takes a good part of a second to find.
        let made = tokio::task::spawn_blocking(move || {
            let pair = pairs.add_pair(Padding::OaepSha256, &SystemClock)?;
            let credential = pairs.add_credential(None, &SystemClock)?;
            Ok::<_, keyreel_lkm::Error>((pair, credential))
        });
        let (pair, credential) = made.await??;
        Ok(NewPair {
            id: pair.id.to_string(),
            public_key: pair.public_key,
            api_id: credential.id,
            api_key: credential.key,
        })
    }
}

async fn kms(data: &Path, port: u16) -> anyhow::Result<KmsStandIn> {
    fs::create_dir_all(data)?;
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match KmsStandIn::bind(data, address(port), clock.clone()).await {
        Err(keyreel_kms_stand_in::StandInError::Listen { .. }) if port != 0 => {
            Ok(KmsStandIn::bind(data, address(0), clock).await?)
        }
        bound => Ok(bound?),
    }
}

fn port(url: &str) -> u16 {
    let url = url::Url::parse(url).ok();
    url.and_then(|url| url.port()).unwrap_or_default()
}
