//! What goes wrong with a keystore, and what to do then.

use std::io;
use std::path::{Path, PathBuf};

use keyreel_format::TenantId;

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
    /// There is a keystore, and its master key is not where it should be.
    #[error("{directory:?} holds a keystore already, and its master key {path:?} is not there")]
    NoMaster {
        /// Which keystore.
        directory: PathBuf,
        /// Where the key should be.
        path: PathBuf,
    },
    /// The master key or the epoch's is another keystore's.
    #[error(
        "the master key or the epoch key does not fit the keystore in {directory:?}: it belongs to \
         another one"
    )]
    WrongMaster {
        /// Which keystore.
        directory: PathBuf,
    },
    /// The master key or the epoch's key lies in the keystore that it opens.
    #[error("the key file {path:?} lies inside the keystore that it opens: keep it elsewhere")]
    KeyInside {
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
    /// The epoch's key is not where it should be.
    #[error(
        "the keystore's epoch key {path:?} is missing: without it nothing in the keystore opens. \
         Put back the newest copy"
    )]
    NoEpoch {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is an epoch key where a new keystore's would be.
    #[error(
        "the epoch key {path:?} is there already, and belongs to another keystore: name another \
         place for this one's (epoch_key_file). If a first start was cut off here, remove that file"
    )]
    EpochTaken {
        /// Which file.
        path: PathBuf,
    },
    /// The epoch key file has not the form of one.
    #[error(
        "the epoch key file {path:?} must hold one or two lines, each an epoch's number, a space \
         and 64 hexadecimal digits"
    )]
    MalformedEpoch {
        /// Which file.
        path: PathBuf,
    },
    /// A file is of an epoch that is over.
    #[error(
        "{path:?} is of epoch {found}, and the keystore is in epoch {current}: it is from a backup. \
         Something was destroyed, or the keystore was rekeyed, since; restore the keystore as it \
         was backed up after that"
    )]
    FormerEpoch {
        /// Which file.
        path: PathBuf,
        /// Its epoch.
        found: u64,
        /// The keystore's.
        current: u64,
    },
    /// The keystore was made by a version that knew no epochs.
    #[error(
        "{directory:?} was made by a version from before keystores had epochs, which this one \
         cannot read. Nothing was changed: keep it, and go on with that version"
    )]
    TooOld {
        /// Which keystore.
        directory: PathBuf,
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
    /// A file does not open under the sealing key of its epoch.
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
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
