//! What listeners share: connections that show whether they are stuck and that can be ended, how
//! many of them an address has, and certificates that are read again when they change.
//! Not for: accepting, HTTP, what is answered: each server's own.
#![forbid(unsafe_code)]

mod abort;
mod addresses;
mod progress;
mod tcp;
mod tls;

pub use abort::Abort;
pub use addresses::{Addresses, Counted, network};
pub use progress::Progress;
pub use tcp::Tcp;
pub use tls::{Acceptor, TlsError, TlsFiles};
