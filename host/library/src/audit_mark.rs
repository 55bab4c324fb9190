//! The mark: up to where the audit log was signed at least, kept where whoever can write the
//! database cannot. So a log that was emptied, or replaced as a whole, head and checkpoints
//! included, is told from the one that this installation wrote.
//! Not for: what holds the log together within (see `audit_chain`).

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use keyreel_keys::Keystore;

use crate::Error;
use crate::audit_chain::SignedHead;

/// An event of the log that was its end once: the log has it ever since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditMark {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// Where the mark is kept. Both functions may wait for a disk.
pub trait AuditMarks: Send + Sync {
    /// The mark; `None` where nothing was ever signed.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&self) -> Result<Option<AuditMark>, Error>;

    /// Puts `mark` in the place of the former one.
    ///
    /// # Errors
    /// It cannot be written; the former one stays.
    fn write(&self, mark: AuditMark) -> Result<(), Error>;
}

/// In the keystore, sealed by its epoch's sealing key, which is made of master and epoch key.
pub struct KeystoreMarks(pub Arc<Keystore>);

impl AuditMarks for KeystoreMarks {
    fn read(&self) -> Result<Option<AuditMark>, Error> {
        let Some(bytes) = self.0.mark(NAME).map_err(backend)? else {
            return Ok(None);
        };
        let mark = AuditMark::from_bytes(&bytes);
        mark.map(Some)
            .ok_or_else(|| Error::damaged("mark of the audit log"))
    }

    fn write(&self, mark: AuditMark) -> Result<(), Error> {
        self.0.set_mark(NAME, &mark.to_bytes()).map_err(backend)
    }
}

impl AuditMark {
    fn to_bytes(self) -> Vec<u8> {
        [self.seq.to_be_bytes().as_slice(), &self.hash].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (seq, hash) = bytes.split_first_chunk()?;
        Some(Self {
            seq: u64::from_be_bytes(*seq),
            hash: hash.try_into().ok()?,
        })
    }
}

impl From<&SignedHead> for AuditMark {
    fn from(head: &SignedHead) -> Self {
        Self {
            seq: head.seq,
            hash: head.hash,
        }
    }
}

/// Writes the mark now and then, beside the appends, which never wait for it.
#[derive(Default)]
pub(crate) struct Marker {
    marks: OnceLock<Arc<dyn AuditMarks>>,
    /// The end that this process wrote last.
    latest: Mutex<Option<AuditMark>>,
    writing: tokio::sync::Mutex<()>,
}

/// Which mark gives way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Former {
    /// One that is behind.
    Behind,
    /// Any: the log was looked into, and goes on from somewhere else.
    Any,
}

impl Marker {
    /// Where it is kept from now on. The first place stays.
    pub(crate) fn keep_in(&self, marks: Arc<dyn AuditMarks>) {
        // Set already: by a clone of the catalogue.
        let _ = self.marks.set(marks);
    }

    /// The mark; `None` where there is none, or no place for it.
    pub(crate) async fn read(&self) -> Result<Option<AuditMark>, Error> {
        match self.marks.get().cloned() {
            Some(marks) => off_thread(move || marks.read()).await,
            None => Ok(None),
        }
    }

    /// Takes note of the log's end.
    pub(crate) fn reached(&self, mark: AuditMark) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
    }

    /// The end that this process wrote last.
    pub(crate) fn latest(&self) -> Option<AuditMark> {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the log's end marked soon.
    pub(crate) fn mark_soon(self: &Arc<Self>) {
        let marker = self.clone();
        tokio::spawn(async move { marker.mark_latest().await });
    }

    /// Marks the log's end, unless it is marked further on. That it cannot be written now is no
    /// reason to stop: the mark that is there still holds.
    pub(crate) async fn mark_latest(&self) {
        if let Err(error) = self.write(Former::Behind).await {
            tracing::warn!(%error, "the audit log's end could not be marked in the keystore");
        }
    }

    /// Marks the log's end, whatever was marked before.
    pub(crate) async fn mark_anew(&self) -> Result<(), Error> {
        self.write(Former::Any).await
    }

    async fn write(&self, former: Former) -> Result<(), Error> {
        let _one_at_a_time = self.writing.lock().await;
        let (Some(marks), Some(latest)) = (self.marks.get().cloned(), self.latest()) else {
            return Ok(());
        };
        off_thread(move || {
            if former == Former::Behind
                && let Some(known) = marks.read()?
                && known.seq >= latest.seq
            {
                return Ok(());
            }
            marks.write(latest)
        })
        .await
    }
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(backend)?
}

fn backend(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Backend {
        source: source.into(),
    }
}

/// What the keystore calls it.
const NAME: &str = "audit log";
