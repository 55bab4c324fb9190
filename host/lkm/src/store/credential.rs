//! Hawk credentials: an API id, and a key that is shown once and then lies sealed.

use std::path::Path;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::Error;
use crate::seal::SealingKey;

/// Bytes of randomness in a key.
const KEY_LEN: usize = 32;
const MAX_ID: usize = 128;

/// A credential, at the one time that its key is told.
pub struct Credential {
    /// The API id.
    pub id: String,
    /// The API key.
    pub key: Zeroizing<String>,
}

/// What checks and makes signatures of one credential.
pub(crate) struct Signer {
    pub(crate) key: hmac::Key,
}

/// As it lies in its file.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CredentialFile {
    api_id: String,
    created_ms: u64,
    /// Sealed as ("credential", id).
    api_key: String,
}

/// The credential and its file.
pub(super) fn generate(
    sealing: &SealingKey,
    id: Option<&str>,
    created_ms: u64,
) -> Result<(Credential, Vec<u8>), Error> {
    let library = |what| move || Error::Library { what };
    let id = match id {
        Some(id) if is_id(id) => id.to_owned(),
        Some(_) => return Err(Error::ApiId),
        None => {
            let mut random = [0; 6];
            aws_lc_rs::rand::fill(&mut random).map_err(|_| library("randomness")())?;
            format!("keyreel-{}", hex::encode(random))
        }
    };
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice()).map_err(|_| library("randomness")())?;
    let key = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
    let file = CredentialFile {
        api_key: sealing
            .seal(&["credential", &id], key.as_bytes())
            .ok_or_else(library("sealing a credential"))?,
        api_id: id.clone(),
        created_ms,
    };
    let text = serde_json::to_vec_pretty(&file).map_err(|_| library("writing a credential")())?;
    Ok((Credential { id, key }, text))
}

pub(super) fn id(path: &Path, file: &[u8]) -> Result<String, Error> {
    parse(path, file).map(|file| file.api_id)
}

pub(super) fn open(
    sealing: &SealingKey,
    path: &Path,
    id: &str,
    file: &[u8],
) -> Result<Signer, Error> {
    let key = sealing
        .open(&["credential", id], &parse(path, file)?.api_key)
        .ok_or_else(|| damaged(path))?;
    Ok(Signer {
        key: hmac::Key::new(hmac::HMAC_SHA256, &key),
    })
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:@".contains(&byte))
}

fn parse(path: &Path, file: &[u8]) -> Result<CredentialFile, Error> {
    serde_json::from_slice(file).map_err(|_| damaged(path))
}

fn damaged(path: &Path) -> Error {
    Error::Damaged {
        path: path.to_owned(),
    }
}
