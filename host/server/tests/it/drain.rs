//! Streams that end before their end: purges, revocations, shutdowns, listeners who leave.

use std::time::{Duration, Instant};

use keyreel_library::{Catalogue as _, SqliteCatalogue};
use keyreel_server::Settings;
use tokio::io::AsyncReadExt as _;

use crate::client::{self, End};
use crate::fixture::{Fixture, tenant};

/// More than every buffer between here and there holds.
const LONG: usize = 48 << 20;

async fn begun(fixture: &Fixture, uri: &str) -> tokio::net::TcpStream {
    let mut stream = client::open(fixture.address, "GET", uri, &[], None).await;
    let mut start = [0; 100];
    stream.read_exact(&mut start).await.unwrap();
    assert!(start.starts_with(b"HTTP/1.1 200 OK"));
    stream
}

/// Reads to the end; whether it was a reset, and how many bytes came.
async fn rest(stream: &mut tokio::net::TcpStream) -> (bool, usize) {
    let mut count = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return (false, count),
            Ok(read) => count += read,
            Err(_) => return (true, count),
        }
    }
}

#[tokio::test]
async fn a_purge_cuts_open_streams_also_those_nobody_reads() {
    let fixture = Fixture::new().await;
    fixture.add_call("r", LONG).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let mut stream = begun(&fixture, &uri).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    fixture.keyring.purge(&tenant("alpha"));
    tokio::time::sleep(Duration::from_millis(400)).await;
    let (reset, bytes) = rest(&mut stream).await;
    assert!(reset, "an error, not an end");
    assert!(bytes < LONG / 2, "{bytes}");
    // The owner still says yes, so a new range plays.
    assert_eq!(
        fixture.get(&uri, &[("Range", "bytes=0-5")]).await.status,
        206
    );
    let metrics = client::request(fixture.admin, "GET", "/metrics", &[], None).await;
    assert!(
        String::from_utf8(metrics.body)
            .unwrap()
            .contains("keyreel_purges_total 1")
    );
}

#[tokio::test]
async fn a_revoked_token_ends_its_grants_and_their_streams() {
    let fixture = Fixture::new().await;
    fixture.add_call("r", LONG).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let mut stream = begun(&fixture, &uri).await;
    let event = fixture
        .audit()
        .await
        .into_iter()
        .find(|e| e.action == "grant.created")
        .unwrap();
    let credential = event.fields["credential"].as_str().unwrap();
    fixture
        .catalogue
        .revoke_credential(credential)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(4200)).await;
    let (reset, bytes) = rest(&mut stream).await;
    assert!(reset);
    assert!(bytes < LONG / 2, "{bytes}");
    assert_eq!(fixture.get(&uri, &[]).await.problem(), "unauthenticated");
}

#[tokio::test]
async fn an_expired_grant_ends_its_open_streams_after_a_minute() {
    let fixture = Fixture::new().await;
    fixture.add_call("r", LONG).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let mut stream = begun(&fixture, &uri).await;
    let mut piece = vec![0; 1 << 20];
    // Half a minute after its hour it opens nothing new, and what plays goes on.
    fixture.clock.advance(Duration::from_secs(3600 + 30));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(fixture.get(&uri, &[]).await.problem(), "denied");
    for _ in 0..8 {
        stream.read_exact(&mut piece).await.unwrap();
    }
    fixture.clock.advance(Duration::from_secs(31));
    tokio::time::sleep(Duration::from_millis(400)).await;
    let (reset, bytes) = rest(&mut stream).await;
    assert!(reset, "an error, not an end");
    assert!(bytes < LONG / 2, "{bytes}");
}

#[tokio::test]
async fn a_grant_has_so_many_streams_and_another_grant_its_own() {
    let fixture =
        Fixture::with(|settings: &mut Settings| settings.limits.streams_per_grant = 3).await;
    fixture.add_call("r", LONG).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(begun(&fixture, &uri).await);
    }
    let answer = fixture.get(&uri, &[("Range", "bytes=0-5")]).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (429, "too-many-streams")
    );
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(answer.json()["retryAfterSeconds"], wait);
    // No stream, so none too many.
    assert_eq!(fixture.send("HEAD", &uri, &[], None).await.status, 200);
    let another = fixture.media_uri(&fixture.agent, "r").await;
    let range = [("Range", "bytes=0-5")];
    assert_eq!(fixture.get(&another, &range).await.status, 206);
    streams.pop();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fixture.get(&uri, &range).await.status, 206);
}

#[tokio::test]
async fn a_key_taken_away_ends_an_open_stream_within_its_time() {
    use keyreel_keys::ErrorClass;
    let fixture = Fixture::new().await;
    let short = keyreel_keys_testing::Behaviour {
        max_cache: Some(Duration::from_secs(1)),
        ..Default::default()
    };
    fixture.provider.behave(&tenant("alpha"), short);
    let bytes = fixture.add_call("r", LONG).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let mut stream = begun(&fixture, &uri).await;
    fixture.provider.fail(&tenant("alpha"), ErrorClass::Denied);
    fixture.clock.advance(Duration::from_secs(2));
    tokio::time::sleep(Duration::from_millis(2200)).await;
    let (_, came) = rest(&mut stream).await;
    assert!(came < bytes.len() / 2, "{came}");
    assert_eq!(fixture.get(&uri, &[]).await.problem(), "key-denied");
}

#[tokio::test]
async fn a_drain_lets_streams_finish_and_takes_no_new_ones() {
    let fixture = Fixture::new().await;
    let bytes = fixture.add_call("r", LONG).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let mut stream = begun(&fixture, &uri).await;
    fixture.shutdown.drain();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let ready = client::request(fixture.admin, "GET", "/readyz", &[], None).await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["checks"]["server"], "shutting down");
    assert_eq!(
        client::request(fixture.admin, "GET", "/livez", &[], None)
            .await
            .status,
        200
    );
    assert!(
        tokio::net::TcpStream::connect(fixture.address)
            .await
            .is_err()
    );
    let (reset, came) = rest(&mut stream).await;
    assert!(!reset && came >= bytes.len(), "{came}");
    tokio::time::timeout(Duration::from_secs(3), fixture.serving)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn the_second_signal_cuts() {
    let fixture =
        Fixture::with(|settings: &mut Settings| settings.shutdown.drain_seconds = 60).await;
    fixture.add_call("r", LONG).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let mut stream = begun(&fixture, &uri).await;
    let began = Instant::now();
    fixture.shutdown.drain();
    tokio::time::sleep(Duration::from_millis(100)).await;
    fixture.shutdown.cut();
    tokio::time::timeout(Duration::from_secs(4), fixture.serving)
        .await
        .unwrap()
        .unwrap();
    assert!(began.elapsed() < Duration::from_secs(4));
    let (reset, _) = rest(&mut stream).await;
    assert!(reset);
    let query = keyreel_library::AuditQuery {
        tenants: vec![tenant("alpha")],
        action: Some("play.ended".to_owned()),
        limit: 10,
        ..Default::default()
    };
    // The server closed its own.
    let path = fixture.folder.path().join("catalogue.db");
    let url = format!("sqlite://{}", path.display());
    let catalogue = SqliteCatalogue::open(&url).await.unwrap();
    let ended = catalogue.audit(&query).await.unwrap().items;
    assert_eq!(
        ended.len(),
        1,
        "the end of the play was recorded on the way out"
    );
    assert!(ended[0].event.fields["bytes"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_play_is_one_start_and_one_end_however_many_ranges() {
    let fixture = Fixture::with(|settings: &mut Settings| settings.playback.idle_seconds = 5).await;
    fixture.add_call("r", 500_000).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    for first in [0, 100_000, 200_000, 300_000] {
        let range = format!("bytes={first}-{}", first + 999);
        assert_eq!(fixture.get(&uri, &[("Range", &range)]).await.status, 206);
    }
    // A listener who leaves is no error.
    let stream = begun(&fixture, &uri).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let plays = |actions: Vec<String>| -> Vec<String> {
        actions
            .into_iter()
            .filter(|action| action.starts_with("play."))
            .collect()
    };
    assert_eq!(plays(fixture.actions().await), ["play.started"]);
    fixture.clock.advance(Duration::from_secs(6));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(
        plays(fixture.actions().await),
        ["play.started", "play.ended"]
    );
    let ended = fixture.audit().await.pop().unwrap();
    assert!(ended.fields["bytes"].as_u64().unwrap() >= 4000);
    assert_eq!(ended.recording.unwrap().as_str(), "r");
    assert_eq!(
        client::request(fixture.address, "GET", &uri, &[], None)
            .await
            .end,
        End::Whole
    );
}
