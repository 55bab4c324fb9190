//! Outbound HTTP of plugins. A request goes out if its origin is one that the tenant's
//! configuration needs and that the operator grants, to an address that was checked, over a
//! connection that is this tenant's alone; redirects are answers, and answers have an end.
//! Not for: what a key service says: that is the plugin's to read.

mod address;
mod answer;
mod aws;
mod connect;
mod hooks;
mod lookups;
mod network;
mod origin;
mod pool;
mod request;
mod send;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use aws::AwsSigner;
pub use network::{Network, SystemNetwork};
pub use origin::{Origin, OriginGrant};
pub use tls::{Roots, Tls, TlsVersion};

pub(crate) use hooks::{Caller, Outbound};
pub(crate) use lookups::Lookups;
pub(crate) use pool::Pool;

/// What an operator lets one plugin reach. By default nothing.
#[derive(Clone)]
pub struct Egress {
    /// Origins that it may talk to. The first that fits a request decides.
    pub origins: Vec<OriginGrant>,
    /// Who signs requests to origins that are granted so.
    pub aws: Option<AwsSigner>,
    /// Whom to trust.
    pub tls: Tls,
    /// How much and how long.
    pub limits: EgressLimits,
    /// Names and connections.
    pub network: Arc<dyn Network>,
}

impl Default for Egress {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            aws: None,
            tls: Tls::default(),
            limits: EgressLimits::default(),
            network: Arc::new(SystemNetwork),
        }
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress")
            .field("origins", &self.origins)
            .field("signs", &self.aws.is_some())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// How long requests may take and how large they and their answers may be. All of it ends with the
/// call's deadline in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressLimits {
    /// From the name to the end of the TLS handshake.
    pub connect: Duration,
    /// From the request's last byte to the answer's head.
    pub first_byte: Duration,
    /// From the beginning to the answer's last byte.
    pub total: Duration,
    /// How long a connection waits for its next request, unless its server says less.
    pub idle: Duration,
    /// How old a connection may become: bounds how late a change of a name's address is seen.
    pub age: Duration,
    /// Requests in one call of the plugin.
    pub requests: u32,
    /// Bytes of a request's body.
    pub request_bytes: usize,
    /// Header fields of an answer.
    pub answer_fields: usize,
    /// Bytes of an answer's head.
    pub answer_head_bytes: usize,
    /// Bytes of an answer's body.
    pub answer_bytes: usize,
}

impl Default for EgressLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(5),
            total: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            age: Duration::from_secs(300),
            requests: 16,
            request_bytes: 1 << 20,
            answer_fields: 64,
            answer_head_bytes: 16 << 10,
            answer_bytes: 1 << 20,
        }
    }
}
