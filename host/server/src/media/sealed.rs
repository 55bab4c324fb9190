//! Sealed objects, as far as they are known without a key: their header, their length, whether
//! their end has been authenticated. Kept by version; keys are not.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::BytesMut;
use keyreel_format::{Dek, Header, KeyBlock, Reader};
use keyreel_library::{Error as LibraryError, Head, Objects, Part, Recording};
use moka::future::Cache;

use super::buffers::Buffers;
use super::conditions::{END_OF_DATES_MS, Validators};
use crate::problem::{Code, Problem};
use crate::settings::PlaybackSettings;

/// The objects, and what is remembered of them.
pub(crate) struct Library {
    objects: Objects,
    /// By path and generation.
    opened: Cache<(String, u32), Arc<Sealed>>,
    buffers: Buffers,
    span_len: usize,
}

/// One version of one sealed object, open.
pub(super) struct Sealed {
    head: Head,
    validators: Validators,
    plaintext_len: u64,
    /// Set once a DEK has verified the header's MAC.
    verified: OnceLock<Header>,
    /// What was derived from a DEK, for as long as that DEK is alive elsewhere and no longer.
    reader: Mutex<Option<(Weak<Dek>, Arc<Reader>)>>,
    /// Set once the last chunk has authenticated: only then is the length more than a claim.
    end_verified: AtomicBool,
}

impl Library {
    pub(crate) fn new(objects: Objects, settings: &PlaybackSettings) -> Self {
        let span_len = settings.span_kib as usize * 1024;
        Self {
            objects,
            opened: Cache::builder()
                .max_capacity(MAX_OPEN)
                .time_to_live(BELIEVED)
                .build(),
            buffers: Buffers::new(SMALL_SPAN, span_len.max(SMALL_SPAN) + SPAN_OVERHEAD),
            span_len,
        }
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    pub(super) fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    pub(super) fn span_len(&self) -> usize {
        self.span_len
    }

    /// The sealed object of a part, if it is what the catalogue says. Touches no key.
    pub(super) async fn sealed(
        &self,
        recording: &Recording,
        part: &Part,
    ) -> Result<Arc<Sealed>, Problem> {
        let key = (part.object.clone(), recording.generation);
        let open = async {
            let sealed = Sealed::open(&self.objects, &part.object, recording.generation).await?;
            Ok(Arc::new(sealed))
        };
        // Who asks while it is being opened waits for that.
        let sealed = self.opened.try_get_with(key, open).await;
        let sealed = sealed.map_err(|problem: Arc<Problem>| Problem::clone(&problem))?;
        let checked = sealed.head.check(recording, part);
        checked.map_err(object_problem)?;
        Ok(sealed)
    }

    /// Opens the sealed object of a part for who asks for it next. What is wrong with it, they are
    /// told.
    pub(crate) async fn open_ahead(&self, recording: &Recording, part: &Part) {
        let _ = self.sealed(recording, part).await;
    }

    /// Lets go of what was derived from DEKs that are gone. Called several times a second.
    pub(crate) async fn forget_keys(&self) {
        // What has expired lies in the cache until somebody tidies it up, out of reach of the loop.
        self.opened.run_pending_tasks().await;
        for (_, sealed) in &self.opened {
            sealed.forget_keys();
        }
    }

    /// Forgets an object that turned out to be damaged: it may be mended.
    pub(super) async fn forget(&self, part: &Part, generation: u32) {
        let key = (part.object.clone(), generation);
        self.opened.invalidate(&key).await;
    }
}

impl Sealed {
    async fn open(objects: &Objects, path: &str, generation: u32) -> Result<Self, Problem> {
        let head = Head::read(objects, path, generation).await;
        let head = head.map_err(object_problem)?;
        let plaintext_len = head.plaintext_len().map_err(object_problem)?;
        let identity = head.header.identity();
        // Not authenticated yet: anything may stand there.
        if identity.created_ms >= END_OF_DATES_MS {
            return Err(damaged(path, "its date is beyond the year 9999"));
        }
        // Of the plaintext, which is the same in every generation.
        let etag = format!("\"{}\"", hex::encode(identity.object_id));
        Ok(Self {
            validators: Validators::new(etag, identity.created_ms),
            head,
            plaintext_len,
            verified: OnceLock::new(),
            reader: Mutex::default(),
            end_verified: AtomicBool::new(false),
        })
    }

    pub(super) fn key_block(&self) -> &KeyBlock {
        self.head.header.key_block()
    }

    pub(super) fn validators(&self) -> &Validators {
        &self.validators
    }

    pub(super) fn plaintext_len(&self) -> u64 {
        self.plaintext_len
    }

    /// The reader under `dek`. Deriving its keys takes as long as decrypting half a chunk, so they
    /// are kept while the DEK itself is; asking the keyring for that comes first, every time.
    pub(super) fn reader(&self, dek: &Arc<Dek>) -> Result<Arc<Reader>, Problem> {
        let mut kept = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, reader)) = &*kept
            && std::ptr::eq(of.as_ptr(), Arc::as_ptr(dek))
        {
            return Ok(reader.clone());
        }
        let header = self.verified(dek)?;
        let len = self.head.handle.version().len;
        let reader = Arc::new(Reader::new(header, dek, &self.head.prefix, len)?);
        *kept = Some((Arc::downgrade(dek), reader.clone()));
        Ok(reader)
    }

    /// Lets go of what was derived from a DEK that is gone.
    fn forget_keys(&self) {
        let mut kept = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|(of, _)| of.strong_count() == 0) {
            *kept = None;
        }
    }

    /// The header, verified under `dek` once for this version. That the DEK is the right one this
    /// time as well, the body's commitment shows.
    fn verified(&self, dek: &Dek) -> Result<&Header, Problem> {
        if let Some(header) = self.verified.get() {
            return Ok(header);
        }
        let header = self.head.header.clone().verify(dek)?;
        Ok(self.verified.get_or_init(|| header))
    }

    pub(super) fn is_end_verified(&self) -> bool {
        self.end_verified.load(Ordering::Acquire)
    }

    pub(super) fn set_end_verified(&self) {
        self.end_verified.store(true, Ordering::Release);
    }

    pub(super) async fn read(
        &self,
        range: Range<u64>,
        buffer: BytesMut,
    ) -> Result<BytesMut, LibraryError> {
        self.head.handle.read(range, buffer).await
    }
}

/// What a failing object store is to a listener.
pub(super) fn object_problem(error: LibraryError) -> Problem {
    match &error {
        LibraryError::NotFound { .. } => Problem::new(
            Code::NotFound,
            "The recording's sealed file is not in the store.",
        )
        .inward(error),
        LibraryError::Changed { .. } => Problem::new(
            Code::Unavailable,
            "The recording was just changed. Try again.",
        )
        .inward(error),
        LibraryError::Sealed { source, .. } => Problem::from(source.clone()).inward(error),
        LibraryError::Unverified { .. } => {
            Problem::from(keyreel_format::Error::Integrity).inward(error)
        }
        _ => Problem::new(
            Code::Unavailable,
            "The store of recordings does not answer.",
        )
        .inward(error),
    }
}

fn damaged(path: &str, how: &str) -> Problem {
    Problem::from(keyreel_format::Error::Integrity).inward(format!("the object {path}: {how}"))
}

/// How long an open object is believed to be the one under its name.
const BELIEVED: Duration = Duration::from_secs(5);
/// Each is one file descriptor.
const MAX_OPEN: u64 = 512;
/// What a small range takes: eight chunks. See `stream::Pace`.
const SMALL_SPAN: usize = 132 * 1024;
/// A span is whole chunks: with their tags it is a little longer than its plaintext.
const SPAN_OVERHEAD: usize = 64 * 16;
