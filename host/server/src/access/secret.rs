//! Secrets that open the door: 32 random bytes, shown once, kept as their SHA-256.

use aws_lc_rs::digest;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::accounts::AccountError;

/// A bearer token begins with it, so that secret scanners find one that was committed.
pub(crate) const TOKEN_PREFIX: &str = "krt_";

/// A new secret, and what is stored of it.
pub(crate) struct NewSecret {
    pub(crate) text: Zeroizing<String>,
    pub(crate) sha256: [u8; 32],
}

impl NewSecret {
    pub(crate) fn generate(prefix: &str) -> Result<Self, AccountError> {
        let mut bytes = Zeroizing::new([0_u8; LEN]);
        SystemRandom::new()
            .fill(bytes.as_mut_slice())
            .map_err(|_| AccountError::Random)?;
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let text = Zeroizing::new(format!("{prefix}{}", encoded.as_str()));
        Ok(Self {
            text,
            sha256: sha256(bytes.as_slice()),
        })
    }
}

/// The hash by which a presented secret is looked up; `None` where it cannot be one.
pub(crate) fn hash(text: &str, prefix: &str) -> Option<[u8; 32]> {
    let encoded = text.strip_prefix(prefix)?;
    // 43 characters hold 32 bytes; nothing longer is decoded.
    if encoded.len() != ENCODED_LEN {
        return None;
    }
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(encoded).ok()?);
    (bytes.len() == LEN).then(|| sha256(&bytes))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

const LEN: usize = 32;
const ENCODED_LEN: usize = 43;

#[cfg(test)]
mod tests {
    use super::{NewSecret, TOKEN_PREFIX, hash};

    #[test]
    fn a_secret_is_found_by_its_hash_and_only_with_its_prefix() {
        let secret = NewSecret::generate(TOKEN_PREFIX).unwrap();
        assert!(secret.text.starts_with("krt_"));
        assert_eq!(hash(&secret.text, TOKEN_PREFIX), Some(secret.sha256));
        assert_eq!(hash(&secret.text, ""), None);
        assert_eq!(hash(&secret.text[4..], TOKEN_PREFIX), None);
        assert_eq!(hash(&secret.text[..46], TOKEN_PREFIX), None);
        assert_eq!(hash("krt_", TOKEN_PREFIX), None);
    }
}
