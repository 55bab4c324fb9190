//! RSA-OAEP by aws-lc-rs, which does private-key operations in constant time.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey,
    OaepPublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
};
use zeroize::Zeroizing;

use super::{MIN_RSA_BITS, RsaModulus, WrapAlgorithm};
use crate::{Dek, Error};

pub(super) struct PrivateKey {
    key: PrivateDecryptingKey,
    decrypting: OaepPrivateDecryptingKey,
}

impl PrivateKey {
    pub(super) fn generate(modulus: RsaModulus) -> Result<Self, Error> {
        let size = match modulus {
            RsaModulus::Bits3072 => KeySize::Rsa3072,
            RsaModulus::Bits4096 => KeySize::Rsa4096,
        };
        let key = PrivateDecryptingKey::generate(size).map_err(|_| Error::Library {
            what: "RSA key generation",
        })?;
        Self::new(key)
    }

    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        let key = PrivateDecryptingKey::from_pkcs8(der).map_err(|_| Error::Key {
            what: "not an RSA private key in PKCS#8 DER",
        })?;
        check_size(key.key_size_bits())?;
        Self::new(key)
    }

    fn new(key: PrivateDecryptingKey) -> Result<Self, Error> {
        let decrypting = OaepPrivateDecryptingKey::new(key.clone()).map_err(|_| Error::Key {
            what: "RSA-OAEP does not take it",
        })?;
        Ok(Self { key, decrypting })
    }

    /// Without the check of its size: the published vectors for SHA-1 have 2048 bits only.
    #[cfg(test)]
    pub(super) fn from_pkcs8_of_any_size(der: &[u8]) -> Result<Self, Error> {
        let key = PrivateDecryptingKey::from_pkcs8(der).map_err(|_| Error::Key {
            what: "not an RSA private key in PKCS#8 DER",
        })?;
        Self::new(key)
    }

    pub(super) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let der: Pkcs8V1Der<'_> = self.key.as_der().map_err(|_| Error::Library {
            what: "PKCS#8 encoding",
        })?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    }

    pub(super) fn to_spki(&self) -> Result<Vec<u8>, Error> {
        let der: PublicKeyX509Der<'_> =
            self.key.public_key().as_der().map_err(|_| Error::Library {
                what: "SubjectPublicKeyInfo encoding",
            })?;
        Ok(der.as_ref().to_vec())
    }

    pub(super) fn unwrap(&self, algorithm: WrapAlgorithm, wrapped: &[u8]) -> Result<Dek, Error> {
        let plaintext = self.decrypt(algorithm, wrapped)?;
        Dek::from_slice(&plaintext).ok_or(Error::Integrity)
    }

    /// OAEP with an empty label.
    pub(super) fn decrypt(
        &self,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut out = Zeroizing::new(vec![0; self.decrypting.min_output_size()]);
        let length = self
            .decrypting
            .decrypt(oaep(algorithm)?, wrapped, &mut out, None)
            .map_err(|_| Error::Integrity)?
            .len();
        out.truncate(length);
        Ok(out)
    }
}

pub(super) struct PublicKey(OaepPublicEncryptingKey);

impl PublicKey {
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, Error> {
        let key = PublicEncryptingKey::from_der(der).map_err(|_| Error::Key {
            what: "not an RSA public key in SubjectPublicKeyInfo DER",
        })?;
        check_size(key.key_size_bits())?;
        OaepPublicEncryptingKey::new(key)
            .map(Self)
            .map_err(|_| Error::Key {
                what: "RSA-OAEP does not take it",
            })
    }

    pub(super) fn wrap(&self, algorithm: WrapAlgorithm, dek: &Dek) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; self.0.ciphertext_size()];
        let length = self
            .0
            .encrypt(oaep(algorithm)?, dek.expose(), &mut out, None)
            .map_err(|_| Error::Library { what: "RSA-OAEP" })?
            .len();
        out.truncate(length);
        Ok(out)
    }
}

fn oaep(algorithm: WrapAlgorithm) -> Result<&'static OaepAlgorithm, Error> {
    match algorithm {
        WrapAlgorithm::RsaOaepSha256 => Ok(&OAEP_SHA256_MGF1SHA256),
        WrapAlgorithm::RsaOaepSha1 => Ok(&OAEP_SHA1_MGF1SHA1),
        WrapAlgorithm::HpkeMlkem1024P384 => Err(Error::WrapAlgorithm {
            name: algorithm.name().into(),
        }),
    }
}

fn check_size(bits: usize) -> Result<(), Error> {
    if bits < MIN_RSA_BITS {
        return Err(Error::Key {
            what: "RSA below 3072 bits",
        });
    }
    Ok(())
}
