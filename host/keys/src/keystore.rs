//! The keystore: one root key per tenant, in files apart from the data they open.
//! Not for: private KEKs and DEKs, which lie in the catalogue and in headers, sealed under these.
//!
//! ```text
//! keystore/            0700
//!   keystore.check     0600   a known text, sealed: tells whether the master key fits
//!   roots/             0700
//!     <sha-256 of the tenant id>.root   0600
//!   services/          0700
//!     <sha-256 of the name>.key         0600
//! ```
//!
//! Each file is `magic(8) ‖ u16 length ‖ name ‖ nonce(12) ‖ sealed key(32) ‖ tag(16)`, AES-256-GCM
//! under the master key, with the kind and the name as associated data. File names are digests
//! because ids may be "." or differ in case alone, which some file systems take for one name.
//!
//! Destroying a root overwrites and unlinks its file. On a journalling file system or an SSD old
//! blocks may survive that; they are sealed under the master key, which lies elsewhere.

use std::io;
use std::path::{Path, PathBuf};

use keyreel_format::TenantId;
use zeroize::Zeroizing;

use crate::aead::{self, Key};
use crate::private_file;

mod files;
mod marks;
mod master;
#[cfg(test)]
mod tests;

use master::MasterKey;
pub use master::{ensure_master_key, generate_master_key};

/// Root keys and service keys, in a directory.
pub struct Keystore {
    directory: PathBuf,
    master: MasterKey,
}

/// A tenant's root key. Everything that the tenant's data needs hangs from it; whoever destroys it
/// shreds the tenant.
pub struct RootKey(Key);

impl RootKey {
    /// A key for one purpose, named by `label`: HKDF-Expand-SHA-512 of the root.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub fn derive(&self, label: &str) -> Result<Box<Zeroizing<[u8; 32]>>, KeystoreError> {
        aead::expand(&self.0, label.as_bytes()).map_err(|_| KeystoreError::Cryptography)
    }
}

impl Keystore {
    /// Opens the keystore in `directory` with the master key in the file `master`.
    ///
    /// # Errors
    /// There is no keystore; the master key is unreadable, readable by others, malformed, or
    /// another keystore's.
    pub fn open(directory: &Path, master: &Path) -> Result<Self, KeystoreError> {
        let keystore = Self::at(directory, master)?;
        files::require_private(&keystore.directory, files::Kind::Directory)?;
        if !keystore.check_file().exists() {
            return Err(KeystoreError::Missing {
                directory: directory.to_owned(),
            });
        }
        keystore.check()?;
        Ok(keystore)
    }

    /// As [`Keystore::open`], but makes an empty keystore where `directory` does not exist or has
    /// nothing in it.
    ///
    /// # Errors
    /// As [`Keystore::open`]; and where `directory` has files but no keystore.
    pub fn open_or_create(directory: &Path, master: &Path) -> Result<Self, KeystoreError> {
        let keystore = Self::at(directory, master)?;
        files::create_directory(&keystore.directory)?;
        files::require_private(&keystore.directory, files::Kind::Directory)?;
        if !keystore.check_file().exists() {
            // A keystore that lost its check file must not be taken for a new one: a new check
            // file would accept any master key.
            if files::has_files(&keystore.kind(Sealed::Root))?
                || files::has_files(&keystore.kind(Sealed::Service))?
            {
                return Err(KeystoreError::Missing {
                    directory: directory.to_owned(),
                });
            }
            files::create_directory(&keystore.kind(Sealed::Root))?;
            files::create_directory(&keystore.kind(Sealed::Service))?;
            let check = keystore.seal(Sealed::Check, CHECK_NAME, &CHECK_TEXT)?;
            match private_file::create(&keystore.check_file(), &check) {
                Ok(()) => {}
                // Another process was first: its master key must be ours.
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(KeystoreError::io(&keystore.check_file(), source)),
            }
        }
        keystore.check()?;
        Ok(keystore)
    }

    /// Makes the root key of `tenant`.
    ///
    /// # Errors
    /// [`KeystoreError::RootExists`] where it has one: a root is never replaced, since everything
    /// under it would be lost.
    pub fn create_root(&self, tenant: &TenantId) -> Result<(), KeystoreError> {
        let root = aead::random_key().map_err(|_| KeystoreError::Cryptography)?;
        let sealed = self.seal(Sealed::Root, tenant.as_str(), &root)?;
        let path = self.path(Sealed::Root, tenant.as_str());
        private_file::create(&path, &sealed).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeystoreError::RootExists {
                tenant: tenant.clone(),
            },
            _ => KeystoreError::io(&path, source),
        })
    }

    /// The root key of `tenant`.
    ///
    /// # Errors
    /// [`KeystoreError::NoRoot`] where it was never made or was destroyed;
    /// [`KeystoreError::Damaged`] where the file does not open.
    pub fn root(&self, tenant: &TenantId) -> Result<RootKey, KeystoreError> {
        match self.read(Sealed::Root, tenant.as_str())? {
            Some(key) => Ok(RootKey(key)),
            None => Err(KeystoreError::NoRoot {
                tenant: tenant.clone(),
            }),
        }
    }

    /// Destroys the root key of `tenant`: overwritten, synced, unlinked, with whatever an
    /// interrupted creation left. Says whether there was one.
    ///
    /// Whoever calls this purges the caches as well: see [`crate::Keyring::purge`].
    ///
    /// # Errors
    /// A file cannot be overwritten or removed. Calling it again goes on where it failed.
    pub fn destroy_root(&self, tenant: &TenantId) -> Result<bool, KeystoreError> {
        let path = self.path(Sealed::Root, tenant.as_str());
        files::destroy(&path).map_err(|source| KeystoreError::io(&path, source))
    }

    /// The server's own key `name` ("grants"), made when it is first asked for.
    ///
    /// # Errors
    /// The file cannot be read, written or opened.
    pub fn service_key(&self, name: &str) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let key = self.service(name)?;
        // A copy, as the boxed one must stay in its place to be wiped there.
        Ok(Zeroizing::new(**key))
    }

    fn at(directory: &Path, master: &Path) -> Result<Self, KeystoreError> {
        // Whoever copies the keystore must not get the key to it in the same sweep.
        let inside = match (directory.canonicalize(), master.canonicalize()) {
            (Ok(directory), Ok(master)) => master.starts_with(directory),
            _ => false,
        };
        if inside {
            return Err(KeystoreError::MasterInside {
                path: master.to_owned(),
            });
        }
        let master = MasterKey::read(master)?;
        Ok(Self {
            directory: directory.to_owned(),
            master,
        })
    }

    fn check(&self) -> Result<(), KeystoreError> {
        let wrong = || KeystoreError::WrongMaster {
            directory: self.directory.clone(),
        };
        let path = self.check_file();
        let file = private_file::read(&path).map_err(|source| KeystoreError::io(&path, source))?;
        let file = file.ok_or_else(|| KeystoreError::Missing {
            directory: self.directory.clone(),
        })?;
        let sealed = body(&file, CHECK_NAME).ok_or(KeystoreError::Damaged { path })?;
        let text = aead::open(self.master.expose(), &Sealed::Check.aad(CHECK_NAME), sealed);
        match text {
            Ok(text) if text.as_slice() == CHECK_TEXT => Ok(()),
            _ => Err(wrong()),
        }
    }

    fn seal(&self, kind: Sealed, name: &str, key: &[u8; 32]) -> Result<Vec<u8>, KeystoreError> {
        let sealed = aead::seal(self.master.expose(), &kind.aad(name), key)
            .map_err(|_| KeystoreError::Cryptography)?;
        let len = u16::try_from(name.len()).map_err(|_| KeystoreError::NameTooLong)?;
        Ok([
            MAGIC.as_slice(),
            &len.to_be_bytes(),
            name.as_bytes(),
            &sealed,
        ]
        .concat())
    }

    fn service(&self, name: &str) -> Result<Key, KeystoreError> {
        if let Some(key) = self.read(Sealed::Service, name)? {
            return Ok(key);
        }
        let key = aead::random_key().map_err(|_| KeystoreError::Cryptography)?;
        let sealed = self.seal(Sealed::Service, name, &key)?;
        let path = self.path(Sealed::Service, name);
        match private_file::create(&path, &sealed) {
            Ok(()) => Ok(key),
            // Another process was first: its key is the key.
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => self
                .read(Sealed::Service, name)?
                .ok_or(KeystoreError::Damaged { path }),
            Err(source) => Err(KeystoreError::io(&path, source)),
        }
    }

    /// `None` where there is no such file, or only what an interrupted destruction left.
    fn read(&self, kind: Sealed, name: &str) -> Result<Option<Key>, KeystoreError> {
        let path = self.path(kind, name);
        let file = private_file::read(&path).map_err(|source| KeystoreError::io(&path, source))?;
        let Some(file) = file else { return Ok(None) };
        if file.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let opened = body(&file, name)
            .and_then(|sealed| aead::open(self.master.expose(), &kind.aad(name), sealed).ok());
        let mut key = Key::default();
        match opened {
            Some(opened) if opened.len() == key.len() => key.copy_from_slice(&opened),
            _ => return Err(KeystoreError::Damaged { path }),
        }
        Ok(Some(key))
    }

    fn check_file(&self) -> PathBuf {
        self.directory.join("keystore.check")
    }

    fn kind(&self, kind: Sealed) -> PathBuf {
        self.directory.join(match kind {
            Sealed::Check => "",
            Sealed::Root => "roots",
            Sealed::Service => "services",
        })
    }

    fn path(&self, kind: Sealed, name: &str) -> PathBuf {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
        let extension = match kind {
            Sealed::Check => "check",
            Sealed::Root => "root",
            Sealed::Service => "key",
        };
        self.kind(kind)
            .join(format!("{}.{extension}", hex::encode(digest)))
    }
}

impl std::fmt::Debug for Keystore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keystore")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// What a file holds: part of its associated data, so that none passes for another.
#[derive(Clone, Copy)]
enum Sealed {
    Check,
    Root,
    Service,
}

impl Sealed {
    fn aad(self, name: &str) -> Vec<u8> {
        let label = match self {
            Self::Check => "keyreel/v1 keystore check",
            Self::Root => "keyreel/v1 keystore root",
            Self::Service => "keyreel/v1 keystore service",
        };
        aead::aad(label, &[name])
    }
}

/// The sealed bytes of a file that names `name`.
fn body<'a>(file: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let rest = file.strip_prefix(MAGIC.as_slice())?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (found, sealed) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
    (found == name.as_bytes()).then_some(sealed)
}

/// The keystore failed. Names files and tenants, never a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// There is no keystore where one should be.
    #[error(
        "{directory:?} is no keystore: keystore.check is missing. If this is a restored backup, \
         restore that file too"
    )]
    Missing {
        /// Where.
        directory: PathBuf,
    },
    /// The master key is another keystore's.
    #[error("the master key does not fit the keystore in {directory:?}: it belongs to another one")]
    WrongMaster {
        /// Which keystore.
        directory: PathBuf,
    },
    /// The master key lies in the keystore that it opens.
    #[error("the master key file {path:?} lies inside the keystore: keep it elsewhere")]
    MasterInside {
        /// Where.
        path: PathBuf,
    },
    /// The master key file has not the form of one.
    #[error(
        "the master key file {path:?} must hold 32 bytes, raw or as 64 hexadecimal digits; it \
         holds {found}"
    )]
    MalformedMaster {
        /// Which file.
        path: PathBuf,
        /// What it holds, in words.
        found: String,
    },
    /// Others than its owner may read it.
    #[error(
        "{path:?} has mode {mode:04o}: its group or everybody may reach it. hint: chmod {wanted:o} \
         {}", path.display()
    )]
    Exposed {
        /// Which file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they should be.
        wanted: u32,
    },
    /// The tenant has a root key already.
    #[error("tenant {tenant} has a root key already")]
    RootExists {
        /// The tenant.
        tenant: TenantId,
    },
    /// The tenant has no root key: never made, or shredded.
    #[error("tenant {tenant} has no root key in the keystore")]
    NoRoot {
        /// The tenant.
        tenant: TenantId,
    },
    /// A file does not open under the master key.
    #[error("the key file {path:?} is damaged: restore it from a backup")]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// The name is longer than a file can hold.
    #[error("the key's name is too long")]
    NameTooLong,
    /// A file operation failed.
    #[error("{path:?}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// How.
        #[source]
        source: io::Error,
    },
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Cryptography,
}

impl KeystoreError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// First bytes of every file; the last one is the version.
const MAGIC: [u8; 8] = *b"KRKEYS\0\x01";
const CHECK_NAME: &str = "check";
const CHECK_TEXT: [u8; 32] = *b"this master key fits this store.";
