//! The stand-in's one key: its file, its state, sealing with it.
//! Not for: KMS's protocol (see `actions`).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyreel_keys::private_file;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{StandInCredentials, StandInError};

/// The region in its ARNs, and the only one that signatures may name.
pub const REGION: &str = "us-east-1";
/// The alias that names it.
pub const ALIAS: &str = "alias/keyreel-demo";
/// AWS gives this account to nobody.
const ACCOUNT: &str = "000000000000";
/// Begins every ciphertext.
const VERSION: u8 = 1;
const HEAD: usize = 1 + 16 + NONCE_LEN;

/// The encryption context.
pub(crate) type Context = BTreeMap<String, String>;

/// What may be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum KeyState {
    Enabled,
    Disabled,
    PendingDeletion,
}

/// The key and the file that it lies in.
pub(crate) struct StoredKey {
    path: PathBuf,
    content: Content,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    warning: String,
    key_id: Uuid,
    state: KeyState,
    created_ms: u64,
    credentials: StandInCredentials,
    key: String,
}

impl StoredKey {
    /// The key in that file, or a new one where there is no file.
    pub(crate) fn open(path: PathBuf, now_ms: u64) -> Result<Self, StandInError> {
        match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(content) => Ok(Self { path, content }),
                Err(_) => Err(StandInError::Damaged { path }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = Self {
                    path,
                    content: Content::new(now_ms)?,
                };
                key.save()?;
                Ok(key)
            }
            Err(source) => Err(StandInError::File { path, source }),
        }
    }

    pub(crate) fn credentials(&self) -> &StandInCredentials {
        &self.content.credentials
    }

    pub(crate) fn id(&self) -> String {
        self.content.key_id.to_string()
    }

    pub(crate) fn created_ms(&self) -> u64 {
        self.content.created_ms
    }

    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{}", self.content.key_id)
    }

    #[expect(clippy::unused_self, reason = "an alias names a key")]
    pub(crate) fn alias_arn(&self) -> String {
        format!("arn:aws:kms:{REGION}:{ACCOUNT}:{ALIAS}")
    }

    /// Whether `name` is one of the four names that KMS takes.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        name == ALIAS || name == self.alias_arn() || name == self.id() || name == self.arn()
    }

    pub(crate) fn state(&self) -> KeyState {
        self.content.state
    }

    pub(crate) fn set_state(&mut self, state: KeyState) -> Result<(), StandInError> {
        self.content.state = state;
        self.save()
    }

    /// version ‖ key id ‖ nonce ‖ ciphertext and tag; the context is authenticated.
    pub(crate) fn seal(&self, plaintext: &[u8], context: &Context) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plaintext.to_vec();
        self.cipher()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                self.associated(context),
                &mut sealed,
            )
            .ok()?;
        let mut blob = vec![VERSION];
        blob.extend_from_slice(self.content.key_id.as_bytes());
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(&sealed);
        Some(blob)
    }

    /// What [`StoredKey::seal`] sealed under the same context.
    pub(crate) fn open_blob(&self, blob: &[u8], context: &Context) -> Option<Zeroizing<Vec<u8>>> {
        let (head, sealed) = blob.split_at_checked(HEAD)?;
        let nonce = head.get(HEAD - NONCE_LEN..)?;
        if head.first() != Some(&VERSION) || head.get(1..17)? != self.content.key_id.as_bytes() {
            return None;
        }
        let mut plaintext = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let len = self
            .cipher()?
            .open_in_place(nonce, self.associated(context), &mut plaintext)
            .ok()?
            .len();
        plaintext.truncate(len);
        Some(plaintext)
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        let key = Zeroizing::new(STANDARD.decode(&self.content.key).ok()?);
        UnboundKey::new(&AES_256_GCM, &key)
            .ok()
            .map(LessSafeKey::new)
    }

    #[expect(
        clippy::unused_self,
        reason = "reads as a property of the key's ciphertexts"
    )]
    fn associated(&self, context: &Context) -> Aad<Vec<u8>> {
        // Sorted by name, with lengths: no two contexts are written alike.
        let mut bytes = Vec::new();
        for text in context.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        Aad::from(bytes)
    }

    fn save(&self) -> Result<(), StandInError> {
        let write = || {
            let text = Zeroizing::new(serde_json::to_vec_pretty(&self.content)?);
            private_file::replace(&self.path, &text)
        };
        write().map_err(|source| StandInError::File {
            path: self.path.clone(),
            source,
        })
    }
}

impl Content {
    fn new(now_ms: u64) -> Result<Self, StandInError> {
        let mut key = Zeroizing::new([0; 32]);
        let mut access = [0; 8];
        let mut secret = Zeroizing::new([0; 30]);
        for bytes in [&mut key[..], &mut access[..], &mut secret[..]] {
            rand::fill(bytes).map_err(|_| StandInError::Cryptography)?;
        }
        Ok(Self {
            warning: "The key of the KMS stand-in of `keyreel demo`. Not a key of AWS.".to_owned(),
            key_id: Uuid::new_v4(),
            state: KeyState::Enabled,
            created_ms: now_ms,
            credentials: StandInCredentials {
                access_key_id: format!("AKIA{}", hex::encode_upper(access)),
                secret_access_key: STANDARD.encode(secret.as_slice()),
            },
            key: STANDARD.encode(key.as_slice()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn context(value: &str) -> Context {
        Context::from([("genesys-cloud-organization-id".to_owned(), value.to_owned())])
    }

    #[test]
    fn keeps_its_key_and_its_state_in_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kms.json");
        let mut key = StoredKey::open(path.clone(), 1).unwrap();
        let blob = key.seal(b"private", &context("acme")).unwrap();
        key.set_state(KeyState::Disabled).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );

        let again = StoredKey::open(path.clone(), 2).unwrap();
        assert_eq!(
            (again.arn(), again.state()),
            (key.arn(), KeyState::Disabled)
        );
        assert_eq!(
            *again.open_blob(&blob, &context("acme")).unwrap(),
            b"private"
        );
        fs::write(&path, "{").unwrap();
        assert!(matches!(
            StoredKey::open(path, 3),
            Err(StandInError::Damaged { .. })
        ));
    }

    #[test]
    fn opens_nothing_that_was_changed_or_sealed_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let key = StoredKey::open(folder.path().join("a.json"), 1).unwrap();
        let other = StoredKey::open(folder.path().join("b.json"), 1).unwrap();
        let blob = key.seal(b"private", &context("acme")).unwrap();
        assert!(key.open_blob(&blob, &context("globex")).is_none());
        assert!(key.open_blob(&blob, &Context::new()).is_none());
        assert!(other.open_blob(&blob, &context("acme")).is_none());
        for index in 0..blob.len() {
            let mut changed = blob.clone();
            changed[index] ^= 1;
            assert!(
                key.open_blob(&changed, &context("acme")).is_none(),
                "{index}"
            );
            assert!(
                key.open_blob(&blob[..index], &context("acme")).is_none(),
                "{index}"
            );
        }
    }
}
