//! The keystore: the root key of each tenant and what hangs from no other key, in files apart from the
//! data they open.
//! Not for: private KEKs and DEKs, which lie in the catalogue and in headers, sealed under these.
//!
//! ```text
//! keystore/            0700
//!   keystore.lock      0600   held by whoever changes something
//!   keystore.check     0600   a known text, sealed: tells whether the master key fits
//!   roots/             0700
//!     <sha-256 of the tenant id>.root   0600   the tenant's root, and a key for each private KEK
//!   services/          0700
//!     <sha-256 of the name>.key         0600
//!   marks/             0700   made with the first one
//!     <sha-256 of the name>.mark        0600
//! ```
//!
//! Each file is `magic(8) ‖ u64 epoch ‖ u16 length ‖ name ‖ nonce(12) ‖ sealed ‖ tag(16)`, AES-256-GCM
//! under the key of its epoch (see `epochs`), with the kind, the name and the epoch as associated data.
//! File names are digests because ids may be "." or differ in case alone, which some file systems take
//! for one name.
//!
//! Destroying a root overwrites and unlinks its file. What survives that (old blocks of a journalling
//! file system or an SSD, copies, backups) dies with the epoch: see [`Keystore::begin_epoch`].

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use keyreel_format::{ProviderId, TenantId};
use zeroize::Zeroizing;

use crate::aead::{self, Key};
use crate::private_file;

mod epochs;
mod error;
mod files;
mod marks;
mod master;
mod reseal;
mod tenant_keys;
#[cfg(test)]
mod tests;

use epochs::{Epoch, SealingKey};
pub use error::KeystoreError;
use master::MasterKey;
pub use master::{ensure_master_key, generate_master_key};
use tenant_keys::TenantKeys;

/// Root keys and service keys, in a directory.
pub struct Keystore {
    directory: PathBuf,
    master: MasterKey,
    epoch_file: PathBuf,
    /// Of every epoch there is, the newest last.
    sealing: RwLock<Vec<SealingKey>>,
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
    /// Opens the keystore in `directory` with the master key in the file `master` and the epoch's
    /// key in the file beside it.
    ///
    /// # Errors
    /// There is no keystore; a key is unreadable, readable by others, malformed, or another
    /// keystore's.
    pub fn open(directory: &Path, master: &Path) -> Result<Self, KeystoreError> {
        Self::open_with(directory, master, &epochs::beside(master))
    }

    /// As [`Keystore::open`], with the epoch's key in the file `epoch`.
    ///
    /// # Errors
    /// As [`Keystore::open`].
    pub fn open_with(directory: &Path, master: &Path, epoch: &Path) -> Result<Self, KeystoreError> {
        let keystore = Self::at(directory, master, epoch)?;
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
        Self::open_or_create_with(directory, master, &epochs::beside(master))
    }

    /// As [`Keystore::open_or_create`], with the epoch's key in the file `epoch`.
    ///
    /// # Errors
    /// As [`Keystore::open_or_create`].
    pub fn open_or_create_with(
        directory: &Path,
        master: &Path,
        epoch: &Path,
    ) -> Result<Self, KeystoreError> {
        let keystore = Self::at(directory, master, epoch)?;
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
            let lock = keystore.lock()?;
            // Another process may have been first: its master key must be ours.
            if !keystore.check_file().exists() {
                // Before, its folder may have been missing, and the keystore's too.
                require_outside(directory, epoch)?;
                epochs::create(&keystore.epoch_file, &Epoch::first()?)?;
                keystore.write_check().inspect_err(|_| {
                    // Nothing is sealed with it yet, and another try needs the place.
                    if matches!(keystore.check_file().try_exists(), Ok(false)) {
                        let _ = files::destroy(&keystore.epoch_file);
                    }
                })?;
            }
            drop(lock);
        }
        keystore.check()?;
        Ok(keystore)
    }

    /// As [`Keystore::open_or_create_with`], and makes the master key as well where there is neither
    /// one nor a keystore. Without `epoch` the epoch's key lies beside it. Where the keystore then
    /// cannot be made, the new master key is removed again, so that this can be called once more.
    ///
    /// # Errors
    /// As [`Keystore::open_or_create_with`] and [`ensure_master_key`]; [`KeystoreError::NoMaster`]
    /// where there is a keystore and its master key is not there.
    pub fn open_or_create_with_keys(
        directory: &Path,
        master: &Path,
        epoch: Option<&Path>,
    ) -> Result<Self, KeystoreError> {
        // Who makes another keystore with the same master key waits until it stays or is gone.
        let turn = master::turn(directory, master)?;
        let made = ensure_master_key(directory, master)?;
        if !made && !master.exists() {
            return Err(KeystoreError::NoMaster {
                directory: directory.to_owned(),
                path: master.to_owned(),
            });
        }
        let epoch = epoch.map_or_else(|| epochs::beside(master), Path::to_owned);
        let opened = Self::open_or_create_with(directory, master, &epoch);
        // Once there is a check file, there is a keystore that opens with this key alone.
        let nothing = matches!(directory.join(CHECK_FILE).try_exists(), Ok(false));
        if made && opened.is_err() && nothing && turn.is_some() {
            // It is the first failure that has to be told.
            let _ = files::destroy(master);
        }
        drop(turn);
        opened
    }

    /// Makes the root key of `tenant`.
    ///
    /// # Errors
    /// [`KeystoreError::RootExists`] where it has one: a root is never replaced, since everything
    /// under it would be lost.
    pub fn create_root(&self, tenant: &TenantId) -> Result<(), KeystoreError> {
        let root = aead::random_key().map_err(|_| KeystoreError::Cryptography)?;
        let keys = TenantKeys::new(root);
        let _lock = self.lock()?;
        let key = self.newest()?;
        let bytes = keys.to_bytes().ok_or(KeystoreError::NameTooLong)?;
        let sealed = self.seal(&key, Sealed::Root, tenant.as_str(), &bytes)?;
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
        Ok(RootKey(self.tenant_keys(tenant)?.root))
    }

    /// What seals the private KEK `name` of `provider` alone; `None` where it was never made or was
    /// destroyed.
    ///
    /// # Errors
    /// As [`Keystore::root`].
    pub(crate) fn kek_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &str,
    ) -> Result<Option<Key>, KeystoreError> {
        let name = entry(provider, name);
        Ok(self.tenant_keys(tenant)?.keys.remove(&name))
    }

    /// As [`Keystore::kek_key`]; made where there is none.
    ///
    /// # Errors
    /// As [`Keystore::root`].
    pub(crate) fn make_kek_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &str,
    ) -> Result<Key, KeystoreError> {
        let _lock = self.lock()?;
        let mut keys = self.tenant_keys(tenant)?;
        let name = entry(provider, name);
        if let Some(key) = keys.keys.remove(&name) {
            return Ok(key);
        }
        let key = aead::random_key().map_err(|_| KeystoreError::Cryptography)?;
        keys.keys.insert(name, key.clone());
        self.put_tenant_keys(tenant, &keys)?;
        Ok(key)
    }

    /// Destroys what seals the private KEKs `names`, for good once the next epoch has begun: they
    /// open nowhere then, whatever copies there are of the catalogue and of the keystore.
    ///
    /// # Errors
    /// As [`Keystore::root`]. Calling it again goes on where it failed.
    pub fn destroy_kek_keys(
        &self,
        tenant: &TenantId,
        names: &[(ProviderId, String)],
    ) -> Result<(), KeystoreError> {
        let _lock = self.lock()?;
        let mut keys = self.tenant_keys(tenant)?;
        let before = keys.keys.len();
        for (provider, name) in names {
            keys.keys.remove(&entry(provider, name));
        }
        if keys.keys.len() == before {
            return Ok(());
        }
        self.put_tenant_keys(tenant, &keys)
    }

    /// Destroys the root key of `tenant`: overwritten, synced, unlinked, with whatever an
    /// interrupted creation left. Says whether there was one.
    ///
    /// Whoever calls this purges the caches as well: see [`crate::Keyring::purge`].
    ///
    /// # Errors
    /// A file cannot be overwritten or removed. Calling it again goes on where it failed.
    pub fn destroy_root(&self, tenant: &TenantId) -> Result<bool, KeystoreError> {
        let _lock = self.lock()?;
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

    /// The present epoch's number, from 1.
    ///
    /// # Errors
    /// Its key cannot be read.
    pub fn epoch(&self) -> Result<u64, KeystoreError> {
        Ok(self.newest()?.number)
    }

    /// Where the epoch's key lies.
    #[must_use]
    pub fn epoch_key_file(&self) -> &Path {
        &self.epoch_file
    }

    fn at(directory: &Path, master: &Path, epoch: &Path) -> Result<Self, KeystoreError> {
        for path in [master, epoch] {
            require_outside(directory, path)?;
        }
        let master = MasterKey::read(master)?;
        Ok(Self {
            directory: directory.to_owned(),
            master,
            epoch_file: epoch.to_owned(),
            sealing: RwLock::default(),
        })
    }

    /// Whether the keys fit; and what was cut off while files were being sealed anew is finished.
    fn check(&self) -> Result<(), KeystoreError> {
        let path = self.check_file();
        let file = private_file::read(&path).map_err(|source| KeystoreError::io(&path, source))?;
        let file = file.ok_or_else(|| KeystoreError::Missing {
            directory: self.directory.clone(),
        })?;
        if file.starts_with(&OLD_MAGIC) {
            return Err(KeystoreError::TooOld {
                directory: self.directory.clone(),
            });
        }
        let body = Body::parse(&file).filter(|body| body.name == CHECK_NAME);
        let body = body.ok_or(KeystoreError::Damaged { path: path.clone() })?;
        let key = self.sealing(body.epoch)?;
        let key = key.ok_or_else(|| self.former(&path, body.epoch))?;
        let aad = Sealed::Check.aad(CHECK_NAME, body.epoch);
        let text = aead::open(key.expose(), &aad, body.sealed);
        if !text.is_ok_and(|text| text.as_slice() == CHECK_TEXT) {
            return Err(KeystoreError::WrongMaster {
                directory: self.directory.clone(),
            });
        }
        // Both epochs open until it is finished: no reason to stop everybody.
        if let Err(error) = self.finish_epoch() {
            tracing::error!(%error, "an epoch of the keystore that was cut off cannot be finished");
        }
        Ok(())
    }

    fn seal(
        &self,
        key: &SealingKey,
        kind: Sealed,
        name: &str,
        secret: &[u8],
    ) -> Result<Vec<u8>, KeystoreError> {
        let sealed = aead::seal(key.expose(), &kind.aad(name, key.number), secret)
            .map_err(|_| KeystoreError::Cryptography)?;
        let len = u16::try_from(name.len()).map_err(|_| KeystoreError::NameTooLong)?;
        Ok([
            MAGIC.as_slice(),
            &key.number.to_be_bytes(),
            &len.to_be_bytes(),
            name.as_bytes(),
            &sealed,
        ]
        .concat())
    }

    fn service(&self, name: &str) -> Result<Key, KeystoreError> {
        if let Some(key) = self.service_if_any(name)? {
            return Ok(key);
        }
        let _lock = self.lock()?;
        // Another process may have been first: its key is the key.
        if let Some(key) = self.service_if_any(name)? {
            return Ok(key);
        }
        let secret = aead::random_key().map_err(|_| KeystoreError::Cryptography)?;
        let key = self.newest()?;
        let sealed = self.seal(&key, Sealed::Service, name, secret.as_slice())?;
        self.create(&self.path(Sealed::Service, name), &sealed)?;
        Ok(secret)
    }

    fn service_if_any(&self, name: &str) -> Result<Option<Key>, KeystoreError> {
        let Some(opened) = self.read(Sealed::Service, name)? else {
            return Ok(None);
        };
        let mut key = Key::default();
        if opened.len() != key.len() {
            let path = self.path(Sealed::Service, name);
            return Err(KeystoreError::Damaged { path });
        }
        key.copy_from_slice(&opened);
        Ok(Some(key))
    }

    fn tenant_keys(&self, tenant: &TenantId) -> Result<TenantKeys, KeystoreError> {
        let opened = self.read(Sealed::Root, tenant.as_str())?;
        let opened = opened.ok_or_else(|| KeystoreError::NoRoot {
            tenant: tenant.clone(),
        })?;
        TenantKeys::parse(&opened).ok_or_else(|| KeystoreError::Damaged {
            path: self.path(Sealed::Root, tenant.as_str()),
        })
    }

    /// With the lock held.
    fn put_tenant_keys(&self, tenant: &TenantId, keys: &TenantKeys) -> Result<(), KeystoreError> {
        let key = self.newest()?;
        let bytes = keys.to_bytes().ok_or(KeystoreError::NameTooLong)?;
        let sealed = self.seal(&key, Sealed::Root, tenant.as_str(), &bytes)?;
        let path = self.path(Sealed::Root, tenant.as_str());
        private_file::replace(&path, &sealed).map_err(|source| KeystoreError::io(&path, source))
    }

    /// `None` where there is no such file, or only what an interrupted destruction left.
    fn read(&self, kind: Sealed, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeystoreError> {
        let path = self.path(kind, name);
        // Sealed anew by another process while it was being read: once more then.
        let mut again = true;
        loop {
            let file = private_file::read(&path);
            let file = file.map_err(|source| KeystoreError::io(&path, source))?;
            let Some(file) = file else { return Ok(None) };
            if file.iter().all(|&byte| byte == 0) {
                return Ok(None);
            }
            let body = Body::parse(&file).filter(|body| body.name == name);
            let body = body.ok_or_else(|| KeystoreError::Damaged { path: path.clone() })?;
            match self.sealing(body.epoch)? {
                Some(key) => {
                    let aad = kind.aad(name, body.epoch);
                    let opened = aead::open(key.expose(), &aad, body.sealed);
                    return opened
                        .map(Some)
                        .map_err(|_| KeystoreError::Damaged { path });
                }
                None if again => again = false,
                None => return Err(self.former(&path, body.epoch)),
            }
        }
    }

    /// What files of an epoch are sealed under; `None` where it is over, or never was.
    fn sealing(&self, epoch: u64) -> Result<Option<SealingKey>, KeystoreError> {
        let find = |keys: &[SealingKey]| keys.iter().find(|key| key.number == epoch).cloned();
        let known = {
            let keys = self.sealing.read().unwrap_or_else(PoisonError::into_inner);
            find(&keys)
        };
        if known.is_some() {
            return Ok(known);
        }
        Ok(find(&self.load_epochs()?))
    }

    /// What new files are sealed under. Read anew: another process may have begun another epoch.
    fn newest(&self) -> Result<SealingKey, KeystoreError> {
        let newest = self.load_epochs()?.pop();
        newest.ok_or_else(|| KeystoreError::NoEpoch {
            path: self.epoch_file.clone(),
        })
    }

    fn load_epochs(&self) -> Result<Vec<SealingKey>, KeystoreError> {
        let epochs = epochs::read(&self.epoch_file)?;
        let epochs = epochs.ok_or_else(|| KeystoreError::NoEpoch {
            path: self.epoch_file.clone(),
        })?;
        let keys = epochs
            .iter()
            .map(|epoch| epoch.sealing_key(&self.master))
            .collect::<Result<Vec<_>, _>>()?;
        // Those of former epochs go: this process keeps none.
        let mut known = self.sealing.write().unwrap_or_else(PoisonError::into_inner);
        known.clone_from(&keys);
        Ok(keys)
    }

    fn former(&self, path: &Path, found: u64) -> KeystoreError {
        let known = self.sealing.read().unwrap_or_else(PoisonError::into_inner);
        KeystoreError::FormerEpoch {
            path: path.to_owned(),
            found,
            current: known.last().map_or(0, |key| key.number),
        }
    }

    /// One process and one thread at a time changes something: what is sealed is sealed under the
    /// newest epoch, and nothing is missed when all is sealed anew.
    fn lock(&self) -> Result<File, KeystoreError> {
        let path = self.directory.join(LOCK_FILE);
        let io = |source| KeystoreError::io(&path, source);
        let file = private_file::open_lock(&path).map_err(io)?;
        file.lock().map_err(io)?;
        Ok(file)
    }

    fn create(&self, path: &Path, contents: &[u8]) -> Result<(), KeystoreError> {
        private_file::create(path, contents).map_err(|source| KeystoreError::io(path, source))
    }

    /// Makes this a keystore that opens with these keys alone.
    fn write_check(&self) -> Result<(), KeystoreError> {
        let key = self.newest()?;
        let check = self.seal(&key, Sealed::Check, CHECK_NAME, &CHECK_TEXT)?;
        self.create(&self.check_file(), &check)
    }

    fn check_file(&self) -> PathBuf {
        self.directory.join(CHECK_FILE)
    }

    fn kind(&self, kind: Sealed) -> PathBuf {
        self.directory.join(match kind {
            Sealed::Check => "",
            Sealed::Root => "roots",
            Sealed::Service => "services",
            Sealed::Mark => "marks",
        })
    }

    fn path(&self, kind: Sealed, name: &str) -> PathBuf {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
        let extension = match kind {
            Sealed::Check => return self.check_file(),
            Sealed::Root => "root",
            Sealed::Service => "key",
            Sealed::Mark => "mark",
        };
        self.kind(kind)
            .join(format!("{}.{extension}", hex::encode(digest)))
    }
}

/// Whoever copies the keystore must not get the keys to it in the same sweep.
fn require_outside(directory: &Path, path: &Path) -> Result<(), KeystoreError> {
    let inside = match (directory.canonicalize(), path.canonicalize()) {
        (Ok(directory), Ok(path)) => path.starts_with(directory),
        _ => epochs::parent_is(path, directory),
    };
    if inside {
        return Err(KeystoreError::KeyInside {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// What a private KEK's key is called within its tenant's file.
fn entry(provider: &ProviderId, name: &str) -> String {
    format!("{provider} {name}")
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
    Mark,
}

impl Sealed {
    fn aad(self, name: &str, epoch: u64) -> Vec<u8> {
        let label = match self {
            Self::Check => "keyreel/v1 keystore check",
            Self::Root => "keyreel/v1 keystore root",
            Self::Service => "keyreel/v1 keystore service",
            Self::Mark => "keyreel/v1 keystore mark",
        };
        aead::aad(label, &[name, &epoch.to_string()])
    }
}

/// A file's parts.
struct Body<'a> {
    epoch: u64,
    name: &'a str,
    sealed: &'a [u8],
}

impl<'a> Body<'a> {
    /// `None`: it is not one of ours.
    fn parse(file: &'a [u8]) -> Option<Self> {
        let rest = file.strip_prefix(MAGIC.as_slice())?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let (name, sealed) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
        Some(Self {
            epoch: u64::from_be_bytes(*epoch),
            name: std::str::from_utf8(name).ok()?,
            sealed,
        })
    }
}

/// First bytes of every file; the last one is the version.
const MAGIC: [u8; 8] = *b"KRKEYS\0\x02";
/// Of the version before.
const OLD_MAGIC: [u8; 8] = *b"KRKEYS\0\x01";
const LOCK_FILE: &str = "keystore.lock";
const CHECK_FILE: &str = "keystore.check";
const CHECK_NAME: &str = "check";
const CHECK_TEXT: [u8; 32] = *b"this master key fits this store.";
