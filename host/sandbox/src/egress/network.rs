//! Names and connections, as egress asks for them. A trait, so that tests can rebind a name.
//! Not for: deciding which addresses will do (see `address`).

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use tokio::net::TcpStream;

/// Where names are looked up and connections are made.
#[async_trait]
pub trait Network: Send + Sync {
    /// The addresses behind a name.
    ///
    /// # Errors
    /// There are none, or nobody can say.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;

    /// A connection to this very address.
    ///
    /// # Errors
    /// Nobody takes it.
    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream>;
}

/// The machine's own resolver and network. No proxies: nothing in the environment is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNetwork;

#[async_trait]
impl Network for SystemNetwork {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        // Requests are written at once: waiting for more only delays them.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
