//! TLS from the configuration. The certificate is read again when its files change or on SIGHUP;
//! connections keep the one that they began with.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs as provider;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use crate::settings::{CipherSuite, KeyExchange, TlsSettings, TlsVersion};

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

/// Accepts TLS connections with the newest certificate.
pub(crate) struct Acceptor {
    current: Arc<RwLock<TlsAcceptor>>,
}

impl Acceptor {
    /// Reads the certificate and begins to watch it.
    pub(crate) fn new(settings: &TlsSettings) -> Result<Self, TlsError> {
        let current = Arc::new(RwLock::new(acceptor(settings)?));
        tokio::spawn(watch(settings.clone(), Arc::downgrade(&current)));
        Ok(Self { current })
    }

    /// For the next connection.
    pub(crate) fn current(&self) -> TlsAcceptor {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn acceptor(settings: &TlsSettings) -> Result<TlsAcceptor, TlsError> {
    Ok(TlsAcceptor::from(Arc::new(config(settings)?)))
}

/// What rustls serves with.
fn config(settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(crypto(settings));
    let certified = certified(settings, &provider)?;
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    match &settings.versions {
        None => versions.extend(rustls::ALL_VERSIONS),
        Some(wanted) => versions.extend(wanted.iter().map(|version| match version {
            TlsVersion::V12 => &rustls::version::TLS12,
            TlsVersion::V13 => &rustls::version::TLS13,
        })),
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(One(Arc::new(certified))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session of TLS 1.3 saves a round trip at the first byte.
    config.send_tls13_tickets = 2;
    Ok(config)
}

/// The one certificate, whatever name was asked for.
#[derive(Debug)]
struct One(Arc<CertifiedKey>);

impl rustls::server::ResolvesServerCert for One {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn certified(settings: &TlsSettings, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { path, source }
    };
    let path = &settings.certificate_file;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(file(path))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.clone() });
    }
    let path = &settings.key_file;
    let key = PrivateKeyDer::from_pem_file(path).map_err(file(path))?;
    Ok(CertifiedKey::from_der(chain, key, provider)?)
}

fn crypto(settings: &TlsSettings) -> CryptoProvider {
    let mut crypto = provider::default_provider();
    if let Some(suites) = &settings.cipher_suites {
        crypto.cipher_suites = suites.iter().map(|suite| suite.supported()).collect();
    }
    if let Some(groups) = &settings.key_exchange {
        crypto.kx_groups = groups.iter().map(|group| group.supported()).collect();
    }
    crypto
}

/// Reads the files again when they change. What does not load is said, and the old one stays.
async fn watch(settings: TlsSettings, current: std::sync::Weak<RwLock<TlsAcceptor>>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return;
    };
    let mut seen = modified(&settings);
    loop {
        let asked = tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => false,
            _ = hangup.recv() => true,
        };
        let Some(current) = current.upgrade() else {
            return;
        };
        let now = modified(&settings);
        if now == seen && !asked {
            continue;
        }
        seen = now;
        match acceptor(&settings) {
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

fn modified(settings: &TlsSettings) -> [Option<SystemTime>; 2] {
    [&settings.certificate_file, &settings.key_file].map(|path| {
        std::fs::metadata(path)
            .and_then(|data| data.modified())
            .ok()
    })
}

const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl CipherSuite {
    fn supported(self) -> SupportedCipherSuite {
        use provider::cipher_suite as suite;
        match self {
            Self::Aes256GcmSha384 => suite::TLS13_AES_256_GCM_SHA384,
            Self::Aes128GcmSha256 => suite::TLS13_AES_128_GCM_SHA256,
            Self::Chacha20Poly1305Sha256 => suite::TLS13_CHACHA20_POLY1305_SHA256,
            Self::EcdheEcdsaAes256GcmSha384 => suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            Self::EcdheEcdsaAes128GcmSha256 => suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            Self::EcdheEcdsaChacha20Poly1305Sha256 => {
                suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            }
            Self::EcdheRsaAes256GcmSha384 => suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            Self::EcdheRsaAes128GcmSha256 => suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            Self::EcdheRsaChacha20Poly1305Sha256 => {
                suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
            }
        }
    }
}

impl KeyExchange {
    fn supported(self) -> &'static dyn SupportedKxGroup {
        match self {
            Self::X25519MlKem768 => provider::kx_group::X25519MLKEM768,
            Self::X25519 => provider::kx_group::X25519,
            Self::Secp256r1 => provider::kx_group::SECP256R1,
            Self::Secp384r1 => provider::kx_group::SECP384R1,
        }
    }
}
