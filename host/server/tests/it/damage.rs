//! Stored objects that are not what was sealed, keys that are not to be had, a log that is full.

use std::time::Duration;

use keyreel_format::Dek;
use keyreel_keys::ErrorClass;

use crate::client::{self, End};
use crate::fixture::{Fixture, NOW_MS, plaintext, recording_id, tenant};

fn flip(path: &std::path::Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    // A new file, as a tampering store would have it.
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_byte_changed_anywhere_is_never_played() {
    let fixture = Fixture::new().await;
    let len = 40_000;
    // Header: magic, suite, object id, names, key block, padding, MAC; body: salt, commitment,
    // first chunk, its tag, the second, the last, the last tag.
    let places = [
        0, 9, 10, 20, 40, 60, 200, 300, 2000, 4040, 4095, 4096, 4120, 4151, 4152, 20_000, 20_540,
        25_000, 36_960, 40_000, 44_199,
    ];
    let mut failures = 0;
    for at in places {
        let id = format!("r{at}");
        fixture.add_call(&id, len).await;
        // Before the grant, which opens the file.
        flip(&fixture.object(&id, "media"), at);
        let uri = fixture.media_uri(&fixture.agent, &id).await;
        let answer = fixture.get(&uri, &[]).await;
        assert_eq!(answer.status, 422, "{at}");
        assert_eq!(answer.problem(), "integrity", "{at}");
        if at >= 36_952 {
            // A length is promised when the last chunk has authenticated, for any range.
            let start = fixture.get(&uri, &[("Range", "bytes=0-5")]).await;
            assert_eq!(start.problem(), "integrity", "{at}");
            failures += 1;
        }
        failures += 1;
        let last = fixture.audit().await.pop().unwrap();
        assert_eq!(
            (last.action.as_str(), last.outcome.as_str()),
            ("integrity.failed", "integrity")
        );
        assert_eq!(last.recording.unwrap().as_str(), id);
    }
    let metrics = client::request(fixture.admin, "GET", "/metrics", &[], None).await;
    let text = String::from_utf8(metrics.body).unwrap();
    assert!(
        text.contains(&format!("keyreel_integrity_failures_total {failures}")),
        "{text}"
    );
}

/// HTTP has no such date, and HEAD ends before the header is authenticated.
#[tokio::test]
async fn a_date_beyond_the_year_9999_is_damage() {
    let fixture = Fixture::new().await;
    fixture.add_call("r", 1000).await;
    let path = fixture.object("r", "media");
    let mut bytes = std::fs::read(&path).unwrap();
    let created = (NOW_MS - 60_000).to_be_bytes();
    let at = bytes.windows(8).position(|window| window == created);
    let at = at.unwrap();
    bytes[at..at + 8].copy_from_slice(&u64::MAX.to_be_bytes());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    assert_eq!(fixture.send("HEAD", &uri, &[], None).await.status, 422);
    assert_eq!(fixture.get(&uri, &[]).await.problem(), "integrity");
}

/// The first chunks are played; at the bad one the connection ends with an error.
#[tokio::test]
async fn a_bad_chunk_in_the_middle_aborts_the_connection() {
    let fixture = Fixture::new().await;
    let len = 3_000_000;
    let bytes = fixture.add_call("r", len).await;
    let bad_chunk = 100;
    flip(
        &fixture.object("r", "media"),
        4096 + 56 + bad_chunk * 16_400 + 77,
    );
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let answer = fixture.get(&uri, &[]).await;
    assert_eq!(answer.status, 200);
    assert_ne!(answer.end, End::Whole);
    assert!(answer.body.len() <= bad_chunk * 16_384);
    assert!(bytes.starts_with(&answer.body), "never a wrong byte");
    let events = fixture.actions().await;
    assert_eq!(
        events.last().map(String::as_str),
        Some("integrity.failed"),
        "{events:?}"
    );
    // What lies before and after it still plays.
    let range = format!("bytes={}-", (bad_chunk + 1) * 16_384);
    let rest = fixture.get(&uri, &[("Range", &range)]).await;
    assert!(rest.body == bytes[(bad_chunk + 1) * 16_384..]);
    let at = format!("bytes={}-{0}", bad_chunk * 16_384);
    assert_eq!(
        fixture.get(&uri, &[("Range", &at)]).await.problem(),
        "integrity"
    );
}

#[tokio::test]
async fn no_cut_or_lengthened_object_promises_a_length() {
    let fixture = Fixture::new().await;
    for (id, change) in [
        ("cut-one", -1_i64),
        ("cut-chunk", -7264),
        ("cut-two", -7264 - 16_400),
        ("cut-header", -45_000),
        ("longer", 1),
        ("longer-chunk", 16_400),
    ] {
        fixture.add_call(id, 40_000).await;
        let path = fixture.object(id, "media");
        let mut bytes = std::fs::read(&path).unwrap();
        let len = (bytes.len() as i64 + change).max(0) as usize;
        bytes.resize(len, 0);
        std::fs::write(&path, bytes).unwrap();
        let uri = fixture.media_uri(&fixture.agent, id).await;
        let answer = fixture.get(&uri, &[("Range", "bytes=0-5")]).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (422, "integrity"),
            "{id}"
        );
    }
}

#[tokio::test]
async fn an_object_of_another_recording_or_tenant_asks_no_provider() {
    let fixture = Fixture::new().await;
    let bytes = plaintext(1000);
    for (of, id) in [("alpha", "mine"), ("alpha", "other"), ("beta", "foreign")] {
        fixture.add(of, id, &[("media", "audio/wav", &bytes)]).await;
    }
    let before = fixture.provider.unwraps();
    let mine = fixture.object("mine", "media");
    let foreign = fixture.folder.path().join("objects/beta/foreign/media.krc");
    for planted in [fixture.object("other", "media"), foreign] {
        std::fs::copy(planted, &mine).unwrap();
        let fresh = fixture.media_uri(&fixture.agent, "mine").await;
        assert_eq!(fixture.get(&fresh, &[]).await.problem(), "integrity");
        // The object cache lives for five seconds; each plant is a new one to it after damage.
    }
    assert_eq!(fixture.provider.unwraps(), before, "nobody was asked");
    std::fs::remove_file(&mine).unwrap();
    let fresh = fixture.media_uri(&fixture.agent, "mine").await;
    assert_eq!(fixture.get(&fresh, &[]).await.problem(), "not-found");
}

/// Wrapping a DEK takes a public key only, so whoever has it and may write objects can seal a
/// recording that is well in every way. It is not the one that was taken in.
#[tokio::test]
async fn a_recording_well_sealed_by_somebody_else_is_not_played() {
    let fixture = Fixture::new().await;
    let (of, id) = (tenant("alpha"), recording_id("r"));
    let bytes = fixture.add_call("r", 1000).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    assert_eq!(fixture.get(&uri, &[]).await.body, bytes);
    let before = fixture.provider.unwraps();
    let dek = Dek::generate();
    let wrapped = fixture.keyring.wrap(&of, &id, &dek).await.unwrap();
    let part = ("media", "audio/wav", &[7; 1000][..]);
    fixture.put(&of, &id, &part, &dek, &wrapped).await;
    // Open objects are believed for five seconds.
    tokio::time::sleep(Duration::from_millis(5100)).await;
    for method in ["GET", "HEAD"] {
        let answer = fixture.send(method, &uri, &[], None).await;
        assert_eq!(answer.status, 422, "{method}");
    }
    assert_eq!(fixture.provider.unwraps(), before, "nobody was asked");
    let last = fixture.audit().await.pop().unwrap();
    assert_eq!(last.action, "integrity.failed");
    // It is this comparison that refuses it: a row from before the prefix was kept knows no better.
    fixture.sql("UPDATE part SET body_prefix = NULL").await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(fixture.get(&uri, &[]).await.body, [7; 1000]);
}

#[tokio::test]
async fn every_failure_of_a_provider_is_its_own_answer() {
    let fixture = Fixture::new().await;
    let table = [
        (ErrorClass::Config, 500, "config"),
        (ErrorClass::Request, 502, "provider-malformed"),
        (ErrorClass::NotFound, 404, "key-not-found"),
        (ErrorClass::Denied, 403, "key-denied"),
        (ErrorClass::KeyDisabled, 403, "key-disabled"),
        (ErrorClass::Integrity, 422, "integrity"),
        (ErrorClass::Throttled, 503, "throttled"),
        (ErrorClass::Internal, 502, "provider-malformed"),
        (ErrorClass::Timeout, 504, "timeout"),
        (ErrorClass::Unavailable, 503, "unavailable"),
    ];
    for (class, status, code) in table {
        let id = format!("r-{}", class.as_str());
        fixture.add_call(&id, 1000).await;
        let uri = fixture.media_uri(&fixture.agent, &id).await;
        fixture.provider.fail(&tenant("alpha"), class);
        let answer = fixture.get(&uri, &[]).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, code),
            "{class:?}"
        );
        assert_eq!(answer.header("retry-after").is_some(), status == 503);
        assert!(!String::from_utf8_lossy(&answer.body).contains("told to fail"));
        let refused = fixture.audit().await;
        let refused = refused
            .iter()
            .rev()
            .find(|e| e.action == "key.unwrap.refused")
            .unwrap();
        assert_eq!(refused.outcome, class.as_str());
        fixture
            .provider
            .behave(&tenant("alpha"), keyreel_keys_testing::Behaviour::default());
    }
}

#[tokio::test]
async fn a_wrong_dek_is_damage_and_no_noise() {
    let fixture = Fixture::new().await;
    fixture.add_call("r", 1000).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let behaviour = keyreel_keys_testing::Behaviour {
        wrong_dek: true,
        ..Default::default()
    };
    fixture.provider.behave(&tenant("alpha"), behaviour);
    assert_eq!(fixture.get(&uri, &[]).await.problem(), "integrity");
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_happen() {
    let fixture = Fixture::new().await;
    fixture.add_call("r", 1000).await;
    fixture.add_call("s", 1000).await;
    let (r, s) = (
        fixture.media_uri(&fixture.agent, "r").await,
        fixture.media_uri(&fixture.agent, "s").await,
    );
    assert_eq!(fixture.get(&s, &[]).await.status, 200);
    let fresh = fixture.media_uri(&fixture.agent, "s").await;
    let before = fixture.provider.unwraps();
    fixture.break_audit().await;
    // No unwrap; no play of what is unwrapped already; no grant; no session.
    let answer = fixture.get(&r, &[]).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "audit-unavailable")
    );
    assert_eq!(fixture.provider.unwraps(), before);
    assert_eq!(
        fixture.get(&fresh, &[]).await.problem(),
        "audit-unavailable"
    );
    let answer = fixture
        .as_holder(&fixture.agent, "POST", "/api/v1/recordings/r/playback")
        .await;
    assert_eq!(answer.problem(), "audit-unavailable");
    let body = serde_json::json!({"link": fixture.link});
    let answer = fixture
        .send("POST", "/api/v1/session", &[], Some(&body))
        .await;
    assert_eq!(answer.problem(), "audit-unavailable");
    assert_eq!(answer.header("set-cookie"), None);
}
