//! Connections: accepted, perhaps wrapped in TLS, served until they end, are drained or cut.
//! Not for: what is answered on them (see `server`).

mod addresses;
mod streams;

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
use hyper_util::rt::{TokioIo, TokioTimer};
use keyreel_net::{Abort, Acceptor, Progress, Tcp};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::Service as _;

use crate::metrics::Metrics;
use crate::problem::{Code, Problem};
use crate::settings::{LimitSettings, ListenSettings};
use crate::shutdown::Phase;
use streams::{Stream, Streams};

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
    pub(crate) settings: ListenSettings,
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
            settings,
            limits,
            metrics,
            mut phase,
        } = self;
        let room = Arc::new(Semaphore::new(limits.connections as usize));
        let addresses = addresses::count(limits.connections_per_address, &settings);
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
            let Some(counted) = addresses.enter(peer.ip()) else {
                tracing::debug!(%peer, "an address has too many connections");
                metrics.turned_away();
                // Closed without waiting for anything, which would take a descriptor all the same.
                let _ = stream.set_zero_linger();
                continue;
            };
            let (shared, metrics, phase) = (shared.clone(), metrics.clone(), phase.clone());
            connections.spawn(async move {
                metrics.connected();
                shared.serve(stream, peer, phase).await;
                metrics.disconnected();
                drop((room, counted));
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
        let service = self.service(peer, Handle::Connection(driving.abort.clone()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout())
            .max_buf_size(WRITE_BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        // Between requests it is `header_read_timeout` that lets it go.
        let idle = std::future::pending();
        driving
            .drive(connection, idle, |connection| {
                connection.graceful_shutdown();
            })
            .await;
    }

    async fn http2<S>(&self, stream: S, peer: SocketAddr, driving: Driving)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let service = self.service(peer, Handle::Stream);
        let streams = Streams::new(driving.stalled);
        let connection = http2::Builder::new(streams.clone())
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEADER_LIST)
            .max_send_buf_size(WRITE_BUFFER)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_LIMIT)
            .serve_connection(TokioIo::new(stream), service);
        driving
            .drive(connection, streams.idle(), |connection| {
                connection.graceful_shutdown();
            })
            .await;
    }

    fn service(
        &self,
        peer: SocketAddr,
        handle: Handle,
    ) -> impl hyper::service::Service<
        http::Request<Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Send
    + use<> {
        let router = self.router.clone();
        service_fn(move |request: http::Request<Incoming>| {
            let mut request = request.map(Body::new);
            let (mut router, handle) = (router.clone(), handle.clone());
            // Run by the task of its stream, which is how it finds it.
            async move {
                let (abort, stream) = match handle {
                    Handle::Connection(abort) => (abort, None),
                    Handle::Stream => {
                        let stream = Stream::current();
                        (stream.abort.clone(), Some(stream))
                    }
                };
                request.extensions_mut().insert(Peer(peer));
                request.extensions_mut().insert(abort);
                let mut response = router.call(request).await?;
                if response.status() == StatusCode::NOT_MODIFIED {
                    // axum says 0, which would be the length of what the client has (RFC 9110 §8.6).
                    response.headers_mut().remove(header::CONTENT_LENGTH);
                }
                if let Some(stream) = stream {
                    response = response.map(|body| stream.watch(body));
                }
                Ok(response)
            }
        })
    }
}

/// What a request's stream is aborted by.
#[derive(Clone)]
enum Handle {
    /// The connection's, HTTP/1.1.
    Connection(Abort),
    /// Its own, HTTP/2.
    Stream,
}

/// What can end a connection from outside.
struct Driving {
    abort: Abort,
    progress: Progress,
    phase: watch::Receiver<Phase>,
    stalled: Duration,
}

impl Driving {
    async fn drive<C, E>(
        mut self,
        connection: C,
        idle: impl Future<Output = ()>,
        drain: impl Fn(Pin<&mut C>),
    ) where
        C: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let mut connection = pin!(connection);
        let mut stalled = pin!(self.progress.stalled(self.stalled));
        let mut idle = pin!(idle);
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
                () = idle.as_mut() => break,
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
        drain(connection.as_mut());
        let ended = tokio::time::timeout(GOODBYE, connection).await;
        if ended.is_err() {
            self.abort.abort();
        }
    }
}

/// For a client to take its leave of an idle connection.
const GOODBYE: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What a connection may hold of an answer before it is written.
const WRITE_BUFFER: usize = 256 * 1024;
/// A client that is gone without a word is noticed, even where nothing is being sent to it.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(20);
const MAX_HEADER_LIST: u32 = 32 * 1024;
