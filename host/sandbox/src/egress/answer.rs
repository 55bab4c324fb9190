//! An answer, read to its end before the guest sees it, so that every failure has a name and the
//! connection is free again. Key services answer in hundreds of bytes.
//! Not for: following redirects: a 3xx is an answer like any other.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi_http::Error;

/// The answer's body, whole, of at most `max` bytes, each part within `pause` of the last.
pub(super) async fn read(
    mut answer: Response<Incoming>,
    max: usize,
    pause: Option<Duration>,
    deadline: Instant,
) -> Result<Response<Bytes>, Error> {
    check_head(answer.status(), answer.headers())?;
    let too_large = || Error::HttpResponseBodySize(u64::try_from(max).ok());
    if answer.body().size_hint().lower() > u64::try_from(max).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    loop {
        let until = pause.map_or(deadline, |pause| deadline.min(Instant::now() + pause));
        let frame = timeout_at(until, answer.body_mut().frame())
            .await
            .map_err(|_| Error::HttpResponseTimeout)?;
        let Some(frame) = frame else { break };
        // Trailer fields are dropped: no key service has any.
        let Ok(data) = frame.map_err(|error| failure(&error))?.into_data() else {
            continue;
        };
        if body.len() + data.len() > max {
            return Err(too_large());
        }
        body.extend_from_slice(&data);
    }
    let (parts, _) = answer.into_parts();
    Ok(Response::from_parts(parts, body.freeze()))
}

/// Refuses what two readers could take for two different answers. hyper has refused lengths that
/// contradict each other by now.
fn check_head(status: StatusCode, headers: &HeaderMap) -> Result<(), Error> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::HttpUpgradeFailed);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = (codings.next(), codings.next());
    let chunked = match coding {
        (None, _) => false,
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        _ => return Err(Error::HttpResponseTransferCoding(None)),
    };
    if chunked && headers.contains_key(CONTENT_LENGTH) {
        return Err(Error::HttpProtocolError);
    }
    Ok(())
}

/// How long the server keeps the connection: `Keep-Alive: timeout=5`.
pub(super) fn server_idle(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("keep-alive")?.to_str().ok()?;
    let seconds = value
        .split(',')
        .find_map(|part| part.trim().strip_prefix("timeout="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// hyper's error as one of wasi:http's.
pub(super) fn failure(error: &hyper::Error) -> Error {
    if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(None)
    } else if error.is_parse() {
        Error::HttpProtocolError
    } else if error.is_incomplete_message() {
        Error::HttpResponseIncomplete
    } else {
        // Within a body hyper's reasons are those of a stream.
        let source = std::error::Error::source(error);
        match source
            .and_then(|source| source.downcast_ref::<io::Error>())
            .map(io::Error::kind)
        {
            Some(io::ErrorKind::UnexpectedEof) => Error::HttpResponseIncomplete,
            Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
                Error::HttpProtocolError
            }
            _ => Error::ConnectionTerminated,
        }
    }
}
