//! What can go wrong outside of a request. What a request is refused with is the service's.

use std::path::PathBuf;

/// A Local Key Manager cannot start, or its data cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The keystore cannot be opened.
    #[error(transparent)]
    Keystore(#[from] keyreel_keys::KeystoreError),
    /// A file is not what it was when it was written, or another key file's.
    #[error("{path} is damaged, or belongs to another key file", path = path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// There is no such key pair.
    #[error("there is no key pair {id}")]
    NoPair {
        /// Which.
        id: uuid::Uuid,
    },
    /// There is no such credential.
    #[error("there is no credential {id:?}")]
    NoCredential {
        /// Which.
        id: String,
    },
    /// The id is taken.
    #[error("{id} exists already")]
    Exists {
        /// Which.
        id: String,
    },
    /// An API id that a Hawk header cannot carry.
    #[error("an API id is 1 to 128 of A-Z a-z 0-9 - _ . : @")]
    ApiId,
    /// A private key that cannot be one of ours.
    #[error("this is not an RSA private key of 3072 bits or more in PKCS#8 or PKCS#1 PEM")]
    NotAPrivateKey,
    /// The policy cannot be used.
    #[error("{path}: {message}", path = path.display())]
    Policy {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A setting cannot be used.
    #[error("{0}")]
    Setting(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// TLS cannot be had with these files.
    #[error(transparent)]
    Tls(#[from] keyreel_net::TlsError),
    /// The log does not hang together.
    #[error("{path}, line {line}: {message}", path = path.display())]
    Log {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        message: &'static str,
    },
    /// The cryptographic library failed.
    #[error("the cryptographic library failed at {what}")]
    Library {
        /// What it was to do.
        what: &'static str,
    },
}

impl Error {
    pub(crate) fn file(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}
