//! A small blocking HTTP client for guests, over `wasi:http`. The host's egress carries it: only
//! origins that the configuration's [`validate`](crate::Provider::validate) named and the operator
//! granted, no redirects, the operating system's roots.
//! Not for: streaming, HTTP servers, retrying: what may be sent twice only the provider knows.
//!
//! ```ignore
//! let answer = http::Request::post(&url)
//!     .header("content-type", "application/json")
//!     .body(json)
//!     .deadline(info)
//!     .send()
//!     .map_err(|failure| failure.into_error("acme", "the key service"))?;
//! ```

mod failure;
mod send;
mod url;

use std::time::Duration;

pub use failure::Failure;
pub use url::{InvalidUrl, Scheme, Url};

use crate::CallInfo;

/// What of the call's budget is left to the guest once its request has timed out: enough to say so.
const MARGIN: Duration = Duration::from_millis(20);
/// Key services answer in a few hundred bytes.
const DEFAULT_MAX_BODY: usize = 64 << 10;

/// A request to be sent once.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    method: &'a str,
    url: &'a Url,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
    timeout: Duration,
    max_body: usize,
}

impl<'a> Request<'a> {
    /// A request with any method, without a body. It may take 10 seconds, and its answer 64 KiB.
    #[must_use]
    pub fn new(method: &'a str, url: &'a Url) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: None,
            timeout: Duration::from_secs(10),
            max_body: DEFAULT_MAX_BODY,
        }
    }

    /// GET.
    #[must_use]
    pub fn get(url: &'a Url) -> Self {
        Self::new("GET", url)
    }

    /// OPTIONS.
    #[must_use]
    pub fn options(url: &'a Url) -> Self {
        Self::new("OPTIONS", url)
    }

    /// POST, with an empty body until one is given.
    #[must_use]
    pub fn post(url: &'a Url) -> Self {
        Self::new("POST", url).body(Vec::new())
    }

    /// Adds a header. The host sets `host` and refuses those that belong to the connection.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    /// Sets the body; `content-length` goes with it.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// How long all of it may take, to the answer's last byte.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// As [`Request::timeout`]: what is left of the call's budget, less the time to report it.
    #[must_use]
    pub fn deadline(self, info: &CallInfo) -> Self {
        let left = Duration::from_millis(info.deadline_ms.into());
        self.timeout(left.saturating_sub(MARGIN))
    }

    /// How long an answer's body may be.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Sends it and waits for the whole answer. An answer of any status is an answer.
    ///
    /// # Errors
    /// There is none, or not a whole one.
    pub fn send(self) -> Result<Response, Failure> {
        send::send(self)
    }
}

/// An answer, whole.
#[derive(Clone)]
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Response {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header of that name, in any case, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Its body, for keeps.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// `Retry-After` in milliseconds, where it is given in seconds (RFC 9110 §10.2.3).
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u32> {
        let seconds: u32 = self.header("retry-after")?.trim().parse().ok()?;
        Some(seconds.saturating_mul(1000))
    }
}
