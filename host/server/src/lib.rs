//! Keyreel's HTTP: who may hear what, the API, the media, the pages, the listener for operators.
//! Not for: key providers, databases and object stores, which it is given.
#![forbid(unsafe_code)]

mod access;
pub mod accounts;
mod admin;
mod api;
mod audit;
mod connection;
#[cfg(unix)]
mod descriptors;
mod grants;
mod media;
mod metrics;
mod pages;
mod problem;
mod registration;
mod request;
mod rotation;
mod server;
pub mod settings;
mod shutdown;
mod state;
mod tls;

pub use admin::ReadyCheck;
pub use api::{DestructionStatus, RecoveryKeyStatus, openapi};
pub use audit::AuditObserver;
pub use grants::GrantKey;
pub use keyreel_net::TlsError;
pub use problem::{Code, ProblemDetails};
pub use registration::{RegisteringError, Registrations};
pub use rotation::{
    KeyRotationSchedule, KeyVersion, RotationError, Rotations, TenantKeys, key_versions,
};
pub use server::{Addresses, BoundServer, BuildInfo, Server, ServerError, ServerParts};
pub use settings::Settings;
pub use shutdown::{Shutdown, ShutdownHandle};
