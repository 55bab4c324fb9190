//! Metadata keys without a keystore: each tenant's are made from its id, the same ones every time.
//! Not for: production. Everybody can make them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use keyreel_keys::{MetadataError, MetadataKey, MetadataKeys, TenantId, aead};

use super::lock;

/// Metadata keys that every tenant has until they are destroyed.
#[derive(Debug, Default)]
pub struct MemoryMetadataKeys {
    destroyed: Mutex<HashSet<TenantId>>,
}

impl MemoryMetadataKeys {
    /// As if the tenant's root had been destroyed.
    pub fn destroy(&self, tenant: &TenantId) {
        lock(&self.destroyed).insert(tenant.clone());
    }
}

#[async_trait]
impl MetadataKeys for MemoryMetadataKeys {
    async fn keys(&self, tenant: &TenantId) -> Result<Arc<MetadataKey>, MetadataError> {
        if lock(&self.destroyed).contains(tenant) {
            return Err(MetadataError::NoRoot {
                tenant: tenant.clone(),
            });
        }
        let key = |label: &str| {
            let info = aead::aad(label, &[tenant.as_str()]);
            aead::expand(&[0x4B; 32], &info).map_err(|_| MetadataError::Cryptography)
        };
        Ok(Arc::new(MetadataKey::new(
            tenant,
            key("sealing")?,
            key("index")?,
        )))
    }
}
