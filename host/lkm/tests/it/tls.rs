//! TLS, and what is refused without it.

use std::process::Command;
use std::sync::Arc;

use keyreel_keys::SystemClock;
use keyreel_lkm::{Error, KeyPairs, Server, Settings, TlsFiles};

use crate::Fixture;
use crate::client::Sending;

fn certificate(folder: &std::path::Path) -> TlsFiles {
    let files = TlsFiles {
        certificate: folder.join("certificate.pem"),
        key: folder.join("key.pem"),
    };
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_tls_and_signs_what_clients_call_it() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path());
    let certificate = files.certificate.clone();
    let fixture = Fixture::with(|settings| settings.tls = Some(files)).await;
    assert!(fixture.client.url.starts_with("https://127.0.0.1:"));
    let (body, _) = fixture.wrapped();
    let sending = Sending::new(fixture.now(), &body);
    // curl, because reqwest is without TLS here.
    let output = tokio::task::spawn_blocking({
        let authorization = fixture.client.authorization(&sending);
        let (url, body) = (fixture.client.url.clone(), body.to_string());
        move || {
            Command::new("curl")
                .args(["--silent", "--show-error", "--fail-with-body", "--cacert"])
                .arg(certificate)
                .args(["--header", &format!("authorization: {authorization}")])
                .args(["--header", "content-type: application/json"])
                .args(["--data", &body, &url])
                .output()
                .unwrap()
        }
    })
    .await
    .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.starts_with(r#"{"body":""#), "{text}");
}

#[tokio::test]
async fn does_not_serve_keys_to_the_network_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(&folder.path().join("data"));
    KeyPairs::create(&settings.data, &settings.key_file).unwrap();
    settings.listen = ([0, 0, 0, 0], 0).into();
    let refused = Server::bind(settings, Arc::new(SystemClock)).await.err();
    assert!(matches!(refused, Some(Error::Setting(_))));
}

#[tokio::test]
async fn must_be_told_its_name_where_it_is_not_this_machines() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(&folder.path().join("data"));
    KeyPairs::create(&settings.data, &settings.key_file).unwrap();
    settings.tls = Some(certificate(folder.path()));
    settings.listen = ([0, 0, 0, 0], 0).into();
    let bind = async |settings: &Settings| {
        Server::bind(settings.clone(), Arc::new(SystemClock))
            .await
            .err()
    };
    let refused = bind(&settings).await.unwrap().to_string();
    assert!(refused.contains("--public-url"), "{refused}");
    settings.public_url = Some("https://keys.example".parse().unwrap());
    assert!(bind(&settings).await.is_none());
}

#[tokio::test]
async fn two_servers_do_not_share_their_data() {
    let fixture = Fixture::new().await;
    let mut settings = Settings::new(&fixture.folder.path().join("data"));
    settings.key_file = fixture.folder.path().join("master.key");
    let second = Server::bind(settings, Arc::new(SystemClock)).await.err();
    assert!(matches!(second, Some(Error::File { .. })), "{second:?}");
}
