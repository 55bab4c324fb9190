//! For operators: health, metrics, TLS, what is in the log and what is not.

use keyreel_server::Settings;
use keyreel_server::settings::{TlsSettings, TlsVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client;
use crate::fixture::Fixture;
use crate::tls::{certificate, connect};

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

#[tokio::test]
async fn an_address_with_too_many_connections_gets_no_more() {
    let fixture = Fixture::with(|settings: &mut Settings| {
        settings.limits.connections_per_address = 2;
        // Only where proxies are named is this machine no proxy.
        settings.server.trusted_proxies = vec!["192.0.2.1".parse().unwrap()];
    })
    .await;
    let page = [("Connection", "keep-alive")];
    let open = async || client::open(fixture.address, "GET", "/sign-in", &page, None).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = open().await;
        let mut start = [0; 15];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200 OK");
        held.push(stream);
    }
    let mut third = tokio::net::TcpStream::connect(fixture.address)
        .await
        .unwrap();
    let mut nothing = Vec::new();
    let refused = third.read_to_end(&mut nothing).await;
    assert!(nothing.is_empty(), "{refused:?}");
    let metrics = client::request(fixture.admin, "GET", "/metrics", &[], None).await;
    let text = String::from_utf8(metrics.body).unwrap();
    assert!(
        text.contains("keyreel_http_connections_refused_total 1"),
        "{text}"
    );
    held.pop();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(fixture.get("/sign-in", &[]).await.status, 200);
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
