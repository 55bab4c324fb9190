//! A certificate, and a client that believes it.

use std::sync::Arc;

use keyreel_server::settings::TlsSettings;

use crate::fixture::Fixture;

pub(crate) fn certificate(folder: &std::path::Path) -> TlsSettings {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let settings = TlsSettings {
        certificate_file: folder.join("cert.pem"),
        key_file: folder.join("key.pem"),
        versions: None,
        cipher_suites: None,
        key_exchange: None,
        hsts_seconds: 600,
    };
    std::fs::write(&settings.certificate_file, made.cert.pem()).unwrap();
    std::fs::write(&settings.key_file, made.signing_key.serialize_pem()).unwrap();
    settings
}

pub(crate) async fn connect(
    fixture: &Fixture,
    certificate: &std::path::Path,
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &str,
) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    use rustls_pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(rustls_pki_types::CertificateDer::from_pem_file(certificate).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let stream = tokio::net::TcpStream::connect(fixture.address).await?;
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}
