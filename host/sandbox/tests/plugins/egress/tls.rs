//! Whom a plugin's requests trust.

use std::path::PathBuf;
use std::sync::Arc;

use keyreel_sandbox::{Egress, OriginGrant, Roots, Tls, TlsVersion};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::server::{Reply, Server, ok};
use super::{Bench, Rebinding, get};

/// A certificate authority, and its certificate in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A server with a certificate for `name`, of these versions of TLS.
    async fn server(
        &self,
        name: &str,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Server {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Server::with(Some(acceptor), |_| Reply::Say(ok("x"))).await
    }
}

/// What a request to "https://keys.example" gets of `server`.
async fn ask(server: &Server, roots: &Roots, oldest: TlsVersion) -> String {
    let egress = Egress {
        origins: vec![OriginGrant::parse("https://keys.example").unwrap()],
        tls: Tls::new(roots, oldest).unwrap(),
        network: Rebinding::new(server.address, &["93.184.215.14"]),
        ..Egress::default()
    };
    let bench = Bench::new(egress).await;
    let said = bench.ask(&get("https://keys.example")).await;
    if said == "200 x" {
        // Over the same connection.
        assert_eq!(bench.again("acme").await, said);
        assert_eq!(server.requests().last().unwrap().connection, 0);
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_checked() {
    let (authority, other) = (Authority::new(), Authority::new());
    let all = rustls::ALL_VERSIONS;
    let trusted = Roots::File(authority.file());
    let good = authority.server("keys.example", all).await;
    assert_eq!(ask(&good, &trusted, TlsVersion::V1_2).await, "200 x");
    let seen = good.requests();
    assert_eq!(seen[0].header("host"), Some("keys.example"));

    let good = authority.server("keys.example", all).await;
    let wrong_name = authority.server("elsewhere.example", all).await;
    for (server, roots) in [
        (&good, Roots::File(other.file())),
        (&wrong_name, trusted.clone()),
    ] {
        let said = ask(server, &roots, TlsVersion::V1_2).await;
        assert!(said.contains("TlsCertificateError"), "{roots:?}: {said}");
        assert!(server.requests().is_empty());
    }
    let plain = Server::start(|_| Reply::Say(ok("x"))).await;
    let said = ask(&plain, &trusted, TlsVersion::V1_2).await;
    assert!(!said.starts_with("200"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_version_is_a_setting() {
    let authority = Authority::new();
    let trusted = Roots::File(authority.file());
    let old: &[_] = &[&rustls::version::TLS12];
    for (oldest, reached) in [(TlsVersion::V1_2, true), (TlsVersion::V1_3, false)] {
        let server = authority.server("keys.example", old).await;
        let said = ask(&server, &trusted, oldest).await;
        assert_eq!(said == "200 x", reached, "{oldest:?}: {said}");
        assert!(reached || said.contains("Tls"), "{said}");
    }
}

#[test]
fn a_file_without_certificates_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    for content in [
        None,
        Some(""),
        Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    ] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let error = Tls::new(&Roots::File(file.clone()), TlsVersion::V1_2)
            .err()
            .unwrap();
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }
}
