//! What can go wrong in the library.

use keyreel_keys::{InvalidRecoveryKey, MetadataError, StoreError};

/// The library failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is taken.
    #[error("{what} exists already")]
    Exists {
        /// What.
        what: String,
    },
    /// It is named, but it is not there.
    #[error("there is no {what}")]
    NotFound {
        /// What.
        what: String,
    },
    /// The KEK was retired before the recording was in the catalogue: nobody could open it.
    #[error("the KEK {kek} was retired meanwhile")]
    Retired {
        /// Which.
        kek: String,
    },
    /// A cursor that this catalogue did not make.
    #[error("this cursor is not one of ours; start again without it")]
    BadCursor,
    /// A value that cannot be kept or looked for.
    #[error("{what}: {reason}")]
    Invalid {
        /// Which.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A stored row that does not parse.
    #[error("the catalogue holds a damaged row: {what}")]
    Damaged {
        /// Which.
        what: String,
    },
    /// What is known of the tenant's recordings is sealed, and the key to it is not to be had.
    #[error("what is known of the recordings is sealed: {source}")]
    Sealing {
        /// Why not.
        #[source]
        source: MetadataError,
    },
    /// What is sealed of a recording was changed, or is another recording's.
    #[error("the catalogue was changed from outside: {source}")]
    Altered {
        /// Of which.
        #[source]
        source: MetadataError,
    },
    /// The catalogue was opened without the keys that recordings need.
    #[error("the catalogue was opened without keys: recordings are neither read nor added")]
    WithoutKeys,
    /// The audit log does not end where its signed head says, or nothing says where it ends.
    #[error(
        "the audit log was changed from outside: {reason}. Nothing is written to it, and so nothing \
         is unwrapped, until somebody has looked into it. hint: keyreel audit verify"
    )]
    AuditBroken {
        /// How.
        reason: String,
    },
    /// The database failed.
    #[error("the catalogue failed: {source}")]
    Backend {
        /// How.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object is not the version that was asked for.
    #[error("the object {path} has changed: expected version {expected}, found {found}")]
    Changed {
        /// Which.
        path: String,
        /// The ETag that was asked for.
        expected: String,
        /// The ETag that is there.
        found: String,
    },
    /// The object store failed.
    #[error("the object {path}: {source}")]
    Object {
        /// Which.
        path: String,
        /// How.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The media, or what came with it, is not what it should be: the sender's mistake.
    #[error("{reason}")]
    BadMedia {
        /// Why.
        reason: String,
    },
    /// The sender broke off, or a file could not be read.
    #[error("cannot read {what}: {source}")]
    Input {
        /// What.
        what: String,
        /// How.
        #[source]
        source: std::io::Error,
    },
    /// Sealing, or opening what was just sealed, failed.
    #[error("sealing failed: {source}")]
    Seal {
        /// How.
        #[source]
        source: keyreel_format::Error,
    },
    /// What lies there is no sealed object, or not one that opens.
    #[error("the object {path}: {source}")]
    Sealed {
        /// Which.
        path: String,
        /// How.
        #[source]
        source: keyreel_format::Error,
    },
    /// It is not the object that it should be: not what was written, or not what the catalogue
    /// means.
    #[error("the object {path} is not what it should be: {reason}")]
    Unverified {
        /// Which.
        path: String,
        /// What differs.
        reason: String,
    },
    /// It is no public key that may be a recovery key.
    #[error("the recovery key: {source}")]
    RecoveryKey {
        /// Why.
        #[from]
        source: InvalidRecoveryKey,
    },
    /// The DEK could not be wrapped.
    #[error("cannot wrap the recording's key: {source}")]
    Wrap {
        /// How.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    pub(crate) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    pub(crate) fn object(
        path: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Object {
            path: path.into(),
            source: source.into(),
        }
    }
}

impl From<StoreError> for Error {
    fn from(source: StoreError) -> Self {
        Self::Backend {
            source: Box::new(source),
        }
    }
}

impl From<MetadataError> for Error {
    fn from(source: MetadataError) -> Self {
        match source {
            MetadataError::Damaged { .. } => Self::Altered { source },
            _ => Self::Sealing { source },
        }
    }
}
