//! The master key: 32 bytes from a file that lies outside the keystore.
//! Not for: key management services as its source (a credential file covers them).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::{KeystoreError, LOCK_FILE, files};
use crate::aead::{self, KEY_LEN, Key};
use crate::private_file;

/// What the sealing keys of one keystore's epochs are made of, with the epochs' own (see `epochs`).
pub(super) struct MasterKey(Key);

impl MasterKey {
    /// Reads it: 32 raw bytes, or 64 hexadecimal digits with or without a line end.
    pub(super) fn read(path: &Path) -> Result<Self, KeystoreError> {
        let io = |source| KeystoreError::io(path, source);
        let file = File::open(path).map_err(io)?;
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
/// another one, which nothing can stand in for. Makes the folders that the file is to lie in, mode
/// 0700. Says whether it made one.
///
/// # Errors
/// As [`generate_master_key`]; `directory` cannot be read.
pub fn ensure_master_key(directory: &Path, path: &Path) -> Result<bool, KeystoreError> {
    if in_use(directory)? || path.exists() {
        return Ok(false);
    }
    create_folders(directory, path)?;
    generate_master_key(path)?;
    Ok(true)
}

/// One at a time makes or removes a master key in the folder of `path`, while the answer is kept.
/// `None` where that cannot be had: nothing is removed then.
pub(super) fn turn(directory: &Path, path: &Path) -> Result<Option<File>, KeystoreError> {
    if !in_use(directory)? && !path.exists() {
        create_folders(directory, path)?;
    }
    let folder = File::open(private_file::directory_of(path)).ok();
    Ok(folder.filter(|folder| folder.lock().is_ok()))
}

/// Within the keystore the file is refused, and no folder is to be left there.
fn create_folders(directory: &Path, path: &Path) -> Result<(), KeystoreError> {
    if path.starts_with(directory) {
        return Ok(());
    }
    private_file::create_folders(path).map_err(|source| KeystoreError::io(path, source))
}

/// Whether there is more in `directory` than what a creation that failed leaves: the lock, and folders
/// with nothing in them.
fn in_use(directory: &Path) -> Result<bool, KeystoreError> {
    let io = |source| KeystoreError::io(directory, source);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io(error)),
    };
    for entry in entries {
        let path = entry.map_err(io)?.path();
        let lock = path.file_name().is_some_and(|name| name == LOCK_FILE);
        if !lock && (!path.is_dir() || files::has_files(&path)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// More than any accepted file has.
const READ_MAX: usize = 256;
