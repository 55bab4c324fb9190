//! The keystore's epochs: what its files are sealed under, besides the master key. The epoch's key
//! lies outside the keystore, in a file of its own. A new epoch seals every file anew and destroys
//! the former key: whatever was copied out of the keystore before opens nothing from then on, also
//! for whoever has the master key.
//! Not for: the files that are sealed (see the module above).
//!
//! ```text
//! <epoch key file>   0600   one line per epoch: its number, a space, 64 hexadecimal digits
//! sealing key of an epoch = HKDF-SHA-512(salt: its key, secret: the master key,
//!                                        info: "keyreel/v1 keystore epoch" and its number)
//! ```
//! There is one line, and two while files are being sealed anew. Nothing is lost if that is cut off:
//! both epochs open, and the next one who opens the keystore finishes it.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::hkdf::{HKDF_SHA512, KeyType, Salt};
use zeroize::Zeroizing;

use super::master::MasterKey;
use super::{KeystoreError, files};
use crate::aead::{self, KEY_LEN, Key};
use crate::private_file::{self, directory_of};

/// An epoch and its key, as the file has them.
pub(super) struct Epoch {
    pub(super) number: u64,
    secret: Key,
}

impl Epoch {
    pub(super) fn first() -> Result<Self, KeystoreError> {
        Self::random(1)
    }

    pub(super) fn next(&self) -> Result<Self, KeystoreError> {
        Self::random(self.number + 1)
    }

    fn random(number: u64) -> Result<Self, KeystoreError> {
        let secret = aead::random_key().map_err(|_| KeystoreError::Cryptography)?;
        Ok(Self { number, secret })
    }

    /// What the files of this epoch are sealed under.
    pub(super) fn sealing_key(&self, master: &MasterKey) -> Result<SealingKey, KeystoreError> {
        struct Out;
        impl KeyType for Out {
            fn len(&self) -> usize {
                KEY_LEN
            }
        }
        let number = self.number.to_be_bytes();
        let info = [b"keyreel/v1 keystore epoch".as_slice(), &number];
        let mut key = Key::default();
        Salt::new(HKDF_SHA512, self.secret.as_slice())
            .extract(master.expose())
            .expand(&info, Out)
            .and_then(|out| out.fill(key.as_mut_slice()))
            .map_err(|_| KeystoreError::Cryptography)?;
        Ok(SealingKey {
            number: self.number,
            key: Arc::new(key),
        })
    }
}

/// What one epoch's files are sealed under.
#[derive(Clone)]
pub(super) struct SealingKey {
    pub(super) number: u64,
    key: Arc<Key>,
}

impl SealingKey {
    pub(super) fn expose(&self) -> &[u8; KEY_LEN] {
        &self.key
    }
}

/// Where the epoch's key lies unless it is said: beside the master key.
pub(super) fn beside(master: &Path) -> PathBuf {
    let mut name = master.as_os_str().to_owned();
    name.push(".epoch");
    PathBuf::from(name)
}

/// Whether a file would lie in `directory` that may not be there yet, nor the folders above it.
pub(super) fn parent_is(path: &Path, directory: &Path) -> bool {
    let mut above = path.ancestors().map(directory_of);
    let there = above.find_map(|above| above.canonicalize().ok());
    match (directory.canonicalize(), there) {
        (Ok(directory), Some(there)) => there.starts_with(directory),
        _ => false,
    }
}

/// The epochs of a file, oldest first; `None` where there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<Epoch>>, KeystoreError> {
    let io = |source| KeystoreError::io(path, source);
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    files::require_private_file(path, &file)?;
    // Reserved in full and read through no other buffer: nothing is left on the heap.
    let mut text = Zeroizing::new(Vec::with_capacity(READ_MAX));
    file.take(READ_MAX as u64)
        .read_to_end(&mut text)
        .map_err(io)?;
    let malformed = || KeystoreError::MalformedEpoch {
        path: path.to_owned(),
    };
    let lines = text.split(|&byte| byte == b'\n');
    let mut epochs: Vec<Epoch> = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let epoch = parse(line).ok_or_else(malformed)?;
        if epochs
            .last()
            .is_some_and(|last| last.number >= epoch.number)
        {
            return Err(malformed());
        }
        epochs.push(epoch);
    }
    match epochs.len() {
        1 | 2 => Ok(Some(epochs)),
        _ => Err(malformed()),
    }
}

/// Writes the first epoch of a new keystore, and makes the folders that its file is to lie in. One
/// that is there is another keystore's: if both had it, the next epoch of either would be the end of
/// the other.
pub(super) fn create(path: &Path, epoch: &Epoch) -> Result<(), KeystoreError> {
    private_file::create_folders(path).map_err(|source| KeystoreError::io(path, source))?;
    private_file::create(path, &text(&[epoch])?).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeystoreError::EpochTaken {
            path: path.to_owned(),
        },
        _ => KeystoreError::io(path, source),
    })
}

/// Puts `epochs` in the place of what the file holds, which is overwritten where it lies.
pub(super) fn replace(path: &Path, epochs: &[&Epoch]) -> Result<(), KeystoreError> {
    let io = |source| KeystoreError::io(path, source);
    // A second name for what is there now: should this end half way, whoever comes next finds and
    // overwrites it.
    let former = private_file::temporary(path).map_err(io)?;
    std::fs::hard_link(path, &former).map_err(io)?;
    private_file::replace(path, &text(epochs)?).map_err(io)?;
    files::destroy_one(&former).map_err(io)?;
    private_file::sync_directory(path).map_err(io)
}

fn parse(line: &[u8]) -> Option<Epoch> {
    let at = line.iter().position(|&byte| byte == b' ')?;
    let (number, digits) = line.split_at_checked(at)?;
    let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    let mut secret = Key::default();
    hex::decode_to_slice(digits.get(1..)?, secret.as_mut_slice()).ok()?;
    Some(Epoch { number, secret })
}

fn text(epochs: &[&Epoch]) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    // Reserved in full: growing would leave a copy on the heap.
    let mut text = Zeroizing::new(Vec::with_capacity(READ_MAX));
    for epoch in epochs {
        let mut digits = Zeroizing::new([0; 2 * KEY_LEN]);
        hex::encode_to_slice(epoch.secret.as_slice(), digits.as_mut_slice())
            .map_err(|_| KeystoreError::Cryptography)?;
        text.extend_from_slice(format!("{} ", epoch.number).as_bytes());
        text.extend_from_slice(digits.as_slice());
        text.push(b'\n');
    }
    Ok(text)
}

/// More than two lines have.
const READ_MAX: usize = 256;
