//! What the author of a Keyreel key provider depends on: implement [`Provider`] (and [`KeyAdmin`]
//! where the provider mints KEKs), hand the type to [`export!`], build for `wasm32-wasip2`.
//! Not for: the host's side of the contract (see `keyreel-sandbox`), cryptography in the guest.
//!
//! ```ignore
//! use keyreel_plugin_sdk::{self as sdk, Provider};
//!
//! struct Acme { key: String }
//!
//! impl Provider for Acme {
//!     fn describe() -> sdk::Description { … }
//!     fn configure(config: &str) -> Result<Self, sdk::Error> { … }
//!     fn unwrap_dek(&self, info: &sdk::CallInfo, kek: &sdk::Kek, envelope: &sdk::Envelope)
//!         -> Result<sdk::UnwrappedDek, sdk::Error> { … }
//! }
//! sdk::export!(Acme);                    // or: sdk::export!(Acme, key-admin);
//! ```
//!
//! An instance serves one call: the host makes it, calls `configure` with the tenant's
//! configuration, then one function, and throws it away. Nothing kept in a static outlives a call;
//! [`session_cache`] is for what should.

mod algorithms;
mod bindings;
mod context;
mod entropy;
mod error;
#[doc(hidden)]
pub mod export;
#[cfg(feature = "http")]
pub mod http;
mod log;

pub use algorithms::Algorithms;
pub use bindings::keyreel::key_provider::sealed_keys;
pub use bindings::keyreel::key_provider::secrets::{self, Secret};
pub use bindings::keyreel::key_provider::session_cache;
pub use bindings::keyreel::key_provider::types::{CallInfo, Envelope, Error, ErrorClass, Kek};
pub use bindings::provider::{Dek as UnwrappedDek, Description, HealthReport as Health, Validated};
pub use context::{attribute, canonical_context};
pub use entropy::{random_bytes, unix_ms};
pub use log::{debug, error, info, warn};

/// Who unwraps DEKs. One value serves one call.
pub trait Provider: Sized + 'static {
    /// What it is and what it can do. Pure: no host function may be called.
    fn describe() -> Description;

    /// Checks a tenant's configuration. Pure: no network, no secrets. By default it is checked by
    /// configuring an instance with it, needs no origins and has nothing to warn of.
    ///
    /// # Errors
    /// Class `config`, with a message that tells an administrator what to change.
    fn validate(config: &str) -> Result<Validated, Error> {
        Self::configure(config)?;
        Ok(Validated {
            outbound: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// Makes the instance from the tenant's configuration, JSON.
    ///
    /// # Errors
    /// Class `config`.
    fn configure(config: &str) -> Result<Self, Error>;

    /// How the key service fares. Cheap; by default "ok", for providers with nothing upstream.
    ///
    /// # Errors
    /// Any; the host shows a provider that fails here as down.
    fn health(&self, _info: &CallInfo) -> Result<Health, Error> {
        Ok(Health {
            status: "ok".to_owned(),
            detail: String::new(),
        })
    }

    /// Unwraps one DEK.
    ///
    /// # Errors
    /// See [`ErrorClass`]; the constructors of [`Error`] are named after it.
    fn unwrap_dek(
        &self,
        info: &CallInfo,
        kek: &Kek,
        envelope: &Envelope,
    ) -> Result<UnwrappedDek, Error>;
}

/// Who also mints KEKs.
pub trait KeyAdmin: Provider {
    /// Mints the KEK `id` for the wrap algorithm named.
    ///
    /// # Errors
    /// Class `request` where the algorithm is not one of the provider's.
    fn generate_kek(&self, info: &CallInfo, id: &str, algorithm: &str) -> Result<Kek, Error>;
}

/// Makes a type the component's provider: `export!(Type)`, or `export!(Type, key-admin)` for one
/// that implements [`KeyAdmin`] too. Once per component, at the top of the crate.
#[macro_export]
macro_rules! export {
    ($provider:ty) => {
        $crate::__glue!($provider);
        $crate::export::__export_provider!(
            __KeyreelComponent with_types_in $crate::export::provider_world
        );
    };
    ($provider:ty, key-admin) => {
        $crate::export!($provider);
        $crate::__glue_admin!($provider);
        $crate::export::__export_key_admin!(
            __KeyreelComponent with_types_in $crate::export::key_admin_world
        );
    };
}
