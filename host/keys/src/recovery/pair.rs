//! Both halves of a recovery key: made, written and used on a machine that need not know Keyreel's
//! server, catalogue or keystore.
//! Not for: the server. It never has a private half.

use keyreel_format::wrap::{PrivateKey, RsaModulus, WrapAlgorithm};
use keyreel_format::{Dek, KekId, UnverifiedHeader, wrap};
use zeroize::Zeroizing;

use super::{MLKEM_PUBLIC, RECOVERY, id_of};
use crate::pem;

/// PEM label of the KEM's seed, 32 bytes.
const MLKEM_PRIVATE: &str = "KEYREEL MLKEM1024-P384 PRIVATE KEY";
/// PKCS#8.
const RSA_PRIVATE: &str = "PRIVATE KEY";
/// SubjectPublicKeyInfo.
const RSA_PUBLIC: &str = "PUBLIC KEY";

/// What kind of pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryPairKind {
    /// RSA, for policy `compatible`.
    Rsa(RsaModulus),
    /// MLKEM1024-P384, for either policy.
    Mlkem1024P384,
}

/// A recovery key pair. No `Clone`, no `Debug`; wiped when dropped.
pub struct RecoveryPair {
    key: PrivateKey,
    public_key: Vec<u8>,
    id: KekId,
}

/// No recovery key pair, or not the one that is needed. Says nothing of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRecoveryPair {
    /// Not a private key that is known here.
    #[error(
        "expected a private key in PEM: RSA of 3072 bits or more in PKCS#8 (\"BEGIN PRIVATE KEY\"), or \
         one from `keyreel recovery new`"
    )]
    NotAPrivateKey,
    /// It is encrypted.
    #[error(
        "the private key is encrypted: `openssl pkey -in FILE -out PLAIN` asks for its passphrase and \
         writes it without"
    )]
    Encrypted,
    /// The header names other recipients.
    #[error("the recovery key {key} is none of those that it was sealed for: {named}")]
    NotARecipient {
        /// The pair's.
        key: KekId,
        /// Those of the header.
        named: String,
    },
    /// The wrapped DEK, or the header, does not authenticate.
    #[error("it does not open: the key is another's, or it was changed")]
    Integrity,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Cryptography,
}

impl RecoveryPair {
    /// A new one.
    ///
    /// # Errors
    /// The library failed.
    pub fn generate(kind: RecoveryPairKind) -> Result<Self, InvalidRecoveryPair> {
        let key = match kind {
            RecoveryPairKind::Rsa(modulus) => PrivateKey::generate_rsa(modulus),
            RecoveryPairKind::Mlkem1024P384 => {
                PrivateKey::generate(WrapAlgorithm::HpkeMlkem1024P384)
            }
        };
        Self::new(key.map_err(|_| InvalidRecoveryPair::Cryptography)?)
    }

    /// The pair of the private key that `text` holds.
    ///
    /// # Errors
    /// It holds none.
    pub fn from_pem(text: &str) -> Result<Self, InvalidRecoveryPair> {
        if text.contains("ENCRYPTED") {
            return Err(InvalidRecoveryPair::Encrypted);
        }
        let key = if let Some(seed) = pem::decode(MLKEM_PRIVATE, text) {
            PrivateKey::from_secret_bytes(WrapAlgorithm::HpkeMlkem1024P384, &seed)
        } else {
            let der = pem::decode(RSA_PRIVATE, text).ok_or(InvalidRecoveryPair::NotAPrivateKey)?;
            PrivateKey::from_pkcs8(&der)
        };
        Self::new(key.map_err(|_| InvalidRecoveryPair::NotAPrivateKey)?)
    }

    fn new(key: PrivateKey) -> Result<Self, InvalidRecoveryPair> {
        let public_key = key.public_key();
        let public_key = public_key.map_err(|_| InvalidRecoveryPair::Cryptography)?;
        let id = id_of(&public_key).ok_or(InvalidRecoveryPair::Cryptography)?;
        Ok(Self {
            key,
            public_key,
            id,
        })
    }

    /// What headers call it: see [`super::RecoveryKey::id`].
    #[must_use]
    pub fn id(&self) -> &KekId {
        &self.id
    }

    /// How DEKs are wrapped to it.
    #[must_use]
    pub fn algorithm(&self) -> WrapAlgorithm {
        self.key.algorithm()
    }

    /// The half that Keyreel gets, PEM.
    #[must_use]
    pub fn public_pem(&self) -> String {
        let label = self.label(RSA_PUBLIC, MLKEM_PUBLIC);
        pem::encode(label, &self.public_key).to_string()
    }

    /// The half that stays offline, PEM.
    ///
    /// # Errors
    /// The library failed.
    pub fn private_pem(&self) -> Result<Zeroizing<String>, InvalidRecoveryPair> {
        let secret = self.key.secret_bytes();
        let secret = secret.map_err(|_| InvalidRecoveryPair::Cryptography)?;
        Ok(pem::encode(self.label(RSA_PRIVATE, MLKEM_PRIVATE), &secret))
    }

    /// The DEK of a sealed object, by its header or a key record of it, which it has verified.
    ///
    /// # Errors
    /// It is none of the recipients, or does not open.
    pub fn unwrap(&self, header: &UnverifiedHeader) -> Result<Dek, InvalidRecoveryPair> {
        let recipients = &header.key_block().recipients;
        let found = recipients
            .iter()
            .find(|recipient| recipient.provider.as_str() == RECOVERY && recipient.kek == self.id);
        let Some(recipient) = found else {
            let named = recipients
                .iter()
                .map(|recipient| format!("{} of {}", recipient.kek, recipient.provider));
            return Err(InvalidRecoveryPair::NotARecipient {
                key: self.id.clone(),
                named: named.collect::<Vec<_>>().join(", "),
            });
        };
        let identity = header.identity();
        let context = wrap::context(&identity.tenant, &identity.recording);
        let dek = self
            .key
            .unwrap(recipient.algorithm, &recipient.wrapped_dek, &context)
            .map_err(|_| InvalidRecoveryPair::Integrity)?;
        let verified = header.clone().verify(&dek);
        verified.map_err(|_| InvalidRecoveryPair::Integrity)?;
        Ok(dek)
    }

    fn label(&self, rsa: &'static str, mlkem: &'static str) -> &'static str {
        match self.algorithm() {
            WrapAlgorithm::HpkeMlkem1024P384 => mlkem,
            WrapAlgorithm::RsaOaepSha256 | WrapAlgorithm::RsaOaepSha1 => rsa,
        }
    }
}
