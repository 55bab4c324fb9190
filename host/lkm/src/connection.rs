//! One connection, and how long it may take: for the TLS handshake, for a request, until an answer
//! is taken, and in all. Nobody keeps a place by doing nothing with it.
//! Not for: accepting (see `server`), what is answered (see `service`).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use keyreel_net::{Abort, Acceptor, Progress, Tcp, TlsError, TlsFiles};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::Service as _;

use crate::service::Peer;

/// A head of a request is a few hundred bytes.
const MAX_HEAD: usize = 16 << 10;

/// What the connections of one server share.
pub(crate) struct Serving {
    pub(crate) tls: Option<Acceptor>,
    pub(crate) router: Router,
    /// For the handshake; for a head to arrive; for sent bytes to be taken.
    pub(crate) timeout: Duration,
    /// Of a connection. A client that has more to ask makes another one.
    pub(crate) lifetime: Duration,
    /// Becomes true when the server ends.
    pub(crate) ending: watch::Receiver<bool>,
}

/// TLS with rustls' own choice of versions and ciphers.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<Acceptor, TlsError> {
    Acceptor::new(files.clone(), |files| {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificate = files.load(&provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    })
}

impl Serving {
    pub(crate) async fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        // Answers are small and written whole.
        let _ = stream.set_nodelay(true);
        let (abort, progress) = (Abort::default(), Progress::default());
        let tcp = Tcp::new(stream, abort.clone(), progress.clone());
        let Some(acceptor) = &self.tls else {
            return self.http1(tcp, peer, abort, progress).await;
        };
        let handshake = acceptor.current().accept(tcp);
        match tokio::time::timeout(self.timeout, handshake).await {
            Ok(Ok(stream)) => self.http1(stream, peer, abort, progress).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
    }

    async fn http1<S>(&self, stream: S, peer: SocketAddr, abort: Abort, progress: Progress)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let service = service_fn(move |request| answer(router.clone(), peer, request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.timeout)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut stalled = pin!(progress.stalled(self.timeout));
        let mut ending = self.ending.clone();
        tokio::select! {
            ended = connection.as_mut() => return told(ended),
            () = stalled.as_mut() => {
                tracing::debug!("a connection takes no bytes");
                return abort.abort();
            }
            () = tokio::time::sleep(self.lifetime) => {}
            _ = ending.wait_for(|ending| *ending) => {}
        }
        // An open request has as long as any: to arrive, and for its answer to be taken.
        connection.as_mut().graceful_shutdown();
        match tokio::time::timeout(2 * self.timeout, connection).await {
            Ok(ended) => told(ended),
            Err(_) => abort.abort(),
        }
    }
}

async fn answer(
    mut router: Router,
    peer: SocketAddr,
    request: http::Request<hyper::body::Incoming>,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    router.call(request).await
}

fn told(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
