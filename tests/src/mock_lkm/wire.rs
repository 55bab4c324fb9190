//! HTTP/1.1 by hand: one request, one answer, right or wrong, a connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Fault, PATH, Shared, hawk};

/// No request is longer.
const MAX: usize = 1 << 20;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// "POST".
    pub method: String,
    /// Path and query.
    pub target: String,
    /// As sent.
    pub headers: Vec<(String, String)>,
    /// As sent.
    pub body: Vec<u8>,
    /// Why its signature was refused, if it was.
    pub refused: Option<&'static str>,
}

impl Seen {
    /// A header, if it is there exactly once.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str());
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }
}

pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // Clients go away in the middle of some of this.
            let _ = connection(stream, &shared).await;
        });
    }
}

async fn connection(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let fault = shared.state().fault.clone();
    if fault == Fault::Refuse {
        return Ok(());
    }
    let Some(mut seen) = read(&mut stream).await? else {
        return Ok(());
    };
    let checked = {
        let mut state = shared.state();
        let checked = hawk::check(shared, &mut state, &seen);
        if let Err(refused) = &checked {
            seen.refused = Some(refused.why);
        }
        state.seen.push(seen.clone());
        checked
    };
    if let Err(refused) = checked {
        let challenge = format!("www-authenticate: {}\r\n", refused.challenge);
        return answer(
            &mut stream,
            401,
            &challenge,
            r#"{"message":"unauthorized"}"#,
        )
        .await;
    }
    if seen.target.split('?').next() != Some(PATH) {
        return answer(&mut stream, 404, "", r#"{"message":"nothing here"}"#).await;
    }
    misbehave(&mut stream, shared, &seen, fault).await
}

async fn misbehave(
    stream: &mut TcpStream,
    shared: &Shared,
    seen: &Seen,
    fault: Fault,
) -> std::io::Result<()> {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    match fault {
        Fault::None | Fault::Refuse => {
            let (status, body) = if seen.method == "OPTIONS" {
                (200, r#"{"description":"a mock"}"#.to_owned())
            } else {
                shared.state().decrypt(&seen.body)
            };
            answer(stream, status, "", &body).await
        }
        Fault::Hang => std::future::pending().await,
        Fault::HangInBody => {
            let head = format!("{HEAD}content-length: 56\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            std::future::pending().await
        }
        Fault::Drip => {
            stream.write_all(HEAD.as_bytes()).await?;
            stream.write_all(b"content-length: 100000\r\n\r\n").await?;
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Fault::Cut => {
            let head = format!("{HEAD}content-length: 56\r\n\r\n{{\"body\":");
            stream.write_all(head.as_bytes()).await
        }
        Fault::Endless => {
            stream.write_all(HEAD.as_bytes()).await?;
            stream
                .write_all(b"transfer-encoding: chunked\r\n\r\n")
                .await?;
            let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
            loop {
                stream.write_all(chunk.as_bytes()).await?;
            }
        }
        Fault::Large(length) => {
            let body = format!("{}{{}}", " ".repeat(length.saturating_sub(2)));
            answer(stream, 200, "", &body).await
        }
        Fault::Garbage => stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n\r\n").await,
        Fault::TwoLengths => {
            let head = format!("{HEAD}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}} ");
            stream.write_all(head.as_bytes()).await
        }
        Fault::Headers(count) => {
            let fields: String = (0..count).map(|n| format!("x-{n}: y\r\n")).collect();
            answer(stream, 200, &fields, "{}").await
        }
        Fault::Redirect(url) => answer(stream, 302, &format!("location: {url}\r\n"), "").await,
        Fault::Status(status, after) => {
            let after = after.map_or_else(String::new, |s| format!("retry-after: {s}\r\n"));
            let body = format!(r#"{{"message":"no","status":{status}}}"#);
            answer(stream, status, &after, &body).await
        }
        Fault::Page(status) => {
            let page = "<!doctype html><title>Gateway</title><h1>It works!</h1>";
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{page}",
                page.len()
            );
            stream.write_all(head.as_bytes()).await
        }
        Fault::Body(body) => answer(stream, 200, "", &body).await,
        Fault::WrongKey => key(stream, 32).await,
        Fault::KeyLength(length) => key(stream, length).await,
    }
}

async fn key(stream: &mut TcpStream, length: usize) -> std::io::Result<()> {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD.encode(vec![0x5a; length]);
    answer(stream, 200, "", &format!(r#"{{"body":"{key}"}}"#)).await
}

async fn answer(
    stream: &mut TcpStream,
    status: u16,
    fields: &str,
    body: &str,
) -> std::io::Result<()> {
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n{fields}\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// `None` where the client went away, or what came is not a request.
async fn read(stream: &mut TcpStream) -> std::io::Result<Option<Seen>> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = find(&bytes) {
            break end;
        }
        if bytes.len() > MAX || stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let Some((mut seen, length)) = head(bytes.get(..head_end).unwrap_or_default()) else {
        return Ok(None);
    };
    let end = head_end + 4 + length.min(MAX);
    while bytes.len() < end {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    seen.body = bytes.get(head_end + 4..end).unwrap_or_default().to_vec();
    Ok(Some(seen))
}

fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n")
}

fn head(bytes: &[u8]) -> Option<(Seen, usize)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.split("\r\n");
    let mut request = lines.next()?.split(' ');
    let (method, target) = (request.next()?.to_owned(), request.next()?.to_owned());
    let headers = lines
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        })
        .collect::<Option<Vec<_>>>()?;
    let seen = Seen {
        method,
        target,
        headers,
        body: Vec::new(),
        refused: None,
    };
    let length = match seen.header("content-length") {
        Some(length) => length.parse().ok()?,
        None => 0,
    };
    Some((seen, length))
}
