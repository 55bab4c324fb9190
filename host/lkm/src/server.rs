//! A Local Key Manager that listens: addresses, connections, the end.
//! Not for: what is answered (see `service`), one connection (see `connection`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keyreel_keys::Clock;
use keyreel_net::{Acceptor, Addresses};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::Error;
use crate::connection::{self, Serving};
use crate::log::Log;
use crate::names::Names;
use crate::policy::Watch;
use crate::replay::Nonces;
use crate::service::{self, DECRYPT_PATH, Service};
use crate::settings::Settings;
use crate::store::KeyPairs;

/// How long open requests have to finish at the end.
const DRAIN: Duration = Duration::from_secs(5);
/// After a failed accept: out of descriptors, mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// Puts a Local Key Manager together.
pub struct Server;

/// A Local Key Manager that listens, and answers once it is served.
pub struct BoundServer {
    listener: TcpListener,
    address: SocketAddr,
    url: String,
    tls: Option<Acceptor>,
    service: Arc<Service>,
    connections: usize,
    addresses: Arc<Addresses>,
    lifetime: Duration,
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
        let tls = settings
            .tls
            .as_ref()
            .map(connection::acceptor)
            .transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = settings.listen;
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let url = match &settings.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("{scheme}://{address}"),
        };
        let service = Arc::new(Service {
            pairs,
            policy,
            nonces: Nonces::new(settings.window),
            log,
            first_second: first_second(clock.now_ms()),
            clock,
            window: settings.window,
            timeout: settings.timeout,
            names: Names::new(settings.public_url.as_ref(), address),
            default_port: if tls.is_some() { 443 } else { 80 },
        });
        Ok(BoundServer {
            listener,
            address,
            url,
            tls,
            service,
            connections: settings.connections.max(1),
            addresses: Addresses::new(settings.connections_per_address, |_| false),
            lifetime: settings.lifetime,
        })
    }
}

/// Nonces are remembered in memory: what was signed before this process began may have been used.
/// Rounded up, as timestamps have no more than seconds.
fn first_second(now_ms: u64) -> i64 {
    i64::try_from(now_ms.div_ceil(1000)).unwrap_or(i64::MAX)
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
        let (end, ending) = watch::channel(false);
        let serving = Arc::new(Serving {
            tls: self.tls,
            timeout: self.service.timeout,
            router: service::router(self.service),
            lifetime: self.lifetime,
            ending,
        });
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                accepted = accept(&self.listener, &room) => accepted,
                () = &mut shutdown => break,
            };
            let Some((stream, peer, room)) = accepted else {
                continue;
            };
            let Some(counted) = self.addresses.enter(peer.ip()) else {
                tracing::debug!(%peer, "an address has too many connections");
                // Closed without waiting for anything, which would take a descriptor all the same.
                let _ = stream.set_zero_linger();
                continue;
            };
            let serving = Arc::clone(&serving);
            connections.spawn(async move {
                serving.serve(stream, peer).await;
                drop((room, counted));
            });
        }
        drop(self.listener);
        end.send_replace(true);
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            tracing::warn!("requests were still open at the end");
        }
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
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
