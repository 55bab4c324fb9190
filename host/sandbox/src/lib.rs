//! The sandbox for key providers: WebAssembly components that are given handles, never keys.
//! Implements [`keyreel_keys::KeyProvider`]; nothing else in Keyreel knows wasmtime.
//! Not for: caching DEKs, retries, circuit breaking (see `keyreel-keys`); keeping keys.

mod admission;
mod artefact;
mod bindings;
mod call;
mod configuration;
mod convert;
mod egress;
mod engine;
mod epoch;
mod error;
mod limiter;
mod log;
mod provider;
mod sandbox;
mod sealed_keys;
mod secrets;
mod sessions;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod text;

pub use egress::{
    AwsSigner, Egress, EgressLimits, Network, Origin, OriginGrant, Roots, SystemNetwork, Tls,
    TlsVersion,
};
pub use error::{AdmissionError, SandboxError};
pub use provider::{Grants, PluginProvider};
pub use sandbox::Sandbox;
pub use settings::{ArtefactCache, Limits, SandboxSettings};
