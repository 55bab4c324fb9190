//! A server that says what a test tells it to, byte for byte, on a port of its own.
//! Not for: HTTP as it should be.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::allow_attributes,
    reason = "shared by the unit tests and the integration tests, which use parts of it"
)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which connection it came over, from 0.
    pub connection: usize,
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// What a request gets.
pub enum Reply {
    /// These bytes; the connection stays.
    Say(Vec<u8>),
    /// These bytes, then the end.
    SayAndClose(Vec<u8>),
    /// These bytes, after a while.
    Later(Duration, Vec<u8>),
    /// The first bytes, then the others for ever.
    Flood(Vec<u8>, Vec<u8>),
    /// These bytes, one every so often.
    Drip(Duration, Vec<u8>),
    /// These bytes, then nothing.
    SayAndHang(Vec<u8>),
}

/// Runs until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

type Replier = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

impl Server {
    pub async fn start(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(None, reply).await
    }

    pub async fn with(
        tls: Option<TlsAcceptor>,
        reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reply: Replier = Arc::new(reply);
        let all = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let (reply, all, tls) = (Arc::clone(&reply), Arc::clone(&all), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(connection, stream, reply, all).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(connection, stream, reply, all).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self {
            address,
            seen,
            task,
        }
    }

    /// "http://127.0.0.1:port"
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer as it should be.
pub fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    connection: usize,
    mut stream: S,
    reply: Replier,
    all: Arc<Mutex<Vec<Seen>>>,
) -> Option<()> {
    loop {
        let seen = request(connection, &mut stream).await?;
        all.lock().unwrap().push(seen.clone());
        match reply(&seen) {
            Reply::Say(bytes) => stream.write_all(&bytes).await.ok()?,
            Reply::SayAndClose(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                stream.shutdown().await.ok()?;
                return None;
            }
            Reply::Later(wait, bytes) => {
                tokio::time::sleep(wait).await;
                stream.write_all(&bytes).await.ok()?;
            }
            Reply::Flood(first, rest) => {
                stream.write_all(&first).await.ok()?;
                loop {
                    stream.write_all(&rest).await.ok()?;
                }
            }
            Reply::Drip(pause, bytes) => {
                for byte in bytes {
                    stream.write_all(&[byte]).await.ok()?;
                    stream.flush().await.ok()?;
                    tokio::time::sleep(pause).await;
                }
            }
            Reply::SayAndHang(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                stream.flush().await.ok()?;
                tokio::time::sleep(Duration::from_secs(3600)).await;
            }
        }
        stream.flush().await.ok()?;
    }
}

async fn request<S: AsyncRead + Unpin>(connection: usize, stream: &mut S) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let mut seen = Seen {
        connection,
        head: String::from_utf8(head).unwrap(),
        body: Vec::new(),
    };
    let length = seen
        .header("content-length")
        .map_or(0, |n| n.parse().unwrap());
    seen.body.resize(length, 0);
    stream.read_exact(&mut seen.body).await.ok()?;
    Some(seen)
}
