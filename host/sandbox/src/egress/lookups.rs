//! How many names are looked up at once. A lookup takes a thread of this process until the name's
//! servers have answered or the system gives up, however early its caller does: without a bound, one
//! tenant's dead name servers would take them all.
//! Not for: the lookups themselves (see `network`).

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use keyreel_keys::TenantId;
use tokio::sync::Semaphore;

use super::network::Network;

/// Of the 512 threads that tokio has for such work.
const ALL: usize = 64;
const PER_TENANT: usize = 4;

/// The lookups of one sandbox.
pub(crate) struct Lookups {
    all: Arc<Semaphore>,
    /// Kept for good: there are as many as there are tenants.
    tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

impl Default for Lookups {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(ALL)),
            tenants: Mutex::default(),
        }
    }
}

impl Lookups {
    /// The addresses behind a name, when it is this tenant's turn. Whoever does not wait for the
    /// answer leaves the lookup its place until it has one.
    pub(super) async fn resolve(
        &self,
        tenant: &TenantId,
        network: &Arc<dyn Network>,
        name: &str,
    ) -> io::Result<Vec<IpAddr>> {
        let own = self.of(tenant).acquire_owned().await;
        let any = Arc::clone(&self.all).acquire_owned().await;
        let places = (
            own.map_err(io::Error::other)?,
            any.map_err(io::Error::other)?,
        );
        let (network, name) = (Arc::clone(network), name.to_owned());
        let lookup = tokio::spawn(async move {
            let found = network.resolve(&name).await;
            drop(places);
            found
        });
        lookup.await.map_err(io::Error::other)?
    }

    fn of(&self, tenant: &TenantId) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let own = tenants
            .entry(tenant.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(PER_TENANT)));
        Arc::clone(own)
    }
}
