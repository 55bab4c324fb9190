//! Key pairs: RSA-3072, private half sealed, padding fixed when they are made.

use std::path::Path;

use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use keyreel_format::wrap::PrivateKey;
use keyreel_format::{Dek, WrapAlgorithm};
use keyreel_keys::pem;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::Error;
use crate::seal::SealingKey;

/// How a key pair decrypts. One pair has one padding: nobody can choose the weaker one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Padding {
    /// RSA-OAEP, SHA-256 and MGF1-SHA-256.
    #[serde(rename = "oaep-sha256")]
    OaepSha256,
    /// RSA-OAEP, SHA-1 and MGF1-SHA-1: for clients of the sample service.
    #[serde(rename = "oaep-sha1")]
    OaepSha1,
}

impl Padding {
    /// "oaep-sha256" or "oaep-sha1".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OaepSha256 => "oaep-sha256",
            Self::OaepSha1 => "oaep-sha1",
        }
    }

    fn algorithm(self) -> WrapAlgorithm {
        match self {
            Self::OaepSha256 => WrapAlgorithm::RsaOaepSha256,
            Self::OaepSha1 => WrapAlgorithm::RsaOaepSha1,
        }
    }
}

/// Whether a key pair decrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairState {
    /// It does.
    Active,
    /// It is kept, but decrypts nothing.
    Disabled,
}

/// A key pair's public side.
#[derive(Debug, Clone)]
pub struct Pair {
    /// What it is registered under.
    pub id: Uuid,
    /// RSAPublicKey, PKCS#1 DER, base64: what is registered.
    pub public_key: String,
    /// How it decrypts.
    pub padding: Padding,
    /// Whether it does.
    pub state: PairState,
    /// When it was made.
    pub created_ms: u64,
}

/// A key pair that can decrypt.
pub(crate) struct OpenPair {
    key: PrivateKey,
    padding: Padding,
    pub(crate) state: PairState,
}

impl OpenPair {
    /// The DEK, or nothing more about why there is none.
    pub(crate) fn decrypt(&self, wrapped: &[u8]) -> Option<Dek> {
        self.key.unwrap(self.padding.algorithm(), wrapped, &[]).ok()
    }
}

/// As it lies in its file.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PairFile {
    keypair_id: Uuid,
    created_ms: u64,
    padding: Padding,
    state: PairState,
    public_key: String,
    /// Sealed as ("pair", id, padding).
    private_key: String,
}

/// A new private key, PKCS#8 DER.
pub(super) fn generate() -> Result<Zeroizing<Vec<u8>>, Error> {
    PrivateKey::generate(WrapAlgorithm::RsaOaepSha256)
        .and_then(|key| key.secret_bytes())
        .map_err(|_| Error::Library {
            what: "making a key pair",
        })
}

/// PKCS#8 DER of a PEM file, checked.
pub(super) fn from_pem(pem: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| Error::NotAPrivateKey)?;
    let der = match &key {
        PrivateKeyDer::Pkcs8(der) => Zeroizing::new(der.secret_pkcs8_der().to_vec()),
        PrivateKeyDer::Pkcs1(der) => {
            use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
            let pair =
                KeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| Error::NotAPrivateKey)?;
            let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| Error::NotAPrivateKey)?;
            Zeroizing::new(der.as_ref().to_vec())
        }
        _ => return Err(Error::NotAPrivateKey),
    };
    PrivateKey::from_pkcs8(&der).map_err(|_| Error::NotAPrivateKey)?;
    Ok(der)
}

/// The pair and its file.
pub(super) fn seal(
    sealing: &SealingKey,
    id: Uuid,
    pkcs8: &Zeroizing<Vec<u8>>,
    padding: Padding,
    created_ms: u64,
) -> Result<(Pair, Vec<u8>), Error> {
    let library = |what| move || Error::Library { what };
    let key = KeyPair::from_pkcs8(pkcs8).map_err(|_| Error::NotAPrivateKey)?;
    let file = PairFile {
        keypair_id: id,
        created_ms,
        padding,
        state: PairState::Active,
        public_key: BASE64.encode(key.public_key().as_ref()),
        private_key: sealing
            .seal(&["pair", &id.to_string(), padding.as_str()], pkcs8)
            .ok_or_else(library("sealing a private key"))?,
    };
    let text = serde_json::to_vec_pretty(&file).map_err(|_| library("writing a key pair")())?;
    Ok((pair(file), text))
}

pub(super) fn describe(path: &Path, file: &[u8]) -> Result<Pair, Error> {
    parse(path, file).map(pair)
}

pub(super) fn with_state(path: &Path, file: &[u8], state: PairState) -> Result<Vec<u8>, Error> {
    let mut file = parse(path, file)?;
    file.state = state;
    serde_json::to_vec_pretty(&file).map_err(|_| damaged(path))
}

pub(super) fn open(sealing: &SealingKey, path: &Path, file: &[u8]) -> Result<OpenPair, Error> {
    let file = parse(path, file)?;
    let pkcs8 = unseal(sealing, path, &file)?;
    Ok(OpenPair {
        key: PrivateKey::from_pkcs8(&pkcs8).map_err(|_| damaged(path))?,
        padding: file.padding,
        state: file.state,
    })
}

/// PKCS#8 PEM (RFC 7468).
pub(super) fn to_pem(
    sealing: &SealingKey,
    path: &Path,
    file: &[u8],
) -> Result<Zeroizing<String>, Error> {
    let pkcs8 = unseal(sealing, path, &parse(path, file)?)?;
    Ok(pem::encode("PRIVATE KEY", &pkcs8))
}

fn unseal(sealing: &SealingKey, path: &Path, file: &PairFile) -> Result<Zeroizing<Vec<u8>>, Error> {
    let id = file.keypair_id.to_string();
    sealing
        .open(&["pair", &id, file.padding.as_str()], &file.private_key)
        .ok_or_else(|| damaged(path))
}

/// The id in the file is the one of its name: a file cannot stand in for another.
fn parse(path: &Path, file: &[u8]) -> Result<PairFile, Error> {
    let parsed: PairFile = serde_json::from_slice(file).map_err(|_| damaged(path))?;
    let named = path.file_stem().and_then(|name| name.to_str());
    if named == Some(parsed.keypair_id.to_string().as_str()) {
        Ok(parsed)
    } else {
        Err(damaged(path))
    }
}

fn pair(file: PairFile) -> Pair {
    Pair {
        id: file.keypair_id,
        public_key: file.public_key,
        padding: file.padding,
        state: file.state,
        created_ms: file.created_ms,
    }
}

fn damaged(path: &Path) -> Error {
    Error::Damaged {
        path: path.to_owned(),
    }
}
