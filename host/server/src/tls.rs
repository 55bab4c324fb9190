//! TLS from the configuration.
//! Not for: reading certificates, and reading them again (see `keyreel_net`).

use std::sync::Arc;

use keyreel_net::{Acceptor, TlsError, TlsFiles};
use rustls::crypto::aws_lc_rs as provider;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use crate::settings::{CipherSuite, KeyExchange, TlsSettings, TlsVersion};

/// Reads the certificate and begins to watch it.
pub(crate) fn acceptor(settings: &TlsSettings) -> Result<Acceptor, TlsError> {
    let files = TlsFiles {
        certificate: settings.certificate_file.clone(),
        key: settings.key_file.clone(),
    };
    let settings = settings.clone();
    Acceptor::new(files, move |files| config(&settings, files))
}

/// What rustls serves with.
fn config(settings: &TlsSettings, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(crypto(settings));
    let certificate = files.load(&provider)?;
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
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session of TLS 1.3 saves a round trip at the first byte.
    config.send_tls13_tickets = 2;
    Ok(config)
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
