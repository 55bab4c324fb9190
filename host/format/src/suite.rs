//! The cryptographic library behind the format. aws-lc-rs on the host, RustCrypto in guests; where
//! both are compiled in, tests hold one against the other.
//! Not for: choosing algorithms. The format fixes them; only the implementation varies.

#[cfg(feature = "host")]
mod aws_lc;
#[cfg(feature = "portable")]
mod rust_crypto;

#[cfg(feature = "host")]
pub use aws_lc::AwsLc;
#[cfg(feature = "portable")]
pub use rust_crypto::RustCrypto;

use crate::Error;
use crate::layout::{COMMITMENT_LEN, MAC_LEN, TAG_LEN};

/// What is used where a caller names no suite: aws-lc-rs if it is compiled in.
#[cfg(feature = "host")]
pub type DefaultSuite = AwsLc;
/// What is used where a caller names no suite: aws-lc-rs if it is compiled in.
#[cfg(not(feature = "host"))]
pub type DefaultSuite = RustCrypto;

/// The primitives of KRC1: AES-256-GCM, HKDF-Expand-SHA-512, HMAC-SHA-512, randomness. Sealed: the
/// implementations are the two of this crate.
pub trait Suite: sealed::Sealed + 'static {
    /// An expanded AES-256-GCM key.
    type Aead: Send + Sync + 'static;

    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// The system has no randomness to give.
    fn random(out: &mut [u8]) -> Result<(), Error>;

    /// HKDF-Expand-SHA-512 (RFC 5869) with `info` concatenated. Keys of at most 64 bytes.
    ///
    /// # Errors
    /// More than 255 × 64 bytes were asked for, or the library failed.
    fn expand(key: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), Error>;

    /// HMAC-SHA-512 over the concatenation of `message`.
    fn mac(key: &[u8], message: &[&[u8]]) -> [u8; MAC_LEN];

    /// Whether two MACs are equal, in constant time.
    fn same_mac(a: &[u8; MAC_LEN], b: &[u8; MAC_LEN]) -> bool;

    /// Whether two commitments are equal, in constant time.
    fn same_commitment(a: &[u8; COMMITMENT_LEN], b: &[u8; COMMITMENT_LEN]) -> bool;

    /// Expands an AES-256-GCM key.
    ///
    /// # Errors
    /// The library failed.
    fn aead(key: &[u8; 32]) -> Result<Self::Aead, Error>;

    /// Encrypts `chunk` in place and returns its tag. The nonce must be new to the key.
    ///
    /// # Errors
    /// The library failed.
    fn seal(aead: &Self::Aead, nonce: [u8; 12], chunk: &mut [u8]) -> Result<[u8; TAG_LEN], Error>;

    /// Decrypts `chunk` in place. After a failure its content is not plaintext and must not be used.
    ///
    /// # Errors
    /// [`Error::Integrity`].
    fn open(
        aead: &Self::Aead,
        nonce: [u8; 12],
        chunk: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Error>;
}

mod sealed {
    pub trait Sealed {}
}
