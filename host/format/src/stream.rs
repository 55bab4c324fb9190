//! Opening a body from its start to its end without knowing its length, and whole messages at
//! once.
//! Not for: ranges (see `read`).

use bytes::{Bytes, BytesMut};

use crate::layout::{BODY_PREFIX_LEN, CHUNK_LEN, SEALED_CHUNK_LEN, TAG_LEN};
use crate::message::{MessageKey, body_key};
use crate::seal::Sealer;
use crate::suite::{DefaultSuite, Suite};
use crate::{Dek, Error, Header};

/// Opens a body as it comes. What it gives out is verified, but it is the whole plaintext only when
/// [`StreamOpener::finish`] has succeeded: until then the body may have been cut.
pub struct StreamOpener<S: Suite = DefaultSuite> {
    key: MessageKey<S>,
    pending: BytesMut,
    next_chunk: u64,
}

impl StreamOpener {
    /// Begins with the body that follows `header`; `prefix` are its first bytes.
    ///
    /// # Errors
    /// [`Error::Integrity`] where the commitment is wrong.
    pub fn new(header: &Header, dek: &Dek, prefix: &[u8; BODY_PREFIX_LEN]) -> Result<Self, Error> {
        Self::with_suite(header, dek, prefix)
    }
}

impl<S: Suite> StreamOpener<S> {
    /// [`StreamOpener::new`] with a suite of the caller's choice.
    ///
    /// # Errors
    /// As [`StreamOpener::new`].
    pub fn with_suite(
        header: &Header,
        dek: &Dek,
        prefix: &[u8; BODY_PREFIX_LEN],
    ) -> Result<Self, Error> {
        Self::message(&*body_key::<S>(dek)?, header.identity_block(), prefix)
    }

    /// Begins with a bare Cobblestone-256 message.
    ///
    /// # Errors
    /// As [`StreamOpener::new`].
    pub fn message(
        input_key: &[u8],
        context: &[u8],
        prefix: &[u8; BODY_PREFIX_LEN],
    ) -> Result<Self, Error> {
        let key = MessageKey::open(input_key, context, prefix)?;
        Ok(Self {
            key,
            pending: BytesMut::new(),
            next_chunk: 0,
        })
    }

    /// Takes sealed bytes; calls `give` with every chunk that they complete.
    ///
    /// # Errors
    /// [`Error::Integrity`]; nothing more can be opened then.
    pub fn push(&mut self, sealed: &[u8], mut give: impl FnMut(Bytes)) -> Result<(), Error> {
        self.pending.extend_from_slice(sealed);
        while self.pending.len() >= SEALED_CHUNK_LEN {
            let mut chunk = self.pending.split_to(SEALED_CHUNK_LEN);
            self.key.open_chunk(self.next_chunk, &mut chunk)?;
            self.next_chunk += 1;
            chunk.truncate(CHUNK_LEN);
            give(chunk.freeze());
        }
        Ok(())
    }

    /// The last chunk.
    ///
    /// # Errors
    /// [`Error::Integrity`]: the body was cut, or extended.
    pub fn finish(mut self) -> Result<Bytes, Error> {
        self.key.open_chunk(self.next_chunk, &mut self.pending)?;
        self.pending.truncate(self.pending.len() - TAG_LEN);
        Ok(self.pending.freeze())
    }
}

/// Seals a whole plaintext as a bare Cobblestone-256 message.
///
/// # Errors
/// As [`Sealer::message`].
pub fn seal_message<S: Suite>(
    input_key: &[u8],
    context: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, Error> {
    let (prefix, mut sealer) = Sealer::<S>::message(input_key, context)?;
    let mut out = BytesMut::from(prefix.as_slice());
    sealer.push(plaintext, &mut out)?;
    sealer.finish(&mut out)?;
    Ok(out.into())
}

/// Opens a whole bare Cobblestone-256 message.
///
/// # Errors
/// As [`crate::Reader::message`] and [`crate::Reader::open`].
pub fn open_message<S: Suite>(
    input_key: &[u8],
    context: &[u8],
    message: &[u8],
) -> Result<Vec<u8>, Error> {
    let length = u64::try_from(message.len()).map_err(|_| Error::TooLong)?;
    let (prefix, chunks) = message
        .split_first_chunk()
        .ok_or(Error::ImpossibleLength { length })?;
    crate::CiphertextLen::new(length)?;
    let key = MessageKey::<S>::open(input_key, context, prefix)?;
    let mut plaintext = Vec::with_capacity(chunks.len());
    for (number, chunk) in (0..).zip(chunks.chunks(SEALED_CHUNK_LEN)) {
        let start = plaintext.len();
        plaintext.extend_from_slice(chunk);
        key.open_chunk(number, plaintext.get_mut(start..).unwrap_or_default())?;
        plaintext.truncate(start + chunk.len() - TAG_LEN);
    }
    Ok(plaintext)
}
