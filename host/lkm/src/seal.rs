//! Sealing private keys and credentials at rest: AES-256-GCM, random nonce, bound to what it is.
//! What lies in a file is base64 of `nonce(12) ‖ ciphertext ‖ tag(16)`.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

/// Bytes that sealing adds.
const OVERHEAD: usize = 28;

/// The key of one keystore.
pub(crate) struct SealingKey(Box<Zeroizing<[u8; 32]>>);

impl SealingKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let mut boxed = Box::new(Zeroizing::new([0; 32]));
        boxed.copy_from_slice(key);
        Self(boxed)
    }

    /// `what` names kind, id and whatever else must not change: it is authenticated along.
    pub(crate) fn seal(&self, what: &[&str], secret: &[u8]) -> Option<String> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, self.0.as_slice()).ok()?;
        // Reserved in full: growing later would leave a copy of the secret on the heap.
        let mut text = Zeroizing::new(Vec::with_capacity(secret.len() + OVERHEAD));
        text.extend_from_slice(secret);
        let nonce = key
            .seal_in_place_append_tag(Aad::from(aad(what)), &mut *text)
            .ok()?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&text);
        Some(BASE64.encode(sealed))
    }

    pub(crate) fn open(&self, what: &[&str], sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        let sealed = BASE64.decode(sealed).ok()?;
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, self.0.as_slice()).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let len = key
            .open_in_place(nonce, Aad::from(aad(what)), &mut text)
            .ok()?
            .len();
        text.truncate(len);
        Some(text)
    }
}

/// Each field with its length: no two lists have the same encoding.
fn aad(what: &[&str]) -> Vec<u8> {
    let mut out = b"keyreel/v1 lkm\0".to_vec();
    for field in what {
        out.extend_from_slice(&(field.len() as u64).to_be_bytes());
        out.extend_from_slice(field.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_as_what_it_was_sealed_as_and_nothing_else() {
        let key = SealingKey::new(&[7; 32]);
        let sealed = key.seal(&["pair", "a", "b"], b"secret").unwrap();
        assert_eq!(
            key.open(&["pair", "a", "b"], &sealed).unwrap().as_slice(),
            b"secret"
        );
        assert!(key.open(&["pair", "ab", ""], &sealed).is_none());
        assert!(key.open(&["credential", "a", "b"], &sealed).is_none());
        let other = SealingKey::new(&[8; 32]);
        assert!(other.open(&["pair", "a", "b"], &sealed).is_none());
        assert!(key.open(&["pair", "a", "b"], "AAAA").is_none());
    }
}
