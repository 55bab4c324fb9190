//! How a Local Key Manager runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use crate::Error;

/// How a Local Key Manager runs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Its data: keystore, key pairs, credentials, log.
    pub data: PathBuf,
    /// What the data is sealed with: 32 bytes, or 64 hexadecimal digits, mode 0600.
    pub key_file: PathBuf,
    /// Where it listens. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// Its certificate. Without one it listens on loopback addresses only.
    pub tls: Option<TlsFiles>,
    /// What clients call it, where a proxy stands before it: their signatures cover host and port.
    pub public_url: Option<Url>,
    /// What may be decrypted, and how often; without it, everything that is signed.
    pub policy: Option<PathBuf>,
    /// How far a client's clock may be off.
    pub window: Duration,
    /// How long a request may take to arrive, head and body each, and to be answered.
    pub timeout: Duration,
    /// Open connections; further ones wait to be accepted.
    pub connections: usize,
}

/// A certificate chain and its private key, PEM. Read again when they change.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain, the server's own first.
    pub certificate: PathBuf,
    /// PKCS #8, PKCS #1 or SEC1.
    pub key: PathBuf,
}

impl Settings {
    /// For the data in `data`: the key file beside it there, a free port of 127.0.0.1, no TLS, no
    /// policy, a window of 60 seconds.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            key_file: data.join("master.key"),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            public_url: None,
            policy: None,
            window: Duration::from_mins(1),
            timeout: Duration::from_secs(10),
            connections: 512,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let setting = |message: &str| Err(Error::Setting(message.to_owned()));
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            return setting(
                "without TLS it listens on loopback addresses only: its answers are keys",
            );
        }
        if !(1..=3600).contains(&self.window.as_secs()) {
            return setting("the window must be 1 to 3600 seconds");
        }
        if let Some(url) = &self.public_url {
            let plain = url.path() == "/" && url.query().is_none() && url.host_str().is_some();
            if !plain || !matches!(url.scheme(), "http" | "https") {
                return setting("the public URL must be https://host or https://host:port");
            }
        }
        Ok(())
    }
}
