//! Requests as the configuration says, over the bare bindings: the SDK would not let most of them
//! out. `{"behaviour":"http","method":"post","scheme":"http","authority":"127.0.0.1:80",
//! "path":"/","headers":"name: value|name: value","body":"…","times":"2","outbound":"…"}`.
//! Not for: anything but tests.

use keyreel_plugin_sdk::{Error, secrets};

mod bare {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package keyreel:hostile;
            world bare { import wasi:http/outgoing-handler@0.2.12; }
        ",
        world: "keyreel:hostile/bare",
        generate_all,
    });
}

use bare::wasi::http::outgoing_handler;
use bare::wasi::http::types::{
    Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
};
use bare::wasi::io::streams::StreamError;

/// What came of each request.
pub(crate) fn report(config: &str) -> Error {
    let times = value(config, "times").map_or(1, |times| times.parse().unwrap_or(1));
    let said: Vec<String> = (0..times)
        .map(|_| match exchange(config) {
            Ok(said) | Err(said) => said,
        })
        .collect();
    Error::denied("hostile.report", said.join(" | "))
}

/// The origins that the configuration names.
pub(crate) fn outbound(config: &str) -> Option<Vec<String>> {
    value(config, "outbound").map(|text| text.split(' ').map(str::to_owned).collect())
}

/// The string that `"key":"…"` holds. No escapes.
fn value<'a>(config: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = config.split_once(&format!("\"{key}\":\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

fn exchange(config: &str) -> Result<String, String> {
    let request = outgoing(config)?;
    let body = value(config, "body");
    let outgoing_body = match body {
        Some(_) => Some(request.body().map_err(|()| "body refused")?),
        None => None,
    };
    let future =
        outgoing_handler::handle(request, None).map_err(|code| format!("handle: {code:?}"))?;
    if let (Some(outgoing_body), Some(body)) = (outgoing_body, body) {
        // The answer says what became of it.
        let _ = write(outgoing_body, body.as_bytes());
    }
    loop {
        match future.get() {
            Some(Ok(Ok(answer))) => return read(&answer),
            Some(Ok(Err(code))) => return Err(format!("{code:?}")),
            Some(Err(())) => return Err("taken".to_owned()),
            None => future.subscribe().block(),
        }
    }
}

fn outgoing(config: &str) -> Result<OutgoingRequest, String> {
    let fields = Fields::new();
    let headers = value(config, "headers").unwrap_or_default();
    for header in headers.split('|').filter(|header| !header.is_empty()) {
        let (name, value) = header.split_once(": ").ok_or("not a header")?;
        fields
            .append(name, value.as_bytes())
            .map_err(|error| format!("{name}: {error:?}"))?;
    }
    if value(config, "hawk").is_some() {
        let tag = secrets::get("api-key")
            .and_then(|key| key.mac("hmac-sha256", b"hawk.1.header"))
            .map_err(|error| error.code)?;
        let shown: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
        fields
            .append("authorization", format!("Hawk mac=\"{shown}\"").as_bytes())
            .map_err(|error| format!("{error:?}"))?;
    }
    let request = OutgoingRequest::new(fields);
    let method = match value(config, "method") {
        None | Some("get") => Method::Get,
        Some("post") => Method::Post,
        Some("connect") => Method::Connect,
        Some("trace") => Method::Trace,
        Some(other) => Method::Other(other.to_owned()),
    };
    request.set_method(&method).map_err(|()| "method refused")?;
    let scheme = match value(config, "scheme") {
        None | Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        Some(other) => Scheme::Other(other.to_owned()),
    };
    request
        .set_scheme(Some(&scheme))
        .map_err(|()| "scheme refused")?;
    request
        .set_authority(value(config, "authority"))
        .map_err(|()| "authority refused")?;
    request
        .set_path_with_query(value(config, "path"))
        .map_err(|()| "path refused")?;
    Ok(request)
}

fn write(body: OutgoingBody, content: &[u8]) -> Result<(), String> {
    let stream = body.write().map_err(|()| "no stream")?;
    for part in content.chunks(4096) {
        stream
            .blocking_write_and_flush(part)
            .map_err(|error| format!("{error:?}"))?;
    }
    drop(stream);
    OutgoingBody::finish(body, None).map_err(|code| format!("{code:?}"))
}

fn read(answer: &IncomingResponse) -> Result<String, String> {
    let body = answer.consume().map_err(|()| "consumed")?;
    let stream = body.stream().map_err(|()| "no stream")?;
    let mut content = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(bytes) => content.extend(bytes),
            Err(StreamError::Closed) => break,
            Err(error) => return Err(format!("{} then {error:?}", answer.status())),
        }
    }
    let text = String::from_utf8_lossy(&content);
    let begin: String = text.chars().take(60).collect();
    Ok(format!("{} {begin}", answer.status()))
}
