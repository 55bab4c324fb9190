//! Sealing small secrets: AES-256-GCM with a random nonce, and HKDF for the keys.
//! Not for: recordings (see `keyreel-format`), deciding which key seals what.
//!
//! What lies on disk is `nonce(12) ‖ ciphertext ‖ tag(16)`.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA512, KeyType, Prk};
use zeroize::Zeroizing;

/// 32 secret bytes. In a box before they are filled in: moving the value must not leave copies
/// behind.
pub type Key = Box<Zeroizing<[u8; KEY_LEN]>>;

/// Bytes in a key.
pub const KEY_LEN: usize = 32;

/// Bytes that sealing adds.
pub const OVERHEAD: usize = NONCE_LEN + 16;

/// Seals `plaintext` under `key`, bound to `aad`.
///
/// # Errors
/// The cryptographic library failed.
pub fn seal(key: &[u8; KEY_LEN], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let sealing = RandomizedNonceKey::new(&AES_256_GCM, key)?;
    // Reserved in full: growing later would leave a copy of the plaintext on the heap.
    let mut text = Zeroizing::new(Vec::with_capacity(plaintext.len() + OVERHEAD));
    text.extend_from_slice(plaintext);
    let nonce = sealing.seal_in_place_append_tag(Aad::from(aad), &mut *text)?;
    let mut sealed = Vec::with_capacity(NONCE_LEN + text.len());
    sealed.extend_from_slice(nonce.as_ref());
    sealed.extend_from_slice(&text);
    Ok(sealed)
}

/// Opens what [`seal`] made.
///
/// # Errors
/// It does not open, and nothing is said about why.
pub fn open(
    key: &[u8; KEY_LEN],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
    let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(Unspecified)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce)?;
    let mut text = Zeroizing::new(text.to_vec());
    let opening = RandomizedNonceKey::new(&AES_256_GCM, key)?;
    let len = opening
        .open_in_place(nonce, Aad::from(aad), &mut text)?
        .len();
    text.truncate(len);
    Ok(text)
}

/// HKDF-Expand-SHA-512 of a key that is uniformly random already.
///
/// # Errors
/// The cryptographic library failed.
pub fn expand(key: &[u8; KEY_LEN], info: &[u8]) -> Result<Key, Unspecified> {
    struct Out;
    impl KeyType for Out {
        fn len(&self) -> usize {
            KEY_LEN
        }
    }
    let mut derived = Key::default();
    Prk::new_less_safe(HKDF_SHA512, key)
        .expand(&[info], Out)?
        .fill(derived.as_mut_slice())?;
    Ok(derived)
}

/// Fresh random bytes.
///
/// # Errors
/// The cryptographic library failed.
pub fn random_key() -> Result<Key, Unspecified> {
    let mut key = Key::default();
    aws_lc_rs::rand::fill(key.as_mut_slice())?;
    Ok(key)
}

/// `label ‖ 00 ‖ (u64 length ‖ field)…`: no two lists of fields have the same encoding.
#[must_use]
pub fn aad(label: &str, fields: &[&str]) -> Vec<u8> {
    let mut out =
        Vec::with_capacity(label.len() + 1 + fields.iter().map(|f| f.len() + 8).sum::<usize>());
    out.extend_from_slice(label.as_bytes());
    out.push(0);
    for field in fields {
        out.extend_from_slice(&(field.len() as u64).to_be_bytes());
        out.extend_from_slice(field.as_bytes());
    }
    out
}
