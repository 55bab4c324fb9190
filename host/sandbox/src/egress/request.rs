//! A guest's request, taken apart and checked: what goes out is built from these parts anew.
//! Not for: whether its origin is granted (see `send`).

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full};
use wasmtime_wasi_http::{Error, WasiBody};

use super::aws::{self, SignAs};
use super::origin::{Origin, Scheme};

/// Bytes of a path and query.
const MAX_PATH: usize = 8 << 10;
/// Headers that begin so are instructions to the host.
const OURS: &str = "keyreel-";

/// Headers that are the connection's, or the host's to set. The guest is told at once.
pub(super) const FORBIDDEN: [HeaderName; 12] = [
    HOST,
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("http2-settings"),
];

/// What the signature brings itself.
const OF_THE_SIGNATURE: [HeaderName; 4] = [
    AUTHORIZATION,
    HeaderName::from_static("x-amz-date"),
    HeaderName::from_static("x-amz-security-token"),
    HeaderName::from_static("x-amz-content-sha256"),
];

const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// A request, without its body.
pub(super) struct Outgoing {
    pub(super) origin: Origin,
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    pub(super) headers: HeaderMap,
    /// What the guest says the body's length is.
    announced: Option<usize>,
    /// How the guest asks the host to sign it.
    pub(super) sign: Option<SignAs>,
}

impl Outgoing {
    pub(super) fn parse(parts: Parts) -> Result<Self, Error> {
        if !METHODS.contains(&parts.method) {
            return Err(Error::HttpRequestMethodInvalid);
        }
        let uri = parts.uri.into_parts();
        let scheme = match uri.scheme.as_ref().map(http::uri::Scheme::as_str) {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            _ => return Err(Error::HttpRequestUriInvalid),
        };
        let authority = uri.authority.ok_or(Error::HttpRequestUriInvalid)?;
        let origin = Origin::from_authority(scheme, authority.as_str()).map_err(|reason| {
            tracing::warn!(reason, "egress refused: a plugin's request names no origin");
            Error::HttpRequestUriInvalid
        })?;
        let path = checked_path(uri.path_and_query)?;
        let mut headers = parts.headers;
        if FORBIDDEN.iter().any(|name| headers.contains_key(name)) {
            return Err(Error::HttpRequestDenied);
        }
        let announced = announced_length(&mut headers)?;
        let sign = take_sign(&mut headers)?;
        Ok(Self {
            origin,
            method: parts.method,
            path,
            headers,
            announced,
            sign,
        })
    }

    /// Whether the guest set what a signature brings.
    pub(super) fn brings_a_signature(&self) -> bool {
        OF_THE_SIGNATURE
            .iter()
            .any(|name| self.headers.contains_key(name))
    }

    /// The body, whole.
    pub(super) async fn collect(&self, body: WasiBody, max: usize) -> Result<BytesMut, Error> {
        let too_large = || Error::HttpRequestBodySize(u64::try_from(max).ok());
        if self.announced.is_some_and(|announced| announced > max) {
            return Err(too_large());
        }
        let mut body = body;
        let mut collected = BytesMut::with_capacity(self.announced.unwrap_or_default());
        while let Some(frame) = body.frame().await {
            // A trailer field is a header that nobody checked.
            let data = frame?.into_data().map_err(|_| Error::HttpRequestDenied)?;
            if collected.len() + data.len() > max {
                return Err(too_large());
            }
            collected.extend_from_slice(&data);
        }
        match self.announced {
            Some(announced) if announced != collected.len() => Err(Error::HttpRequestBodySize(
                u64::try_from(collected.len()).ok(),
            )),
            _ => Ok(collected),
        }
    }

    /// What goes over the wire. hyper adds the length.
    pub(super) fn request(&self, body: &Bytes) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = self.method.clone();
        // The origin form (RFC 9112 §3.2.1); hyper sends what it is given.
        *request.uri_mut() = http::Uri::from(self.path.clone());
        let host = HeaderValue::from_str(&self.origin.authority())
            .map_err(|_| Error::HttpRequestUriInvalid)?;
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(HOST, host);
        Ok(request)
    }
}

/// A path that every server takes for a path: not for an authority ("//host"), not for a URL.
fn checked_path(path: Option<PathAndQuery>) -> Result<PathAndQuery, Error> {
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let text = path.as_str();
    if text.len() > MAX_PATH {
        return Err(Error::HttpRequestUriTooLong);
    }
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\\\"<>^`{|}#".contains(&byte));
    if !path.path().starts_with('/') || path.path().starts_with("//") || !plain {
        return Err(Error::HttpRequestUriInvalid);
    }
    Ok(path)
}

/// One `content-length`, of digits. It is taken out: the body's own length goes over the wire.
fn announced_length(headers: &mut HeaderMap) -> Result<Option<usize>, Error> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let (first, second) = (values.next(), values.next());
    let length = match (first, second) {
        (None, _) => None,
        (Some(value), None) => {
            let digits = value
                .to_str()
                .ok()
                .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
            let length = digits.and_then(|digits| digits.parse().ok());
            Some(length.ok_or(Error::HttpRequestBodySize(None))?)
        }
        (Some(_), Some(_)) => return Err(Error::HttpRequestDenied),
    };
    headers.remove(CONTENT_LENGTH);
    Ok(length)
}

/// The instruction to sign. It never goes out, nor does anything else that looks like one.
fn take_sign(headers: &mut HeaderMap) -> Result<Option<SignAs>, Error> {
    let mut values = headers.get_all(aws::SIGN).iter();
    let sign = match (values.next(), values.next()) {
        (None, _) => None,
        (Some(value), None) => Some(SignAs::parse(value)?),
        (Some(_), Some(_)) => return Err(aws::refusal(aws::MALFORMED)),
    };
    headers.remove(aws::SIGN);
    if headers.keys().any(|name| name.as_str().starts_with(OURS)) {
        return Err(Error::HttpRequestDenied);
    }
    Ok(sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str, headers: &[(&str, &str)]) -> Result<Outgoing, String> {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request
            .body(())
            .map_err(|error| error.to_string())?
            .into_parts();
        Outgoing::parse(parts).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn paths_are_paths() {
        for uri in [
            "https://a.example",
            "https://a.example/",
            "https://a.example/x?y=//z",
        ] {
            assert!(parse(uri, &[]).is_ok(), "{uri}");
        }
        for uri in [
            "https://a.example//evil.example/x",
            "https://a.example/\u{e4}",
            "https://a.example/{x}",
            "https://u@a.example/",
            "https://a.example:0/",
            "https://2130706433/",
            "ftp://a.example/",
        ] {
            assert!(parse(uri, &[]).is_err(), "{uri}");
        }
    }

    #[test]
    fn headers_that_are_not_the_guests_are_refused() {
        let uri = "https://a.example/";
        for headers in [
            &[("host", "evil.example")][..],
            &[("transfer-encoding", "chunked")],
            &[("connection", "upgrade")],
            &[("content-length", "3"), ("content-length", "4")],
            &[("content-length", "3"), ("content-length", "3")],
            &[("content-length", "+3")],
            &[("content-length", "-1")],
            &[("keyreel-other", "x")],
            &[("keyreel-sign", "aws-sigv4"), ("keyreel-sign", "aws-sigv4")],
            &[("keyreel-sign", "aws-sigv4; region=eu-central-1")],
        ] {
            assert!(parse(uri, headers).is_err(), "{headers:?}");
        }
        let sign = (
            "keyreel-sign",
            "aws-sigv4; region=eu-central-1; service=kms",
        );
        let outgoing = parse(uri, &[sign, ("content-length", "3"), ("x", "y")]).unwrap();
        assert!(outgoing.sign.is_some());
        assert_eq!(outgoing.announced, Some(3));
        let request = outgoing.request(&Bytes::from_static(b"abc")).unwrap();
        let headers: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(headers, ["x", "host"]);
    }
}
