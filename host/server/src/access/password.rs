//! Passwords: Argon2id in PHC strings, verified away from the threads that serve streams.

use std::sync::{Arc, OnceLock};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::accounts::AccountError;

/// Verifies passwords, a few at a time: each takes 19 MiB.
pub(crate) struct Verifier {
    turns: Arc<Semaphore>,
}

impl Verifier {
    pub(crate) fn new(concurrent: u32) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(concurrent.max(1) as usize)),
        }
    }

    /// Whether `password` fits `hash`. Takes as long where there is no hash, so that an unknown
    /// name answers like a known one.
    pub(crate) async fn verify(
        &self,
        hash: Option<String>,
        password: Zeroizing<String>,
    ) -> Result<bool, AccountError> {
        let turn = self
            .turns
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| AccountError::Password)?;
        let verified = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let known = hash.is_some();
            let hash = match &hash {
                Some(hash) => Some(hash.as_str()),
                None => decoy(),
            };
            let Some(Ok(parsed)) = hash.map(PasswordHash::new) else {
                return false;
            };
            let fits = Argon2::default()
                .verify_password(password.as_bytes(), &parsed)
                .is_ok();
            fits && known
        });
        verified.await.map_err(|_| AccountError::Password)
    }
}

/// The PHC string of `password`.
pub(crate) fn hash(password: &str) -> Result<String, AccountError> {
    let mut salt = [0_u8; 16];
    SystemRandom::new()
        .fill(&mut salt)
        .map_err(|_| AccountError::Random)?;
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|_| AccountError::Password)?;
    Ok(hash.to_string())
}

/// Some hash, for names that have none.
fn decoy() -> Option<&'static str> {
    static DECOY: OnceLock<Option<String>> = OnceLock::new();
    DECOY
        .get_or_init(|| hash("nobody has this password").ok())
        .as_deref()
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::{Verifier, hash};

    #[tokio::test]
    async fn only_the_right_password_of_a_known_name_fits() {
        let verifier = Verifier::new(2);
        let stored = hash("correct horse").unwrap();
        assert!(stored.starts_with("$argon2id$v=19$"), "{stored}");
        let check = async |stored: Option<&str>, password: &str| {
            verifier
                .verify(
                    stored.map(str::to_owned),
                    Zeroizing::new(password.to_owned()),
                )
                .await
                .unwrap()
        };
        assert!(check(Some(&stored), "correct horse").await);
        assert!(!check(Some(&stored), "correct horse ").await);
        assert!(!check(Some(&stored), "").await);
        assert!(!check(Some("not a hash"), "correct horse").await);
        assert!(!check(None, "nobody has this password").await);
    }
}
