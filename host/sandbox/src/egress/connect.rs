//! A new connection: the name is resolved, every address behind it is checked, and one of these
//! very addresses is connected to. There is no second look-up for a rebinding name to answer.
//! Not for: waiting connections (see `pool`).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use keyreel_keys::TenantId;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::Error;

use super::address::{Reach, reach};
use super::lookups::Lookups;
use super::network::Network;
use super::origin::{Host, Origin, OriginGrant, Scheme};
use super::tls::Tls;
use super::{Egress, EgressLimits};

/// For whom a connection is made.
pub(super) struct For<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) lookups: &'a Lookups,
    pub(super) grant: &'a OriginGrant,
}

/// A connection to `origin`, ready for a request, before `deadline`.
pub(super) async fn connect(
    egress: &Egress,
    origin: &Origin,
    whom: For<'_>,
    deadline: Instant,
) -> Result<SendRequest<Full<Bytes>>, Error> {
    let network = &egress.network;
    let addresses = timeout_at(deadline, addresses(network, origin, &whom))
        .await
        .map_err(|_| Error::DnsTimeout)??;
    let stream = reach_one(&**network, &addresses, deadline).await?;
    let secured = async {
        match origin.scheme {
            Scheme::Http => handshake(stream, &egress.limits).await,
            Scheme::Https => {
                let stream = secure(&egress.tls, &origin.host, stream).await?;
                handshake(stream, &egress.limits).await
            }
        }
    };
    timeout_at(deadline, secured)
        .await
        .map_err(|_| Error::ConnectionTimeout)?
}

/// The addresses of the origin, all of which may be reached.
async fn addresses(
    network: &Arc<dyn Network>,
    origin: &Origin,
    whom: &For<'_>,
) -> Result<Vec<SocketAddr>, Error> {
    let found = match &origin.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => {
            let looked_up = whom.lookups.resolve(whom.tenant, network, name).await;
            looked_up.map_err(|error| {
                tracing::debug!(%origin, %error, "a key service's name does not resolve");
                Error::DnsError {
                    rcode: None,
                    info_code: None,
                }
            })?
        }
    };
    if found.is_empty() {
        return Err(Error::DestinationNotFound);
    }
    // One bad address among good ones is how a name is rebound.
    if let Some(address) = found
        .iter()
        .find(|address| !may_reach(**address, whom.grant))
    {
        tracing::warn!(
            %origin,
            %address,
            "egress refused: not a public address, and the grant does not say that private ones will do"
        );
        return Err(Error::DestinationIpProhibited);
    }
    Ok(found
        .into_iter()
        .map(|address| SocketAddr::new(address, origin.port))
        .collect())
}

fn may_reach(address: IpAddr, grant: &OriginGrant) -> bool {
    match reach(address) {
        Reach::Public => true,
        Reach::Private => grant.private_addresses,
        Reach::Never => false,
    }
}

/// The first address that takes the connection. Each gets its share of the time that is left.
async fn reach_one(
    network: &dyn Network,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, Error> {
    let mut failure = Error::DestinationUnavailable;
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / left.max(1);
        left -= 1;
        failure = match timeout_at(now + share, network.connect(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Error::ConnectionRefused
            }
            Ok(Err(_)) => Error::DestinationUnavailable,
            Err(_) => Error::ConnectionTimeout,
        };
    }
    Err(failure)
}

async fn secure(
    tls: &Tls,
    host: &Host,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Error> {
    let config = match tls.ready() {
        Some(config) => config,
        None => {
            let tls = tls.clone();
            tokio::task::spawn_blocking(move || tls.config())
                .await
                .unwrap_or_else(|_| Err("loading the roots died".to_owned()))
        }
    };
    let config = config.map_err(|reason| {
        tracing::error!(reason, "TLS cannot be set up");
        Error::ConfigurationError
    })?;
    let name = match host {
        Host::Address(address) => ServerName::from(*address),
        Host::Name(name) => {
            ServerName::try_from(name.clone()).map_err(|_| Error::HttpRequestUriInvalid)?
        }
    };
    let connector = TlsConnector::from(config);
    connector.connect(name, stream).await.map_err(|error| {
        tracing::debug!(%host, %error, "a TLS handshake failed");
        tls_failure(&error)
    })
}

/// rustls' error lies within that of the stream.
fn tls_failure(error: &io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(rustls::Error::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: None,
        },
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}

/// Speaks HTTP/1.1 over `stream`, on a task of its own that ends with the connection.
async fn handshake<S>(stream: S, limits: &EgressLimits) -> Result<SendRequest<Full<Bytes>>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = Builder::new()
        .max_headers(limits.answer_fields)
        .max_header_size(limits.answer_head_bytes)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Error::ConnectionTerminated)?;
    tokio::spawn(async move {
        // Whoever sent a request over it hears of its end.
        let _ = connection.await;
    });
    Ok(sender)
}
