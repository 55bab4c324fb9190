//! Destroying keys, in every copy there is of them.
//! Not for: the recordings that are lost with it, nor saying so (see `keyreel-library`).

use keyreel_format::{KekId, ProviderId, TenantId};

use super::Keyring;
use crate::vault::{Vault, VaultError};

impl Keyring {
    /// Destroys what opens the private KEKs that Keyreel keeps for `tenant` under these names, here
    /// and in every copy of the keystore. Answers the keystore's epoch that began with it.
    ///
    /// # Errors
    /// The keystore fails: calling it again goes on where it failed.
    pub async fn destroy_private_keys(
        &self,
        tenant: &TenantId,
        keks: &[(ProviderId, KekId)],
    ) -> Result<u64, VaultError> {
        let vault = self.vault()?;
        vault.destroy_private_keys(tenant, keks).await?;
        self.purge(tenant);
        vault.begin_epoch().await
    }

    /// Destroys the root of `tenant`, here and in every copy of the keystore: nothing that is sealed
    /// for it opens any more. Answers the keystore's epoch that began with it.
    ///
    /// # Errors
    /// As [`Keyring::destroy_private_keys`].
    pub async fn destroy_tenant(&self, tenant: &TenantId) -> Result<u64, VaultError> {
        let vault = self.vault()?;
        vault.destroy_root(tenant).await?;
        self.purge(tenant);
        vault.begin_epoch().await
    }

    fn vault(&self) -> Result<&Vault, VaultError> {
        let vault = self.inner.vault.as_deref();
        vault.ok_or_else(|| VaultError::Keystore {
            message: "this keyring has none".to_owned(),
        })
    }
}
