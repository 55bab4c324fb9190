//! For operators: health, metrics, TLS, what is in the log and what is not.

use std::sync::Arc;

use keyreel_server::Settings;
use keyreel_server::settings::{TlsSettings, TlsVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client;
use crate::fixture::Fixture;

#[tokio::test]
async fn health_and_metrics() {
    let fixture = Fixture::new().await;
    fixture.add_call("r", 1000).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    fixture.get(&uri, &[("Range", "bytes=0-5")]).await;
    fixture.get(&uri, &[("Range", "bytes=0-5")]).await;
    // Requests are counted when their last byte has been handed over.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let ready = client::request(fixture.admin, "GET", "/readyz", &[], None).await;
    assert_eq!(ready.status, 200, "{ready:?}");
    assert_eq!(ready.json()["checks"]["catalogue"], "ok");
    assert_eq!(ready.json()["checks"]["objects"], "ok");
    let metrics = client::request(fixture.admin, "GET", "/metrics", &[], None).await;
    let text = String::from_utf8(metrics.body).unwrap();
    for line in [
        "keyreel_http_requests_total{method=\"GET\",route=\"/media/{grant}/{file}\",status=\"206\"} 2",
        "keyreel_http_response_bytes_total{route=\"/media/{grant}/{file}\"} 12",
        "keyreel_unwraps_total{provider=\"local\",outcome=\"ok\"}",
        "keyreel_dek_cache_hits_total 1",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("alpha"), "nothing about a tenant:\n{text}");
    // Not on the public listener.
    assert_eq!(fixture.get("/metrics", &[]).await.status, 404);
    assert_eq!(fixture.get("/readyz", &[]).await.status, 404);
    std::fs::remove_dir_all(fixture.folder.path().join("objects")).unwrap();
    let ready = client::request(fixture.admin, "GET", "/readyz", &[], None).await;
    assert_eq!(ready.status, 503);
}

fn certificate(folder: &std::path::Path) -> TlsSettings {
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

async fn connect(
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

#[tokio::test]
async fn tls_as_configured() {
    let folder = tempfile::tempdir().unwrap();
    let tls = certificate(folder.path());
    let path = tls.certificate_file.clone();
    let only_13 = TlsSettings {
        versions: Some(vec![TlsVersion::V13]),
        ..tls
    };
    let fixture = Fixture::with(|settings: &mut Settings| settings.tls = Some(only_13)).await;
    assert!(
        connect(&fixture, &path, &[&rustls::version::TLS12], "http/1.1")
            .await
            .is_err()
    );
    let mut stream = connect(&fixture, &path, &[&rustls::version::TLS13], "http/1.1")
        .await
        .unwrap();
    let request = "GET /sign-in HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).to_string();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(
        answer.contains("strict-transport-security: max-age=600"),
        "{answer}"
    );
    let stream = connect(&fixture, &path, &[&rustls::version::TLS13], "h2")
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    // A new certificate is taken up without a restart.
    certificate(folder.path());
    let changed = async {
        while connect(&fixture, &path, &[&rustls::version::TLS13], "http/1.1")
            .await
            .is_err()
        {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(12), changed)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_certificate_that_is_none_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let tls = certificate(folder.path());
    std::fs::write(&tls.key_file, "not a key").unwrap();
    let started = tokio::spawn(async move {
        Fixture::with(|settings: &mut Settings| settings.tls = Some(tls)).await;
    });
    assert!(started.await.is_err());
}
