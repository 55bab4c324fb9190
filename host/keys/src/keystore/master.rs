//! The master key: 32 bytes from a file that lies outside the keystore.
//! Not for: key management services as its source (a credential file covers them).

use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::{KeystoreError, files};
use crate::aead::{self, KEY_LEN, Key};
use crate::private_file;

/// Seals every file of one keystore.
pub(super) struct MasterKey(Key);

impl MasterKey {
    /// Reads it: 32 raw bytes, or 64 hexadecimal digits with or without a line end.
    pub(super) fn read(path: &Path) -> Result<Self, KeystoreError> {
        let io = |source| KeystoreError::io(path, source);
        let file = std::fs::File::open(path).map_err(io)?;
        files::require_private_file(path, &file)?;
        // Reserved in full and read through no other buffer: nothing is left on the heap.
        let mut text = Zeroizing::new(Vec::with_capacity(READ_MAX));
        file.take(READ_MAX as u64)
            .read_to_end(&mut text)
            .map_err(io)?;
        let malformed = |found: String| KeystoreError::MalformedMaster {
            path: path.to_owned(),
            found,
        };
        let mut key = Key::default();
        if text.len() == KEY_LEN {
            // As raw bytes it would have half the strength that it seems to have.
            if text.iter().all(u8::is_ascii_hexdigit) {
                return Err(malformed(
                    "32 hexadecimal digits, which are 16 bytes".to_owned(),
                ));
            }
            key.copy_from_slice(&text);
            return Ok(Self(key));
        }
        let digits = text.trim_ascii();
        if digits.len() != 2 * KEY_LEN {
            return Err(malformed(match text.len() {
                READ_MAX => "more".to_owned(),
                len => format!("{len} bytes"),
            }));
        }
        hex::decode_to_slice(digits, key.as_mut_slice()).map_err(|_| {
            malformed("64 characters that are not all hexadecimal digits".to_owned())
        })?;
        Ok(Self(key))
    }

    pub(super) fn expose(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

/// Makes a master key and writes it to `path`, mode 0600, as hexadecimal digits.
///
/// # Errors
/// The file exists (a master key is never overwritten) or cannot be written.
pub fn generate_master_key(path: &Path) -> Result<(), KeystoreError> {
    let key = aead::random_key().map_err(|_| KeystoreError::Cryptography)?;
    let mut text = Zeroizing::new(vec![0; 2 * KEY_LEN + 1]);
    if let Some((end, digits)) = text.split_last_mut() {
        *end = b'\n';
        hex::encode_to_slice(key.as_slice(), digits)
            .map_err(|_| KeystoreError::io(path, io::Error::other("no room for the digits")))?;
    }
    private_file::create(path, &text).map_err(|source| KeystoreError::io(path, source))
}

/// As [`generate_master_key`], unless there is one, or there is a keystore in `directory`: that has
/// another one, which nothing can stand in for.
///
/// # Errors
/// As [`generate_master_key`]; `directory` cannot be read.
pub fn ensure_master_key(directory: &Path, path: &Path) -> Result<(), KeystoreError> {
    let keystore = files::has_files(directory)?;
    if keystore || path.exists() {
        return Ok(());
    }
    generate_master_key(path)
}

/// More than any accepted file has.
const READ_MAX: usize = 256;
