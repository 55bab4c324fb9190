//! Recovery keys: a second KEK that every DEK of a tenant is wrapped to, if the tenant wants one.
//! Its private half lies offline, at its owner's, and opens recordings when the other KEK is lost.
//! Not for: playing. Keyreel holds the public half alone, and asks nobody to unwrap with the other.

mod pair;
#[cfg(test)]
mod tests;

use aws_lc_rs::digest;
use keyreel_format::wrap::{self, WrapAlgorithm};
use keyreel_format::{Dek, KekId, ProviderId, Recipient, RecordingId, TenantId};

use crate::error::KeyError;
use crate::kek::Policy;
use crate::pem;
use crate::public_key::{InvalidPublicKey, rsa_public_key};

pub use pair::{InvalidRecoveryPair, RecoveryPair, RecoveryPairKind};

/// The provider id under which headers name recovery keys. No plugin has it.
pub const RECOVERY: &str = "recovery";

/// PEM label of an MLKEM1024-P384 public key: the KEM's public key as docs/format.md has it. There
/// is no standard one yet.
const MLKEM_PUBLIC: &str = "KEYREEL MLKEM1024-P384 PUBLIC KEY";

/// The public half of a tenant's recovery key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryKey {
    /// The first 32 hexadecimal digits of the SHA-256 of the public key.
    pub id: KekId,
    /// How DEKs are wrapped to it.
    pub algorithm: WrapAlgorithm,
    /// RSA: SubjectPublicKeyInfo, DER. MLKEM1024-P384: the KEM's public key.
    pub public_key: Vec<u8>,
    /// When it was set, ms since 1970.
    pub created_ms: u64,
}

/// A text that is no recovery key to use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRecoveryKey {
    /// The half that must never come here. It is not looked at further.
    #[error(
        "this is the private half: keep it offline, and give the public half. A private key that was \
         sent over a network is better replaced by a new one"
    )]
    PrivateKey,
    /// Not an RSA public key to use.
    #[error("{0}, or a public key from `keyreel recovery new`")]
    Rsa(#[from] InvalidPublicKey),
    /// Named as an MLKEM1024-P384 public key, and none.
    #[error("the MLKEM1024-P384 public key is damaged")]
    Mlkem,
    /// The tenant's policy asks for more.
    #[error(
        "policy {} asks for AES-256 strength throughout, which an RSA recovery key would undo: \
         it has 128 bits. Set an MLKEM1024-P384 key (`keyreel recovery new --algorithm \
         mlkem1024-p384`)",
        Policy::Aes256.as_str()
    )]
    TooWeak,
}

impl RecoveryKey {
    /// The public key that `text` holds (PEM, or base64 for RSA), for a tenant of this policy.
    ///
    /// # Errors
    /// It holds none, or one that is not to be used.
    pub fn parse(text: &str, policy: Policy, now_ms: u64) -> Result<Self, InvalidRecoveryKey> {
        if text.contains("PRIVATE KEY") {
            return Err(InvalidRecoveryKey::PrivateKey);
        }
        let (algorithm, public_key) = if text.contains(MLKEM_PUBLIC) {
            let bytes = pem::decode(MLKEM_PUBLIC, text).ok_or(InvalidRecoveryKey::Mlkem)?;
            (WrapAlgorithm::HpkeMlkem1024P384, bytes.to_vec())
        } else {
            (WrapAlgorithm::RsaOaepSha256, rsa_public_key(text)?)
        };
        // Not only well-formed: a DEK can be wrapped to it.
        let tried = wrap::wrap(algorithm, &public_key, &[], &Dek::generate());
        tried.map_err(|_| match algorithm {
            WrapAlgorithm::HpkeMlkem1024P384 => InvalidRecoveryKey::Mlkem,
            _ => InvalidPublicKey::NotAKey.into(),
        })?;
        if !suits(algorithm, policy) {
            return Err(InvalidRecoveryKey::TooWeak);
        }
        let id = id_of(&public_key).ok_or(InvalidRecoveryKey::Mlkem)?;
        Ok(Self {
            id,
            algorithm,
            public_key,
            created_ms: now_ms,
        })
    }

    /// Whether it keeps what a policy promises.
    #[must_use]
    pub fn suits(&self, policy: Policy) -> bool {
        suits(self.algorithm, policy)
    }

    /// A recording's DEK, wrapped to it.
    pub(crate) fn recipient(
        &self,
        tenant: &TenantId,
        recording: &RecordingId,
        dek: &Dek,
    ) -> Result<Recipient, KeyError> {
        let context = wrap::context(tenant, recording);
        let wrapped_dek = wrap::wrap(self.algorithm, &self.public_key, &context, dek);
        Ok(Recipient {
            algorithm: self.algorithm,
            provider: ProviderId::parse(RECOVERY).map_err(|_| KeyError::Cryptography)?,
            kek: self.id.clone(),
            wrapped_dek: wrapped_dek.map_err(|error| KeyError::Wrap {
                kek: self.id.clone(),
                reason: error.to_string(),
            })?,
            info: Vec::new(),
        })
    }
}

fn suits(algorithm: WrapAlgorithm, policy: Policy) -> bool {
    policy == Policy::Compatible || algorithm.name() == policy.algorithm()
}

/// What a header calls a recovery key. For RSA, `openssl pkey -pubin -outform DER | sha256sum`
/// begins with it.
fn id_of(public_key: &[u8]) -> Option<KekId> {
    let digest = digest::digest(&digest::SHA256, public_key);
    KekId::parse(&hex::encode(digest.as_ref().get(..16)?)).ok()
}
