//! Wrap algorithms: a DEK under a KEK's public key, and back with the private one.
//! Not for: keeping private keys, or asking a key service; and not for RSA PKCS#1 v1.5, ever.

#[cfg(feature = "host")]
mod hpke;
#[cfg(feature = "portable")]
pub mod portable;
#[cfg(feature = "host")]
mod rsa;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "host")]
use zeroize::Zeroizing;

#[cfg(feature = "host")]
use crate::Dek;
use crate::{Error, RecordingId, TenantId};

/// The smallest RSA modulus that a KEK may have, in bits: 128-bit strength (NIST SP 800-57).
pub const MIN_RSA_BITS: usize = 3072;

/// How long the modulus of a new RSA key pair is.
#[cfg(feature = "host")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaModulus {
    /// 3072 bits: 128-bit strength, as all RSA key pairs that Keyreel makes for itself.
    Bits3072,
    /// 4096 bits: not much stronger (NIST SP 800-57 part 1 names nothing between 3072 and 7680),
    /// for those who are told to have it.
    Bits4096,
}

/// How a DEK is wrapped. The numbers stand in headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WrapAlgorithm {
    /// RSA-OAEP with SHA-256 and MGF1-SHA-256, 3072 bits or more: the Genesys scheme.
    RsaOaepSha256 = 0x0001,
    /// HPKE base mode, MLKEM1024-P384, HKDF-SHA-512, AES-256-GCM: AES-256 strength, post-quantum.
    HpkeMlkem1024P384 = 0x0002,
    /// RSA-OAEP with SHA-1 and MGF1-SHA-1: for Local Key Managers that speak nothing else.
    RsaOaepSha1 = 0x0010,
}

impl WrapAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [
        Self::RsaOaepSha256,
        Self::HpkeMlkem1024P384,
        Self::RsaOaepSha1,
    ];

    /// Its number in a header.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The algorithm with this number.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.code() == code)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RsaOaepSha256 => "rsa-oaep-sha256",
            Self::HpkeMlkem1024P384 => "hpke-mlkem1024-p384",
            Self::RsaOaepSha1 => "rsa-oaep-sha1",
        }
    }

    /// The algorithm with this name.
    ///
    /// # Errors
    /// [`Error::WrapAlgorithm`].
    pub fn parse(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| Error::WrapAlgorithm {
                name: name.chars().take(64).collect(),
            })
    }

    /// Its strength, for people.
    #[must_use]
    pub fn strength(self) -> &'static str {
        match self {
            Self::RsaOaepSha256 | Self::RsaOaepSha1 => "128-bit",
            Self::HpkeMlkem1024P384 => "AES-256, post-quantum",
        }
    }

    /// Whether it is to be shown as legacy wherever a person sees it.
    #[must_use]
    pub fn is_legacy(self) -> bool {
        matches!(self, Self::RsaOaepSha1)
    }
}

impl fmt::Display for WrapAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for WrapAlgorithm {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::parse(name)
    }
}

impl TryFrom<String> for WrapAlgorithm {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        Self::parse(&name)
    }
}

impl From<WrapAlgorithm> for String {
    fn from(algorithm: WrapAlgorithm) -> Self {
        algorithm.name().into()
    }
}

/// What a wrap is bound to where the algorithm can bind (HPKE: its `aad`): `u16 length ‖ tenant ‖
/// u16 length ‖ recording`. RSA-OAEP uses an empty label, because Local Key Managers know none;
/// there, the header's MAC is what ties the DEK to the recording.
#[must_use]
pub fn context(tenant: &TenantId, recording: &RecordingId) -> Vec<u8> {
    let mut context = Vec::with_capacity(4 + TenantId::MAX_LEN + RecordingId::MAX_LEN);
    for name in [tenant.as_str(), recording.as_str()] {
        // Names are at most 128 bytes, so this never saturates.
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        context.extend_from_slice(&length.to_be_bytes());
        context.extend_from_slice(name.as_bytes());
    }
    context
}

/// A KEK's private key. No `Clone`, no `Debug`; wiped when dropped.
#[cfg(feature = "host")]
pub struct PrivateKey(Private);

#[cfg(feature = "host")]
enum Private {
    Rsa(rsa::PrivateKey),
    Hpke(Box<hpke::PrivateKey>),
}

#[cfg(feature = "host")]
impl PrivateKey {
    /// A new key pair: RSA-3072, or HPKE's KEM.
    ///
    /// # Errors
    /// The library failed.
    pub fn generate(algorithm: WrapAlgorithm) -> Result<Self, Error> {
        match algorithm {
            WrapAlgorithm::RsaOaepSha256 | WrapAlgorithm::RsaOaepSha1 => {
                Self::generate_rsa(RsaModulus::Bits3072)
            }
            WrapAlgorithm::HpkeMlkem1024P384 => {
                Ok(Self(Private::Hpke(Box::new(hpke::PrivateKey::generate()?))))
            }
        }
    }

    /// A new RSA key pair.
    ///
    /// # Errors
    /// The library failed.
    pub fn generate_rsa(modulus: RsaModulus) -> Result<Self, Error> {
        Ok(Self(Private::Rsa(rsa::PrivateKey::generate(modulus)?)))
    }

    /// An RSA private key, PKCS#8 DER, of 3072 bits or more.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        Ok(Self(Private::Rsa(rsa::PrivateKey::from_pkcs8(der)?)))
    }

    /// What [`PrivateKey::secret_bytes`] gave.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn from_secret_bytes(algorithm: WrapAlgorithm, secret: &[u8]) -> Result<Self, Error> {
        match algorithm {
            WrapAlgorithm::RsaOaepSha256 | WrapAlgorithm::RsaOaepSha1 => Self::from_pkcs8(secret),
            WrapAlgorithm::HpkeMlkem1024P384 => Ok(Self(Private::Hpke(Box::new(
                hpke::PrivateKey::from_seed(secret)?,
            )))),
        }
    }

    /// The wrap algorithm that it is for. An RSA key serves both of RSA's and names the first.
    #[must_use]
    pub fn algorithm(&self) -> WrapAlgorithm {
        match &self.0 {
            Private::Rsa(_) => WrapAlgorithm::RsaOaepSha256,
            Private::Hpke(_) => WrapAlgorithm::HpkeMlkem1024P384,
        }
    }

    /// The key as bytes, to be sealed and kept. RSA: PKCS#8 DER. HPKE: the KEM's seed, 32 bytes.
    ///
    /// # Errors
    /// The library failed.
    pub fn secret_bytes(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        match &self.0 {
            Private::Rsa(key) => key.to_pkcs8(),
            Private::Hpke(key) => Ok(key.seed()),
        }
    }

    /// The public key. RSA: SubjectPublicKeyInfo DER. HPKE: the KEM's public key, 1,665 bytes
    /// (ML-KEM-1024 encapsulation key ‖ uncompressed P-384 point).
    ///
    /// # Errors
    /// The library failed.
    pub fn public_key(&self) -> Result<Vec<u8>, Error> {
        match &self.0 {
            Private::Rsa(key) => key.to_spki(),
            Private::Hpke(key) => Ok(key.public_key()),
        }
    }

    /// Unwraps a DEK. `context` is what [`context()`] gave at wrapping.
    ///
    /// # Errors
    /// [`Error::Integrity`] whatever is wrong with `wrapped`, without detail: no padding oracle.
    /// [`Error::Key`] where this key is not of the algorithm.
    pub fn unwrap(
        &self,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
        context: &[u8],
    ) -> Result<Dek, Error> {
        match (&self.0, algorithm) {
            (Private::Rsa(key), WrapAlgorithm::RsaOaepSha256 | WrapAlgorithm::RsaOaepSha1) => {
                key.unwrap(algorithm, wrapped)
            }
            (Private::Hpke(key), WrapAlgorithm::HpkeMlkem1024P384) => key.unwrap(wrapped, context),
            _ => Err(Error::Key {
                what: "it belongs to another wrap algorithm",
            }),
        }
    }
}

/// A KEK's public key.
#[cfg(feature = "host")]
pub struct PublicKey(Public);

#[cfg(feature = "host")]
enum Public {
    Rsa(rsa::PublicKey, WrapAlgorithm),
    Hpke(Box<hpke::PublicKey>),
}

#[cfg(feature = "host")]
impl PublicKey {
    /// Checks a public key, in the encoding of [`PrivateKey::public_key`].
    ///
    /// # Errors
    /// [`Error::Key`]: not such a key, or RSA below 3072 bits.
    pub fn parse(algorithm: WrapAlgorithm, bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self(match algorithm {
            WrapAlgorithm::RsaOaepSha256 | WrapAlgorithm::RsaOaepSha1 => {
                Public::Rsa(rsa::PublicKey::from_spki(bytes)?, algorithm)
            }
            WrapAlgorithm::HpkeMlkem1024P384 => {
                Public::Hpke(Box::new(hpke::PublicKey::parse(bytes)?))
            }
        }))
    }

    /// Wraps a DEK.
    ///
    /// # Errors
    /// The library failed.
    pub fn wrap(&self, context: &[u8], dek: &Dek) -> Result<Vec<u8>, Error> {
        match &self.0 {
            Public::Rsa(key, algorithm) => key.wrap(*algorithm, dek),
            Public::Hpke(key) => key.wrap(context, dek),
        }
    }
}

/// Wraps a DEK under a public key in the encoding of [`PrivateKey::public_key`].
///
/// # Errors
/// [`Error::Key`]: the public key cannot be used.
#[cfg(feature = "host")]
pub fn wrap(
    algorithm: WrapAlgorithm,
    public_key: &[u8],
    context: &[u8],
    dek: &Dek,
) -> Result<Vec<u8>, Error> {
    PublicKey::parse(algorithm, public_key)?.wrap(context, dek)
}
