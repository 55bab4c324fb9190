//! One exchange over `wasi:http`: request out, answer in, all within one deadline.
//! Not for: deciding where a guest may connect: that is the host's egress.

use crate::bindings::provider_world::wasi;
use wasi::clocks::monotonic_clock;
use wasi::http::outgoing_handler;
use wasi::http::types::{
    self, ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, OutgoingBody,
    OutgoingRequest, RequestOptions,
};
use wasi::io::poll::{Pollable, poll};
use wasi::io::streams::{InputStream, StreamError};

use super::{Failure, Request, Response, Scheme};

/// What one read asks for.
const READ: u64 = 16 << 10;

pub(super) fn send(request: Request<'_>) -> Result<Response, Failure> {
    let budget = u64::try_from(request.timeout.as_nanos()).unwrap_or(u64::MAX);
    let deadline = Deadline(monotonic_clock::now().saturating_add(budget));
    let max_body = request.max_body;
    let answer = exchange(request, budget, &deadline)?;
    let status = answer.status();
    // A resource of its own, which must not outlive the answer.
    let headers = answer.headers().entries();
    let body = body(&answer, max_body, &deadline)?;
    Ok(Response {
        status,
        headers,
        body,
    })
}

fn exchange(
    request: Request<'_>,
    budget: u64,
    deadline: &Deadline,
) -> Result<IncomingResponse, Failure> {
    let outgoing = outgoing(&request)?;
    let body = match request.body {
        Some(content) => Some((outgoing.body().map_err(|()| Failure::Request)?, content)),
        None => None,
    };
    let future = outgoing_handler::handle(outgoing, Some(options(budget)))
        .map_err(|code| Failure::of(&code))?;
    if let Some((body, content)) = body {
        // Where it cannot be written, the answer says why.
        let _ = write(body, &content, deadline);
    }
    answer(&future, deadline)
}

fn outgoing(request: &Request<'_>) -> Result<OutgoingRequest, Failure> {
    let mut headers = request.headers.clone();
    if let Some(body) = &request.body {
        let length = body.len().to_string().into_bytes();
        headers.push(("content-length".to_owned(), length));
    }
    let fields = Fields::from_list(&headers).map_err(|_| Failure::Request)?;
    let outgoing = OutgoingRequest::new(fields);
    let scheme = match request.url.scheme() {
        Scheme::Http => types::Scheme::Http,
        Scheme::Https => types::Scheme::Https,
    };
    let set = |set: Result<(), ()>| set.map_err(|()| Failure::Request);
    set(outgoing.set_method(&method(request.method)))?;
    set(outgoing.set_scheme(Some(&scheme)))?;
    set(outgoing.set_authority(Some(&request.url.authority())))?;
    set(outgoing.set_path_with_query(Some(&request.url.path_and_query())))?;
    Ok(outgoing)
}

fn method(name: &str) -> types::Method {
    use types::Method;
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

/// The same deadline for the host, which has its own as well.
fn options(budget: u64) -> RequestOptions {
    let options = RequestOptions::new();
    // A host that does not take one of these still ends the call in time.
    let _ = options.set_connect_timeout(Some(budget));
    let _ = options.set_first_byte_timeout(Some(budget));
    let _ = options.set_between_bytes_timeout(Some(budget));
    options
}

fn write(body: OutgoingBody, content: &[u8], deadline: &Deadline) -> Result<(), Failure> {
    let stream = body.write().map_err(|()| Failure::Request)?;
    let mut rest = content;
    while !rest.is_empty() {
        let room = stream.check_write().map_err(|_| Failure::Interrupted)?;
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if room == 0 {
            deadline.wait(&stream.subscribe())?;
            continue;
        }
        let (now, later) = rest.split_at(room.min(rest.len()));
        stream.write(now).map_err(|_| Failure::Interrupted)?;
        rest = later;
    }
    // The stream is the body's child: gone before the body is finished.
    drop(stream);
    OutgoingBody::finish(body, None).map_err(|code| Failure::of(&code))
}

fn answer(
    future: &FutureIncomingResponse,
    deadline: &Deadline,
) -> Result<IncomingResponse, Failure> {
    loop {
        match future.get() {
            Some(Ok(answer)) => return answer.map_err(|code| Failure::of(&code)),
            Some(Err(())) => return Err(Failure::Protocol),
            None => deadline.wait(&future.subscribe())?,
        }
    }
}

fn body(
    answer: &IncomingResponse,
    max_body: usize,
    deadline: &Deadline,
) -> Result<Vec<u8>, Failure> {
    let body = answer.consume().map_err(|()| Failure::Protocol)?;
    let stream = body.stream().map_err(|()| Failure::Protocol)?;
    let read = read(&stream, max_body, deadline);
    drop(stream);
    drop::<IncomingBody>(body);
    read
}

fn read(stream: &InputStream, max_body: usize, deadline: &Deadline) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    loop {
        match stream.read(READ) {
            Ok(bytes) if bytes.is_empty() => deadline.wait(&stream.subscribe())?,
            Ok(bytes) => {
                if content.len() + bytes.len() > max_body {
                    return Err(Failure::TooLarge);
                }
                content.extend_from_slice(&bytes);
            }
            Err(StreamError::Closed) => return Ok(content),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = types::http_error_code(&error);
                return Err(code.map_or(Failure::Interrupted, |code: ErrorCode| Failure::of(&code)));
            }
        }
    }
}

/// A point in the host's monotonic time, in nanoseconds.
struct Deadline(u64);

impl Deadline {
    /// Until `something` is ready, but no longer than this.
    fn wait(&self, something: &Pollable) -> Result<(), Failure> {
        let timer = monotonic_clock::subscribe_instant(self.0);
        let ready = poll(&[something, &timer]);
        if ready.contains(&0) {
            Ok(())
        } else {
            Err(Failure::Timeout)
        }
    }
}
