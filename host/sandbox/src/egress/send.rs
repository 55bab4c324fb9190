//! One request of a guest, from the question whether it may go out to the whole answer.
//! Not for: the parts of it (see `request`, `connect`, `answer`, `aws`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::answer::{self, failure};
use super::aws;
use super::connect::{For, connect};
use super::hooks::Caller;
use super::origin::OriginGrant;
use super::pool::Connection;
use super::request::Outgoing;
use super::{Egress, EgressLimits};

/// When things are to be over. The guest's own times hold where they are shorter.
struct Times {
    total: Instant,
    options: RequestOptions,
}

impl Times {
    fn new(limits: &EgressLimits, options: RequestOptions, call: Instant) -> Self {
        let total = call.min(Instant::now() + limits.total);
        Self { total, options }
    }

    fn connect(&self, limits: &EgressLimits) -> Instant {
        self.until(limits.connect, self.options.connect_timeout)
    }

    fn first_byte(&self, limits: &EgressLimits) -> Instant {
        self.until(limits.first_byte, self.options.first_byte_timeout)
    }

    fn until(&self, ours: Duration, guests: Option<Duration>) -> Instant {
        let wait = guests.map_or(ours, |guests| guests.min(ours));
        self.total.min(Instant::now() + wait)
    }
}

/// Sends `request` for `caller`.
pub(super) async fn send(
    caller: Caller,
    request: Request<WasiBody>,
    options: RequestOptions,
) -> Result<Response<Bytes>, Error> {
    let plugin = Arc::clone(&caller.plugin);
    let egress = &plugin.grants.egress;
    let times = Times::new(&egress.limits, options, caller.deadline);
    let (parts, body) = request.into_parts();
    let mut outgoing = Outgoing::parse(parts)?;
    let grant = admitted(&caller, &outgoing).await?;
    let collecting = outgoing.collect(body, egress.limits.request_bytes);
    let mut body = timeout_at(times.total, collecting)
        .await
        .map_err(|_| Error::ConnectionWriteTimeout)??
        .freeze();
    if let Some(sign_as) = outgoing.sign.clone() {
        let signer = egress.aws.as_ref().ok_or(aws::refusal(aws::CREDENTIALS))?;
        // Before the signature, which covers the body.
        body = caller.placeholders.fill(body);
        let now_ms = plugin.host.clock.now_ms();
        let signing = signer.sign(&sign_as, now_ms, &mut outgoing, &body);
        timeout_at(times.total, signing)
            .await
            .map_err(|_| aws::refusal(aws::CREDENTIALS))??;
    }
    let answer = exchange(&caller, egress, grant, &outgoing, &body, &times).await;
    match &answer {
        Ok(answer) => tracing::debug!(
            plugin = %plugin.id,
            tenant = %caller.tenant,
            origin = %outgoing.origin,
            status = answer.status().as_u16(),
            "egress"
        ),
        Err(error) => tracing::debug!(
            plugin = %plugin.id,
            tenant = %caller.tenant,
            origin = %outgoing.origin,
            ?error,
            "egress failed"
        ),
    }
    answer
}

/// The operator's grant that lets it out; the tenant's configuration must need its origin too.
async fn admitted<'a>(caller: &'a Caller, outgoing: &Outgoing) -> Result<&'a OriginGrant, Error> {
    let plugin = &caller.plugin;
    let origin = &outgoing.origin;
    let refused = |reason: &str| {
        tracing::warn!(plugin = %plugin.id, tenant = %caller.tenant, %origin, reason, "egress refused");
        Error::HttpRequestDenied
    };
    let mut grants = plugin.grants.egress.origins.iter();
    let grant = grants
        .find(|grant| grant.covers(origin))
        .ok_or_else(|| refused("no grant of the operator covers this origin"))?;
    let needed = caller
        .configuration
        .origins(plugin)
        .await
        .map_err(|error| refused(&error.code))?;
    if !needed.contains(origin) {
        return Err(refused(
            "the tenant's configuration does not name this origin",
        ));
    }
    match (grant.sign, &outgoing.sign) {
        (true, None) => Err(aws::refusal(aws::REQUIRED)),
        (false, Some(_)) => Err(aws::refusal(aws::NOT_GRANTED)),
        (true, Some(_)) if outgoing.brings_a_signature() => Err(aws::refusal(aws::MALFORMED)),
        _ => Ok(grant),
    }
}

/// Over a waiting connection where there is one, else over a new one.
async fn exchange(
    caller: &Caller,
    egress: &Egress,
    grant: &OriginGrant,
    outgoing: &Outgoing,
    body: &Bytes,
    times: &Times,
) -> Result<Response<Bytes>, Error> {
    let pool = &caller.plugin.connections;
    let (tenant, origin, limits) = (&caller.tenant, &outgoing.origin, &egress.limits);
    let mut request = outgoing.request(body)?;
    loop {
        let (mut connection, reused) = match pool.take(tenant, origin).await {
            Some(connection) => (connection, Reused::Yes),
            None => {
                let purges = pool.purges();
                let whom = For {
                    tenant,
                    lookups: &caller.plugin.host.lookups,
                    grant,
                };
                let sender = connect(egress, origin, whom, times.connect(limits)).await?;
                (Connection::new(sender, purges), Reused::No)
            }
        };
        let head = match ask(&mut connection, request, times.first_byte(limits)).await {
            Ok(head) => head,
            // It was closed as we wrote. What was never sent, or changes nothing, may go again.
            Err(Unanswered::Broken { unsent, error }) if reused == Reused::Yes => {
                let harmless = matches!(
                    outgoing.method,
                    Method::GET | Method::HEAD | Method::OPTIONS
                );
                request = match unsent {
                    Some(unsent) => *unsent,
                    None if harmless && error.is_incomplete_message() => outgoing.request(body)?,
                    None => return Err(failure(&error)),
                };
                continue;
            }
            Err(Unanswered::Broken { error, .. }) => return Err(failure(&error)),
            Err(Unanswered::Late) => return Err(Error::HttpResponseTimeout),
        };
        let idle = answer::server_idle(head.headers());
        let pause = times.options.between_bytes_timeout;
        let answer = answer::read(head, limits.answer_bytes, pause, times.total).await?;
        pool.put(tenant, origin, connection, idle, limits);
        return Ok(answer);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reused {
    Yes,
    No,
}

/// Why there is no head of an answer.
enum Unanswered {
    Late,
    Broken {
        unsent: Option<Box<Request<Full<Bytes>>>>,
        error: hyper::Error,
    },
}

async fn ask(
    connection: &mut Connection,
    request: Request<Full<Bytes>>,
    deadline: Instant,
) -> Result<Response<Incoming>, Unanswered> {
    match timeout_at(deadline, connection.sender.try_send_request(request)).await {
        Ok(Ok(head)) => Ok(head),
        Ok(Err(mut error)) => Err(Unanswered::Broken {
            unsent: error.take_message().map(Box::new),
            error: error.into_error(),
        }),
        Err(_) => Err(Unanswered::Late),
    }
}
