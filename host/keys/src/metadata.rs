//! What people find a recording by (names, telephone numbers, subjects), sealed where it is stored:
//! each tenant has two keys for it, derived from its root, so that it dies with the root. One seals,
//! the other makes the terms of a blind index: whoever has the index, and not the key, can neither
//! read a term nor make one.
//! Not for: what the details are and which terms they have (see `keyreel-library`).

use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use keyreel_format::{RecordingId, TenantId};
use zeroize::Zeroizing;

use crate::aead::{self, Key};
use crate::keystore::{Keystore, KeystoreError, RootKey};
use crate::purge::Purges;
use crate::secret_cache::SecretCache;
use crate::settings::DekTtl;

#[cfg(test)]
mod tests;

/// Where a catalogue gets its tenants' keys.
#[async_trait]
pub trait MetadataKeys: Send + Sync {
    /// The keys of one tenant.
    async fn keys(&self, tenant: &TenantId) -> Result<Arc<MetadataKey>, MetadataError>;
}

/// One tenant's keys for what is known of its recordings.
pub struct MetadataKey {
    tenant: TenantId,
    sealing: Key,
    index: Key,
}

impl MetadataKey {
    /// The keys that hang from `root`.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub fn derive(tenant: &TenantId, root: &RootKey) -> Result<Self, KeystoreError> {
        Ok(Self::new(
            tenant,
            root.derive(SEALING)?,
            root.derive(INDEX)?,
        ))
    }

    /// From two independent keys: `sealing` for what is known of recordings, `index` for the terms
    /// by which they are found.
    #[must_use]
    pub fn new(tenant: &TenantId, sealing: Key, index: Key) -> Self {
        Self {
            tenant: tenant.clone(),
            sealing,
            index,
        }
    }

    /// Seals what is known of `recording`: AES-256-GCM (SP 800-38D) with a random nonce, bound to
    /// tenant and recording.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub fn seal(
        &self,
        recording: &RecordingId,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, MetadataError> {
        aead::seal(&self.sealing, &self.aad(recording), plaintext)
            .map_err(|_| MetadataError::Cryptography)
    }

    /// Opens what [`MetadataKey::seal`] made of the same recording.
    ///
    /// # Errors
    /// [`MetadataError::Damaged`] where it was changed, or is another recording's.
    pub fn open(
        &self,
        recording: &RecordingId,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, MetadataError> {
        aead::open(&self.sealing, &self.aad(recording), sealed).map_err(|_| {
            MetadataError::Damaged {
                tenant: self.tenant.clone(),
                recording: recording.clone(),
            }
        })
    }

    /// The terms of this tenant's blind index.
    #[must_use]
    pub fn terms(&self) -> IndexTerms {
        IndexTerms(hmac::Key::new(hmac::HMAC_SHA256, self.index.as_slice()))
    }

    fn aad(&self, recording: &RecordingId) -> Vec<u8> {
        aead::aad(SEALING, &[self.tenant.as_str(), recording.as_str()])
    }
}

/// Makes terms of one tenant's blind index: equal texts of one kind have equal terms, and nothing
/// else shows.
pub struct IndexTerms(hmac::Key);

impl IndexTerms {
    /// The term that stands for `text` of this kind: the first bytes of HMAC-SHA-256 (RFC 2104).
    #[must_use]
    pub fn term(&self, kind: u8, text: &str) -> [u8; TERM_LEN] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[kind]);
        context.update(text.as_bytes());
        let tag = context.sign();
        tag.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

/// Bytes of a term: among the terms of a hundred million recordings, a search that meets a strange
/// one is rarer than one in a billion.
pub const TERM_LEN: usize = 8;

/// [`MetadataKeys`] over a [`Keystore`]. Opened keys are cached as long as DEKs are;
/// [`MetadataVault::purge`] forgets them.
pub struct MetadataVault {
    keystore: Arc<Keystore>,
    ttl: DekTtl,
    opened: SecretCache<TenantId, MetadataKey>,
    purges: Purges,
}

impl MetadataVault {
    /// One whose cache keeps keys for `ttl`.
    #[must_use]
    pub fn new(keystore: Arc<Keystore>, ttl: DekTtl) -> Self {
        Self {
            keystore,
            ttl,
            opened: SecretCache::new(CACHED_TENANTS),
            purges: Purges::default(),
        }
    }

    /// Forgets the opened keys of `tenant`. What is being opened now is not kept either.
    pub fn purge(&self, tenant: &TenantId) {
        let epoch = self.purges.purge(tenant);
        self.opened.purge(epoch, |of| of == tenant);
    }

    /// Wipes what is over.
    pub(crate) fn sweep(&self) {
        self.opened.sweep();
    }
}

#[async_trait]
impl MetadataKeys for MetadataVault {
    async fn keys(&self, tenant: &TenantId) -> Result<Arc<MetadataKey>, MetadataError> {
        let watch = self.purges.watch(tenant);
        if let Some(keys) = self.opened.get(tenant, watch.epoch()) {
            return Ok(keys);
        }
        let (keystore, of) = (self.keystore.clone(), tenant.clone());
        // Reads a file: where it delays nobody's stream.
        let opened =
            tokio::task::spawn_blocking(move || MetadataKey::derive(&of, &keystore.root(&of)?));
        let keys = match opened.await {
            Ok(Ok(keys)) => Arc::new(keys),
            Ok(Err(error)) => return Err(MetadataError::of(tenant, error)),
            Err(_) => {
                return Err(MetadataError::Keystore {
                    message: "the thread that opens keys failed".to_owned(),
                });
            }
        };
        let (of, ttl) = (tenant.clone(), self.ttl.duration());
        self.opened.keep(of, keys.clone(), &watch, ttl);
        Ok(keys)
    }
}

/// What is known of a recording cannot be sealed or opened. Holds nothing of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The tenant has no root key: never made, or shredded.
    #[error("tenant {tenant} has no root key in the keystore")]
    NoRoot {
        /// The tenant.
        tenant: TenantId,
    },
    /// The tenant's root key does not open.
    #[error("the root key of tenant {tenant} is of no use: {message}")]
    BadRoot {
        /// The tenant.
        tenant: TenantId,
        /// Why.
        message: String,
    },
    /// It does not open under the tenant's key: it was changed, or is another recording's.
    #[error(
        "what is sealed of recording {recording} of tenant {tenant} was changed, or is another \
         recording's"
    )]
    Damaged {
        /// The tenant.
        tenant: TenantId,
        /// The recording.
        recording: RecordingId,
    },
    /// The keystore failed.
    #[error("the keystore failed: {message}")]
    Keystore {
        /// How.
        message: String,
    },
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Cryptography,
}

impl MetadataError {
    fn of(tenant: &TenantId, error: KeystoreError) -> Self {
        match error {
            KeystoreError::NoRoot { tenant } => Self::NoRoot { tenant },
            KeystoreError::Damaged { .. } => Self::BadRoot {
                tenant: tenant.clone(),
                message: error.to_string(),
            },
            KeystoreError::Cryptography => Self::Cryptography,
            other => Self::Keystore {
                message: other.to_string(),
            },
        }
    }

    /// Whether it is this one tenant's trouble, and will not be over by itself.
    #[must_use]
    pub fn is_lost_root(&self) -> bool {
        matches!(self, Self::NoRoot { .. } | Self::BadRoot { .. })
    }
}

const SEALING: &str = "keyreel/v1 metadata";
const INDEX: &str = "keyreel/v1 metadata index";

/// As many tenants as a server may have busy.
const CACHED_TENANTS: u64 = 20_000;
