//! HTTP/2: what ends one stream leaves the others on its connection alone. And listeners, of either
//! version, who take nothing.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use keyreel_server::Settings;
use tokio::io::AsyncReadExt as _;

use crate::client;
use crate::fixture::Fixture;
use crate::tls;

/// More than the windows and buffers between here and there.
const LONG: usize = 8 << 20;

struct Http2 {
    fixture: Fixture,
    connection: SendRequest<Bytes>,
    _certificate: tempfile::TempDir,
}

impl Http2 {
    /// A server with TLS, and one connection to it.
    async fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = tls::certificate(folder.path());
        let path = certificate.certificate_file.clone();
        let fixture = Fixture::with(|settings| {
            settings.tls = Some(certificate);
            change(settings);
        })
        .await;
        let stream = tls::connect(&fixture, &path, &[&rustls::version::TLS13], "h2").await;
        // A stream that is not read holds up no other, as in a browser.
        let handshake = h2::client::Builder::new()
            .initial_connection_window_size(4 << 20)
            .handshake(stream.unwrap());
        let (connection, driver) = handshake.await.unwrap();
        tokio::spawn(driver);
        Self {
            fixture,
            connection,
            _certificate: folder,
        }
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response<RecvStream> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (answer, _) = self
            .connection
            .send_request(request.body(()).unwrap(), true)
            .unwrap();
        answer.await.unwrap()
    }

    async fn get(&mut self, path: &str) -> Response<RecvStream> {
        self.send("GET", path, &[]).await
    }

    /// The media URL that the agent's token gets, asked for on this connection.
    async fn media_uri(&mut self, id: &str) -> String {
        let authorization = format!("Bearer {}", self.fixture.agent);
        let path = format!("/api/v1/recordings/{id}/playback");
        let headers = [("authorization", authorization.as_str())];
        let answer = self.send("POST", &path, &headers).await;
        assert_eq!(answer.status(), 201);
        let (body, end) = read(answer.into_body()).await;
        assert!(end.is_ok());
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        body["mediaUri"].as_str().unwrap().to_owned()
    }
}

/// Reads to the end, giving back the window for what came.
async fn read(mut body: RecvStream) -> (BytesMut, Result<(), h2::Error>) {
    let mut came = BytesMut::new();
    while let Some(piece) = body.data().await {
        match piece {
            Ok(piece) => {
                body.flow_control().release_capacity(piece.len()).unwrap();
                came.extend_from_slice(&piece);
            }
            Err(error) => return (came, Err(error)),
        }
    }
    (came, Ok(()))
}

#[tokio::test]
async fn damage_ends_its_stream_and_no_other() {
    let mut http2 = Http2::new(|_| {}).await;
    let whole = http2.fixture.add_call("whole", LONG).await;
    let damaged = http2.fixture.add_call("damaged", LONG).await;
    let path = http2.fixture.object("damaged", "media");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 + 56 + 100 * 16_400 + 77] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(path, bytes).unwrap();

    let (good, bad) = (
        http2.media_uri("whole").await,
        http2.media_uri("damaged").await,
    );
    // Both have begun before either is read.
    let good = http2.get(&good).await;
    let bad = http2.get(&bad).await;
    assert!(good.status() == 200 && bad.status() == 200);
    let (bad, good) = tokio::join!(read(bad.into_body()), read(good.into_body()));
    let error = bad.1.unwrap_err();
    assert!(error.is_reset() && error.is_remote(), "{error}");
    assert!(bad.0.len() <= 100 * 16_384 && damaged.starts_with(&bad.0));
    assert!(good.1.is_ok() && good.0 == whole, "{} bytes", good.0.len());
    // And the connection is as good as before.
    let page = http2.get("/sign-in").await;
    assert_eq!(page.status(), 200);
    assert!(read(page.into_body()).await.1.is_ok());
}

#[tokio::test]
async fn signing_out_ends_the_streams_and_is_answered_on_their_connection() {
    let mut http2 = Http2::new(|_| {}).await;
    http2.fixture.add_call("r", LONG).await;
    let issued = keyreel_server::accounts::create_link(
        &*http2.fixture.catalogue,
        &*http2.fixture.clock,
        &http2.fixture.user,
        Duration::from_secs(60),
    );
    let link = issued.await.unwrap().secret.to_string();
    let body = serde_json::json!({ "link": link }).to_string();
    let request = Request::post("https://localhost/api/v1/session")
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    let (answer, mut sending) = http2.connection.send_request(request, false).unwrap();
    sending.send_data(body.into(), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let headers = [
        ("cookie", cookie.as_str()),
        ("x-keyreel", "1"),
        ("sec-fetch-site", "same-origin"),
    ];
    let grant = http2
        .send("POST", "/api/v1/recordings/r/playback", &headers)
        .await;
    let (grant, _) = read(grant.into_body()).await;
    let grant: serde_json::Value = serde_json::from_slice(&grant).unwrap();
    let uri = grant["mediaUri"].as_str().unwrap().to_owned();
    // Begun, and not read: the server waits for leave to send.
    let stream = http2.send("GET", &uri, &headers).await;
    assert_eq!(stream.status(), 200);
    let out = http2.send("DELETE", "/api/v1/session", &headers).await;
    assert_eq!(out.status(), 204);
    let (came, end) = read(stream.into_body()).await;
    assert_eq!(end.unwrap_err().reason(), Some(Reason::CANCEL));
    assert!(came.len() < LONG / 2, "{}", came.len());
    assert_eq!(http2.get("/sign-in").await.status(), 200);
}

/// The shortest that may be set is ten seconds, found after at most half as long again; and five
/// seconds for a busy machine.
const LET_GO: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_listener_who_takes_nothing_is_let_go() {
    let mut http2 = Http2::new(|settings| settings.limits.stalled_seconds = 10).await;
    let plain = Fixture::with(|settings| settings.limits.stalled_seconds = 10).await;
    plain.add_call("r", 6 * LONG).await;
    let uri = plain.media_uri(&plain.agent, "r").await;
    let mut one = client::open(plain.address, "GET", &uri, &[], None).await;
    http2.fixture.add_call("r", LONG).await;
    let uri = http2.media_uri("r").await;
    let unread = http2.get(&uri).await;
    let read_slowly = http2.get(&uri).await.into_body();
    let slow = tokio::spawn(slowly(read_slowly));
    tokio::time::sleep(LET_GO).await;
    let (came, end) = read(unread.into_body()).await;
    assert_eq!(end.unwrap_err().reason(), Some(Reason::CANCEL));
    assert!(came.len() < LONG / 2, "{}", came.len());
    assert!(slow.await.unwrap(), "who takes a little is not let go");
    assert_eq!(http2.get("/sign-in").await.status(), 200);
    // HTTP/1.1: the connection.
    let mut buffer = vec![0; 1 << 20];
    let reset = loop {
        match one.read(&mut buffer).await {
            Ok(0) => break false,
            Ok(_) => {}
            Err(_) => break true,
        }
    };
    assert!(reset, "an error, not an end");
}

/// Takes a piece a second for twelve seconds; whether one came each time.
async fn slowly(mut body: RecvStream) -> bool {
    for _ in 0..12 {
        let Some(Ok(piece)) = body.data().await else {
            return false;
        };
        body.flow_control().release_capacity(piece.len()).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    true
}

/// Nothing is open on it, and still its client answers every ping.
#[tokio::test]
async fn an_idle_connection_is_let_go() {
    let mut http2 = Http2::new(|settings| settings.limits.stalled_seconds = 10).await;
    assert_eq!(http2.get("/sign-in").await.status(), 200);
    tokio::time::sleep(LET_GO).await;
    let request = Request::get("https://localhost/sign-in").body(()).unwrap();
    let again = match http2.connection.clone().ready().await {
        Ok(mut ready) => ready.send_request(request, true).map(drop),
        Err(error) => Err(error),
    };
    assert!(again.is_err());
}
