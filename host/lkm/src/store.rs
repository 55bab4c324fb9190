//! What a Local Key Manager keeps: key pairs and credentials, one file each, sealed.
//! Not for: deciding who may use them (see `service`, `policy`).
//!
//! ```text
//! DATA/                0700
//!   master.key         0600   unless it lies elsewhere, as it should: seals all the rest
//!   master.key.epoch   0600   beside it, wherever that is; nothing opens without it either
//!   keystore/          0700   a keystore of Keyreel's, for the sealing key
//!   pairs/<id>.json          one key pair: public key in clear, private key sealed
//!   credentials/<digest>.json
//!   decrypts.log             append-only
//! ```
//!
//! A running server sees at once what the command line changes: files are looked at per request and
//! read again when they changed.

mod credential;
mod files;
mod pair;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyreel_keys::{Clock, Keystore};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::Error;
use crate::seal::SealingKey;

pub use credential::Credential;
pub(crate) use credential::Signer;
pub(crate) use files::Stamp;
pub(crate) use pair::OpenPair;
pub use pair::{Padding, Pair, PairState};

/// Key pairs and credentials, in a directory.
pub struct KeyPairs {
    directory: PathBuf,
    epoch_key_file: PathBuf,
    sealing: SealingKey,
    pairs: files::Watched<OpenPair>,
    credentials: files::Watched<Signer>,
}

impl KeyPairs {
    /// Opens what [`KeyPairs::create`] made.
    ///
    /// # Errors
    /// There is nothing, or the key file is another's.
    pub fn open(directory: &Path, key_file: &Path) -> Result<Self, Error> {
        let keystore = Keystore::open(&directory.join("keystore"), key_file)?;
        Self::with(directory, &keystore)
    }

    /// Makes the directory where it is missing, and with it the key file and the one beside it, which
    /// has the epoch's key.
    ///
    /// # Errors
    /// A file cannot be written; the directory's keystore has another key file.
    pub fn create(directory: &Path, key_file: &Path) -> Result<Self, Error> {
        files::directory(directory)?;
        let keystore = directory.join("keystore");
        let keystore = Keystore::open_or_create_with_keys(&keystore, key_file, None)?;
        files::directory(&directory.join(PAIRS))?;
        files::directory(&directory.join(CREDENTIALS))?;
        Self::with(directory, &keystore)
    }

    fn with(directory: &Path, keystore: &Keystore) -> Result<Self, Error> {
        let key = keystore.service_key("lkm")?;
        Ok(Self {
            directory: directory.to_owned(),
            epoch_key_file: keystore.epoch_key_file().to_owned(),
            sealing: SealingKey::new(&key),
            pairs: files::Watched::default(),
            credentials: files::Watched::default(),
        })
    }

    /// The file beside the key file without which nothing opens either.
    #[must_use]
    pub fn epoch_key_file(&self) -> &Path {
        &self.epoch_key_file
    }

    /// Makes an RSA-3072 key pair. Those that there are stay: they open what was sealed under them.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn add_pair(&self, padding: Padding, clock: &dyn Clock) -> Result<Pair, Error> {
        let key = pair::generate()?;
        self.keep_pair(Uuid::new_v4(), &key, padding, clock)
    }

    /// Takes over a private key, PEM, under its id: from the sample service, or a backup.
    ///
    /// # Errors
    /// It is none; the id is taken.
    pub fn import_pair(
        &self,
        id: Uuid,
        pem: &[u8],
        padding: Padding,
        clock: &dyn Clock,
    ) -> Result<Pair, Error> {
        let key = pair::from_pem(pem)?;
        self.keep_pair(id, &key, padding, clock)
    }

    fn keep_pair(
        &self,
        id: Uuid,
        key: &Zeroizing<Vec<u8>>,
        padding: Padding,
        clock: &dyn Clock,
    ) -> Result<Pair, Error> {
        let (pair, file) = pair::seal(&self.sealing, id, key, padding, clock.now_ms())?;
        files::create(&self.pair_file(id), &file, &id.to_string())?;
        Ok(pair)
    }

    /// All key pairs, oldest first.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn pairs(&self) -> Result<Vec<Pair>, Error> {
        let mut pairs = Vec::new();
        for path in files::list(&self.directory.join(PAIRS))? {
            if let Some(file) = files::read(&path)? {
                pairs.push(pair::describe(&path, &file)?);
            }
        }
        pairs.sort_by_key(|pair: &Pair| (pair.created_ms, pair.id));
        Ok(pairs)
    }

    /// Lets a key pair decrypt, or not. A running server obeys at its next request.
    ///
    /// # Errors
    /// There is no such pair, or its file cannot be written.
    pub fn set_state(&self, id: Uuid, state: PairState) -> Result<(), Error> {
        let path = self.pair_file(id);
        let file = files::read(&path)?.ok_or(Error::NoPair { id })?;
        files::replace(&path, &pair::with_state(&path, &file, state)?)
    }

    /// The private key, PKCS#8 PEM: for a backup, or to open recordings without Keyreel.
    ///
    /// # Errors
    /// There is no such pair, or it does not open.
    pub fn export_pair(&self, id: Uuid) -> Result<Zeroizing<String>, Error> {
        let path = self.pair_file(id);
        let file = files::read(&path)?.ok_or(Error::NoPair { id })?;
        pair::to_pem(&self.sealing, &path, &file)
    }

    /// A pair, ready to decrypt; `None` where there is none.
    pub(crate) fn pair(&self, id: Uuid) -> Result<Option<Arc<OpenPair>>, Error> {
        let path = self.pair_file(id);
        self.pairs
            .get(&path, |file| pair::open(&self.sealing, &path, file))
    }

    /// Makes a Hawk credential; without an id, one of its own making.
    ///
    /// # Errors
    /// The id is taken, or none that a Hawk header can carry.
    pub fn add_credential(&self, id: Option<&str>, clock: &dyn Clock) -> Result<Credential, Error> {
        let (credential, file) = credential::generate(&self.sealing, id, clock.now_ms())?;
        files::create(&self.credential_file(&credential.id), &file, &credential.id)?;
        Ok(credential)
    }

    /// The ids of all credentials.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn credentials(&self) -> Result<Vec<String>, Error> {
        let mut ids = Vec::new();
        for path in files::list(&self.directory.join(CREDENTIALS))? {
            if let Some(file) = files::read(&path)? {
                ids.push(credential::id(&path, &file)?);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Removes a credential. A running server refuses it from its next request on.
    ///
    /// # Errors
    /// There is none of that id.
    pub fn remove_credential(&self, id: &str) -> Result<(), Error> {
        if files::remove(&self.credential_file(id))? {
            Ok(())
        } else {
            Err(Error::NoCredential { id: id.to_owned() })
        }
    }

    /// What checks a credential's signatures; `None` where there is none of that id.
    pub(crate) fn credential(&self, id: &str) -> Result<Option<Arc<Signer>>, Error> {
        let path = self.credential_file(id);
        self.credentials.get(&path, |file| {
            credential::open(&self.sealing, &path, id, file)
        })
    }

    pub(crate) fn log_file(directory: &Path) -> PathBuf {
        directory.join("decrypts.log")
    }

    fn pair_file(&self, id: Uuid) -> PathBuf {
        self.directory.join(PAIRS).join(format!("{id}.json"))
    }

    /// Ids differ in case alone, perhaps, which some file systems take for one name.
    fn credential_file(&self, id: &str) -> PathBuf {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, id.as_bytes());
        self.directory
            .join(CREDENTIALS)
            .join(format!("{}.json", hex::encode(digest)))
    }
}

impl std::fmt::Debug for KeyPairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPairs")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

const PAIRS: &str = "pairs";
const CREDENTIALS: &str = "credentials";
