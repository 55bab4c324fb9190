//! Sealed objects, as far as they are known without a key: their header, their length, whether
//! their end has been authenticated. Kept by version; keys are not.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::BytesMut;
use keyreel_format::{
    BODY_PREFIX_LEN, CiphertextLen, Dek, Header, KeyBlock, Reader, SLOT_LEN, UnverifiedHeader,
};
use keyreel_library::{Error as LibraryError, ObjectHandle, Objects, Part, Recording};
use moka::future::Cache;
use subtle::ConstantTimeEq as _;

use super::buffers::Buffers;
use super::conditions::{END_OF_DATES_MS, Validators};
use crate::problem::{Code, Problem};
use crate::settings::PlaybackSettings;

/// The objects, and what is remembered of them.
pub(crate) struct Library {
    objects: Objects,
    opened: Cache<String, Arc<Sealed>>,
    buffers: Buffers,
    span_len: usize,
}

/// One version of one sealed object, open.
pub(super) struct Sealed {
    handle: ObjectHandle,
    header: UnverifiedHeader,
    prefix: [u8; BODY_PREFIX_LEN],
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
        let known = self.opened.get(&part.object).await;
        let sealed = match known {
            Some(sealed) => sealed,
            None => {
                let sealed = Arc::new(Sealed::open(&self.objects, &part.object).await?);
                self.opened
                    .insert(part.object.clone(), sealed.clone())
                    .await;
                sealed
            }
        };
        sealed.check(recording, part)?;
        Ok(sealed)
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
    pub(super) async fn forget(&self, part: &Part) {
        self.opened.invalidate(&part.object).await;
    }
}

impl Sealed {
    async fn open(objects: &Objects, path: &str) -> Result<Self, Problem> {
        let handle = objects.get(path, None).await.map_err(object_problem)?;
        let len = handle.version().len;
        let (header, prefix) = read_head(&handle).await?;
        let plaintext_len = CiphertextLen::of_object(len, header.slot_len())?
            .plaintext()
            .bytes();
        let identity = header.identity();
        // Not authenticated yet: anything may stand there.
        if identity.created_ms >= END_OF_DATES_MS {
            return Err(damaged(path, "its date is beyond the year 9999"));
        }
        let etag = format!("\"{}\"", hex::encode(identity.object_id));
        Ok(Self {
            validators: Validators::new(etag, identity.created_ms),
            handle,
            header,
            prefix,
            plaintext_len,
            verified: OnceLock::new(),
            reader: Mutex::default(),
            end_verified: AtomicBool::new(false),
        })
    }

    /// Whether the object is the one that the catalogue means. The header is not authenticated
    /// yet: this keeps a planted file from steering one tenant's key to another's provider. Nor
    /// would its authenticity be enough, since anybody can wrap a DEK of their own to a KEK's
    /// public key: the body's salt and commitment tell which DEK the recording was sealed under.
    fn check(&self, recording: &Recording, part: &Part) -> Result<(), Problem> {
        let identity = self.header.identity();
        let wrong = if identity.tenant != recording.tenant {
            "its tenant is another"
        } else if identity.recording != recording.id {
            "its recording is another"
        } else if identity.part != part.name {
            "its part is another"
        } else if identity.content_type != part.content_type {
            "its content type is another"
        } else if self.plaintext_len != part.plaintext_len {
            "its length is another"
        } else if !self.names_kek_of(recording) {
            "it names none of the recording's KEK"
        } else if !self.begins_as(part) {
            "its body is another"
        } else {
            return Ok(());
        };
        Err(damaged(&part.object, wrong))
    }

    fn names_kek_of(&self, recording: &Recording) -> bool {
        self.key_block().recipients.iter().any(|recipient| {
            recipient.provider == recording.provider && recipient.kek == recording.kek
        })
    }

    /// Recordings from before the catalogue kept this are taken at their header's word.
    fn begins_as(&self, part: &Part) -> bool {
        part.body_prefix
            .is_none_or(|known| known.ct_eq(&self.prefix).into())
    }

    pub(super) fn key_block(&self) -> &KeyBlock {
        self.header.key_block()
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
        let len = self.handle.version().len;
        let reader = Arc::new(Reader::new(header, dek, &self.prefix, len)?);
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
        let header = self.header.clone().verify(dek)?;
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
        self.handle.read(range, buffer).await
    }
}

/// The header slot and the body's first bytes, with one read unless the slot is a long one.
async fn read_head(
    handle: &ObjectHandle,
) -> Result<(UnverifiedHeader, [u8; BODY_PREFIX_LEN]), Problem> {
    let path = &handle.version().path;
    let mut wanted = SLOT_LEN + BODY_PREFIX_LEN as u64;
    for _ in 0..2 {
        let end = wanted.min(handle.version().len);
        let head = handle
            .read(0..end, BytesMut::new())
            .await
            .map_err(object_problem)?;
        match Header::parse(&head) {
            Ok(header) => {
                let slot_len = usize::try_from(header.slot_len()).unwrap_or(usize::MAX);
                let prefix = head
                    .get(slot_len..)
                    .and_then(<[u8]>::first_chunk::<BODY_PREFIX_LEN>);
                if let Some(prefix) = prefix {
                    return Ok((header, *prefix));
                }
                wanted = header.slot_len() + BODY_PREFIX_LEN as u64;
            }
            Err(keyreel_format::Error::Incomplete { needed }) => {
                wanted = needed.saturating_add(BODY_PREFIX_LEN as u64);
            }
            Err(error) => return Err(error.into()),
        }
        if wanted <= end || end == handle.version().len {
            break;
        }
    }
    Err(damaged(path, "it ends within its header"))
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
