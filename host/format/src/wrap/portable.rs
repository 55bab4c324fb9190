//! RSA-OAEP by the crate `rsa`: for guests that hold their own key, and as the second opinion in
//! tests. The host's own keys never come here (RUSTSEC-2023-0071): see [`super::PrivateKey`].
#![expect(
    clippy::disallowed_types,
    reason = "guests have no aws-lc-rs; the host's private-key operations go through it"
)]

use getrandom::SysRng;
use rsa::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use rsa::rand_core::UnwrapErr;
use rsa::traits::PublicKeyParts as _;
use rsa::{Oaep, RsaPrivateKey, RsaPublicKey};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{MIN_RSA_BITS, WrapAlgorithm};
use crate::{Dek, Error};

/// An RSA private key in a guest.
pub struct PrivateKey(RsaPrivateKey);

impl PrivateKey {
    /// An RSA private key, PKCS#8 DER, of 3072 bits or more.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        let key = RsaPrivateKey::from_pkcs8_der(der).map_err(|_| Error::Key {
            what: "not an RSA private key in PKCS#8 DER",
        })?;
        check_size(&key.to_public_key())?;
        Ok(Self(key))
    }

    /// Without the check of its size: the published vectors for SHA-1 have 2048 bits only.
    #[cfg(test)]
    pub(super) fn from_pkcs8_of_any_size(der: &[u8]) -> Self {
        Self(RsaPrivateKey::from_pkcs8_der(der).unwrap())
    }

    /// Unwraps a DEK.
    ///
    /// # Errors
    /// [`Error::Integrity`], without detail; [`Error::WrapAlgorithm`] for anything but RSA-OAEP.
    pub fn unwrap(&self, algorithm: WrapAlgorithm, wrapped: &[u8]) -> Result<Dek, Error> {
        let plaintext = self.decrypt(algorithm, wrapped)?;
        Dek::from_slice(&plaintext).ok_or(Error::Integrity)
    }

    /// OAEP with an empty label, blinded.
    pub(super) fn decrypt(
        &self,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut random = UnwrapErr(SysRng);
        match algorithm {
            WrapAlgorithm::RsaOaepSha256 => {
                self.0
                    .decrypt_blinded(&mut random, Oaep::<Sha256>::new(), wrapped)
            }
            WrapAlgorithm::RsaOaepSha1 => {
                self.0
                    .decrypt_blinded(&mut random, Oaep::<Sha1>::new(), wrapped)
            }
            WrapAlgorithm::HpkeMlkem1024P384 => return Err(unavailable(algorithm)),
        }
        .map(Zeroizing::new)
        .map_err(|_| Error::Integrity)
    }
}

/// Wraps a DEK under an RSA public key in SubjectPublicKeyInfo DER.
///
/// # Errors
/// [`Error::Key`]; [`Error::WrapAlgorithm`] for anything but RSA-OAEP.
pub fn wrap(algorithm: WrapAlgorithm, public_key: &[u8], dek: &Dek) -> Result<Vec<u8>, Error> {
    let key = RsaPublicKey::from_public_key_der(public_key).map_err(|_| Error::Key {
        what: "not an RSA public key in SubjectPublicKeyInfo DER",
    })?;
    check_size(&key)?;
    let mut random = UnwrapErr(SysRng);
    match algorithm {
        WrapAlgorithm::RsaOaepSha256 => {
            key.encrypt(&mut random, Oaep::<Sha256>::new(), dek.expose())
        }
        WrapAlgorithm::RsaOaepSha1 => key.encrypt(&mut random, Oaep::<Sha1>::new(), dek.expose()),
        WrapAlgorithm::HpkeMlkem1024P384 => return Err(unavailable(algorithm)),
    }
    .map_err(|_| Error::Library { what: "RSA-OAEP" })
}

fn check_size(key: &RsaPublicKey) -> Result<(), Error> {
    if key.n().bits() < u32::try_from(MIN_RSA_BITS).unwrap_or(u32::MAX) {
        return Err(Error::Key {
            what: "RSA below 3072 bits",
        });
    }
    Ok(())
}

fn unavailable(algorithm: WrapAlgorithm) -> Error {
    Error::WrapAlgorithm {
        name: algorithm.name().into(),
    }
}
