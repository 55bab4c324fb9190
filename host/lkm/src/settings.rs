//! How a Local Key Manager runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyreel_net::TlsFiles;
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
    /// What clients call it: their signatures cover host and port. Without one it listens on loopback
    /// addresses only, and goes by these and by `localhost`.
    pub public_url: Option<Url>,
    /// What may be decrypted, and how often; without one, everything that is signed.
    pub policy: Option<PathBuf>,
    /// How far a client's clock may be off.
    pub window: Duration,
    /// How long a TLS handshake may take; a request to arrive, head and body each, and to be
    /// answered; and what is sent, to be taken.
    pub timeout: Duration,
    /// Open connections; further ones wait to be accepted.
    pub connections: usize,
    /// Open connections of one address; further ones are closed at once.
    pub connections_per_address: u32,
    /// How old a connection may become.
    pub lifetime: Duration,
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
            connections_per_address: 128,
            lifetime: Duration::from_mins(5),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let setting = |message: &str| Err(Error::Setting(message.to_owned()));
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            return setting(
                "without TLS it listens on loopback addresses only: its answers are keys",
            );
        }
        if self.public_url.is_none() && !self.listen.ip().is_loopback() {
            return setting(
                "where it listens on other than loopback addresses it must be told what clients call \
                 it (--public-url https://host:port): they sign host and port, and what they sign \
                 for another host is not to be taken here",
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
