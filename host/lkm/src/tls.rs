//! TLS: rustls' own choice of versions and ciphers, and a certificate that is read again when its
//! files change, so that renewing it needs no restart.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::Error;
use crate::settings::TlsFiles;

/// How often the files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(5);

pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let refused = |source: rustls::Error| Error::Tls {
        path: files.certificate.clone(),
        message: source.to_string(),
    };
    let certificate = Certificate {
        newest: Mutex::new(Newest {
            modified: modified(files),
            key: Arc::new(load(files, &provider)?),
            looked: Instant::now(),
        }),
        files: files.clone(),
        provider: Arc::clone(&provider),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The one certificate, whatever name was asked for.
#[derive(Debug)]
struct Certificate {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    newest: Mutex<Newest>,
}

#[derive(Debug)]
struct Newest {
    key: Arc<CertifiedKey>,
    modified: [Option<SystemTime>; 2],
    looked: Instant,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.looked.elapsed() >= LOOK_EVERY {
            newest.looked = Instant::now();
            let now = modified(&self.files);
            if now != newest.modified {
                newest.modified = now;
                match load(&self.files, &self.provider) {
                    Ok(key) => {
                        newest.key = Arc::new(key);
                        tracing::info!("the TLS certificate was read again");
                    }
                    Err(error) => {
                        tracing::error!(%error, "the new TLS certificate is of no use; the old one stays");
                    }
                }
            }
        }
        Some(Arc::clone(&newest.key))
    }
}

fn load(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let tls = |path: &Path, message: String| Error::Tls {
        path: path.to_owned(),
        message,
    };
    let path = &files.certificate;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| tls(path, source.to_string()))?;
    if chain.is_empty() {
        return Err(tls(path, "holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|source| tls(&files.key, source.to_string()))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|source| tls(path, source.to_string()))
}

fn modified(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    [&files.certificate, &files.key].map(|path| {
        std::fs::metadata(path)
            .and_then(|data| data.modified())
            .ok()
    })
}
