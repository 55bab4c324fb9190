//! A Local Key Manager that listens: addresses, connections, the end.
//! Not for: what is answered (see `service`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use keyreel_keys::Clock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use crate::log::Log;
use crate::policy::Watch;
use crate::replay::Nonces;
use crate::service::{self, DECRYPT_PATH, Peer, Service};
use crate::settings::Settings;
use crate::store::KeyPairs;
use crate::{Error, tls};

/// How long open requests have to finish at the end.
const DRAIN: Duration = Duration::from_secs(5);
/// After a failed accept: out of descriptors, mostly.
const PAUSE: Duration = Duration::from_millis(100);
/// A head of a request is a few hundred bytes.
const MAX_HEAD: usize = 16 << 10;

/// Puts a Local Key Manager together.
pub struct Server;

/// A Local Key Manager that listens, and answers once it is served.
pub struct BoundServer {
    listener: TcpListener,
    address: SocketAddr,
    url: String,
    tls: Option<TlsAcceptor>,
    service: Arc<Service>,
    connections: usize,
}

impl Server {
    /// Opens the data, its log and the policy, and binds the address.
    ///
    /// # Errors
    /// The data is not there or belongs to another key file; another server has its log; the
    /// address is taken; a setting, the policy or the certificate cannot be used.
    pub async fn bind(settings: Settings, clock: Arc<dyn Clock>) -> Result<BoundServer, Error> {
        settings.check()?;
        let pairs = Arc::new(KeyPairs::open(&settings.data, &settings.key_file)?);
        let log = Log::open(&KeyPairs::log_file(&settings.data))?;
        let policy = Watch::new(settings.policy)?;
        let tls = settings.tls.as_ref().map(tls::acceptor).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = settings.listen;
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let url = match &settings.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("{scheme}://{address}"),
        };
        let public = settings.public_url.as_ref().and_then(|url| {
            let host = url.host_str()?.to_ascii_lowercase();
            Some((host, url.port_or_known_default()?))
        });
        let service = Arc::new(Service {
            pairs,
            policy,
            nonces: Nonces::new(settings.window),
            log,
            clock,
            window: settings.window,
            timeout: settings.timeout,
            public,
            default_port: if tls.is_some() { 443 } else { 80 },
        });
        Ok(BoundServer {
            listener,
            address,
            url,
            tls,
            service,
            connections: settings.connections.max(1),
        })
    }
}

impl BoundServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// "https://127.0.0.1:8443", or the public URL where one is set.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What is registered with Keyreel.
    #[must_use]
    pub fn decrypt_url(&self) -> String {
        format!("{}{DECRYPT_PATH}", self.url)
    }

    /// Its key pairs and credentials: what is changed here holds from the next request on.
    #[must_use]
    pub fn pairs(&self) -> Arc<KeyPairs> {
        Arc::clone(&self.service.pairs)
    }

    /// Answers until `shutdown` is ready, then lets open requests finish.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let room = Arc::new(Semaphore::new(self.connections));
        let timeout = self.service.timeout;
        let router = service::router(self.service);
        let graceful = GracefulShutdown::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.listener, &room) => accepted,
                () = &mut shutdown => break,
            };
            let Some((stream, peer, room)) = accepted else {
                continue;
            };
            let (router, tls, watcher) = (router.clone(), self.tls.clone(), graceful.watcher());
            tokio::spawn(async move {
                serve(stream, tls, peer, router, timeout, watcher).await;
                drop(room);
            });
        }
        drop(self.listener);
        if tokio::time::timeout(DRAIN, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("requests were still open at the end");
        }
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let room = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, room)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    peer: SocketAddr,
    router: Router,
    timeout: Duration,
    watcher: Watcher,
) {
    // Answers are small and written whole.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = tls else {
        return http1(stream, peer, router, timeout, watcher).await;
    };
    match tokio::time::timeout(timeout, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => http1(stream, peer, router, timeout, watcher).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

async fn http1<S>(stream: S, peer: SocketAddr, router: Router, timeout: Duration, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
