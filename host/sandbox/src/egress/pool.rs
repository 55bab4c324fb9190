//! Connections that wait for their next request. An instance does not outlive a call; a connection
//! may, and serves no tenant but the one that it was made for.
//! Not for: making them (see `connect`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use keyreel_keys::TenantId;
use tokio::time::Instant;

use super::EgressLimits;
use super::origin::Origin;

/// Connections of one tenant that wait. More than this are closed after use.
const PER_TENANT: usize = 8;
/// Connections of one plugin that wait, over all tenants.
const ALL: usize = 1024;
/// How long a connection that was just used may take to be ready again.
const SETTLING: Duration = Duration::from_millis(50);

/// A connection, used by one request at a time.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    made: Instant,
    /// How often tenants were purged before it was made.
    purges: u64,
}

impl Connection {
    /// One that was just made; `purges` as they were before.
    pub(super) fn new(sender: SendRequest<Full<Bytes>>, purges: u64) -> Self {
        Self {
            sender,
            made: Instant::now(),
            purges,
        }
    }
}

struct Idle {
    origin: Origin,
    connection: Connection,
    until: Instant,
}

/// One plugin's connections.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<TenantId, Vec<Idle>>>,
    purges: AtomicU64,
}

impl Pool {
    /// To be asked before a connection is made.
    pub(super) fn purges(&self) -> u64 {
        self.purges.load(Ordering::SeqCst)
    }

    /// One of the tenant's connections to this origin, the last used first.
    pub(super) async fn take(&self, tenant: &TenantId, origin: &Origin) -> Option<Connection> {
        loop {
            let mut connection = self.pop(tenant, origin)?;
            let ready = tokio::time::timeout(SETTLING, connection.sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                return Some(connection);
            }
        }
    }

    /// Gives a connection back after a whole answer. `server_idle` is how long its server keeps it.
    pub(super) fn put(
        &self,
        tenant: &TenantId,
        origin: &Origin,
        connection: Connection,
        server_idle: Option<Duration>,
        limits: &EgressLimits,
    ) {
        if connection.sender.is_closed() {
            return;
        }
        // A little before the server closes it: a request would meet that on its way.
        let server_idle = server_idle.map(|idle| idle.saturating_sub(Duration::from_secs(1)));
        let idle = server_idle.unwrap_or(limits.idle).min(limits.idle);
        let until = (Instant::now() + idle).min(connection.made + limits.age);
        let mut all = self.lock();
        if connection.purges != self.purges() {
            return;
        }
        sweep(&mut all);
        if all.values().map(Vec::len).sum::<usize>() >= ALL {
            return;
        }
        let own = all.entry(tenant.clone()).or_default();
        if own.len() >= PER_TENANT {
            own.remove(0);
        }
        own.push(Idle {
            origin: origin.clone(),
            connection,
            until,
        });
    }

    /// Closes what a tenant has, and lets nothing that is in use come back.
    pub(crate) fn purge(&self, tenant: &TenantId) {
        let mut all = self.lock();
        self.purges.fetch_add(1, Ordering::SeqCst);
        all.remove(tenant);
    }

    fn pop(&self, tenant: &TenantId, origin: &Origin) -> Option<Connection> {
        let mut all = self.lock();
        sweep(&mut all);
        let own = all.get_mut(tenant)?;
        let last = own.iter().rposition(|idle| idle.origin == *origin)?;
        Some(own.remove(last).connection)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what has waited long enough.
fn sweep(all: &mut HashMap<TenantId, Vec<Idle>>) {
    let now = Instant::now();
    all.retain(|_, own| {
        own.retain(|idle| idle.until > now && !idle.connection.sender.is_closed());
        !own.is_empty()
    });
}
