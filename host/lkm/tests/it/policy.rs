//! A policy binds decrypts to recordings and bounds their number.

use std::path::PathBuf;

use crate::Fixture;
use crate::client::Sending;

async fn fixture(policy: &str) -> (Fixture, tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    std::fs::write(&path, policy).unwrap();
    let set = path.clone();
    let fixture = Fixture::with(|settings| settings.policy = Some(set)).await;
    (fixture, folder, path)
}

#[tokio::test]
async fn a_recording_must_be_signed_along_and_allowed() {
    let (fixture, _folder, path) = fixture("[[allow]]\nrecordings = [\"r-1*\"]\n").await;
    let (body, _) = fixture.wrapped();
    let ask = async |ext: Option<&str>| {
        let sending = Sending {
            ext: ext.map(str::to_owned),
            ..Sending::new(fixture.now(), &body)
        };
        let (status, answer) = fixture.client.ask(&sending).await;
        (status, answer["code"].as_str().unwrap_or("ok").to_owned())
    };
    let is = |status, code: &str| (status, code.to_owned());
    assert_eq!(ask(Some("keyreel-recording=r-17")).await, is(200, "ok"));
    assert_eq!(
        ask(Some("keyreel-recording=r-2")).await,
        is(403, "forbidden")
    );
    assert_eq!(ask(Some("r-17")).await, is(403, "recording-needed"));
    assert_eq!(ask(None).await, is(403, "recording-needed"));
    let log = fixture.log();
    assert!(log.contains(r#""recording":"r-17""#), "{log}");

    // Half of one, or one that is gone, allows nothing.
    std::fs::write(&path, "").unwrap();
    let half = ask(Some("keyreel-recording=r-17")).await;
    assert_eq!(half, is(503, "unavailable"));
    std::fs::remove_file(path).unwrap();
    let gone = ask(Some("keyreel-recording=r-17")).await;
    assert_eq!(gone, is(503, "unavailable"));
}

#[tokio::test]
async fn a_pair_has_so_many_decrypts_a_minute() {
    let (fixture, _folder, _) = fixture("allow_all = true\nper_minute = 3\n").await;
    let (body, _) = fixture.wrapped();
    for _ in 0..3 {
        let sending = Sending::new(fixture.now(), &body);
        assert_eq!(fixture.client.ask(&sending).await.0, 200);
    }
    let answer = fixture
        .client
        .send(&Sending::new(fixture.now(), &body))
        .await;
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "20");
}
