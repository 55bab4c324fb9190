//! Whom to trust: rustls over aws-lc, with the operating system's roots or a configured file.
//! Not for: client certificates, connecting (see `connect`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::error::SandboxError;

/// Which certificate authorities are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Roots {
    /// The operating system's.
    #[default]
    System,
    /// Those in a PEM file, and no others.
    File(PathBuf),
    /// The operating system's, and those in a PEM file.
    SystemAndFile(PathBuf),
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), and 1.3.
    #[default]
    V1_2,
    /// TLS 1.3 (RFC 8446) alone.
    V1_3,
}

/// How key services are trusted. Clones share what was loaded.
#[derive(Clone)]
pub struct Tls(Arc<Settings>);

impl Default for Tls {
    fn default() -> Self {
        Self(Arc::new(Settings {
            file: Vec::new(),
            system: SystemRoots::Trusted,
            oldest: TlsVersion::default(),
            crypto: Arc::new(aws_lc_rs::default_provider()),
            made: OnceLock::new(),
        }))
    }
}

struct Settings {
    file: Vec<CertificateDer<'static>>,
    system: SystemRoots,
    oldest: TlsVersion,
    crypto: Arc<CryptoProvider>,
    /// Made at the first connection: reading the system's roots takes some milliseconds.
    made: OnceLock<Result<Arc<ClientConfig>, String>>,
}

#[derive(PartialEq, Eq)]
enum SystemRoots {
    Trusted,
    Left,
}

impl Tls {
    /// Reads the file, where there is one. The system's roots are read at the first connection.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate.
    pub fn new(roots: &Roots, oldest: TlsVersion) -> Result<Self, SandboxError> {
        Self::with_crypto(roots, oldest, Arc::new(aws_lc_rs::default_provider()))
    }

    /// As [`Tls::new`], with the cipher suites and groups of `crypto` and no others.
    ///
    /// # Errors
    /// See [`Tls::new`].
    pub fn with_crypto(
        roots: &Roots,
        oldest: TlsVersion,
        crypto: Arc<CryptoProvider>,
    ) -> Result<Self, SandboxError> {
        let (file, system) = match roots {
            Roots::System => (None, SystemRoots::Trusted),
            Roots::File(file) => (Some(file), SystemRoots::Left),
            Roots::SystemAndFile(file) => (Some(file), SystemRoots::Trusted),
        };
        let file = file.map(|file| certificates(file)).transpose()?;
        Ok(Self(Arc::new(Settings {
            file: file.unwrap_or_default(),
            system,
            oldest,
            crypto,
            made: OnceLock::new(),
        })))
    }

    /// rustls' configuration. Reads files: not on a thread that serves others.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        self.0.made.get_or_init(|| self.0.make()).clone()
    }

    /// The same, if it is there already.
    pub(super) fn ready(&self) -> Option<Result<Arc<ClientConfig>, String>> {
        self.0.made.get().cloned()
    }
}

impl Settings {
    fn make(&self) -> Result<Arc<ClientConfig>, String> {
        let mut roots = RootCertStore::empty();
        if self.system == SystemRoots::Trusted {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "some of the system's certificate authorities are unusable");
            }
            roots.add_parsable_certificates(found.certs);
        }
        roots.add_parsable_certificates(self.file.iter().cloned());
        if roots.is_empty() {
            return Err("no certificate authority is trusted: the system has none".to_owned());
        }
        let versions: &[&SupportedProtocolVersion] = match self.oldest {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.crypto))
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Every connection proves itself anew, and no ticket ties one tenant's to another's.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, SandboxError> {
    let unusable = |reason: String| SandboxError::Roots {
        file: file.to_owned(),
        reason,
    };
    let found = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(error.to_string()))?;
    let mut usable = RootCertStore::empty();
    for certificate in &found {
        usable
            .add(certificate.clone())
            .map_err(|error| unusable(error.to_string()))?;
    }
    if usable.is_empty() {
        return Err(unusable("it holds no certificate (PEM)".to_owned()));
    }
    Ok(found)
}
