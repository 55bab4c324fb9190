//! What happens around every request: its id, one line in the log, metrics, problems rendered,
//! headers that every answer has.
//! The log names routes by their template: a URL may hold a grant, a query a person's name.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt as _;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::{Frame, SizeHint};
use keyreel_format::TenantId;
use tokio::time::Instant;
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::problem::{Code, Problem};
use crate::state::App;

/// One request, as handlers see it.
#[derive(Clone)]
pub(crate) struct RequestInfo(Arc<Info>);

struct Info {
    id: String,
    tenant: OnceLock<TenantId>,
}

impl RequestInfo {
    /// Names the request: in the log, in problems, to key services.
    pub(crate) fn id(&self) -> &str {
        &self.0.id
    }

    /// Notes whose recording it is about, for the log.
    pub(crate) fn of(&self, tenant: &TenantId) {
        // The first one counts; a request is about one recording.
        let _ = self.0.tenant.set(tenant.clone());
    }
}

impl<S: Sync> FromRequestParts<S> for RequestInfo {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let info = parts.extensions.get::<Self>().cloned();
        info.ok_or_else(|| {
            Problem::new(Code::Internal, "The server failed.").inward("request without an id")
        })
    }
}

/// The outermost layer.
pub(crate) async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let info = RequestInfo(Arc::new(Info {
        id: Uuid::new_v4().to_string(),
        tenant: OnceLock::new(),
    }));
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    request.extensions_mut().insert(info.clone());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|_| {
        let problem = Problem::new(Code::Internal, "The server failed. Its log has the reason.");
        axum::response::IntoResponse::into_response(problem.inward("a handler panicked"))
    });
    render_problem(&mut response, &info);
    dress(&mut response, &info, &app);
    let done = Done {
        started,
        info,
        route,
        method,
        status: response.status(),
        app,
    };
    response.map(|body| {
        Body::new(Metered {
            body,
            bytes: 0,
            done: Some(done),
        })
    })
}

/// A problem that a handler answered with becomes a body here, where the request's id is known.
fn render_problem(response: &mut Response, info: &RequestInfo) {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return;
    };
    let id = info.id();
    let (code, inward) = (
        problem.code().as_str(),
        problem.inward_text().unwrap_or_default(),
    );
    if problem.code().status().is_server_error() || problem.code() == Code::Integrity {
        tracing::error!(request_id = id, code, reason = inward, "request failed");
    } else if !inward.is_empty() {
        tracing::info!(request_id = id, code, reason = inward, "request refused");
    }
    let (mut head, body) = problem.render(id).into_parts();
    // What the handler said besides, such as the headers of media answers.
    for (name, value) in response.headers() {
        head.headers.insert(name, value.clone());
    }
    // To HEAD as well: axum says its length, then takes it away.
    *response = Response::from_parts(head, body);
}

fn dress(response: &mut Response, info: &RequestInfo, app: &App) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(info.id()) {
        headers.insert(REQUEST_ID, id);
    }
    headers
        .entry(header::X_CONTENT_TYPE_OPTIONS)
        .or_insert(HeaderValue::from_static("nosniff"));
    headers
        .entry(header::REFERRER_POLICY)
        .or_insert(HeaderValue::from_static("no-referrer"));
    let hsts = app
        .settings()
        .tls
        .as_ref()
        .map_or(0, |tls| tls.hsts_seconds);
    if hsts > 0
        && let Ok(value) = HeaderValue::from_str(&format!("max-age={hsts}; includeSubDomains"))
    {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
}

/// Bounds the time for an answer. What has begun to stream is not bound.
pub(crate) async fn within(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => axum::response::IntoResponse::into_response(
            Problem::new(
                Code::Unavailable,
                "The answer took too long. What was to be changed may be changed all the same; look, \
                 and try again.",
            )
            .inward("the handler ran into limits.request_seconds"),
        ),
    }
}

/// Told when the answer's last byte was handed over, or nobody wants it any more.
struct Done {
    started: Instant,
    info: RequestInfo,
    route: Option<MatchedPath>,
    method: Method,
    status: StatusCode,
    app: App,
}

impl Done {
    fn report(self, bytes: u64) {
        let took = self.started.elapsed();
        let route = self.route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
        let status = self.status.as_u16();
        let metrics: &Metrics = self.app.metrics();
        metrics.answered(&self.method, route, status, bytes, took);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    method = %self.method,
                    route,
                    status,
                    bytes,
                    ms = took.as_secs_f64() * 1000.0,
                    request_id = self.info.id(),
                    tenant = self.info.0.tenant.get().map_or("", TenantId::as_str),
                    "request"
                )
            };
        }
        // A player asks for dozens of ranges; the audit log has one line for its play.
        if route.starts_with(MEDIA) && self.status.is_success() {
            line!(debug);
        } else {
            line!(info);
        }
    }
}

struct Metered {
    body: Body,
    bytes: u64,
    done: Option<Done>,
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done.report(self.bytes);
        }
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const NO_ROUTE: &str = "(none)";
const MEDIA: &str = "/media/";
