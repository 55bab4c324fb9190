//! Nobody keeps a place by doing nothing with it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::Fixture;

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n";

/// Asks once, on a connection of its own.
async fn healthy(fixture: &Fixture) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(fixture.client.address).await?;
        let close = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(close).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.ends_with("OK"))
    };
    let asked = tokio::time::timeout(Duration::from_secs(30), asked).await;
    matches!(asked, Ok(Ok(true)))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_answers_loses_the_connection() {
    let fixture = Fixture::with(|settings| settings.timeout = Duration::from_millis(500)).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(fixture.client.address).await.unwrap();
    // Soon nothing more goes out: both ends' buffers are full of what nobody reads.
    let requests = HEALTH.repeat(100);
    let asking = async { while stream.write_all(&requests).await.is_ok() {} };
    let ended = tokio::time::timeout(Duration::from_secs(30), asking).await;
    assert!(ended.is_ok(), "who asks and never listens stays for ever");
    assert!(healthy(&fixture).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_however_busy_it_is() {
    let fixture = Fixture::with(|settings| {
        settings.lifetime = Duration::from_millis(400);
        settings.timeout = Duration::from_secs(5);
    })
    .await;
    let mut stream = TcpStream::connect(fixture.client.address).await.unwrap();
    let mut answer = [0; 512];
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        let written = stream.write_all(HEALTH).await;
        if written.is_err() || stream.read(&mut answer).await.unwrap_or(0) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let lived = began.elapsed();
    assert!(lived > Duration::from_millis(300), "{lived:?}");
    assert!(lived < Duration::from_secs(3), "{lived:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections() {
    let fixture = Fixture::with(|settings| settings.connections_per_address = 2).await;
    let idle = [
        TcpStream::connect(fixture.client.address).await.unwrap(),
        TcpStream::connect(fixture.client.address).await.unwrap(),
    ];
    assert!(!healthy(&fixture).await, "a third one");
    drop(idle);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(healthy(&fixture).await);
}
