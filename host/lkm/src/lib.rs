//! A Local Key Manager, for customers who want one that is safer than the sample service: it keeps
//! RSA key pairs, sealed, and opens one recording's key at a time for whoever signs with Hawk.
//! Not for: recordings, tenants, users: it knows key pairs and credentials, nothing else.
//!
//! What `POST /key-management/v1/decrypt` takes and answers is the sample service's. Beyond it:
//! time and nonce are checked, so that nothing can be sent twice; no route makes credentials or
//! key pairs (the command line does, on the machine itself); nothing runs unauthenticated; the log
//! can only grow; private keys and credentials lie sealed; a decrypt can be bound to recordings
//! that a policy names.
//!
//! ```no_run
//! # async fn example() -> Result<(), keyreel_lkm::Error> {
//! use std::{path::Path, sync::Arc};
//! use keyreel_keys::SystemClock;
//! use keyreel_lkm::{KeyPairs, Padding, Server, Settings};
//!
//! let settings = Settings::new(Path::new("lkm-data"));
//! let pairs = KeyPairs::create(&settings.data, &settings.key_file)?;
//! let clock = Arc::new(SystemClock);
//! let pair = pairs.add_pair(Padding::OaepSha256, &*clock)?;
//! let credential = pairs.add_credential(None, &*clock)?;
//! let server = Server::bind(settings, clock).await?;
//! println!("{} {} {}", server.decrypt_url(), pair.id, credential.id);
//! server.serve(std::future::pending()).await;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod connection;
mod error;
mod hawk;
mod log;
mod names;
mod policy;
mod replay;
mod seal;
mod server;
mod service;
mod settings;
mod store;

pub use error::Error;
pub use keyreel_net::TlsFiles;
pub use log::{LogReport, verify as verify_log};
pub use server::{BoundServer, Server};
pub use service::{DECRYPT_PATH, HEALTH_PATH};
pub use settings::Settings;
pub use store::{Credential, KeyPairs, Padding, Pair, PairState};
