//! What a provider may reach of a tenant's secrets, by name. The bytes stay behind it: the sandbox
//! hands plugins handles, never keys.

use std::sync::Arc;

use async_trait::async_trait;
use keyreel_format::wrap::PrivateKey;
use keyreel_format::{ProviderId, TenantId};
use zeroize::Zeroizing;

use crate::keystore::KeystoreError;

mod sealed;
#[cfg(test)]
mod tests;

pub use sealed::Vault;

/// One tenant's configuration and secrets, as one provider sees them.
#[async_trait]
pub trait TenantVault: Send + Sync {
    /// The provider's configuration for this tenant, JSON: the saved one of this id, or, without
    /// one, what the provider has for the tenant ("{}").
    async fn configuration(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        configuration: Option<&str>,
    ) -> Result<String, VaultError>;

    /// A secret of that configuration: "api-key".
    async fn secret(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        configuration: Option<&str>,
        name: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError>;

    /// A private KEK that the host keeps: "kek/1".
    async fn private_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &str,
    ) -> Result<Option<Arc<PrivateKey>>, VaultError>;

    /// Keeps a new private KEK, sealed for this tenant alone. A name is never used twice.
    async fn keep_private_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &str,
        key: Arc<PrivateKey>,
    ) -> Result<(), VaultError>;
}

/// The vault failed. Says nothing about what lies in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The tenant has no root key: never made, or shredded.
    #[error("tenant {tenant} has no root key in the keystore")]
    NoRoot {
        /// The tenant.
        tenant: TenantId,
    },
    /// A sealed key does not open: the keystore and the catalogue do not belong together, or one
    /// was damaged.
    #[error("the sealed key {name:?} of tenant {tenant} does not open under the tenant's root")]
    Damaged {
        /// The tenant.
        tenant: TenantId,
        /// The key's name.
        name: String,
    },
    /// What the key was sealed under was destroyed.
    #[error("the private key {name:?} of tenant {tenant} was destroyed")]
    Destroyed {
        /// The tenant.
        tenant: TenantId,
        /// The key's name.
        name: String,
    },
    /// The tenant has no such configuration of this provider.
    #[error("tenant {tenant} has no key configuration {id:?} of this provider")]
    NoConfiguration {
        /// The tenant.
        tenant: TenantId,
        /// What was named.
        id: String,
    },
    /// A private key may not be called that.
    #[error("{name:?} names a configuration secret: a private key needs another name")]
    ReservedName {
        /// The name.
        name: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::kek::StoreError),
    /// The keystore failed.
    #[error("the keystore failed: {message}")]
    Keystore {
        /// How.
        message: String,
    },
}

impl From<KeystoreError> for VaultError {
    fn from(error: KeystoreError) -> Self {
        match error {
            KeystoreError::NoRoot { tenant } => Self::NoRoot { tenant },
            other => Self::Keystore {
                message: other.to_string(),
            },
        }
    }
}
