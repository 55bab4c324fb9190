//! Reading ranges of a sealed body: which bytes of the object to fetch, and what is in them.
//! Not for: fetching them. A reader does no I/O; it plans spans and opens what was read.

use std::fmt;
use std::iter::FusedIterator;
use std::ops::Range;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::layout::{
    BODY_PREFIX, BODY_PREFIX_LEN, CHUNK, CHUNK_LEN, SEALED_CHUNK, SEALED_CHUNK_LEN, TAG_LEN,
};
use crate::message::{MessageKey, body_key};
use crate::suite::{DefaultSuite, Suite};
use crate::{CiphertextLen, Dek, Error, Header, PlaintextLen};

/// Opens ranges of one body. Its commitment has been checked; its length is the store's word until
/// [`Reader::verify_last_chunk`].
pub struct Reader<S: Suite = DefaultSuite> {
    key: MessageKey<S>,
    /// Where the first chunk lies in the object.
    first_chunk: u64,
    body: CiphertextLen,
}

/// Consecutive sealed chunks, to be read from the object with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSpan {
    /// Which bytes of the object to read.
    pub object_range: Range<u64>,
    /// Which bytes of the plaintext they give, trimmed to what was asked for.
    pub plaintext_range: Range<u64>,
    first_chunk: u64,
}

impl SealedSpan {
    fn sealed_len(&self) -> Option<u64> {
        self.object_range.end.checked_sub(self.object_range.start)
    }
}

impl Reader {
    /// Prepares to read the object of `object_len` bytes that `header` stands at the start of.
    /// `prefix` are the first bytes of its body, at [`Header::slot_len`].
    ///
    /// # Errors
    /// [`Error::ImpossibleLength`]; [`Error::Integrity`] where the commitment is wrong.
    pub fn new(
        header: &Header,
        dek: &Dek,
        prefix: &[u8; BODY_PREFIX_LEN],
        object_len: u64,
    ) -> Result<Self, Error> {
        Self::with_suite(header, dek, prefix, object_len)
    }
}

impl<S: Suite> Reader<S> {
    /// [`Reader::new`] with a suite of the caller's choice.
    ///
    /// # Errors
    /// As [`Reader::new`].
    pub fn with_suite(
        header: &Header,
        dek: &Dek,
        prefix: &[u8; BODY_PREFIX_LEN],
        object_len: u64,
    ) -> Result<Self, Error> {
        let body = CiphertextLen::of_object(object_len, header.slot_len())?;
        let key = MessageKey::open(&*body_key::<S>(dek)?, header.identity_block(), prefix)?;
        Ok(Self {
            key,
            first_chunk: header.slot_len() + BODY_PREFIX,
            body,
        })
    }

    /// Prepares to read a bare Cobblestone-256 message of `message_len` bytes.
    ///
    /// # Errors
    /// As [`Reader::new`].
    pub fn message(
        input_key: &[u8],
        context: &[u8],
        prefix: &[u8; BODY_PREFIX_LEN],
        message_len: u64,
    ) -> Result<Self, Error> {
        let body = CiphertextLen::new(message_len)?;
        let key = MessageKey::open(input_key, context, prefix)?;
        Ok(Self {
            key,
            first_chunk: BODY_PREFIX,
            body,
        })
    }

    /// How long the plaintext is if the last chunk verifies. Promise it to nobody before that.
    #[must_use]
    pub fn plaintext_len(&self) -> PlaintextLen {
        self.body.plaintext()
    }

    /// The last chunk, which is short: its verification proves the plaintext's length.
    #[must_use]
    pub fn last_chunk(&self) -> SealedSpan {
        let length = self.plaintext_len().bytes();
        self.span(length / CHUNK, 1, 0..length)
    }

    /// Verifies the last chunk, as read from [`Reader::last_chunk`]. Worth remembering per version
    /// of the object. `sealed` is decrypted in place.
    ///
    /// # Errors
    /// [`Error::Integrity`]: the object was truncated, extended or changed.
    pub fn verify_last_chunk(&self, sealed: &mut [u8]) -> Result<PlaintextLen, Error> {
        let last = self.last_chunk();
        if Some(to_u64(sealed.len())?) != last.sealed_len() {
            return Err(Error::Integrity);
        }
        self.key.open_chunk(last.first_chunk, sealed)?;
        Ok(self.plaintext_len())
    }

    /// The reads that give `plaintext_range`, each of at most `span_len` bytes, at least a chunk.
    ///
    /// # Errors
    /// [`Error::Range`]: it begins after its end, or ends after the plaintext.
    pub fn spans(&self, plaintext_range: Range<u64>, span_len: usize) -> Result<Spans, Error> {
        let length = self.plaintext_len().bytes();
        let Range { start, end } = plaintext_range;
        if start > end || end > length {
            return Err(Error::Range { start, end, length });
        }
        Ok(Spans {
            layout: self.layout(),
            rest: start..end,
            chunks_per_span: (to_u64(span_len)? / SEALED_CHUNK).max(1),
        })
    }

    /// Opens a span that was read. Decrypts in place and copies nothing: the plaintext is handed on
    /// in the buffer that the ciphertext came in. If any of its chunks fails, nothing comes out.
    ///
    /// # Errors
    /// [`Error::Integrity`], also where the bytes are not as many as the span asked for.
    pub fn open(&self, span: &SealedSpan, mut sealed: BytesMut) -> Result<Opened, Error> {
        if Some(to_u64(sealed.len())?) != span.sealed_len() {
            return Err(Error::Integrity);
        }
        for (chunk, bytes) in (span.first_chunk..).zip(sealed.chunks_mut(SEALED_CHUNK_LEN)) {
            self.key.open_chunk(chunk, bytes)?;
        }
        let Range { start, end } = span.plaintext_range;
        let skip = start
            .checked_sub(span.first_chunk * CHUNK)
            .ok_or(Error::Integrity)?;
        let left = end.checked_sub(start).ok_or(Error::Integrity)?;
        let plaintext = sealed.len() - sealed.len().div_ceil(SEALED_CHUNK_LEN) * TAG_LEN;
        if skip + left > to_u64(plaintext)? {
            return Err(Error::Integrity);
        }
        let [skip, left] =
            [skip, left].map(|length| usize::try_from(length).map_err(|_| Error::Integrity));
        Ok(Opened {
            rest: sealed.freeze(),
            skip: skip?,
            left: left?,
        })
    }

    fn layout(&self) -> Layout {
        Layout {
            first_chunk: self.first_chunk,
            body: self.body,
        }
    }

    fn span(&self, chunk: u64, chunks: u64, wanted: Range<u64>) -> SealedSpan {
        self.layout().span(chunk, chunks, wanted)
    }
}

/// Where chunks lie in an object.
#[derive(Debug, Clone)]
struct Layout {
    first_chunk: u64,
    body: CiphertextLen,
}

impl Layout {
    /// `chunks` chunks from number `chunk` on, as far as there are so many; of their plaintext,
    /// what is in `wanted`.
    fn span(&self, chunk: u64, chunks: u64, wanted: Range<u64>) -> SealedSpan {
        let end = self.first_chunk - BODY_PREFIX + self.body.bytes();
        let start_at = self.first_chunk + chunk * SEALED_CHUNK;
        let object_range = start_at..(start_at + chunks * SEALED_CHUNK).min(end);
        let start = wanted.start.max(chunk * CHUNK);
        let end = wanted.end.min((chunk + chunks) * CHUNK);
        SealedSpan {
            object_range,
            plaintext_range: start..end,
            first_chunk: chunk,
        }
    }
}

/// The reads that a range of plaintext takes, in order. See [`Reader::spans`].
#[derive(Debug, Clone)]
pub struct Spans {
    layout: Layout,
    rest: Range<u64>,
    chunks_per_span: u64,
}

impl Iterator for Spans {
    type Item = SealedSpan;

    fn next(&mut self) -> Option<SealedSpan> {
        if self.rest.is_empty() {
            return None;
        }
        let chunk = self.rest.start / CHUNK;
        let chunks = self
            .rest
            .end
            .div_ceil(CHUNK)
            .saturating_sub(chunk)
            .min(self.chunks_per_span);
        let span = self.layout.span(chunk, chunks, self.rest.clone());
        self.rest.start = span.plaintext_range.end;
        Some(span)
    }
}

impl FusedIterator for Spans {}

/// Verified plaintext of one span, a chunk at a time, in the buffer that was read.
#[derive(Clone)]
pub struct Opened {
    /// Decrypted chunks, with their tags between them.
    rest: Bytes,
    /// Bytes ahead of what was asked for: fewer than a chunk.
    skip: usize,
    /// Bytes yet to give out.
    left: usize,
}

impl Opened {
    /// Bytes yet to give out.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.left
    }

    /// A handle on the memory that was read into, whole before the first chunk is given out: when
    /// it is the only one left, that memory can be used again. Not to be read: between the chunks
    /// lie tags, before and after them plaintext that was not asked for.
    #[must_use]
    pub fn memory(&self) -> Bytes {
        self.rest.clone()
    }
}

impl Iterator for Opened {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.left == 0 || self.rest.is_empty() {
            return None;
        }
        let mut chunk = self.rest.split_to(SEALED_CHUNK_LEN.min(self.rest.len()));
        // The tag goes, and what lies ahead of the range or after it.
        chunk.truncate(CHUNK_LEN.min(self.skip + self.left));
        chunk.advance(self.skip.min(chunk.len()));
        self.skip = 0;
        self.left = self.left.saturating_sub(chunk.len());
        Some(chunk)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let chunks = (self.skip + self.left).div_ceil(CHUNK_LEN);
        let chunks = if self.left == 0 { 0 } else { chunks };
        (chunks, Some(chunks))
    }
}

impl ExactSizeIterator for Opened {}
impl FusedIterator for Opened {}

/// Lengths only: what was opened is somebody's voice.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

fn to_u64(length: usize) -> Result<u64, Error> {
    u64::try_from(length).map_err(|_| Error::Integrity)
}
