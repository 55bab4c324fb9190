//! Connections: accepted, perhaps wrapped in TLS, served until they end, are drained or cut.
//! Not for: what is answered on them (see `server`).

mod tcp;

use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::Service as _;

use crate::abort::Abort;
use crate::metrics::Metrics;
use crate::problem::{Code, Problem};
use crate::settings::LimitSettings;
use crate::shutdown::Phase;
use crate::tls::Acceptor;
use tcp::{Progress, Tcp};

/// Who is at the other end of the connection: behind a proxy, the proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(SocketAddr);

impl Peer {
    /// Its address. An IPv4 address is one, however the listener is bound.
    pub(crate) fn address(self) -> IpAddr {
        self.0.ip().to_canonical()
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().copied().ok_or_else(|| {
            Problem::new(Code::Internal, "The server failed.").inward("request without a peer")
        })
    }
}

/// Takes connections from one listener.
pub(crate) struct Accepting {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Acceptor>,
    pub(crate) router: Router,
    pub(crate) limits: LimitSettings,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Accepting {
    /// Accepts until the server drains; ends when the last connection has ended.
    pub(crate) async fn run(self) {
        let Self {
            listener,
            tls,
            router,
            limits,
            metrics,
            mut phase,
        } = self;
        let room = Arc::new(Semaphore::new(limits.connections as usize));
        let shared = Arc::new(Serving {
            tls,
            router,
            limits,
        });
        let mut connections = tokio::task::JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                accepted = accept(&listener, &room) => accepted,
                _ = phase.wait_for(|phase| *phase >= Phase::Draining) => break,
            };
            let Some((stream, peer, room)) = accepted else {
                continue;
            };
            let (shared, metrics, phase) = (shared.clone(), metrics.clone(), phase.clone());
            connections.spawn(async move {
                metrics.connected();
                shared.serve(stream, peer, phase).await;
                metrics.disconnected();
                drop(room);
            });
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let room = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, room)),
        Err(error) => {
            // Out of descriptors, mostly: those who are here finish, then there is room again.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

struct Serving {
    tls: Option<Acceptor>,
    router: Router,
    limits: LimitSettings,
}

impl Serving {
    async fn serve(&self, stream: TcpStream, peer: SocketAddr, phase: watch::Receiver<Phase>) {
        // Answers are written whole; waiting for more would only delay the last packet.
        let _ = stream.set_nodelay(true);
        let abort = Abort::default();
        let progress = Progress::default();
        let tcp = Tcp::new(stream, abort.clone(), progress.clone());
        let driving = Driving {
            abort,
            progress,
            phase,
            stalled: self.limits.stalled(),
        };
        let Some(acceptor) = &self.tls else {
            return self.http1(tcp, peer, driving).await;
        };
        let handshake = acceptor.current().accept(tcp);
        match tokio::time::timeout(self.limits.header_timeout(), handshake).await {
            Ok(Ok(tls)) if tls.get_ref().1.alpn_protocol() == Some(b"h2") => {
                self.http2(tls, peer, driving).await;
            }
            Ok(Ok(tls)) => self.http1(tls, peer, driving).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
    }

    async fn http1<S>(&self, stream: S, peer: SocketAddr, driving: Driving)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let service = self.service(peer, &driving.abort);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout())
            .max_buf_size(WRITE_BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        driving
            .drive(connection, |connection| connection.graceful_shutdown())
            .await;
    }

    async fn http2<S>(&self, stream: S, peer: SocketAddr, driving: Driving)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let service = self.service(peer, &driving.abort);
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEADER_LIST)
            .max_send_buf_size(WRITE_BUFFER)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_LIMIT)
            .serve_connection(TokioIo::new(stream), service);
        driving
            .drive(connection, |connection| connection.graceful_shutdown())
            .await;
    }

    fn service(
        &self,
        peer: SocketAddr,
        abort: &Abort,
    ) -> impl hyper::service::Service<
        http::Request<Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Send
    + use<> {
        let router = self.router.clone();
        let abort = abort.clone();
        service_fn(move |request: http::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            request.extensions_mut().insert(abort.clone());
            let answering = router.clone().call(request);
            async move {
                let mut response = answering.await?;
                if response.status() == StatusCode::NOT_MODIFIED {
                    // axum says 0, which would be the length of what the client has (RFC 9110 §8.6).
                    response.headers_mut().remove(header::CONTENT_LENGTH);
                }
                Ok(response)
            }
        })
    }
}

/// What can end a connection from outside.
struct Driving {
    abort: Abort,
    progress: Progress,
    phase: watch::Receiver<Phase>,
    stalled: Duration,
}

impl Driving {
    async fn drive<C, E>(mut self, connection: C, drain: impl Fn(Pin<&mut C>))
    where
        C: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let mut connection = pin!(connection);
        let mut stalled = pin!(self.progress.stalled(self.stalled));
        let mut next = Phase::Draining;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        // A listener who leaves is no error: nearly every stream ends like that.
                        tracing::debug!(%error, "connection ended");
                    }
                    return;
                }
                () = self.abort.aborted() => return,
                () = stalled.as_mut() => {
                    tracing::debug!("connection takes no bytes");
                    self.abort.abort();
                    return;
                }
                _ = self.phase.wait_for(|phase| *phase >= next) => {
                    if next == Phase::Cut {
                        self.abort.abort();
                        return;
                    }
                    next = Phase::Cut;
                    drain(connection.as_mut());
                }
            }
        }
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What a connection may hold of an answer before it is written.
const WRITE_BUFFER: usize = 256 * 1024;
/// A client that is gone without a word is noticed, even where nothing is being sent to it.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(20);
const MAX_HEADER_LIST: u32 = 32 * 1024;
