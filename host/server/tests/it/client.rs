//! A small HTTP/1.1 client that says exactly what came, also where it came to a bad end.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// How the connection ended.
    pub(crate) end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As long as was promised.
    Whole,
    /// Shorter than promised, and closed.
    Short,
    /// Reset.
    Reset,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.as_str());
        let first = values.next();
        assert!(values.next().is_none(), "{name} came twice");
        first
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The problem's code, having checked its shape.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let body = self.json();
        let code = body["code"].as_str().expect("code").to_owned();
        assert_eq!(body["status"], self.status, "{body}");
        assert_eq!(body["type"], format!("urn:keyreel:problem:{code}"));
        assert!(!body["title"].as_str().expect("title").is_empty());
        assert!(!body["detail"].as_str().expect("detail").is_empty());
        assert_eq!(body["requestId"].as_str(), self.header("x-request-id"));
        assert_eq!(
            self.status == 503,
            self.header("retry-after").is_some() && self.status != 429
        );
        code
    }
}

/// One request on a connection of its own.
pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Answer {
    let mut stream = open(address, method, path, headers, body).await;
    read(&mut stream, method == "HEAD").await
}

/// Sends a request, and leaves the answer unread.
pub(crate) async fn open(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("connection"))
    {
        head.push_str("Connection: close\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    if !body.is_empty() {
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            head.push_str("Content-Type: application/json\r\n");
        }
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    head.push_str(&body);
    stream.write_all(head.as_bytes()).await.expect("send");
    stream
}

/// Reads one answer to its end.
pub(crate) async fn read(stream: &mut TcpStream, head_only: bool) -> Answer {
    let mut bytes = Vec::new();
    let reset = stream.read_to_end(&mut bytes).await.is_err();
    let at = bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .unwrap_or_else(|| {
            panic!(
                "no head (reset: {reset}): {}",
                String::from_utf8_lossy(&bytes)
            )
        });
    let head = String::from_utf8(bytes[..at].to_vec()).expect("head");
    let body = bytes.split_off(at + 4);
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|l| l.split(' ').nth(1))
        .expect("status");
    let headers: Vec<(String, String)> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').expect("header");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect();
    let length = headers
        .iter()
        .find(|(n, _)| n == "content-length")
        .map(|(_, v)| v.parse::<usize>().expect("length"));
    let chunked = headers.iter().any(|(n, _)| n == "transfer-encoding");
    let export = ("content-type".to_owned(), "application/x-ndjson".to_owned());
    assert!(
        !chunked || headers.contains(&export),
        "every answer but an export says how long it is"
    );
    let (body, ended) = if chunked {
        unchunked(&body)
    } else {
        (body, true)
    };
    let whole = head_only || (ended && length.is_none_or(|length| length == body.len()));
    let end = match (whole, reset) {
        (true, _) => End::Whole,
        (false, false) => End::Short,
        (false, true) => End::Reset,
    };
    Answer {
        status: status.parse().expect("number"),
        headers,
        body,
        end,
    }
}

/// What a chunked body holds (RFC 9112, section 7.1), and whether it came to its end.
fn unchunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(at) = rest.windows(2).position(|two| two == b"\r\n") else {
            return (body, false);
        };
        let len = std::str::from_utf8(&rest[..at]).expect("a length");
        let len = usize::from_str_radix(len, 16).expect("a length");
        let Some(chunk) = rest.get(at + 2..at + 2 + len) else {
            return (body, false);
        };
        if len == 0 {
            return (body, true);
        }
        body.extend_from_slice(chunk);
        rest = rest.get(at + 2 + len + 2..).unwrap_or_default();
    }
}
