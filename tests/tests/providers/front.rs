//! A key service's front that fails on command. Without a command it hands requests on to the real
//! one and its answers back.
//! Not for: knowing what it carries.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to a request.
#[derive(Clone)]
pub(crate) enum Fault {
    /// It is handed on.
    None,
    /// It is handed on, and the answer's bytes are changed on the way back.
    Changed(fn(Vec<u8>) -> Vec<u8>),
    /// These bytes, then this.
    Raw(Vec<u8>, Then),
    /// These bytes, one by one.
    Drip(Vec<u8>),
    /// The first, then the second for ever.
    Endless(Vec<u8>, Vec<u8>),
}

/// How it goes on.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    Close,
    Reset,
    Hang,
}

impl Fault {
    /// A whole answer.
    pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut bytes = format!("HTTP/1.1 {status} Whatever\r\n");
        for (name, value) in headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut bytes = bytes.into_bytes();
        bytes.extend_from_slice(body);
        Self::Raw(bytes, Then::Close)
    }

    /// A page, as a proxy would have it.
    pub(crate) fn page(status: u16) -> Self {
        let page = "<html><body>something of a proxy's own</body></html>";
        Self::answer(status, &[("content-type", "text/html")], page)
    }
}

/// The front. Ends with the value.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
    serving: JoinHandle<()>,
}

struct State {
    upstream: SocketAddr,
    fault: Fault,
    /// After so many requests it is over.
    times: Option<u32>,
    requests: u32,
}

impl Front {
    /// A front before `upstream`.
    pub(crate) async fn before(upstream: SocketAddr) -> Self {
        let front = Self::new().await;
        front.stand_before(upstream);
        front
    }

    /// From now on.
    pub(crate) fn stand_before(&self, upstream: SocketAddr) {
        self.state.lock().unwrap().upstream = upstream;
    }

    /// A front before nothing yet.
    pub(crate) async fn new() -> Self {
        let upstream = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            upstream,
            fault: Fault::None,
            times: None,
            requests: 0,
        }));
        let shared = state.clone();
        let (changed, changes) = watch::channel(());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, changes) = (shared.clone(), changes.clone());
                tokio::spawn(async move { serve(stream, state, changes).await });
            }
        });
        Self {
            address,
            state,
            changed,
            serving,
        }
    }

    /// From now on. Whoever hangs is let go.
    pub(crate) fn fail(&self, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        (state.fault, state.times) = (fault, None);
        self.changed.send_replace(());
    }

    /// For the next request only.
    pub(crate) fn fail_once(&self, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        (state.fault, state.times) = (fault, Some(1));
    }

    /// How many requests came since the last time.
    pub(crate) fn requests(&self) -> u32 {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, mut changes: watch::Receiver<()>) {
    let mut first = [0];
    // A TLS handshake. It is answered as a server without TLS would.
    if matches!(stream.peek(&mut first).await, Ok(1)) && first == [0x16] {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        return;
    }
    while let Some(request) = message(&mut stream).await {
        changes.mark_unchanged();
        let (fault, upstream) = {
            let mut state = state.lock().unwrap();
            state.requests += 1;
            let fault = state.fault.clone();
            if let Some(times) = &mut state.times {
                *times -= 1;
                if *times == 0 {
                    (state.fault, state.times) = (Fault::None, None);
                }
            }
            (fault, state.upstream)
        };
        let answer = match fault {
            Fault::None => hand_on(upstream, &request).await,
            Fault::Changed(change) => change(hand_on(upstream, &request).await),
            Fault::Raw(bytes, then) => {
                let _ = stream.write_all(&bytes).await;
                return end(stream, then, changes).await;
            }
            Fault::Drip(bytes) => {
                for byte in bytes {
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                return;
            }
            Fault::Endless(head, again) => {
                let _ = stream.write_all(&head).await;
                while stream.write_all(&again).await.is_ok() {}
                return;
            }
        };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn end(stream: TcpStream, then: Then, mut changes: watch::Receiver<()>) {
    match then {
        Then::Close => {}
        Then::Reset => stream.set_zero_linger().unwrap(),
        Then::Hang => {
            let _ = changes.changed().await;
        }
    }
    drop(stream);
}

/// The upstream's answer. A connection each time: what is tested here is the other side.
async fn hand_on(upstream: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(upstream).await.unwrap();
    stream.write_all(request).await.unwrap();
    message(&mut stream).await.unwrap()
}

/// A request or an answer with a `content-length`, or without a body; `None` at the end.
async fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .map_or(0, |length| length.trim().parse::<usize>().unwrap());
            if bytes.len() >= end + 4 + length {
                return Some(bytes);
            }
        }
        let mut more = [0; 4096];
        match stream.read(&mut more).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&more[..n]),
        }
    }
}

/// An address where nobody listens.
pub(crate) async fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// An address whose connections hang: its queue is full, and nobody accepts. What fills it is to be
/// kept.
pub(crate) async fn hung() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        filling.push(stream);
    }
    (address, filling, listener)
}
