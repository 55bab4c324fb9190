//! Sealing private keys and credentials at rest, bound to what they are.
//! What lies in a file is base64 of what `keyreel_keys::aead` makes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use keyreel_keys::aead;
use zeroize::Zeroizing;

/// The key of one keystore.
pub(crate) struct SealingKey(aead::Key);

impl SealingKey {
    pub(crate) fn new(key: &[u8; aead::KEY_LEN]) -> Self {
        let mut boxed = aead::Key::default();
        boxed.copy_from_slice(key);
        Self(boxed)
    }

    /// `what` names kind, id and whatever else must not change: it is authenticated along.
    pub(crate) fn seal(&self, what: &[&str], secret: &[u8]) -> Option<String> {
        let sealed = aead::seal(&self.0, &aead::aad(LABEL, what), secret).ok()?;
        Some(BASE64.encode(sealed))
    }

    pub(crate) fn open(&self, what: &[&str], sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        let sealed = BASE64.decode(sealed).ok()?;
        aead::open(&self.0, &aead::aad(LABEL, what), &sealed).ok()
    }
}

const LABEL: &str = "keyreel/v1 lkm";

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

    /// Made with PyPI `cryptography`: `AESGCM(bytes([7] * 32)).encrypt(nonce, b"secret", aad)`, where
    /// the nonce is 0, 1, … 11 and the associated data `label ‖ 00 ‖ (u64 length ‖ field)…`.
    #[test]
    fn opens_what_lies_in_files() {
        let key = SealingKey::new(&[7; 32]);
        let opened = key.open(
            &["pair", "a", "b"],
            "AAECAwQFBgcICQoLa+SKAnh9nOYoG81EgobKjDy6bMYqLQ==",
        );
        assert_eq!(opened.unwrap().as_slice(), b"secret");
    }
}
