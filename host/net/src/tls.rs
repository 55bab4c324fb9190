//! TLS, with a certificate that is read again when its files change or on SIGHUP, so that renewing
//! it needs no restart. Connections keep the one that they began with.
//! Not for: which versions and ciphers: each server configures its own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

/// TLS cannot be had as configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file does not hold what it should.
    #[error("tls: {path}: {source}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The file holds no certificate.
    #[error("tls: {path} holds no certificate", path = path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// rustls refuses the settings, or key and certificate do not belong together.
    #[error("tls: {source}")]
    Refused {
        /// Why.
        #[from]
        source: rustls::Error,
    },
}

/// A certificate chain and its private key, PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain, the server's own first.
    pub certificate: PathBuf,
    /// PKCS #8, PKCS #1 or SEC1.
    pub key: PathBuf,
}

impl TlsFiles {
    /// What they hold, for whatever name is asked for.
    ///
    /// # Errors
    /// They hold none, or key and certificate do not belong together.
    pub fn load(&self, provider: &CryptoProvider) -> Result<Arc<dyn ResolvesServerCert>, TlsError> {
        let file = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::File { path, source }
        };
        let path = &self.certificate;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(file(path))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate { path: path.clone() });
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(file(&self.key))?;
        let certified = CertifiedKey::from_der(chain, key, provider)?;
        Ok(Arc::new(One(Arc::new(certified))))
    }

    fn modified(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key].map(|path| {
            std::fs::metadata(path)
                .and_then(|data| data.modified())
                .ok()
        })
    }
}

/// The one certificate, whatever name was asked for.
#[derive(Debug)]
struct One(Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Accepts TLS connections with the newest certificate.
pub struct Acceptor {
    current: Arc<RwLock<TlsAcceptor>>,
}

impl Acceptor {
    /// Reads the files, and from then on whenever they change. `configure` says what rustls serves
    /// with; it is asked each time.
    ///
    /// # Errors
    /// `configure` fails.
    pub fn new(
        files: TlsFiles,
        configure: impl Fn(&TlsFiles) -> Result<ServerConfig, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let acceptor = move |files: &TlsFiles| Ok(TlsAcceptor::from(Arc::new(configure(files)?)));
        let current = Arc::new(RwLock::new(acceptor(&files)?));
        tokio::spawn(watch(files, acceptor, Arc::downgrade(&current)));
        Ok(Self { current })
    }

    /// For the next connection.
    #[must_use]
    pub fn current(&self) -> TlsAcceptor {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

/// Reads the files again when they change. What does not load is said, and the old one stays.
async fn watch(
    files: TlsFiles,
    acceptor: impl Fn(&TlsFiles) -> Result<TlsAcceptor, TlsError>,
    current: Weak<RwLock<TlsAcceptor>>,
) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return;
    };
    let mut seen = files.modified();
    loop {
        let asked = tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => false,
            _ = hangup.recv() => true,
        };
        let Some(current) = current.upgrade() else {
            return;
        };
        let now = files.modified();
        if now == seen && !asked {
            continue;
        }
        seen = now;
        match acceptor(&files) {
            Ok(fresh) => {
                *current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                tracing::info!("the TLS certificate was read again");
            }
            Err(error) => {
                tracing::error!(%error, "the new TLS certificate is of no use; the old one stays");
            }
        }
    }
}

const LOOK_AGAIN: Duration = Duration::from_secs(5);
